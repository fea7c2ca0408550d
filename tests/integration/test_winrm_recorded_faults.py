"""Recorded faults, in the conversations in which they came: what our client makes of a session that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pskernel.errors import PSKernelError, TransportClosed
from pskernel.session.runspace import Runspace, RunspaceState
from tests.fakes.wsman_bridge.soap import Request
from tests.fakes.wsman_replay import Answer, Answering, Library, Recording
from tests.parts.psrp_words import Words, our_words
from tests.parts.winrm_manners import breaches
from tests.parts.winrm_replayed import Stage, check, heard, perform, run, said_to_commands

pytestmark = pytest.mark.golden

UNREACHABLE = "The requested object cannot be found"
GENERAL = "A general error occurred"


@pytest.fixture(scope="module")
def library(golden: Path) -> Library:
    return Library(golden)


def play(library: Library, recording: Recording, scene: Callable[[Stage, Runspace], Awaitable[None]]) -> Stage:
    """Open a runspace on a recording, and let something happen to it."""

    async def all_of_it(stage: Stage) -> None:
        await scene(stage, await stage.open())

    return perform(library, recording, all_of_it)[0]


# ---- the end, as we wanted it ----


def test_what_runs_when_a_session_is_closed_ends(library: Library) -> None:
    async def closing(stage: Stage, runspace: Runspace) -> None:
        pipeline = await runspace.invoke("Start-Sleep 60")
        await stage.listening(pipeline)
        await runspace.aclose()
        with pytest.raises(TransportClosed):
            await heard(pipeline)
        assert RunspaceState.CLOSED is runspace.state

    stage = play(library, library.recording("delete-running.jsonl"), closing)

    check(stage, (9,))


def test_a_session_is_deleted_once(library: Library) -> None:
    recording = library.recording("delete-twice.jsonl")

    async def closing(stage: Stage, runspace: Runspace) -> None:
        assert said_to_commands(recording) == [await run(runspace)]
        await stage.settled()
        await runspace.aclose()
        await runspace.aclose()

    stage = play(library, recording, closing)

    check(stage, (12, 13, 14))


def test_a_session_that_is_gone_can_be_closed(library: Library) -> None:
    """Delete is answered with a fault, and so is the Receive that was under way."""
    recording = library.recording("delete-twice.jsonl").without(5, 11)

    async def closing(stage: Stage, runspace: Runspace) -> None:
        await run(runspace)
        await stage.settled()
        await runspace.aclose()
        assert (RunspaceState.CLOSED, None) == (runspace.state, runspace.error)

    stage = play(library, recording, closing)

    check(stage, (14,))


def test_a_delete_that_is_never_answered_is_not_waited_for(library: Library) -> None:
    recording = library.recording("no-outstanding-receive.jsonl")

    async def closing(stage: Stage, runspace: Runspace) -> None:
        assert said_to_commands(recording) == [await run(runspace)]
        await stage.settled()
        await runspace.aclose(grace=0.2)
        assert RunspaceState.CLOSED is runspace.state

    stage = play(library, recording, closing)

    check(stage)
    assert ["Delete"] == [each.operation for each in stage.replay.seen if each.answered is None]


def test_nothing_is_sent_after_delete(library: Library) -> None:
    """However soon the session is closed after the last thing that a command said."""

    async def closing(_: Stage, runspace: Runspace) -> None:
        await run(runspace)
        await runspace.aclose()

    late = []
    for _ in range(10):
        late += breaches(play(library, library.recording("psrp_no_profile.yml"), closing).replay.seen)

    assert [] == late


# ---- the end, as the server wanted it ----


def test_a_command_that_is_done_has_ended(library: Library) -> None:
    """The server closes it instead of stopping it, and says nothing about its state."""

    async def stopping(stage: Stage, runspace: Runspace) -> None:
        pipeline = await runspace.invoke("while ($true) {}")
        await stage.listening(pipeline)
        await pipeline.stop()
        async with asyncio.timeout(1):
            with contextlib.suppress(PSKernelError):
                await heard(pipeline)
        assert pipeline.ended

    play(library, library.recording("stop-ctrl_c.jsonl"), stopping)


@pytest.mark.parametrize(("name", "not_ours"), [("unknown-command.jsonl", (5, 7)), ("two-receives.jsonl", (6, 7))])
def test_a_shell_whose_process_died_is_lost(library: Library, name: str, not_ours: tuple[int, ...]) -> None:
    """It died of requests that we do not send."""
    recording = library.recording(name).without(*not_ours)
    if name == "two-receives.jsonl":
        recording = recording.later(5, than=8)

    async def running(_: Stage, runspace: Runspace) -> None:
        with pytest.raises(TransportClosed, match=GENERAL):
            await run(runspace)
        assert RunspaceState.BROKEN is runspace.state
        assert GENERAL in str(runspace.error)

    check(play(library, recording, running))


def test_a_session_that_another_client_takes_is_lost(library: Library) -> None:
    recording = library.recording("disconnect-reconnect.jsonl")

    async def losing(stage: Stage, runspace: Runspace) -> None:
        pipeline = await runspace.invoke("1")
        reading = asyncio.create_task(heard(pipeline))
        await stage.listening(pipeline)
        await stage.was_told(11)
        await stage.listening(pipeline)
        stage.replay.elsewhere(13)
        with pytest.raises(TransportClosed, match="disconnected, or taken over by another client"):
            await reading

    stage = play(library, recording, losing)

    assert [] == breaches(stage.replay.seen)


VANISHED: dict[str, Callable[[Runspace], Awaitable[object]]] = {
    "Command": run,
    "Send": Runspace.exchange_key,
    "Disconnect": Runspace.disconnect,
}


@pytest.mark.parametrize("operation", VANISHED)
def test_a_shell_that_vanished_is_lost(library: Library, operation: str) -> None:
    """Whatever is asked first, and whoever receives."""
    gone = library.recording("unknown-shell.jsonl").only(lambda each: each.operation in {operation, "Receive"})
    recording = library.recording("delete-twice.jsonl").opening().then(gone)
    receive, first = (each.number for each in recording.exchanges[-2:])

    async def asking(stage: Stage, runspace: Runspace) -> None:
        await stage.settled()
        if operation == "Send":
            await VANISHED[operation](runspace)
        else:
            with pytest.raises(TransportClosed, match=UNREACHABLE):
                await VANISHED[operation](runspace)
        await runspace.wait_ended()
        assert RunspaceState.BROKEN is runspace.state
        assert UNREACHABLE in str(runspace.error)

    check(play(library, recording.later(receive, than=first), asking))


def test_a_session_that_was_left_and_vanished_is_not_come_back_to(library: Library) -> None:
    gone = library.recording("unknown-shell.jsonl").only(lambda each: each.operation == "Reconnect")
    recording = library.recording("delete-twice.jsonl").opening().then(gone)

    async def returning(stage: Stage, runspace: Runspace) -> None:
        await stage.settled()
        await runspace.disconnect()
        with pytest.raises(TransportClosed, match=UNREACHABLE):
            await runspace.reconnect()
        assert RunspaceState.DISCONNECTED is runspace.state

    check(play(library, recording, returning))


@pytest.mark.parametrize("operation", ["Signal", "Delete"])
def test_a_shell_that_vanished_in_the_end_is_nobodys_business(library: Library, operation: str) -> None:
    """What had been said is heard, and nothing is raised where nobody asked anything."""
    gone = library.recording("unknown-shell.jsonl").only(lambda each: each.operation == operation)
    before = library.recording("delete-twice.jsonl").only(
        lambda each: each.number <= (9 if operation == "Signal" else 10)
    )
    recording = before.without(5).then(gone)
    if operation == "Signal":
        recording = _of_command(recording, 0)

    async def ending(stage: Stage, runspace: Runspace) -> None:
        assert said_to_commands(before)[:1] == [await run(runspace)]
        await stage.settled()
        await runspace.aclose()
        assert (RunspaceState.CLOSED, None) == (runspace.state, runspace.error)

    check(play(library, recording, ending))


def _of_command(recording: Recording, command: int) -> Recording:
    """The last exchange becomes one about that command."""
    *others, last = recording.exchanges
    return replace(recording, exchanges=[*others, replace(last, command=command)])


def test_a_command_that_is_not_there_is_not_the_end_of_the_session(library: Library) -> None:
    """Windows has one number for both, and says in words which it is."""
    recording = library.recording("psrp_receive_failure.yml")

    async def running(_: Stage, runspace: Runspace) -> None:
        with pytest.raises(PSKernelError, match="command identifier that does not exist"):
            await run(runspace)
        await runspace.aclose()

    assert [] == play(library, recording, running).replay.unplayed


# ---- interruptions ----


class Cut:
    """Cuts the line once under a Receive for a command, before the server has seen it, when it is told to."""

    def __init__(self) -> None:
        self.armed = False
        self.done = False

    def __call__(self, answering: Answering) -> Answering:
        def answer(raw: bytes) -> Answer | None:
            if self.armed and Request(raw).operation == "Receive" and b"CommandId=" in raw:
                self.armed, self.done = False, True
                return None
            return answering(raw)

        return answer


def told_by(said: list[Words]) -> list[str]:
    """What the user was told of the line, in a word each."""
    texts = [each[1] for each in said if each[0] == "Notice"]
    return [word for text in texts for word in ("interrupted", "restored", "lost") if word in text]


def test_nothing_is_lost_or_said_twice_when_the_line_is_cut(library: Library) -> None:
    recording, cut = library.recording("open-run-close.jsonl"), Cut()

    async def interrupted(stage: Stage) -> list[Words]:
        runspace = await stage.open()
        cut.armed = True
        said = [words for _ in recording.commands for words in await run(runspace)]
        await stage.settled()
        said += [our_words(record) for record in runspace.idle.take()]
        await runspace.aclose()
        return said

    stage, said = perform(library, recording, interrupted, over=cut)

    expected = [words for command in said_to_commands(recording) for words in command]
    assert expected == [each for each in said if each[0] != "Notice"]
    assert ["interrupted", "restored"] == told_by(said)
    check(stage, (24,))


def test_what_another_client_was_told_is_not_missed(library: Library) -> None:
    """The line is cut after a session was taken over: the messages before were for its first client."""
    recording, cut = library.recording("connect-new-client.jsonl"), Cut()

    async def interrupted(stage: Stage) -> list[Words]:
        runspace = await stage.open()
        pipeline = await runspace.invoke("1")
        await stage.was_told(11)
        await stage.listening(pipeline)
        await runspace.disconnect()
        cut.armed = True
        other = await stage.attach(runspace.instance_id, pipeline.pipeline_id)
        # The second command waits until the first one is seen off.
        said = await heard(other.left[0]) + await run(other)
        await stage.settled()
        said += [our_words(record) for record in other.idle.take()]
        await other.aclose()
        return said

    _, said = perform(library, recording, interrupted, over=cut)

    assert ["interrupted", "restored"] == told_by(said)
