"""A kernel whose session outlives its connection: the line to the SSH server is cut by ending what serves it there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.parts.kernels import Gate, Kernel, Starter, wait_gone
from tests.parts.sshd import Sshd, running_sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def server(pwsh: str) -> Iterator[Sshd]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        yield server


def target(server: Sshd) -> str:
    return f"ssh://{server.user}@{server.host}:{server.port}?durable=1&ssh_config={server.config}"


def cut(server: Sshd) -> None:
    for each in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


@pytest.fixture(scope="module")
def lasting(server: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for those tests that leave it as it was."""
    starter = Starter(tmp_path_factory.mktemp("durable"))
    yield starter(target(server))
    starter.end_all()


@pytest.fixture
def kernel_there(start: Starter, server: Sshd) -> Kernel:
    return start(target(server))


def test_a_cell_goes_on_and_says_that_there_was_a_gap(lasting: Kernel, server: Sshd, gate: Gate) -> None:
    remote = lasting.remote_pid()
    request = lasting.send(f"$x = 7; 'begun'; {gate.wait}; 'ended'")
    lasting.shows(request, "begun")
    cut(server)
    lasting.until(lambda: "restored after" in str(lasting.of(request)))
    gate.open()
    run = lasting.finish(request)
    assert ("ok", "begun\nended\n") == (run.status, run.stdout)
    assert "has been interrupted. Attempting to reconnect for up to 7200 seconds..." in run.stderr
    assert "Nothing was lost." in run.stderr
    assert remote == lasting.remote_pid()


def test_a_gap_between_two_cells(lasting: Kernel, server: Sshd) -> None:
    lasting.run("$x = 7")
    cut(server)
    run = lasting.run("$x")
    assert ("ok", "7\n") == (run.status, run.stdout)


def test_an_interrupt_after_a_gap(lasting: Kernel, server: Sshd) -> None:
    request = lasting.send("$x = 7; 'begun'; Start-Sleep 600")
    lasting.shows(request, "begun")
    cut(server)
    lasting.until(lambda: "restored after" in str(lasting.of(request)))
    lasting.interrupt()
    assert "error" == lasting.finish(request).status
    assert "7\n" == lasting.run("$x").stdout


def test_an_interrupt_in_a_gap_is_bounded(start: Starter, pwsh: str, gate: Gate) -> None:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as gone:
        kernel = start(target(gone), "stop_timeout=2")
        remote = kernel.remote_pid()
        request = kernel.send(f"'begun'; {gate.wait}")
        kernel.shows(request, "begun")
        serving = psutil.Process(gone.process.pid).children(recursive=True)
        gone.process.terminate()
        gone.process.wait()
        for each in serving:
            each.kill()
        kernel.until(lambda: "has been interrupted" in str(kernel.of(request)))
        kernel.interrupt()
        run = kernel.finish(request)
    assert "error" == run.status
    assert "may still be running" in run.evalue
    assert "SessionLost" == kernel.run("1").ename
    end(remote)


def end(engine: int) -> None:
    """End what nobody can come back to."""
    relay = psutil.Process(engine).parent()
    assert relay is not None
    folder = Path(relay.cmdline()[-1])
    relay.kill()
    wait_gone(engine)
    shutil.rmtree(folder)


def test_leaving_ends_the_relay(kernel_there: Kernel) -> None:
    folders = []
    for leave in (lambda: kernel_there.run("exit"), kernel_there.manager.shutdown_kernel):
        while kernel_there.run("1").status != "ok":
            pass
        engine = kernel_there.remote_pid()
        relay = psutil.Process(engine).parent()
        assert relay is not None
        folders.append(Path(relay.cmdline()[-1]))
        leave()
        wait_gone(engine)
        wait_gone(relay.pid)
    assert [False, False] == [folder.exists() for folder in folders]


def test_a_killed_kernel_leaves_its_session_to_the_relay(kernel_there: Kernel) -> None:
    engine = kernel_there.remote_pid()
    os.kill(kernel_there.pid, signal.SIGKILL)
    kernel_there.process.wait()
    assert psutil.pid_exists(engine)
    end(engine)


def test_a_cell_cannot_ask_for_a_session_that_stays(start: Starter, server: Sshd) -> None:
    run = start().run(f"#% target ssh://{server.user}@{server.host}:{server.port}?durable=1\n1")
    assert "A cell may not set durable" in run.evalue
