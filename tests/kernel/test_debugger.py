"""Breakpoints, on the real engine: a stop ends the cell, and the cells after it talk to the debugger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.kernels import Kernel, Run, Starter

pytestmark = pytest.mark.live

DEEP = "function Deep($n) { $a = $n * 2; Wait-Debugger; $b = $a + 1; $b }"


@pytest.fixture
def kernel(pwsh: str, start: Starter) -> Iterator[Kernel]:
    yield start(f"process:{pwsh}", "stop_timeout=20")


def typed(kernel: Kernel, cell: str) -> Run:
    """A cell of somebody who can be asked."""
    return kernel.run(cell, allow_stdin=True)


def test_a_stop_is_an_error_and_the_cells_after_it_go_to_the_debugger(kernel: Kernel) -> None:
    typed(kernel, DEEP)

    stop = typed(kernel, "'before'; Deep 5; 'after'")

    assert "DebuggerStop" == stop.ename
    assert "at line 1" in stop.evalue
    assert stop.stdout.startswith("before\nEntering debug mode. Use h or ? for help.\n\nAt line:1 char:34\n")
    assert "10\n" == typed(kernel, "$a").stdout
    assert "ok" == typed(kernel, "$b").status
    assert "1:* function Deep" in typed(kernel, "l").stdout
    assert "Deep" in typed(kernel, "k").stdout

    went_on = typed(kernel, "c")

    assert ("ok", "11\nafter\n") == (went_on.status, went_on.stdout)
    assert "free\n" == typed(kernel, "'free'").stdout


def test_a_step_stops_again_without_being_an_error(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5")

    step = typed(kernel, "v")

    assert "ok" == step.status
    assert step.stdout.startswith("At line:1 char:49\n")
    assert "11\n" == typed(kernel, "continue").stdout


def test_quitting_stops_the_command(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5; 'not reached'")

    assert "not reached" not in typed(kernel, "q").stdout
    assert "free\n" == typed(kernel, "'free'").stdout


def test_a_breakpoint_that_is_hit_is_named(kernel: Kernel) -> None:
    typed(kernel, "$null = Set-PSBreakpoint -Command Get-Date")

    stop = typed(kernel, "$null = Get-Date -Year 2020; 'after'")

    assert stop.stdout.startswith("Hit Command breakpoint on 'Get-Date'\n\nAt line:1 char:")
    assert "after\n" == typed(kernel, "c").stdout


def test_cells_that_are_queued_behind_a_stop_are_not_run(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    first = kernel.send("Deep 5", allow_stdin=True)
    second = kernel.send("$global:ran = 'c was taken for a cell'", allow_stdin=True)

    assert "DebuggerStop" == kernel.finish(first).ename
    assert "aborted" == kernel.finish(second).status
    typed(kernel, "c")
    assert "nothing\n" == typed(kernel, "$ran ?? 'nothing'").stdout


def test_they_are_not_run_either_where_errors_shall_not_stop(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    first = kernel.send("Deep 5", allow_stdin=True, stop_on_error=False)
    second = kernel.send("c", allow_stdin=True, stop_on_error=False)

    assert "DebuggerStop" == kernel.finish(first).ename
    assert "aborted" == kernel.finish(second).status
    assert "10\n" == typed(kernel, "$a").stdout
    typed(kernel, "c")


def test_an_error_in_the_debugger_is_an_error_there_alone(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5")

    assert "divide by zero" in typed(kernel, "1/0").stderr
    assert "10\n" == typed(kernel, "$a").stdout
    assert "11\n" == typed(kernel, "c").stdout


def test_a_terminating_error_in_the_debugger_is_told_at_once(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5")
    began = time.monotonic()

    failed = typed(kernel, "throw 'boo'")

    # Asked how it shows the error, the engine would not answer before the stopped command goes on.
    assert time.monotonic() - began < 4
    assert ("error", "boo") == (failed.status, failed.evalue)
    assert "11\n" == typed(kernel, "c").stdout


def test_a_command_in_the_debugger_can_be_interrupted(kernel: Kernel) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5")
    endless = kernel.send("'go'; while ($true) { Start-Sleep -Milliseconds 20 }", allow_stdin=True)
    kernel.shows(endless, "go")

    kernel.interrupt()

    stopped = kernel.finish(endless)
    assert "error" == stopped.status
    # This engine stops both; it must be said.
    assert "The command in the debugger has been stopped too" in stopped.stderr
    assert "free\n" == typed(kernel, "'free'").stdout


def test_the_command_that_went_on_can_be_interrupted(kernel: Kernel) -> None:
    typed(kernel, "function Long { Wait-Debugger; 'on'; while ($true) { Start-Sleep -Milliseconds 20 } }")
    typed(kernel, "Long")
    on = kernel.send("c", allow_stdin=True)
    kernel.shows(on, "on")

    kernel.interrupt()

    assert "error" == kernel.finish(on).status
    assert "free\n" == typed(kernel, "'free'").stdout


def test_an_interrupt_that_meets_the_word_to_go_on_stops_what_went_on(kernel: Kernel) -> None:
    typed(kernel, "function Long { Wait-Debugger; while ($true) { Start-Sleep -Milliseconds 20 } }")
    typed(kernel, "Long")
    on = kernel.send(" c ", allow_stdin=True)
    kernel.until(lambda: any(message["msg_type"] == "execute_input" for message in kernel.of(on)))

    kernel.interrupt()

    assert "error" == kernel.finish(on).status
    typed(kernel, "q")  # where it came before the word was sent
    assert "free\n" == typed(kernel, "'free'").stdout


def test_where_nobody_can_be_asked_breakpoints_are_passed_over(kernel: Kernel) -> None:
    run = kernel.run("'a'; Wait-Debugger; 'b'")

    assert "ok" == run.status
    assert "A breakpoint at line 1 was passed over" in run.stdout
    assert run.stdout.endswith("b\n")


def test_a_file_of_answers_is_nobody_for_the_debugger(pwsh: str, start: Starter, tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text("- {prompt: Name, answer: Ann}\n")
    kernel = start(f"process:{pwsh}", f"answers={answers}")

    run = kernel.run("Read-Host 'Name'; Wait-Debugger; 'past'")

    assert "ok" == run.status
    assert run.stdout.startswith("Ann\n")
    assert run.stdout.endswith("past\n")


def test_the_kernel_leaves_while_it_is_stopped(kernel: Kernel, start: Starter) -> None:
    typed(kernel, DEEP)
    typed(kernel, "Deep 5")

    process = kernel.process
    start.end(kernel)

    assert 0 == process.returncode
