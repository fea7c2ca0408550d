"""Durable sessions that are left, listed, and come back to by another client."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.connect import connect, find_relays, find_shells, reopen
from pskernel.connect.kept import end_session
from pskernel.errors import ConnectError, RunspaceStateError, TargetError, TransportClosed
from pskernel.protocol.hostvalues import Secret
from pskernel.protocol.pipelines import Command
from pskernel.questions import NobodyToAsk
from pskernel.records import DebuggerStop, HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, Record
from pskernel.session import debugger
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.target import Target
from pskernel.transports.base import KeptPool, PoolGone
from pskernel.transports.durable import stream
from pskernel.transports.durable.pool import DurablePool
from pskernel.transports.durable.stream import DurableStream, Patience
from pskernel.transports.unix import open_unix
from tests.parts.accounts import Account
from tests.parts.relays import Relay

pytestmark = pytest.mark.live

NOBODY = NobodyToAsk()
SECONDS = 60.0


@pytest.fixture
def target(pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Sessions of this machine, apart from those of other tests."""
    folder = tempfile.mkdtemp(prefix="psk-", dir="/tmp")
    monkeypatch.setenv("TMPDIR", folder)
    yield Target.parse(f"process:{pwsh}?durable=1")
    shutil.rmtree(folder)


def named(target: Target, name: str, **options: object) -> Target:
    return Target.parse(target.redacted, {"session": name, **options})


def check(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            await test()

    asyncio.run(main())


async def show(runspace: Runspace, cell: str) -> list[str]:
    return [record.text.rstrip("\n") async for record in await runspace.run_cell(cell) if isinstance(record, HostText)]


async def notice(runspace: Runspace) -> str:
    """What is said of how it was come to: before the first cell, or with its output."""
    records = [*await rest(await runspace.run_cell("1")), *runspace.idle.take()]
    (found,) = [record.text for record in records if isinstance(record, Notice)]
    return found


async def rest(pipeline: Pipeline) -> list[Record]:
    return [record async for record in pipeline]


async def only(target: Target) -> KeptPool:
    (shell,) = await find_shells(target, NOBODY)
    return shell


def relays() -> list[psutil.Process]:
    """Those of this test."""
    named = [(each, each.info["cmdline"] or [""]) for each in psutil.process_iter(["cmdline"])]
    return [each for each, words in named if words[-1].startswith(f"{os.environ['TMPDIR']}/pskernel-session-")]


async def gone() -> None:
    """Nothing is left: relays end their links first, and then themselves."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, relays(), 20)
    assert [] == alive
    assert [] == list(Path(os.environ["TMPDIR"]).glob("pskernel-session-*"))


def script(text: str) -> list[list[Command]]:
    return [[Command(text, is_script=True)]]


def test_a_session_is_left_and_another_client_finds_it_as_it_was(target: Target) -> None:
    async def test() -> None:
        first = await connect(target, name="night")
        assert [] == await show(first, "$x = 42; function f { 'mine' }; Set-Location /usr")
        shell = await only(target)
        assert (first.instance_id, "night", True, ()) == (shell.pool_id, shell.name, shell.connected, shell.running)
        await first.disconnect()
        assert RunspaceState.DISCONNECTED is first.state
        shell = await only(target)
        assert not shell.connected
        second = await reopen(target, shell, NOBODY)
        assert first.instance_id == second.instance_id
        assert ["42", "mine", "/usr"] == await show(second, "$x; f; $PWD.Path")
        with pytest.raises(PoolGone, match="Another client has it"):
            await first.reconnect()
        await first.abandon("The test is over.")
        await second.aclose()
        await gone()
        assert [] == await find_shells(target, NOBODY)

    check(test)


def test_neither_news_nor_a_question_that_nobody_waits_for_any_more_delay_who_leaves(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would wait for ever.
    monkeypatch.setattr(stream, "_TAKE_SECONDS", 1000.0)

    async def test() -> None:
        # That it is new is told with the first cell, which does not come.
        first = await connect(named(target, "night"))
        asked = await first.invoke("1", ours=True)
        await asked.wait_ended()
        await first.disconnect()
        shell = await only(target)
        assert () == shell.running
        second = await reopen(target, shell, NOBODY)
        assert [] == second.left
        assert ["2"] == await show(second, "2")
        await second.aclose()
        await first.abandon("The test is over.")
        await gone()

    check(test)


def test_who_left_it_comes_back_and_goes_on(target: Target) -> None:
    async def test() -> None:
        async with await connect(target) as runspace:
            await show(runspace, "$x = 1")
            for turn in range(2):
                await runspace.disconnect(idle_timeout=600)
                with pytest.raises(RunspaceStateError):
                    await runspace.run_cell("'must not run'")
                await runspace.reconnect()
                assert [str(turn + 1)] == await show(runspace, "$x; $x++")
        await gone()

    check(test)


def test_a_command_is_left_and_the_next_client_gets_all_that_it_says(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        # It has ended before the session is left.
        await first.leave(script("1..2000; 'ended'"))
        await first.disconnect()
        await first.abandon("The client is gone.")
        shell = await only(target)
        assert 1 == len(shell.running or ())
        async with await reopen(target, shell, NOBODY) as second:
            (pipeline,) = second.left
            records = await rest(pipeline)
            assert [*range(1, 2001), "ended"] == [record.value for record in records if isinstance(record, Output)]
            assert isinstance(records[-1], PipelineEnd)
        await gone()

    check(test)


def test_what_nobody_has_read_waits_for_the_next_client(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        await first.leave(script("'one'; 'two'"))
        await first.disconnect()
        await first.abandon("The client is gone.")
        # This one comes, and goes without having read it.
        second = await reopen(target, await only(target), NOBODY)
        await second.left[0].wait_ended()
        await second.disconnect()
        await second.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as third:
            found = [record.value for record in await rest(third.left.pop()) if isinstance(record, Output)]
            assert ["one", "two"] == found
        await gone()

    check(test)


@settings(max_examples=5, deadline=None)
@given(leaves=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_clients_follow_each_other_and_no_line_is_lost_or_doubled(pwsh: str, leaves: list[int]) -> None:
    async def test() -> None:
        async with Relay(pwsh, pwsh, ("-s", "-NoLogo", "-NoProfile")) as relay:
            pool = await client(relay)
            runspace = await Runspace.open(pool)
            pipeline = await runspace.run_cell("1..1000 | ForEach-Object { \"line $_\" }; 'ended'")
            seen: list[str] = []
            for wanted in leaves:
                await read_until(pipeline, seen, len(seen) + wanted)
                following = asyncio.create_task(read_until(pipeline, seen, 10**9))
                await runspace.disconnect()
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await runspace.abandon("The client is gone.")
                pool = await client(relay, comes_later=True)
                assert pool.found is not None
                runspace = await Runspace.attach(pool, *pool.found)
                if not runspace.left:
                    break
                pipeline = runspace.left.pop()
            await read_until(pipeline, seen, 10**9)
            await runspace.aclose()
            assert [*(f"line {number}\n" for number in range(1, 1001)), "ended\n"] == seen

    check(test)


async def client(relay: Relay, **how: bool) -> DurablePool:
    """Another client each time."""
    stream = DurableStream(relay.client(uuid4().hex, **how), lambda: open_unix(relay.path), "web01", Patience(10))
    await stream.begin(await open_unix(relay.path))
    return DurablePool(stream, idle_timeout=60)


async def read_until(pipeline: Pipeline, seen: list[str], count: int) -> None:
    """Read whole batches, and come back for the next, until there are so many lines."""
    async for batch in pipeline.batches():
        seen += [record.text for record in batch if isinstance(record, HostText)]
        if len(seen) >= count:
            return


def test_a_question_that_nobody_has_answered_is_asked_again(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        pipeline = await first.run_cell("'before'; $answer = $Host.UI.ReadLine(); \"hello $answer\"")
        async for record in pipeline:
            if isinstance(record, HostCall):
                break
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            texts = []
            pipeline = second.left.pop()
            async for record in pipeline:
                if isinstance(record, HostCall) and record.method == "ReadLine":
                    await pipeline.reply(record, "Eve")
                texts += [record.text for record in [record] if isinstance(record, HostText)]
            assert "hello Eve\n" == texts[-1]
            # It is answered: who comes after a loss is not asked.
            assert ["Eve"] == await show(second, "$answer")
        await gone()

    check(test)


def test_a_cell_that_has_stopped_in_the_debugger_is_stopped_there_for_the_next_client(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        await debugger.enable(first)
        pipeline = await first.run_cell("$x = 7; Wait-Debugger; 'went on'")
        async for record in pipeline:
            if isinstance(record, DebuggerStop):
                break
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            pipeline = second.left.pop()
            seen = []
            async for record in pipeline:
                if isinstance(record, DebuggerStop):
                    await debugger.resume(second, debugger.CONTINUE)
                seen += [record.text for record in [record] if isinstance(record, HostText)]
            assert "went on\n" == seen[-1]
        await gone()

    check(test)


def test_what_runs_is_stopped_by_the_next_client(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        await first.leave(script("$x = 3; while ($true) { Start-Sleep -Milliseconds 10 }"))
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            pipeline = second.left.pop()
            await pipeline.stop()
            end = (await rest(pipeline))[-1]
            assert isinstance(end, PipelineEnd)
            assert PipelineState.STOPPED is end.state
            assert ["3"] == await show(second, "$x")
        await gone()

    check(test)


def test_secrets_go_both_ways_after_a_change_of_clients(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        await first.exchange_key()
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            await second.exchange_key()
            pipeline = await second.run_cell("$s = Read-Host -AsSecureString; ConvertFrom-SecureString $s -AsPlainText")
            texts = []
            async for record in pipeline:
                if isinstance(record, HostCall):
                    await pipeline.reply(record, Secret("hush"))
                texts += [record.text for record in [record] if isinstance(record, HostText)]
            assert "hush\n" == texts[-1]

    check(test)


def test_a_question_that_was_answered_is_not_asked_again(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        pipeline = await first.run_cell("$answer = $Host.UI.ReadLine(); 'got it'; Start-Sleep 600")
        async for record in pipeline:
            if isinstance(record, HostCall):
                await pipeline.reply(record, "Eve")
            if isinstance(record, HostText):
                break
        # As if it were killed: it is not asked what it has shown.
        second = await reopen(target, await only(target), NOBODY, take_over=True)
        pipeline = second.left.pop()
        await pipeline.stop()
        assert [] == [record for record in await rest(pipeline) if isinstance(record, HostCall)]
        assert ["Eve"] == await show(second, "$answer")
        await first.abandon("The test is over.")
        await second.aclose()
        await gone()

    check(test)


def test_what_was_shown_after_a_question_was_stopped_does_not_come_again(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        pipeline = await first.run_cell("$Host.UI.ReadLine()")
        async for record in pipeline:
            if isinstance(record, HostCall):
                await pipeline.stop()
        following = await first.run_cell("'shown'; $null = $Host.UI.ReadLine()")
        async for record in following:
            if isinstance(record, HostText):
                assert "shown\n" == record.text
            if isinstance(record, HostCall):
                await following.reply(record, "x")
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            assert [] == second.left
            assert ["new"] == await show(second, "'new'")
            assert [] == second.idle.take()
        await gone()

    check(test)


def test_what_was_said_between_two_cells_waits_for_the_next_client(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        said, add = asyncio.Event(), first.idle.add
        first.idle.add = lambda *record: (add(*record), said.set())  # type: ignore[method-assign]
        await show(
            first,
            "$timer = [Timers.Timer]::new(300); $timer.AutoReset = $false; "
            "$null = Register-ObjectEvent $timer Elapsed -Action { $Host.UI.WriteLine('ticked') }; $timer.Start()",
        )
        await said.wait()
        # Whoever runs something without a look at what was said between has not shown it.
        await show(first, "1")
        await first.disconnect()
        await first.abandon("The client is gone.")
        async with await reopen(target, await only(target), NOBODY) as second:
            seen = [*await rest(await second.run_cell("1")), *second.idle.take()]
            assert "ticked\n" in [record.text for record in seen if isinstance(record, HostText)]
        await gone()

    check(test)


def test_a_huge_object_that_was_on_its_way_is_left_out_and_the_session_goes_on(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        stream, acknowledged = first._transport._relay, asyncio.Event()
        post = stream._post
        stream._post = lambda frame: (post(frame), acknowledged.set() if frame[:1] == b"A" else None)
        await first.invoke(script("$y = 7; 'x' * 30MB; 'behind it'"))
        # Nobody reads it: the first thing acknowledged is what is too much to be kept.
        await acknowledged.wait()
        assert stream._state._acknowledged > 2**24
        second = await reopen(target, await only(target), NOBODY, take_over=True)
        found = [record.value for record in await rest(second.left.pop()) if isinstance(record, Output)]
        assert ["behind it"] == found
        assert ["7"] == await show(second, "$y")
        await first.abandon("The test is over.")
        await second.aclose()
        await gone()

    check(test)


def test_a_link_that_is_lost_is_no_word_of_the_relays(target: Target) -> None:
    async def test() -> None:
        async with await connect(target) as runspace:
            pipeline = await runspace.run_cell("$answer = $Host.UI.ReadLine(); $answer")
            async for record in pipeline:
                if isinstance(record, HostCall):
                    break
            # While it is waited for somebody to take the question.
            leaving = asyncio.create_task(runspace.disconnect())
            while not runspace._transport._relay._leaving:
                await asyncio.sleep(0)
            await runspace._transport._relay._link.aclose()
            with pytest.raises(TransportClosed, match="did not confirm"):
                await leaving
            assert RunspaceState.OPEN is runspace.state
            await pipeline.reply(record, "Eve")
            assert "Eve\n" in [record.text for record in await rest(pipeline) if isinstance(record, HostText)]
        await gone()

    check(test)


def test_a_session_that_does_not_obey_is_ended_though_another_client_had_begun_it(target: Target) -> None:
    async def test() -> None:
        first = await connect(target)
        await first.disconnect()
        await first.abandon("The client is gone.")
        second = await reopen(target, await only(target), NOBODY)
        await second.give_up("It does not obey.")
        await gone()

    check(test)


def test_a_file_of_another_users_is_not_removed(target: Target, tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "s").write_text("precious")
        link = Path(os.environ["TMPDIR"]) / "pskernel-session-link"
        link.symlink_to(tmp_path)
        os.utime(link, (1, 1), follow_symlinks=False)
        age(tmp_path)
        async with await connect(target):
            assert [] == [each for each in await find_relays(target, NOBODY, clean=True) if "link" in each.path]
        assert "precious" == (tmp_path / "s").read_text()
        assert link.is_symlink()
        link.unlink()

    check(test)


def test_the_second_of_two_clients_is_told_and_may_take_over(target: Target) -> None:
    async def test() -> None:
        first = await connect(named(target, "night"))
        await show(first, "$x = 1")
        with pytest.raises(
            ConnectError, match=r"Another client has the session night .* process [0-9]+\. Nothing was changed"
        ):
            await connect(named(target, "night"))
        assert ["1"] == await show(first, "$x")
        second = await connect(named(target, "night", take_over=True))
        assert ["1"] == await show(second, "$x")
        with pytest.raises((TransportClosed, RunspaceStateError)):
            await rest(await first.run_cell("'must not run'"))
        assert "Another client has it." in str(first.error)
        await first.abandon("The test is over.")
        assert ["still 1"] == await show(second, '"still $x"')
        await second.aclose()
        await gone()

    check(test)


def test_a_name_that_is_not_there_yet_is_opened_and_said_to_be_new(target: Target) -> None:
    async def test() -> None:
        for told in ("There was no session night on", "Back in the session night on"):
            runspace = await connect(named(target, "night"))
            assert told in await notice(runspace)
            await runspace.disconnect()
            await runspace.abandon("The client is gone.")
        await end_session(target, await only(target), NOBODY)
        await gone()

    check(test)


def test_a_session_that_was_ended_meanwhile_is_gone(target: Target) -> None:
    async def test() -> None:
        runspace = await connect(target)
        shell = await only(target)
        await runspace.aclose()
        await gone()
        with pytest.raises(PoolGone, match="does not exist there any more"):
            await reopen(target, shell, NOBODY)

    check(test)


def test_a_relay_that_was_killed_is_told_and_cleaned(target: Target) -> None:
    async def test() -> None:
        runspace = await connect(named(target, "night"))
        (engine,) = await runspace.query("$PID")
        (found,) = await find_relays(target, NOBODY)
        await runspace.disconnect()
        await runspace.abandon("The client is gone.")
        processes = [*relays(), psutil.Process(engine)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 10)
        folder = Path(found.path).parent
        # One that has only just begun may not listen yet.
        (fresh,) = await find_relays(target, NOBODY)
        assert (found.path, False, None) == (fresh.path, fresh.is_dead, fresh.pool)
        age(folder)
        (dead,) = await find_relays(target, NOBODY)
        assert (found.path, True, None) == (dead.path, dead.is_dead, dead.pool)
        await find_relays(target, NOBODY, clean=True)
        assert not folder.exists()
        runspace = await connect(named(target, "night"))
        assert "There was no session night" in await notice(runspace)
        await runspace.aclose()
        await gone()

    check(test)


def test_an_engine_that_has_ended_meanwhile_is_told(target: Target) -> None:
    async def test() -> None:
        runspace = await connect(target)
        (engine,) = await runspace.query("$PID")
        await runspace.disconnect()
        await runspace.abandon("The client is gone.")
        psutil.Process(engine).kill()
        second = await reopen(target, await only(target), NOBODY)
        await second.wait_ended()
        assert "exited with status" in str(second.error)
        await second.abandon("The test is over.")
        await gone()

    check(test)


def test_several_of_one_name_are_come_back_to_by_their_ids(target: Target) -> None:
    async def test() -> None:
        two = [await connect(target, name="same") for _ in range(2)]
        ids = {runspace.instance_id for runspace in two}
        with pytest.raises(ConnectError, match="several sessions named same") as caught:
            await connect(named(target, "same"))
        assert all(str(each) in str(caught.value) for each in ids)
        for runspace in two:
            await runspace.aclose()
        await gone()

    check(test)


def test_a_session_of_that_name_that_nobody_can_come_back_to_is_no_reason_to_open_another(target: Target) -> None:
    async def test() -> None:
        runspace = await connect(target, name="night")
        # As a client that has noted nothing before it was gone.
        runspace._transport._relay.note(b"")
        await show(runspace, "1")
        await runspace.disconnect()
        with pytest.raises(ConnectError, match="Nobody can come back to the session night there"):
            await connect(named(target, "night"))
        await runspace.reconnect()
        await runspace.aclose()
        await gone()

    check(test)


def test_dropping_output_is_refused_and_the_session_stays(target: Target) -> None:
    async def test() -> None:
        async with await connect(target) as runspace:
            with pytest.raises(RunspaceStateError, match="drops no output"):
                await runspace.disconnect(buffering="drop")
            assert ["1"] == await show(runspace, "1")

    check(test)


def test_a_session_that_is_there_cannot_be_recorded(target: Target, tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(TargetError, match="cannot be recorded"):
            await connect(named(target, "night"), record_to=str(tmp_path / "c.jsonl"))

    check(test)


def age(folder: Path) -> None:
    os.utime(folder, (1, 1))


def test_what_another_user_has_put_there_is_no_session(target: Target, account: Account) -> None:
    """Whoever believed it would send commands, and secrets, to that user."""

    async def test() -> None:
        there = Path(os.environ["TMPDIR"])
        runspace = await connect(target, name="mine")
        (mine,) = there.glob("pskernel-session-*")
        for name in ("pskernel-session-evil", "pskernel-session-link"):
            folder = there / name
            if name.endswith("link"):
                folder.symlink_to(mine)
                continue
            folder.mkdir(mode=0o755)
            server = await asyncio.start_unix_server(lambda _reader, writer: writer.write(b"W"), f"{folder}/s")
            shutil.chown(folder, account.name)
        assert ["mine"] == [shell.name for shell in await find_shells(target, NOBODY)]
        assert 1 == len(await find_relays(target, NOBODY))
        server.close()
        for name in ("pskernel-session-link", "pskernel-session-evil/s"):
            (there / name).unlink()
        (there / "pskernel-session-evil").rmdir()
        await runspace.aclose()
        await gone()

    check(test)
