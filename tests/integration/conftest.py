"""Real servers for the integration tests."""

from tests.parts.sshd import sshd_factory

__all__ = ["sshd_factory"]
