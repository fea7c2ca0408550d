"""What a user and a front end see of a durable session whose connection is away, and when it does not come back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.parts.cuts import unreachable
from tests.parts.kernels import Gate, Kernel, Run, Starter, wait_gone
from tests.parts.sshd import Sshd, running_sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def server(pwsh: str) -> Iterator[Sshd]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        yield server


def target(server: Sshd) -> str:
    return f"ssh://{server.user}@{server.host}:{server.port}?durable=1&ssh_config={server.config}"


def banner(kernel: Kernel) -> str:
    message = kernel.client.session.msg("kernel_info_request", {})
    kernel.client.shell_channel.send(message)
    return str(kernel.reply(message["header"]["msg_id"])["content"]["banner"])


def told(kernel: Kernel, request: str) -> str:
    return Run(kernel.of(request), {}).stderr


@contextlib.contextmanager
def left_behind(kernel: Kernel) -> Iterator[None]:
    """What nobody can come back to is ended."""
    engine = kernel.remote_pid()
    relay = psutil.Process(engine).parent()
    assert relay is not None
    folder = Path(relay.cmdline()[-1])
    yield
    relay.kill()
    wait_gone(engine)
    shutil.rmtree(folder)


def test_that_the_connection_is_away_is_seen_and_that_it_is_back(start: Starter, server: Sshd) -> None:
    kernel = start(target(server))
    assert "connected" == kernel.run("$x = 7").record["connection"]
    with unreachable(server):
        while not banner(kernel).endswith(" (reconnecting)"):
            pass
        # What is refused here needs no connection.
        assert "reconnecting" == kernel.run("#% nosuch 1").record["connection"]
        waiting = kernel.send("$x")
        kernel.until(lambda: "has been interrupted. Attempting to reconnect" in told(kernel, waiting))
        assert banner(kernel).endswith(" (reconnecting)")
    run = kernel.finish(waiting)
    assert ("7\n", "connected") == (run.stdout, run.record["connection"])
    assert "Nothing was lost." in run.stderr
    assert not banner(kernel).endswith(" (reconnecting)")


def test_a_dead_session_is_never_shown_as_alive(start: Starter, server: Sshd, gate: Gate) -> None:
    kernel = start(target(server), "reconnect_timeout=1")
    with left_behind(kernel):
        running = kernel.send(f"$x = 7; 'begun'; {gate.wait}")
        kernel.shows(running, "begun")
        with unreachable(server):
            run = kernel.finish(running)
            assert ("ConnectionLost", "none") == (run.ename, run.record["connection"])
            assert "could not be resumed" in run.evalue
        # The server is there again, and so is the relay.
        refused = kernel.run("$x")
        assert ("SessionLost", False, "none") == (refused.ename, refused.record["sent"], refused.record["connection"])
        assert "This cell was not run, and nothing of it was sent." in refused.evalue
        run = kernel.run("$null -eq $x")
        assert ("True\n", "connected") == (run.stdout, run.record["connection"])
