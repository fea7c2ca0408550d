"""Runspaces and pipelines against a server made of psrpcore's own server side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from psrpcore import types as ps

from pskernel.errors import (
    ConnectError,
    NotPowerShell,
    PipelineFailed,
    RunspaceStateError,
    TransportClosed,
)
from pskernel.protocol.pipelines import Screen
from pskernel.records import HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, Record
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from tests.fakes.server import Call, far_end, opened

READ_LINE = ps.HostMethodIdentifier.ReadLine


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test; nothing may be left running when it is over."""

    async def checked() -> None:
        await main()
        left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        assert left == set()

    asyncio.run(checked())


async def records(pipeline: Pipeline) -> list[Record]:
    return [record async for record in pipeline]


def texts(found: list[Record]) -> list[str]:
    return [record.text for record in found if isinstance(record, HostText)]


def test_a_cell_is_sent_verbatim_and_its_output_comes_back() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            found = await records(await runspace.run_cell("  'é' | % { $_ } # x\n\n"))
            assert ["  'é' | % { $_ } # x\n\n\n"] == texts(found)
            assert PipelineEnd(PipelineState.COMPLETED) == found[-1]
            await server.wait_for("Close")
            assert RunspaceState.OPEN is runspace.state

    run(main)


def test_cells_take_turns() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def behaviour(call: Call) -> None:
            if call.text == "first":
                await gate.wait()
            await call.line(call.text)

        async with opened(behaviour) as (runspace, server):
            first = await runspace.run_cell("first")
            second = asyncio.create_task(runspace.run_cell("second"))
            assert runspace.busy
            gate.set()
            assert ["first\n"] == texts(await records(first))
            assert ["second\n"] == texts(await records(await second))
            assert ["first", "second"] == server.texts

    run(main)


def test_what_a_query_returns() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            if call.text == "bad":
                await call.fail("went wrong", "Bad,Id")
            for value in ("a", 1, None):
                if call.text == "good":
                    await call.output(value)

        async with opened(behaviour) as (runspace, _):
            assert ["a", 1, None] == await runspace.query("good")
            with pytest.raises(PipelineFailed, match="went wrong") as caught:
                await runspace.query("bad")
            assert "Bad,Id" == caught.value.record.fully_qualified_error_id

    run(main)


def test_a_query_that_takes_too_long_is_stopped() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            with pytest.raises(TimeoutError):
                await runspace.query("slow", timeout=0.05)
            await server.wait_for("Signal")
            # The runspace is usable again.
            assert [] == texts(await records(await _stopped(runspace)))

    async def _stopped(runspace: Runspace) -> Pipeline:
        pipeline = await runspace.run_cell("x")
        await pipeline.stop()
        return pipeline

    run(main)


def test_prompts_are_records_and_can_be_answered_or_refused() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            answer = await call.ask(READ_LINE, [])
            await call.line(str(answer.error or answer.result))  # type: ignore[attr-defined]

        async with opened(behaviour) as (runspace, _):
            for answer in ("typed", None):
                pipeline = await runspace.run_cell("Read-Host")
                shown: list[str] = []
                async for record in pipeline:
                    if isinstance(record, HostCall):
                        if answer is None:
                            await pipeline.refuse(record, "nobody here")
                        else:
                            await pipeline.reply(record, answer)
                    elif isinstance(record, HostText):
                        shown.append(record.text)
                assert [f"{answer or 'nobody here'}\n"] == shown

    run(main)


def test_a_pending_prompt_does_not_stop_the_stop() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            call.pipeline.host_call(READ_LINE, [])
            await call.server.flush()
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("Read-Host")
            found: list[Record] = []
            async for record in pipeline:
                found.append(record)
                if isinstance(record, HostCall):
                    await pipeline.stop()
                    await pipeline.stop()
            assert isinstance(found[-1], PipelineEnd)
            assert PipelineState.STOPPED is found[-1].state
            assert 1 == server.log.count("Signal")

    run(main)


def test_a_slow_reader_makes_the_remote_wait() -> None:
    async def main() -> None:
        written = 0

        async def behaviour(call: Call) -> None:
            nonlocal written
            for _ in range(40):
                await call.line("x" * 1_000_000)
                written += 1

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("flood")
            while pipeline._queued_bytes < 4 * 1024 * 1024:
                await asyncio.sleep(0)
            for _ in range(2000):
                await asyncio.sleep(0)
            assert written < 12
            assert 40 == len(texts(await records(pipeline)))

    run(main)


def test_a_remote_that_floods_after_the_stop_is_bounded() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()
            for _ in range(90):
                await call.line("x" * 1_000_000)

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("flood")
            await pipeline.stop()
            await pipeline.wait_ended()
            assert pipeline.dropped_records > 0
            assert 90 == pipeline.dropped_records + len(texts(await records(pipeline)))

    run(main)


def test_a_cut_in_the_middle_delivers_what_came_and_then_tells() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.line("before")
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("x")
            found: list[str] = []
            with pytest.raises(TransportClosed):
                async for record in pipeline:
                    assert isinstance(record, HostText)
                    found.append(record.text)
                    server.stream.cut()
            assert ["before\n"] == found
            assert pipeline.end is None
            await runspace.wait_ended()
            assert RunspaceState.BROKEN is runspace.state
            with pytest.raises(RunspaceStateError, match="broken"):
                await runspace.run_cell("never sent")

    run(main)


def test_what_is_said_between_cells_is_kept_and_prompts_are_refused() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.log.clear()
            server.pool.host_call(ps.HostMethodIdentifier.WriteLine2, ["from an event"])
            server.pool.host_call(READ_LINE, [])
            await server.raw(b"a stray line\n")
            await server.flush()
            await server.wait_for("Data")  # the refusal
            idle = runspace.take_idle_records()
            assert HostText("from an event\n") in idle
            assert any(isinstance(record, Notice) and "a stray line" in record.text for record in idle)
            assert [] == runspace.take_idle_records()

    run(main)


def test_a_terminating_error_can_be_shown_by_the_remote() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            if call.text == "Out-Default":
                while not call.inputs:
                    await asyncio.sleep(0)
                await call.line(f"Error: {call.inputs[0]}")
            else:
                await call.fail("thrown", "thrown")

        async with opened(behaviour) as (runspace, _):
            found = await records(await runspace.run_cell("throw"))
            assert isinstance(found[-1], PipelineEnd)
            assert found[-1].error is not None
            assert ["Error: thrown\n"] == [line.text for line in await runspace.display_error(found[-1].error)]

    run(main)


def test_opening_takes_no_longer_than_allowed() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            server.opens = False
            await server.raw(b"Last login: today\n")
            with pytest.raises(NotPowerShell, match=r"within 0.1 seconds.*Last login: today"):
                await Runspace.open(transport, screen=Screen(), open_timeout=0.1)

    run(main)


def test_a_refused_opening_says_why() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            server.opens = False
            opening = asyncio.create_task(Runspace.open(transport, screen=Screen(), open_timeout=10))
            await server.wait_for("Data")
            server.pool._send_buffer.clear()
            server.pool.set_broken(
                ps.ErrorRecord(Exception=ps.NETException(Message="denied"), CategoryInfo=ps.ErrorCategoryInfo())
            )
            await server.flush()
            with pytest.raises(ConnectError, match="denied"):
                await opening

    run(main)


def test_a_peer_that_echoes_is_not_powershell() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):

            async def echo(name: str, guid: object, data: bytes) -> None:
                await server.raw(
                    b"<%s Stream='Default' PSGuid='%s'>%s</Data>\n" % (name.encode(), str(guid).encode(), data)
                )

            server._packet = echo  # type: ignore[method-assign]
            with pytest.raises(NotPowerShell, match="sends back what it was sent"):
                await Runspace.open(transport, screen=Screen(), open_timeout=10)

    run(main)


def test_cancelling_the_opening_leaves_nothing() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            server.opens = False
            opening = asyncio.create_task(Runspace.open(transport, screen=Screen(), open_timeout=10))
            await server.wait_for("Data")
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

    run(main)


@pytest.mark.parametrize("text", ["x", "y" * 200_000])
def test_cancelling_while_a_cell_is_being_sent_gives_the_runspace_up(text: str) -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.acks = False
            sending = asyncio.create_task(runspace.run_cell(text))
            await server.wait_for("Command")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert RunspaceState.BROKEN is runspace.state

    run(main)


def test_a_long_cell_goes_out_in_pieces() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            text = "'" + "é" * 100_000 + "'"
            assert [f"{text}\n"] == texts(await records(await runspace.run_cell(text)))
            assert server.log.count("Data") > 6

    run(main)


def test_closing_is_idempotent_and_says_goodbye_once() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            await runspace.aclose()
            await runspace.aclose()
            assert 1 == server.log.count("Close")
            assert RunspaceState.CLOSED is runspace.state
            with pytest.raises(RunspaceStateError, match="closed"):
                await runspace.run_cell("x")

    run(main)


def test_closing_does_not_wait_for_a_silent_server() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.acks = False
            await runspace.aclose(grace=0.05)
            assert RunspaceState.CLOSED is runspace.state

    run(main)


def test_closing_under_a_running_cell_ends_its_iteration() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("x")
            following = asyncio.create_task(records(pipeline))
            await runspace.aclose(grace=0.05)
            with pytest.raises(TransportClosed):
                await following

    run(main)


def test_a_reset_waits_for_no_one_and_is_confirmed() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("x")
            with pytest.raises(RunspaceStateError, match="while a pipeline is running"):
                await runspace.reset()
            await pipeline.stop()
            await records(pipeline)

    run(main)


def test_objects_come_as_inert_values() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.output(ps.PSCustomObject(Name="web01", Cpu=71))

        async with opened(behaviour) as (runspace, _):
            found = await records(await runspace.invoke("x"))
            assert isinstance(found[0], Output)
            assert ("web01", 71) == (found[0].value.Name, found[0].value.Cpu)

    run(main)
