"""Recorded sessions that are left, found, and come back to: by their own client, and by another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pskernel.connect import find_shells
from pskernel.errors import ConnectError
from pskernel.questions import NobodyToAsk
from pskernel.records import Record
from pskernel.session.runspace import Runspace, RunspaceState
from tests.fakes.wsman_replay import Library, Recording
from tests.parts.psrp_words import Words, our_words
from tests.parts.winrm_replayed import (
    CREDENTIAL,
    Stage,
    check,
    heard,
    perform,
    quiet,
    run,
    said_to_commands,
    target_at,
)

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def library(golden: Path) -> Library:
    return Library(golden)


async def some(records: AsyncIterator[Record], count: int) -> list[Words]:
    """The next of what a pipeline says."""
    return [our_words(await anext(records)) for _ in range(count)]


async def rest(records: AsyncIterator[Record]) -> list[Words]:
    return [our_words(record) async for record in records]


def said_before_leaving(recording: Recording) -> int:
    """How much the recorded server had said to its first command when it was left."""
    left = next(each for each in recording.exchanges if each.operation == "Disconnect")
    return len(said_to_commands(recording.only(lambda each: each.ended < left.ended))[0])


async def leave_and_return(stage: Stage, runspace: Runspace) -> None:
    """Come back when what was received is known to be over, as the faults 6 and 12 say."""
    await runspace.disconnect()
    assert runspace.state is RunspaceState.DISCONNECTED
    await quiet()
    await runspace.reconnect()


async def leave_and_return_at_once(stage: Stage, runspace: Runspace) -> None:
    """Come back before these faults have come, if they are not waited for."""
    stage.replay.hold(6, 12)
    leaving = asyncio.create_task(runspace.disconnect())
    await asyncio.wait({leaving}, timeout=0.5)
    if not leaving.done():
        stage.replay.hold()
    await leaving
    await runspace.reconnect()
    stage.replay.hold()


@pytest.mark.parametrize("leave", [leave_and_return, leave_and_return_at_once])
def test_a_session_that_was_left_goes_on_where_it_was(
    library: Library, leave: Callable[[Stage, Runspace], Awaitable[None]]
) -> None:
    recording = library.recording("disconnect-reconnect.jsonl")
    outputs = said_before_leaving(recording)

    async def leaving(stage: Stage) -> list[list[Words]]:
        runspace = await stage.open()
        pipeline = await runspace.invoke("1")
        records = aiter(pipeline)
        first = await some(records, outputs)
        await stage.listening(pipeline)
        await leave(stage, runspace)
        said = [first + await rest(records), await run(runspace)]
        await stage.settled()
        await runspace.aclose()
        return said

    stage, said = perform(library, recording, leaving)

    assert 0 < outputs
    assert said_to_commands(recording) == said
    # The recorded client asked in the meantime too, and once more at the end.
    check(stage, (14, 41))


def test_another_client_takes_over_what_runs(library: Library) -> None:
    recording = library.recording("connect-new-client.jsonl")
    seen_before = said_before_leaving(recording)

    async def taking_over(stage: Stage) -> list[list[Words]]:
        runspace = await stage.open()
        pipeline = await runspace.invoke("1")
        before = await some(aiter(pipeline), seen_before)
        await stage.listening(pipeline)
        await runspace.disconnect()
        other = await stage.attach(runspace.instance_id, pipeline.pipeline_id)
        assert other.is_busy
        (left,) = other.left
        said = [before + await heard(left), await run(other)]
        await stage.settled()
        await other.aclose()
        return said

    stage, said = perform(library, recording, taking_over)

    assert 0 < seen_before
    assert said_to_commands(recording) == said
    check(stage, (42,))


def test_sessions_of_windows_are_left_found_and_taken_over(library: Library) -> None:
    recording = library.recording("psrp_disconnect_runspaces.yml")

    async def two_sessions(stage: Stage) -> None:
        first = await stage.open()
        await stage.settled()
        await first.disconnect()
        await quiet()
        await first.reconnect()
        assert first.state is RunspaceState.OPEN
        await stage.settled()
        await first.disconnect()
        second = await stage.open()
        await stage.settled()
        await second.disconnect()
        await quiet()
        shells = await find_shells(target_at(stage.port), NobodyToAsk(), credential=CREDENTIAL)
        assert [first.instance_id, second.instance_id] == [shell.pool_id for shell in shells]
        for shell in shells:
            assert ("Microsoft.PowerShell", r"WIN-NNMU24VVKJ0\vagrant") == (shell.configuration, shell.owner)
            assert not shell.connected
            assert () == shell.running
            new = await stage.attach(shell.pool_id, *shell.running)
            assert new.state is RunspaceState.OPEN
            await stage.settled()
            await new.aclose()

    stage, _ = perform(library, recording, two_sessions)

    check(stage)


def test_sessions_are_found(library: Library) -> None:
    """Two of ours, one of them left, among others."""
    recording = library.recording("enumerate-shells.jsonl")

    async def finding(stage: Stage) -> None:
        target = target_at(stage.port)
        others = await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
        first, second = await stage.open(), await stage.open()
        await stage.settled()
        await second.disconnect()
        await quiet(1)
        found = await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
        known = {shell.pool_id for shell in others}
        ours = {shell.pool_id: shell.connected for shell in found if shell.pool_id not in known}
        assert {first.instance_id: True, second.instance_id: False} == ours
        assert {"omitest"} == {shell.owner for shell in found}
        assert {"Runspace1"} == {shell.name for shell in found}
        await second.reconnect()
        await stage.settled()
        await second.aclose()
        await stage.settled()
        await first.aclose()

    stage, _ = perform(library, recording, finding)

    # It is not asked whether a shell lives; and nobody receives from one that was left, or is gone.
    check(stage, (12, 15, 20))


def test_a_server_that_cannot_list_its_sessions_says_so(library: Library) -> None:
    recording = library.recording("enumerate-shells-stock.jsonl")

    async def finding(stage: Stage) -> None:
        target = target_at(stage.port)
        first, second = await stage.open(), await stage.open()
        await stage.settled()
        await second.disconnect()
        await quiet(1)
        for _ in range(2):
            with pytest.raises(ConnectError, match="The specified property does not exist"):
                await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
        await second.reconnect()
        await stage.settled()
        await second.aclose()
        await stage.settled()
        await first.aclose()

    stage, _ = perform(library, recording, finding)

    # Where the shells are not known, nobody asks for their commands.
    check(stage, (14, 15, 20))
