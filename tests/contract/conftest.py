"""Fixtures of the contract tests."""

from tests.parts.container import container
from tests.parts.sshd import sshd_factory

__all__ = ["container", "sshd_factory"]
