"""Fixtures of the transports' tests."""

from tests.parts.sshd import sshd_factory

__all__ = ["sshd_factory"]
