"""Kernels that come back to the session of another one: left on purpose, or by a kernel that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.kernels import WAIT, Gate, Kernel, Starter, wait_gone
from tests.parts.sshd import Sshd, running_sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def server(pwsh: str) -> Iterator[Sshd]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        yield server


@pytest.fixture
def night(pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A named session of this machine, apart from those of other tests."""
    folder = tempfile.mkdtemp(prefix="psk-", dir="/tmp")
    monkeypatch.setenv("TMPDIR", folder)
    yield f"process:{pwsh}?durable=1&session=night"
    shutil.rmtree(folder)


def kill(kernel: Kernel) -> None:
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.process.wait()


def over(kernel: Kernel) -> None:
    """End the session, and see that nothing of it is left."""
    engine = kernel.remote_pid()
    relay = psutil.Process(engine).parent()
    assert relay is not None
    folder = Path(relay.cmdline()[-1])
    assert folder.exists()
    kernel.run("exit")
    wait_gone(engine)
    wait_gone(relay.pid)
    assert not folder.exists()


def test_a_new_kernel_goes_on_where_a_killed_one_was(start: Starter, server: Sshd, gate: Gate) -> None:
    name = f"test-{os.getpid()}"
    target = f"ssh://{server.user}@{server.host}:{server.port}?durable=1&session={name}&ssh_config={server.config}"
    first = start(target)
    assert f"There was no session {name} on" in first.run("$x = 42; Set-Location /usr").stderr
    engine = first.remote_pid()
    request = first.send(f'1..200 | ForEach-Object {{ "line $_" }}; {gate.wait}; $y = 7; 201..400 | % {{ "line $_" }}')
    first.shows(request, "line 200")
    kill(first)
    second = start(target)
    waiting = second.send('"$x $y $($PWD.Path)"')
    second.until(lambda: "A command was left in this session" in str(second.of(waiting)))
    gate.open()
    run = second.finish(waiting)
    assert "ok" == run.status
    lines = run.stdout.splitlines()
    # What the killed kernel was shown and had not acknowledged comes again; nothing is missing behind it.
    begin = 400 - (len(lines) - 2)
    assert begin <= 201
    assert [*(f"line {number}" for number in range(begin, 401)), "42 7 /usr"] == lines
    assert f"Back in the session {name} on" in run.stderr
    assert engine == second.remote_pid()
    over(second)


def test_a_kernel_that_keeps_its_session_leaves_it_at_shutdown(start: Starter, night: str) -> None:
    first = start(f"{night}&keep=1")
    first.run("$x = 42; Set-Location /usr")
    engine = first.remote_pid()
    first.manager.shutdown_kernel()
    second = start(night)
    run = second.run('"$x $($PWD.Path)"')
    assert ("ok", "42 /usr\n") == (run.status, run.stdout)
    assert engine == second.remote_pid()
    # This one does not keep it.
    second.manager.shutdown_kernel()
    wait_gone(engine)


def test_a_restart_begins_a_new_session_though_it_is_kept(start: Starter, night: str) -> None:
    kernel = start(f"{night}&keep=1")
    kernel.run("$x = 42")
    engine = kernel.remote_pid()
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=WAIT)
    run = kernel.run("\"x is '$x'\"")
    assert ("ok", "x is ''\n") == (run.status, run.stdout)
    assert "There was no session night" in run.stderr
    wait_gone(engine)
    over(kernel)


def test_what_was_left_is_interrupted_and_the_cell_is_not_run(start: Starter, night: str) -> None:
    first = start(night)
    request = first.send("$x = 3; 'begun'; Start-Sleep 600")
    first.shows(request, "begun")
    kill(first)
    second = start(night)
    waiting = second.send("'must not run'")
    second.until(lambda: "begun" in str(second.of(waiting)))
    second.interrupt()
    run = second.finish(waiting)
    assert "error" == run.status
    assert "must not run" not in run.stdout
    assert "3\n" == second.run("$x").stdout
    over(second)


def test_a_question_of_what_was_left_is_put_to_whoever_comes_back(start: Starter, night: str) -> None:
    first = start(night)
    first.send("$answer = Read-Host 'Which one'; \"it is $answer\"", allow_stdin=True)
    first.client.get_stdin_msg(timeout=WAIT)
    kill(first)
    second = start(night)
    waiting = second.send("'then this'", allow_stdin=True)
    assert "Which one" in str(second.client.get_stdin_msg(timeout=WAIT)["content"])
    second.client.input("the last")
    run = second.finish(waiting)
    assert ("ok", "it is the last\nthen this\n") == (run.status, run.stdout)
    over(second)


def test_a_left_command_that_fails_keeps_the_cell_from_being_run(start: Starter, night: str, gate: Gate) -> None:
    first = start(night)
    request = first.send(f"'begun'; {gate.wait}; throw 'a pity'")
    first.shows(request, "begun")
    kill(first)
    second = start(night)
    waiting = second.send("'must not run'")
    second.until(lambda: "begun" in str(second.of(waiting)))
    gate.open()
    run = second.finish(waiting)
    assert "LeftCommandFailed" == run.ename
    assert "a pity" in run.evalue
    assert "must not run" not in run.stdout
    assert "2\n" == second.run("1 + 1").stdout
    over(second)


def test_a_second_kernel_is_told_and_may_take_over(start: Starter, night: str) -> None:
    first = start(night)
    first.run("$x = 42")
    second = start(night)
    run = second.run("$x")
    assert "Another client has the session night" in run.evalue
    assert f"process {first.pid}" in run.evalue
    third = start(f"{night}&take_over=1")
    assert "42\n" == third.run("$x").stdout
    run = first.run("'must not run'")
    assert "error" == run.status
    assert "Another client has it." in run.evalue
    assert "must not run" not in run.stdout
    over(third)


def test_a_kernel_leaves_its_session_to_a_winrm_server_and_comes_back_by_its_name(
    start: Starter, winrm: WsmanBridge, winrm_url: str
) -> None:
    kept = f"{winrm_url}&session=night&keep=1"
    first = start(kept)
    assert "There was no session night on" in first.run("$x = 42").stderr
    engine = first.remote_pid()
    first.manager.shutdown_kernel()
    second = start(f"{winrm_url}&session=night")
    run = second.run("$x")
    assert ("ok", "42\n") == (run.status, run.stdout)
    assert "Back in the session night on" in run.stderr
    assert engine == second.remote_pid()
    third = start(f"{winrm_url}&session=night")
    assert "Another client has the session night" in third.run("$x").evalue
    second.manager.shutdown_kernel()
    wait_gone(engine)


def test_what_runs_goes_on_when_a_kernel_that_keeps_it_is_shut_down(start: Starter, night: str, gate: Gate) -> None:
    first = start(f"{night}&keep=1")
    request = first.send(f"'begun'; {gate.wait}; $y = 7; 'ended'")
    first.shows(request, "begun")
    # Jupyter interrupts a kernel first.
    first.manager.shutdown_kernel()
    second = start(night)
    waiting = second.send("$y")
    second.until(lambda: "A command was left in this session" in str(second.of(waiting)))
    gate.open()
    run = second.finish(waiting)
    assert ("ok", "ended\n7\n") == (run.status, run.stdout)
    over(second)


def test_a_kernel_that_keeps_its_session_can_be_interrupted(start: Starter, night: str) -> None:
    kernel = start(f"{night}&keep=1")
    request = kernel.send("$x = 3; 'begun'; Start-Sleep 600")
    kernel.shows(request, "begun")
    kernel.interrupt()
    assert "error" == kernel.finish(request).status
    assert "3\n" == kernel.run("$x").stdout
    over(kernel)


def test_an_interrupt_is_for_the_cell_that_ran_then(start: Starter, night: str, gate: Gate) -> None:
    kernel = start(f"{night}&keep=1")
    request = kernel.send(f"'begun'; {gate.wait}")
    kernel.shows(request, "begun")
    # Where sessions stay, it waits for a shutdown behind it; meanwhile the cell ends, and another one begins.
    kernel.interrupt()
    gate.open()
    assert "ok" == kernel.finish(request).status
    assert "whole\n" == kernel.run("Start-Sleep -Milliseconds 700; 'whole'").stdout
    over(kernel)


def test_a_stop_in_the_debugger_that_is_over_is_not_heard_again(start: Starter, night: str, gate: Gate) -> None:
    first = start(night)
    assert "DebuggerStop" == first.run("Wait-Debugger; 'after'", allow_stdin=True).ename
    assert "after" in first.run("c", allow_stdin=True).stdout
    request = first.send(f"'begun'; {gate.wait}; 'ended'", allow_stdin=True)
    first.shows(request, "begun")
    kill(first)
    second = start(night)
    waiting = second.send("'then this'", allow_stdin=True)
    second.until(lambda: "A command was left in this session" in str(second.of(waiting)))
    gate.open()
    run = second.finish(waiting)
    assert ("ok", "begun\nended\nthen this\n") == (run.status, run.stdout)
    over(second)
