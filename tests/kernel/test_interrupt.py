"""Stop: a command that obeys, one that does not, one that was not sent yet, and signals nobody meant."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.parts.kernels import Gate, Kernel, Relay, Starter, wait_gone

pytestmark = pytest.mark.live

# Sent in many pieces, each of which the remote acknowledges.
LONG = f"<# {'x' * 1_000_000} #>"


def test_an_endless_loop_stops_at_once(kernel: Kernel) -> None:
    request = kernel.send("'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert time.monotonic() - began < 2
    assert run.status == "error"
    assert run.ename == "PipelineStopped"
    assert run.kinds.count("error") == 1
    assert run.reply["content"]["ename"] == "PipelineStopped"


def test_the_session_lives_on_after_an_interrupt(kernel: Kernel) -> None:
    request = kernel.send("$kept = 5; 'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    kernel.interrupt()
    kernel.finish(request)
    assert kernel.run("$kept").stdout == "5\n"


def test_an_endless_flood_stops_at_once(kernel: Kernel) -> None:
    request = kernel.send("$n = 0; while ($true) { 'flood {0}' -f $n++ }")
    kernel.shows(request, "flood 5000\n")
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert time.monotonic() - began < 3
    assert run.ename == "PipelineStopped"


def test_what_was_still_to_be_shown_is_kept_in_a_file(start: Starter, pwsh: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    os.mkfifo(said)
    # A megabyte is shown at once, and the rest would take half an hour.
    kernel = start(f"process:{pwsh}", "output_rate=1000")
    cell = f"0..7999 | ForEach-Object {{ 'flood {{0:d200}}' -f $_ }}; /bin/sh -c 'echo > {said}'; while ($true) {{}}"
    request = kernel.send(cell)
    assert said.read_text() == "\n"
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert time.monotonic() - began < 3
    assert run.ename == "PipelineStopped"
    note = re.search(r"lines are left out here \(interrupted\); the whole output is in (\S+) …", run.stdout)
    assert note
    kept = Path(note[1]).read_text().splitlines()
    assert kept == [f"flood {n:0200}" for n in range(8000)]
    assert run.stdout.endswith(f"{kept[-1]}\n")


def test_an_interrupted_cell_that_showed_everything_leaves_no_file(start: Starter, pwsh: str) -> None:
    kernel = start(f"process:{pwsh}")
    request = kernel.send("'only line'; while ($true) {}")
    kernel.shows(request, "only line")
    kernel.interrupt()
    run = kernel.finish(request)
    assert run.stdout == "only line\n"
    assert not list(start.logs.glob("*"))


def test_cells_behind_an_interrupted_one_are_aborted(kernel: Kernel) -> None:
    request = kernel.send("'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    behind = [kernel.send("'must not run'") for _ in range(3)]
    kernel.interrupt()
    assert kernel.finish(request).status == "error"
    assert [kernel.finish(one).status for one in behind] == ["aborted"] * 3


def test_what_cannot_be_stopped_is_abandoned(start: Starter, pwsh: str) -> None:
    kernel = start(f"process:{pwsh}", "stop_timeout=2")
    remote = kernel.remote_pid()
    kernel.run("$x = 1")
    request = kernel.send("'begun'; [Threading.Thread]::Sleep(30000); 'after'")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert 0.9 < time.monotonic() - began < 6
    assert run.status == "error"
    assert run.ename == "SessionAbandoned"
    assert "may still be running" in run.evalue
    assert run.record["sent"] is True
    wait_gone(remote)

    refused = kernel.run("$x = 2; $x")
    assert refused.ename == "SessionLost"
    assert "could not be stopped" in refused.evalue
    assert "not run" in refused.evalue
    assert refused.record["sent"] is False

    fresh = kernel.run('"[$x]"')
    assert fresh.stdout == "[]\n"
    assert kernel.remote_pid() != remote


def test_more_interrupts_do_not_put_the_end_off(start: Starter, pwsh: str) -> None:
    kernel = start(f"process:{pwsh}", "stop_timeout=2")
    request = kernel.send("'begun'; [Threading.Thread]::Sleep(30000)")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    other = kernel.send("1")
    while time.monotonic() - began < 1.5:
        # Each answer takes a moment: this is many interrupts, evenly spread.
        kernel.ask("kernel_info_request", {})
        kernel.interrupt()
    assert kernel.finish(request).ename == "SessionAbandoned"
    assert time.monotonic() - began < 6
    assert kernel.finish(other).status == "aborted"


def test_two_interrupts_in_a_row_do_no_harm(kernel: Kernel) -> None:
    request = kernel.send("$kept = 6; 'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    kernel.interrupt()
    kernel.interrupt()
    assert kernel.finish(request).ename == "PipelineStopped"
    assert kernel.run("$kept").stdout == "6\n"


def test_an_interrupt_while_nothing_runs_does_nothing(kernel: Kernel) -> None:
    kernel.run("$kept = 7")
    kernel.interrupt()
    assert kernel.run("$kept").stdout == "7\n"


def test_an_interrupt_between_two_cells_does_not_hit_the_second(kernel: Kernel, gate: Gate) -> None:
    first = kernel.send("'begun'; while ($true) {}")
    kernel.shows(first, "begun")
    kernel.interrupt()
    kernel.finish(first)
    second = kernel.send(f"'begun'; {gate.wait}; 'end'")
    kernel.shows(second, "begun")
    gate.open()
    assert kernel.finish(second).stdout == "begun\nend\n"


def test_an_interrupt_while_connecting(start: Starter, silent_socket: str) -> None:
    kernel = start(f"unix:{silent_socket}")
    request = kernel.send("'must not run'")
    kernel.until(lambda: "execute_input" in [m["msg_type"] for m in kernel.of(request)])
    kernel.ask("kernel_info_request", {})
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert time.monotonic() - began < 2
    assert run.ename == "Interrupted"
    assert run.record["sent"] is False
    assert kernel.is_alive()


def test_connecting_begins_anew_after_an_interrupt(start: Starter, relay: Relay) -> None:
    relay.hold()
    kernel = start(relay.target)
    request = kernel.send("'not run'")
    kernel.until(lambda: "execute_input" in [m["msg_type"] for m in kernel.of(request)])
    kernel.interrupt()
    assert kernel.finish(request).ename == "Interrupted"
    relay.release()
    assert kernel.run("'run'").stdout == "run\n"


def test_an_interrupt_while_the_cell_is_being_sent_keeps_the_session(start: Starter, relay: Relay) -> None:
    kernel = start(relay.target)
    kernel.run("$kept = 8")
    relay.hold_after(100_000)
    request = kernel.send(f"$kept = 9; while ($true) {{}} {LONG}")
    relay.wait_held()
    kernel.interrupt()
    kernel.ask("kernel_info_request", {})
    relay.release()
    run = kernel.finish(request)
    assert run.status == "error"
    assert run.ename == "PipelineStopped"
    assert run.record["sent"] is True
    assert kernel.run("$kept").stdout in ("8\n", "9\n")


def test_an_interrupt_of_a_cell_that_never_gets_through(start: Starter, relay: Relay) -> None:
    kernel = start(relay.target, "stop_timeout=2")
    kernel.run("1")
    relay.hold_after(100_000)
    request = kernel.send(f"2 {LONG}")
    relay.wait_held()
    kernel.interrupt()
    assert kernel.finish(request).ename == "SessionAbandoned"
    relay.release()
    assert kernel.run("3").ename == "SessionLost"
    assert kernel.run("4").stdout == "4\n"


def test_a_stray_sigint_while_idle(kernel: Kernel) -> None:
    kernel.run("$kept = 10")
    kernel.manager.signal_kernel(signal.SIGINT)
    kernel.ask("kernel_info_request", {})
    assert kernel.run("$kept").stdout == "10\n"
    assert kernel.is_alive()


def test_a_stray_sigint_while_a_cell_runs_interrupts_it(kernel: Kernel) -> None:
    request = kernel.send("$kept = 11; 'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    kernel.manager.signal_kernel(signal.SIGINT)
    assert kernel.finish(request).ename == "PipelineStopped"
    assert kernel.run("$kept").stdout == "11\n"
    assert kernel.is_alive()


def test_a_sigint_before_the_first_cell(start: Starter, silent_socket: str) -> None:
    kernel = start(f"unix:{silent_socket}")
    kernel.manager.signal_kernel(signal.SIGINT)
    assert kernel.ask("kernel_info_request", {}).status == "ok"
    assert kernel.is_alive()
