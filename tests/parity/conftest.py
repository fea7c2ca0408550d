"""The server that both sides are compared on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.kernels import Kernel, Starter
from tests.parts.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def sshd(pwsh: str) -> Iterator[Sshd]:
    """An sshd whose subsystem is the engine."""
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        yield server


@pytest.fixture(scope="module")
def parity_kernel(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel on that engine."""
    starter = Starter(tmp_path_factory.mktemp("parity"))
    yield starter(
        f"ssh://{sshd.user}@127.0.0.1:{sshd.port}",
        "ssh_config=none",
        f"key_file={sshd.key}",
        f"known_hosts={sshd.known_hosts}",
    )
    starter.end_all()
