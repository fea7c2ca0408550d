"""A cell's course, from its text to its outcome, over a session whose remote is the test."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pskernel.cells.cell import Cell
from pskernel.cells.outcome import CellError, Outcome
from pskernel.cells.paced import CellOutput, Limits
from pskernel.directives import Directives
from pskernel.errors import (
    LocalProtocolError,
    PSKernelError,
    RemoteProtocolError,
    RunspaceStateError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.records import ErrorRecord, HostCall, HostText, Notice, PipelineEnd, PipelineState, Record
from pskernel.session.aims import Aim
from pskernel.session.facts import Facts
from pskernel.session.hops import Move
from pskernel.session.idle import IdleRecords
from pskernel.session.interactive import SessionLost
from pskernel.session.pipeline import Pipeline

WAIT = 10.0
DONE = PipelineEnd(PipelineState.COMPLETED)
STOPPED = PipelineEnd(PipelineState.STOPPED)


class Remote:
    """The session and its runspace as a cell uses them; the test plays the server."""

    label = "web01"
    computer = "web01"
    is_open = False
    connection = "connected"

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.sending = asyncio.Event()
        self.started = asyncio.Event()
        self.signalled = asyncio.Event()
        self.cells: list[str] = []
        self.refused: list[str] = []
        self.answered: list[Any] = []
        self.answering = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer_error: PSKernelError | None = None
        self.left: list[str] = []
        self.abandoned: list[str] = []
        self.shown: list[HostText] = []
        self.open_error: PSKernelError | None = None
        self.send_error: PSKernelError | None = None
        self.moved: Move | None = None
        self.is_away = self.is_behind = False
        self.place = "web01"
        self.asks_where = asyncio.Event()
        self.answers_where = asyncio.Event()
        self.answers_where.set()
        self.lost: SessionLost | None = None
        self.idle = IdleRecords()
        self.facts = Facts()
        self.stopped: Pipeline | None = None
        self.leave_error: PSKernelError | None = None
        self.pipeline = Pipeline(self, uuid4())

    # The session.

    @property
    def runspace(self) -> Remote:
        return self

    async def ready(self, asker: Asker, *, by_user: bool = True) -> Remote:
        await self.opened.wait()
        if self.open_error is not None:
            raise self.open_error
        return self

    def refusal(self, *, keep: bool = False) -> SessionLost | None:
        return self.lost

    async def leave(self, how: str) -> None:
        self.left.append(how)
        if self.leave_error is not None:
            raise self.leave_error

    async def abandon(self, why: str) -> None:
        self.abandoned.append(why)
        self.may_send.set()
        self.send_error = TransportClosed(why)
        self.pipeline.fail(TransportClosed(why))

    async def after_cell(self, text: str, aim: Aim, *, follow: bool = True) -> Move | None:
        self.aim = aim
        self.followed = follow
        self.asks_where.set()
        await self.answers_where.wait()
        return self.moved

    # The runspace.

    async def run_cell(self, text: str, *, width: int | None = None) -> Pipeline:
        self.cells.append(text)
        self.sending.set()
        await self.may_send.wait()
        if self.send_error is not None:
            raise self.send_error
        self.started.set()
        return self.pipeline

    async def display_error(self, error: ErrorRecord) -> list[HostText]:
        return self.shown

    async def signal(self, pipeline: Pipeline) -> None:
        self.signalled.set()

    async def answer(self, call: HostCall, value: Any) -> None:
        self.answering.set()
        await self.may_answer.wait()
        if self.answer_error is not None:
            raise self.answer_error
        self.answered.append(value)

    def was_read(self) -> None:
        """Nobody asks."""

    async def refuse(self, call: HostCall, message: str) -> None:
        self.refused.append(message)


class Play:
    """A cell under way."""

    def __init__(
        self, folder: Path, *, stop_timeout: float = WAIT, rate: int = 0, directives: Directives | None = None
    ) -> None:
        self.remote = Remote()
        self.sent: list[tuple[str, str]] = []
        self.output = CellOutput(lambda stream, text: self.sent.append((stream, text)), Limits(rate, 10**8, folder))
        self.cell = Cell(self.remote, self.output, stop_timeout, directives=directives)  # type: ignore[arg-type]
        self.running: asyncio.Task[Outcome] | None = None
        self.asker: Asker = NobodyToAsk()

    def begin(self, text: str = "the cell") -> None:
        self.running = asyncio.create_task(self.cell.run(text, self.asker))

    async def started(self) -> None:
        self.begin()
        await asyncio.wait_for(self.remote.started.wait(), WAIT)

    def say(self, *records: Record) -> None:
        for record in records:
            self.remote.pipeline.deliver(record)

    def wrote(self, records: list[Record]) -> None:
        """The remote has written this while no cell was running."""
        for record in records:
            self.remote.idle.add(record)

    async def outcome(self) -> Outcome:
        assert self.running is not None
        outcome = await asyncio.wait_for(self.running, WAIT)
        await self.output.finish()
        return outcome

    async def error(self) -> CellError:
        error = (await self.outcome()).error
        assert error is not None
        return error

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.sent)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_cell_that_ends_well(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.say(HostText("a\n"), Notice("junk"), HostText("b\n"), DONE)
        outcome = await play.outcome()
        assert outcome == Outcome(error=None, exit_code=None, sent=True)
        assert play.sent == [("stdout", "a\n"), ("stderr", "junk\n"), ("stdout", "b\n")]

    run(main())


def test_a_failed_cell_is_shown_as_the_remote_renders_it(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.remote.shown = [HostText("Exception: \n"), HostText("  boo\n")]
        play.say(PipelineEnd(PipelineState.FAILED, ErrorRecord("boo", "My.Id")))
        error = await play.error()
        assert (error.name, error.message) == ("My.Id", "boo")
        assert error.traceback == ["\x1b[31;1mException: \x1b[0m", "\x1b[31;1m  boo\x1b[0m"]

    run(main())


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (ErrorRecord("m", "", exception_type="System.Exception"), "System.Exception"),
        (ErrorRecord("m", ""), "RemoteException"),
        (ErrorRecord("m", "\x1b[31mId\x1b]0;t\x07\ud800"), "Id\ufffd"),
    ],
)
def test_an_errors_name(tmp_path: Path, record: ErrorRecord, name: str) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.say(PipelineEnd(PipelineState.FAILED, record))
        assert (await play.error()).name == name

    run(main())


def test_what_a_lost_connection_says_is_cleaned_too(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.remote.pipeline.fail(TransportClosed("It wrote: \x1b]0;title\x07\x1b[2Jbye"))
        error = await play.error()
        assert error.message.endswith("It wrote: bye")
        assert error.traceback[0].endswith("It wrote: bye\x1b[0m")

    run(main())


@pytest.mark.parametrize("failure", [TransportClosed("cut"), RemoteProtocolError("nonsense")])
def test_a_connection_that_ends_in_mid_cell(tmp_path: Path, failure: PSKernelError) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.say(HostText("shown\n"))
        play.remote.pipeline.fail(failure)
        outcome = await play.outcome()
        assert outcome.error is not None
        assert outcome.error.name == "ConnectionLost"
        assert "may have completed" in outcome.error.message
        assert str(failure) in outcome.error.message
        assert outcome.sent
        assert play.text == "shown\n"

    run(main())


@pytest.mark.parametrize(
    ("when", "failure", "name", "sent"),
    [
        ("open", TargetUnreachable("no route"), "TargetUnreachable", False),
        ("open", SessionLost("gone"), "SessionLost", False),
        ("open", TransportClosed("cut while opening"), "TransportClosed", False),
        ("send", RunspaceStateError("closed"), "RunspaceStateError", False),
        ("send", TransportClosed("cut while sending"), "ConnectionLost", True),
    ],
)
def test_a_cell_that_does_not_get_through(
    tmp_path: Path, when: str, failure: PSKernelError, name: str, sent: bool
) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        if when == "open":
            play.remote.open_error = failure
        else:
            play.remote.send_error = failure
        play.begin()
        outcome = await play.outcome()
        assert outcome.error is not None
        assert (outcome.error.name, outcome.sent) == (name, sent)
        assert str(failure) in outcome.error.message

    run(main())


@pytest.mark.parametrize(
    ("calls", "how", "code"),
    [
        ([HostCall("SetShouldExit", 6, (3,), None)], "exit", 3),
        ([HostCall("SetShouldExit", 6, (), None)], "exit", 0),
        ([HostCall("SetShouldExit", 6, ("x",), None)], "exit", 0),
        ([HostCall("PopRunspace", 53, (), None)], "Exit-PSSession", 0),
        ([HostCall("SetShouldExit", 6, (4,), None), HostCall("PopRunspace", 53, (), None)], "exit", 4),
    ],
)
def test_leaving(tmp_path: Path, calls: list[HostCall], how: str, code: int) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.say(*calls, HostText("after\n"), DONE)
        outcome = await play.outcome()
        assert outcome.exit_code == code
        assert outcome.error is None
        assert play.remote.left == [how]
        assert play.text == "after\n"

    run(main())


def test_what_asks_the_user_is_refused_and_what_does_not_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.say(HostCall("ReadLine", 11, (), 1), HostCall("SetCursorPosition", 32, (), None), DONE)
        await play.outcome()
        assert play.remote.refused == [
            "PowerShell is in NonInteractive mode. Read and Prompt functionality is not available."
        ]

    run(main())


READ_LINE = HostCall("ReadLine", 11, (), 1)


class Typist:
    async def ask(self, question: Question) -> str:
        return f"typed at {question.text}"


def test_what_the_user_types_goes_back(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.asker = Typist()
        await play.started()
        play.say(READ_LINE, DONE)
        await play.outcome()
        assert play.remote.answered == ["typed at [web01]: "]

    run(main())


def test_an_answer_that_cannot_be_sent_fails_on_the_remote(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.asker = Typist()
        play.remote.answer_error = LocalProtocolError("half a character")
        await play.started()
        play.say(READ_LINE, DONE)
        outcome = await play.outcome()
        assert outcome.error is None
        assert play.remote.refused == ["half a character"]

    run(main())


def test_an_answer_that_never_leaves_does_not_outlast_the_command(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.asker = Typist()
        play.remote.may_answer.clear()
        await play.started()
        play.say(READ_LINE)
        await play.remote.answering.wait()
        play.cell.interrupt()
        await play.remote.signalled.wait()
        play.say(STOPPED)
        error = await play.error()
        assert error.name == "PipelineStopped"

    run(main())


def test_a_wanted_hop_is_shown_and_is_no_error(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.moved = Move("web01 -> db01", wanted=True)
        await play.started()
        play.say(PipelineEnd(PipelineState.STOPPED))
        assert await play.outcome() == Outcome()
        assert "web01 -> db01" in play.text
        assert play.remote.followed

    asyncio.run(main())


def test_exit_on_a_host_behind_leaves_that_host_alone(tmp_path: Path) -> None:
    async def main() -> None:
        for text, sent in ((" Exit\n", "Exit-PSSession"), ("exit 3", "exit 3")):
            play = Play(tmp_path)
            play.remote.is_away = True
            play.begin(text)
            await asyncio.wait_for(play.remote.started.wait(), WAIT)
            play.say(DONE)
            await play.outcome()
            assert [sent] == play.remote.cells

    asyncio.run(main())


def test_a_second_hop_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.moved = Move("came back")
        await play.started()
        play.say(DONE)
        error = await play.error()
        assert (error.name, error.message) == ("SecondHop", "came back")

    run(main())


def test_the_question_where_the_session_is_can_be_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.answers_where.clear()
        await play.started()
        play.say(DONE)
        await play.remote.asks_where.wait()
        play.cell.interrupt()
        error = await play.error()
        assert error.own
        assert "abandoned" in error.message
        assert 1 == len(play.remote.abandoned)

    run(main())


def test_a_loss_between_the_two_is_told_as_a_loss(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.send_error = RunspaceStateError("The runspace is broken.")
        play.remote.lost = SessionLost("The connection was lost.")
        play.begin()
        outcome = await play.outcome()
        assert outcome.error is not None
        assert (outcome.error.name, outcome.sent) == ("SessionLost", False)

    run(main())


def test_what_the_remote_wrote_between_two_cells_is_shown_with_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.wrote([Notice("a banner"), HostText("an event\n")])
        await play.started()
        play.say(HostText("mine\n"), DONE)
        await play.outcome()
        assert play.text == "While no cell was running, the remote wrote:\na banner\nan event\nmine\n"

    run(main())


@pytest.mark.parametrize("waits_for", ["opened", "may_send"])
def test_a_cell_that_waits_for_the_connection_says_so_at_once(tmp_path: Path, waits_for: str) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        getattr(play.remote, waits_for).clear()
        play.begin()
        await asyncio.sleep(0)
        play.wrote([Notice("interrupted"), Notice("attempting")])
        while play.text != "interrupted\nattempting\n":
            await asyncio.sleep(0)
        play.wrote([Notice("restored")])
        getattr(play.remote, waits_for).set()
        play.say(HostText("mine\n"), DONE)
        await play.outcome()
        assert play.text == "interrupted\nattempting\nrestored\nmine\n"

    run(main())


def test_what_the_remote_wrote_waits_for_the_cell_to_be_sent(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.opened.clear()
        play.wrote([HostText("an event\n"), Notice("interrupted")])
        play.begin()
        while play.text != "interrupted\n":
            await asyncio.sleep(0)
        play.remote.opened.set()
        play.say(DONE)
        await play.outcome()
        assert play.text == "interrupted\nWhile no cell was running, the remote wrote:\nan event\n"

    run(main())


def test_an_interrupt_while_that_is_shown_sends_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        # So much that the front end's pace holds it up for minutes.
        play = Play(tmp_path, rate=1000)
        play.wrote([HostText("x" * 60_000 + "\n")] * 40)
        play.begin()
        while not play.sent:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        play.cell.interrupt()
        outcome = await play.outcome()
        assert outcome.error is not None
        assert (outcome.error.name, outcome.sent) == ("Interrupted", False)
        assert not play.remote.sending.is_set()

    run(main())


def test_a_front_ends_own_cell_does_not_take_what_the_user_should_see(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.wrote([HostText("an event\n")])
        play.running = asyncio.create_task(play.cell.run("x", play.asker, by_user=False))
        await asyncio.wait_for(play.remote.started.wait(), WAIT)
        play.say(DONE)
        await play.outcome()
        assert play.text == ""
        assert [HostText("an event\n")] == play.remote.idle.take()

    run(main())


def test_a_loss_after_the_timeout_is_told_as_a_loss(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, directives=Directives(timeout=0.01))
        await play.started()
        await asyncio.wait_for(play.remote.signalled.wait(), WAIT)
        play.remote.pipeline.fail(TransportClosed("cut"))
        assert (await play.error()).name == "ConnectionLost"

    run(main())


def test_a_cell_that_is_stopped_by_its_timeout(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, directives=Directives(timeout=0.01))
        await play.started()
        await asyncio.wait_for(play.remote.signalled.wait(), WAIT)
        play.say(STOPPED)
        assert (await play.error()).name == "CellTimeout"

    run(main())


def test_a_banner_needs_no_heading(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.wrote([Notice("a banner")])
        await play.started()
        play.say(DONE)
        await play.outcome()
        assert play.text == "a banner\n"

    run(main())


def test_what_goes_wrong_while_leaving_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.leave_error = TransportClosed("The recording could not be written.")
        await play.started()
        play.say(HostCall("SetShouldExit", 6, (0,), None), DONE)
        outcome = await play.outcome()
        assert outcome.exit_code == 0
        assert "could not be written" in play.text

    run(main())


def test_an_interrupt_before_the_connection_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.opened.clear()
        play.begin()
        await asyncio.sleep(0)
        play.cell.interrupt()
        outcome = await play.outcome()
        assert outcome.error is not None
        assert outcome.error.name == "Interrupted"
        assert not outcome.sent
        assert not play.remote.sending.is_set()

    run(main())


def test_an_interrupt_in_the_moment_the_connection_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.opened.clear()
        play.begin()
        await asyncio.sleep(0)
        play.remote.opened.set()
        for _ in range(3):
            # Whatever the step it is at, it is either not sent or stopped.
            await asyncio.sleep(0)
            play.cell.interrupt()
        play.say(STOPPED)
        outcome = await play.outcome()
        assert outcome.error is not None
        assert outcome.error.name == ("PipelineStopped" if outcome.sent else "Interrupted")
        assert play.remote.signalled.is_set() == outcome.sent or play.remote.pipeline.ended

    run(main())


def test_an_interrupt_while_sending_waits_until_it_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        play.remote.may_send.clear()
        play.begin()
        await asyncio.wait_for(play.remote.sending.wait(), WAIT)
        play.cell.interrupt()
        await asyncio.sleep(0)
        assert not play.remote.signalled.is_set()
        play.remote.may_send.set()
        await asyncio.wait_for(play.remote.signalled.wait(), WAIT)
        play.say(STOPPED)
        outcome = await play.outcome()
        assert outcome.error is not None
        assert (outcome.error.name, outcome.sent) == ("PipelineStopped", True)
        assert play.remote.abandoned == []

    run(main())


def test_an_interrupt_while_sending_gets_stuck(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, stop_timeout=0.05)
        play.remote.may_send.clear()
        play.begin()
        await asyncio.wait_for(play.remote.sending.wait(), WAIT)
        play.cell.interrupt()
        outcome = await play.outcome()
        assert outcome.error is not None
        assert (outcome.error.name, outcome.sent) == ("SessionAbandoned", True)
        assert len(play.remote.abandoned) == 1

    run(main())


def test_an_interrupt_while_the_connection_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, stop_timeout=0.05)
        await play.started()
        play.remote.connection = "reconnecting"
        play.cell.interrupt()
        assert "within 0.05 seconds of the interrupt (the connection was away)" in (await play.error()).message

    run(main())


def test_a_command_that_obeys(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.cell.interrupt()
        await asyncio.wait_for(play.remote.signalled.wait(), WAIT)
        play.say(HostText("last words\n"), STOPPED)
        error = await play.error()
        assert error.name == "PipelineStopped"
        assert play.text == "last words\n"
        assert play.remote.abandoned == []

    run(main())


def test_a_command_that_does_not_obey_and_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, stop_timeout=0.05)
        await play.started()
        play.say(HostText("shown\n"))
        play.cell.interrupt()
        play.say(HostText("and this\n"))
        error = await play.error()
        assert error.name == "SessionAbandoned"
        assert "0.05 seconds" in error.message
        assert "web01" in error.message
        assert "could not be stopped" in play.remote.abandoned[0]
        assert play.text == "shown\nand this\n"

    run(main())


def test_further_interrupts_change_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path, stop_timeout=0.3)
        await play.started()
        assert play.running is not None
        began = asyncio.get_running_loop().time()
        while not play.running.done():
            play.cell.interrupt()
            await asyncio.wait({play.running}, timeout=0.05)
            assert asyncio.get_running_loop().time() - began < WAIT
        assert (await play.error()).name == "SessionAbandoned"
        assert asyncio.get_running_loop().time() - began < 2
        assert len(play.remote.abandoned) == 1

    run(main())


def test_an_interrupt_when_only_output_is_left_dams_it_and_keeps_the_session(tmp_path: Path) -> None:
    async def main() -> None:
        # Slow enough that the output is still on its way when the time to stop is long over.
        play = Play(tmp_path, stop_timeout=0.05, rate=100_000)
        await play.started()
        play.say(*(HostText(f"{number:0500}\n") for number in range(6000)), DONE)
        assert play.running is not None
        await asyncio.wait({play.running}, timeout=0.1)
        assert not play.running.done()
        play.cell.interrupt()
        outcome = await play.outcome()
        assert outcome.error is None
        assert play.remote.abandoned == []
        assert not play.remote.signalled.is_set()
        assert "left out here (interrupted)" in play.text
        assert play.text.endswith(f"{5999:0500}\n")

    run(main())


def test_nothing_is_left_running(tmp_path: Path) -> None:
    async def main() -> None:
        play = Play(tmp_path)
        await play.started()
        play.cell.interrupt()
        play.say(STOPPED)
        await play.outcome()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
