"""Fixtures of the contract tests."""

from tests.parts.accounts import account
from tests.parts.container import container
from tests.parts.sshd import sshd_factory

__all__ = ["account", "container", "sshd_factory"]
