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
    LIMIT_SECONDS,
    Played,
    attached,
    check,
    heard,
    played,
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


async def leave_and_return(replay: Played, runspace: Runspace) -> None:
    """Come back when what was received is known to be over, as the faults 6 and 12 say."""
    await runspace.disconnect()
    assert runspace.state is RunspaceState.DISCONNECTED
    await quiet()
    await runspace.reconnect()


async def leave_and_return_at_once(replay: Played, runspace: Runspace) -> None:
    """Come back before these faults have come, if they are not waited for."""
    replay.replay.hold(6, 12)
    leaving = asyncio.create_task(runspace.disconnect())
    await asyncio.wait({leaving}, timeout=0.5)
    if not leaving.done():
        replay.replay.hold()
    await leaving
    await runspace.reconnect()
    replay.replay.hold()


@pytest.mark.parametrize(
    "leave",
    [
        leave_and_return,
        leave_and_return_at_once,
    ],
)
def test_a_session_that_was_left_goes_on_where_it_was(
    library: Library, leave: Callable[[Played, Runspace], Awaitable[None]]
) -> None:
    recording = library.recording("disconnect-reconnect.jsonl")
    outputs = said_before_leaving(recording)

    async def leaving(replay: Played) -> list[list[Words]]:
        async with asyncio.timeout(LIMIT_SECONDS):
            runspace = await replay.open()
            try:
                pipeline = await runspace.invoke("1")
                records = aiter(pipeline)
                first = await some(records, outputs)
                await replay.listening(pipeline)
                await leave(replay, runspace)
                said = [first + await rest(records), await run(runspace)]
                await replay.settled()
                await runspace.aclose()
            finally:
                await runspace.abandon("The test is over.")
        return said

    with played(library, recording) as replay:
        said = asyncio.run(leaving(replay))

    assert 0 < outputs
    assert said_to_commands(recording) == said
    # The recorded client asked in the meantime too, and once more at the end.
    check(replay, (14, 41))


def test_another_client_takes_over_what_runs(library: Library) -> None:
    recording = library.recording("connect-new-client.jsonl")
    seen_before = said_before_leaving(recording)

    async def taking_over(replay: Played) -> list[list[Words]]:
        async with asyncio.timeout(LIMIT_SECONDS):
            runspace = await replay.open()
            pipeline = await runspace.invoke("1")
            before = await some(aiter(pipeline), seen_before)
            await replay.listening(pipeline)
            await runspace.disconnect()
            other = await attached(replay, runspace.instance_id, pipeline.pipeline_id)
            assert other.is_busy
            (left,) = other.left
            said = [before + await heard(left), await run(other)]
            await replay.settled()
            await other.aclose()
            await runspace.abandon("Another client has it.")
            return said

    with played(library, recording) as replay:
        said = asyncio.run(taking_over(replay))

    assert 0 < seen_before
    assert said_to_commands(recording) == said
    check(replay, (42,))


def test_sessions_of_windows_are_left_found_and_taken_over(library: Library) -> None:
    recording = library.recording("psrp_disconnect_runspaces.yml")

    async def two_sessions(replay: Played) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            first = await replay.open()
            await replay.settled()
            await first.disconnect()
            await quiet()
            await first.reconnect()
            assert first.state is RunspaceState.OPEN
            await replay.settled()
            await first.disconnect()
            second = await replay.open()
            await replay.settled()
            await second.disconnect()
            await quiet()
            shells = await find_shells(target_at(replay.port), NobodyToAsk(), credential=CREDENTIAL)
            assert [first.instance_id, second.instance_id] == [shell.pool_id for shell in shells]
            for shell, old in zip(shells, (first, second), strict=True):
                assert ("Microsoft.PowerShell", r"WIN-NNMU24VVKJ0\vagrant") == (shell.configuration, shell.owner)
                assert not shell.connected
                assert () == shell.running
                new = await attached(replay, shell.pool_id, *shell.running)
                assert new.state is RunspaceState.OPEN
                await replay.settled()
                await new.aclose()
                await old.abandon("Another client has it.")

    with played(library, recording) as replay:
        asyncio.run(two_sessions(replay))

    check(replay)


def test_sessions_are_found(library: Library) -> None:
    """Two of ours, one of them left, among others."""
    recording = library.recording("enumerate-shells.jsonl")

    async def finding(replay: Played) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            target = target_at(replay.port)
            others = await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
            first, second = await replay.open(), await replay.open()
            await replay.settled()
            await second.disconnect()
            await quiet(1)
            found = await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
            known = {shell.pool_id for shell in others}
            ours = {shell.pool_id: shell.connected for shell in found if shell.pool_id not in known}
            assert {first.instance_id: True, second.instance_id: False} == ours
            assert {"omitest"} == {shell.owner for shell in found}
            assert {"Runspace1"} == {shell.name for shell in found}
            await second.reconnect()
            await replay.settled()
            await second.aclose()
            await replay.settled()
            await first.aclose()

    with played(library, recording) as replay:
        asyncio.run(finding(replay))

    # It is not asked whether a shell lives; and nobody receives from one that was left, or is gone.
    check(replay, (12, 15, 20))


def test_a_server_that_cannot_list_its_sessions_says_so(library: Library) -> None:
    recording = library.recording("enumerate-shells-stock.jsonl")

    async def finding(replay: Played) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            target = target_at(replay.port)
            first, second = await replay.open(), await replay.open()
            await replay.settled()
            await second.disconnect()
            await quiet(1)
            for _ in range(2):
                with pytest.raises(ConnectError, match="The specified property does not exist"):
                    await find_shells(target, NobodyToAsk(), credential=CREDENTIAL)
            await second.reconnect()
            await replay.settled()
            await second.aclose()
            await replay.settled()
            await first.aclose()

    with played(library, recording) as replay:
        asyncio.run(finding(replay))

    # Where the shells are not known, nobody asks for their commands.
    check(replay, (14, 15, 20))
