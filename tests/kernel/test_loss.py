"""Sessions that go away, by accident or on purpose: nothing ever runs where it was not meant to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.parts.kernels import Gate, Kernel, Relay, Run, Starter, wait_gone

pytestmark = pytest.mark.live


@pytest.fixture
def own(kernel: Kernel) -> Kernel:
    """The module's kernel with a session that a test may break: the kernel itself survives all of this."""
    while kernel.run("1").status != "ok":
        assert kernel.seen[-2]["content"]["ename"] == "SessionLost"
    return kernel


def assert_refused(run: Run, *words: str) -> None:
    assert run.status == "error"
    assert run.ename == "SessionLost"
    for word in (*words, "This cell was not run", "nothing of it was sent"):
        assert word in run.evalue
    assert run.stdout == run.stderr == ""
    assert run.record["sent"] is False


def test_the_remote_dies_in_mid_cell(own: Kernel, gate: Gate) -> None:
    remote = own.remote_pid()
    own.run("$x = 1")
    request = own.send(f"'begun'; {gate.wait}; 'end'")
    own.shows(request, "begun")
    os.kill(remote, signal.SIGKILL)
    run = own.finish(request)
    assert run.status == "error"
    assert run.ename == "ConnectionLost"
    assert "may have completed" in run.evalue
    assert "SIGKILL" in run.evalue
    assert run.stdout == "begun\n"
    assert run.record["sent"] is True

    assert_refused(own.run(f"New-Item '{gate.path}.refused'"), "was lost", "variables")
    assert not Path(f"{gate.path}.refused").exists()
    assert own.run('"[$x]"').stdout == "[]\n"
    assert own.remote_pid() != remote


def test_what_had_arrived_before_the_loss_is_shown(own: Kernel) -> None:
    run = own.run('1..2000 | ForEach-Object { "line $_" }; [Diagnostics.Process]::GetCurrentProcess().Kill()')
    assert run.ename == "ConnectionLost"
    shown = run.stdout.splitlines()
    assert shown == [f"line {n}" for n in range(1, len(shown) + 1)]
    assert len(shown) > 1000


def test_cells_queued_behind_a_loss_are_aborted_and_the_first_later_one_is_refused(own: Kernel, gate: Gate) -> None:
    remote = own.remote_pid()
    request = own.send(f"'begun'; {gate.wait}")
    own.shows(request, "begun")
    behind = [own.send(f"New-Item '{gate.path}.{n}'") for n in range(3)]
    os.kill(remote, signal.SIGKILL)
    assert own.finish(request).ename == "ConnectionLost"
    assert [own.finish(one).status for one in behind] == ["aborted"] * 3
    assert_refused(own.run(f"New-Item '{gate.path}.later'"))
    assert list(gate.path.parent.glob("gate.*")) == []


def test_run_all_after_a_loss_while_idle_sends_nothing(own: Kernel, tmp_path: Path) -> None:
    remote = own.remote_pid()
    os.kill(remote, signal.SIGKILL)
    wait_gone(remote)
    requests = [own.send(f"New-Item '{tmp_path}/made-{n}'") for n in range(5)]
    runs = [own.finish(request) for request in requests]
    assert runs[0].ename in ("SessionLost", "ConnectionLost")
    assert [run.status for run in runs] == ["error"] + ["aborted"] * 4
    assert list(tmp_path.glob("made-*")) == []


def test_what_a_front_end_runs_silently_uses_up_no_refusal(own: Kernel, tmp_path: Path) -> None:
    remote = own.remote_pid()
    os.kill(remote, signal.SIGKILL)
    wait_gone(remote)
    for _ in range(2):
        silent = own.run(f"New-Item '{tmp_path}/made'", silent=True)
        assert silent.status == "error"
        assert silent.errors == []
    assert_refused(own.run(f"New-Item '{tmp_path}/made'"), "was lost")
    # Nor does it open a session.
    assert own.run("1", silent=True).status == "error"
    assert not (tmp_path / "made").exists()
    assert own.run("'new'").stdout == "new\n"


def test_asked_to_go_on_after_errors_nothing_goes_on_behind_a_refusal(own: Kernel, tmp_path: Path) -> None:
    remote = own.remote_pid()
    os.kill(remote, signal.SIGKILL)
    wait_gone(remote)
    # Or the first cell may still be sent, and fail of the loss itself, which is no refusal.
    own.ask("kernel_info_request", {})
    requests = [own.send(f"New-Item '{tmp_path}/made-{n}'", stop_on_error=False) for n in range(4)]
    runs = [own.finish(request) for request in requests]
    assert [run.status for run in runs] == ["error"] + ["aborted"] * 3
    assert list(tmp_path.glob("made-*")) == []
    assert own.run("'new'").stdout == "new\n"


def test_a_loss_while_idle_that_was_noticed(own: Kernel, tmp_path: Path) -> None:
    remote = own.remote_pid()
    os.kill(remote, signal.SIGKILL)
    wait_gone(remote)
    own.ask("kernel_info_request", {})
    assert_refused(own.run(f"New-Item '{tmp_path}/made'"), "The connection to", "was lost", "SIGKILL")
    assert not (tmp_path / "made").exists()
    assert own.run("'new'").stdout == "new\n"


def test_a_line_that_is_cut_while_idle(start: Starter, relay: Relay, tmp_path: Path) -> None:
    kernel = start(relay.target)
    kernel.run("$x = 1")
    relay.cut()
    kernel.ask("kernel_info_request", {})
    assert_refused(kernel.run(f"New-Item '{tmp_path}/made'"))
    assert kernel.run('"[$x]"').stdout == "[]\n"
    assert not (tmp_path / "made").exists()


def test_a_line_that_is_cut_in_mid_cell(start: Starter, relay: Relay, gate: Gate) -> None:
    kernel = start(relay.target)
    request = kernel.send(f"'begun'; {gate.wait}")
    kernel.shows(request, "begun")
    relay.cut()
    assert kernel.finish(request).ename == "ConnectionLost"
    assert_refused(kernel.run("1"))
    assert kernel.run("2").stdout == "2\n"


def test_a_remote_that_breaks_the_protocol_ends_the_cell(start: Starter, relay: Relay, gate: Gate) -> None:
    kernel = start(relay.target)
    request = kernel.send(f"'begun'; {gate.wait}")
    kernel.shows(request, "begun")
    relay.inject(b"<Data Stream='Default' PSGuid='00000000-0000-0000-0000-000000000000'>//////////8AAAAAAAA=</Data>\n")
    run = kernel.finish(request)
    assert run.status == "error"
    assert run.ename == "ConnectionLost"
    assert_refused(kernel.run("1"))
    assert kernel.run("2").stdout == "2\n"


@pytest.mark.parametrize(
    ("cell", "code", "how"),
    [
        ("exit", 0, "exit"),
        ("exit 3", 3, "exit"),
        ("exit -1", -1, "exit"),
        ("function Leave { exit 4 }; Leave; 'not reached'", 4, "exit"),
        ("Exit-PSSession", 0, "Exit-PSSession"),
    ],
)
def test_leaving_on_purpose(own: Kernel, cell: str, code: int, how: str) -> None:
    remote = own.remote_pid()
    own.run("$x = 1")
    run = own.run(f"'before'; {cell}")
    assert run.status == "ok"
    assert run.stdout == "before\n"
    assert run.errors == []
    assert run.record["exit_code"] == code
    wait_gone(remote)
    assert_refused(own.run("$x"), "You left the session", how)
    fresh = own.run('"[$x]"')
    assert fresh.stdout == "[]\n"
    assert fresh.record["exit_code"] is None
    assert own.remote_pid() != remote


def test_run_all_after_exit_sends_nothing(own: Kernel, tmp_path: Path) -> None:
    own.run("1")
    requests = [own.send(cell) for cell in ("exit", *(f"New-Item '{tmp_path}/made-{n}'" for n in range(3)))]
    runs = [own.finish(request) for request in requests]
    assert [run.status for run in runs] == ["ok", "error", "aborted", "aborted"]
    assert_refused(runs[1])
    assert list(tmp_path.glob("made-*")) == []


def test_a_target_that_cannot_be_reached_fails_each_cell_and_is_tried_each_time(start: Starter, tmp_path: Path) -> None:
    kernel = start("process:/no/such/pwsh")
    for _ in range(2):
        run = kernel.run("1")
        assert run.ename == "TargetUnreachable"
        assert "/no/such/pwsh" in run.evalue
        assert run.record["sent"] is False
    assert kernel.is_alive()


def test_a_target_that_is_no_powershell(start: Starter) -> None:
    kernel = start("process:/bin/cat")
    run = kernel.run("1")
    assert run.status == "error"
    assert run.record["sent"] is False
    assert kernel.is_alive()
