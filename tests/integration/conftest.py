"""Real servers for the integration tests."""

from collections.abc import Callable

import pytest

from tests.parts.accounts import account
from tests.parts.certificates import authority
from tests.parts.container import container, container_factory, container_url
from tests.parts.host_process import forwarded, forwarding_sshd, host_process, host_process_factory
from tests.parts.hyperv import hyperv_host
from tests.parts.ipython import ctrl_c, entering, shell
from tests.parts.kdc import kerberos_realm
from tests.parts.sshd import Sshd, sshd_factory
from tests.parts.winrm import bridge_factory, winrm, winrm_url
from tests.parts.winrm_magics import at, target
from tests.parts.wsman_client import start_bridge, start_https_bridge

__all__ = [
    "account",
    "anywhere",
    "at",
    "authority",
    "bridge_factory",
    "container",
    "container_factory",
    "container_url",
    "ctrl_c",
    "engine_sshd",
    "entering",
    "forwarded",
    "forwarding_sshd",
    "host_process",
    "host_process_factory",
    "hyperv_host",
    "kerberos_realm",
    "shell",
    "sshd_factory",
    "start_bridge",
    "start_https_bridge",
    "target",
    "winrm",
    "winrm_url",
]


@pytest.fixture(params=["process", "winrm", "container"])
def anywhere(request: pytest.FixtureRequest, pwsh: str) -> str:
    """A target on the real engine, over every kind of transport."""
    return f"process:{pwsh}" if request.param == "process" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="module")
def engine_sshd(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    """An SSH server whose subsystem is the engine."""
    server: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})
    return server
