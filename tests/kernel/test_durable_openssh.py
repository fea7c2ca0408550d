"""A kernel whose session outlives its connection, which is made by the system's own ssh."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.parts.kernels import Gate, Starter, wait_gone
from tests.parts.sshd import Sshd, running_sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture
def server(pwsh: str) -> Iterator[Sshd]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        yield server


def test_a_gap_in_a_cell_and_a_kernel_that_is_killed(start: Starter, server: Sshd, gate: Gate) -> None:
    kernel = start(
        f"ssh://{server.user}@{server.host}:{server.port}?durable=1&backend=openssh&ssh_config={server.config}"
    )
    engine = kernel.remote_pid()
    request = kernel.send(f"$x = 7; 'begun'; {gate.wait}; 'ended'")
    kernel.shows(request, "begun")
    for each in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    kernel.until(lambda: "restored after" in str(kernel.of(request)))
    gate.open()
    run = kernel.finish(request)
    assert ("ok", "begun\nended\n") == (run.status, run.stdout)
    assert "7\n" == kernel.run("$x").stdout
    # Its ssh, which reads nothing, ends with it; the session stays.
    ours = psutil.Process(kernel.pid).children(recursive=True)
    assert "ssh" in [each.name() for each in ours]
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.process.wait()
    assert not psutil.wait_procs(ours, 10)[1]
    assert psutil.pid_exists(engine)
    relay = psutil.Process(engine).parent()
    assert relay is not None
    folder = Path(relay.cmdline()[-1])
    relay.kill()
    wait_gone(engine)
    shutil.rmtree(folder)
