"""Real servers for the integration tests."""

from collections.abc import Callable

import pytest

from tests.parts.ipython import entering, shell
from tests.parts.sshd import Sshd, sshd_factory

__all__ = ["engine_sshd", "entering", "shell", "sshd_factory"]


@pytest.fixture(scope="module")
def engine_sshd(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    """An SSH server whose subsystem is the engine."""
    server: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})
    return server
