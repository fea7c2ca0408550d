"""Runspaces and pipelines against a server made of psrpcore's own server side."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from psrpcore import types as ps

from pskernel.errors import (
    ConnectError,
    LocalProtocolError,
    NotPowerShell,
    PipelineFailed,
    RemoteProtocolError,
    ReplayError,
    RunspaceStateError,
    TransportClosed,
)
from pskernel.protocol.fragments import MessageType, build_message, fragment
from pskernel.protocol.outofproc import encode_data
from pskernel.records import ErrorRecord, HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, Record
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.transports.base import ByteStream
from tests.fakes.server import Call, far_end, opened
from tests.parts.wire import Tap, read_wire, steps, stored

READ_LINE = ps.HostMethodIdentifier.ReadLine


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test; nothing may be left running when it is over."""

    async def checked() -> None:
        await main()
        left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        assert left == set()

    asyncio.run(checked())


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


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
            await call.line(str(answer.error or answer.result))

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
            idle = runspace.idle.take()
            assert HostText("from an event\n") in idle
            assert any(isinstance(record, Notice) and "a stray line" in record.text for record in idle)
            assert [] == runspace.idle.take()

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
                await Runspace.open(transport, open_timeout=0.1)

    run(main)


def test_a_refused_opening_says_why() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            server.opens = False
            opening = asyncio.create_task(Runspace.open(transport, open_timeout=10))
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
                await Runspace.open(transport, open_timeout=10)

    run(main)


def test_cancelling_the_opening_leaves_nothing() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            server.opens = False
            opening = asyncio.create_task(Runspace.open(transport, open_timeout=10))
            await server.wait_for("Data")
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

    run(main)


@pytest.mark.parametrize("text", ["x", "y" * 200_000])
def test_cancelling_while_a_cell_is_being_sent_stops_it_and_keeps_the_session(text: str) -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            if call.text == text:
                await call.stopped.wait()
            else:
                await call.line(call.text)

        async with opened(behaviour) as (runspace, server):
            sending = asyncio.create_task(runspace.run_cell(text))
            await server.wait_for("Command")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert ["next\n"] == texts(await records(await runspace.run_cell("next")))
            assert "Signal" in server.log

    run(main)


def test_a_cell_that_is_never_acknowledged_can_be_cancelled_and_its_runspace_closed() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.acks = False
            sending = asyncio.create_task(runspace.run_cell("x"))
            await server.wait_for("Command")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await runspace.aclose(grace=0.05)
            assert RunspaceState.CLOSED is runspace.state

    run(main)


def test_a_long_cell_goes_out_in_pieces() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            text = "'" + "é" * 100_000 + "'"
            assert [f"{text}\n"] == texts(await records(await runspace.run_cell(text)))
            assert server.log.count("Data") > 6

    run(main)


def test_what_a_server_says_to_being_closed_is_no_news_to_what_still_ran() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("long")
            server.acks = False
            closing = asyncio.create_task(runspace.aclose())
            await server.wait_for("Close")
            await server.break_pool("The server ended it.")
            await closing
            with pytest.raises(TransportClosed, match=r"^The runspace was closed\.$"):
                await records(pipeline)

    run(main)


def test_a_session_key_that_cannot_be_read_is_an_error_and_not_the_end() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.opens = False  # its own answer would come too
            junk = build_message(MessageType.ENCRYPTED_SESSION_KEY, runspace.instance_id, None, b"<Obj><MS>")
            exchanges = [asyncio.create_task(runspace.exchange_key()) for _ in range(2)]
            to_client = (1).to_bytes(4, "little") + junk[4:]
            (whole,) = fragment(1 << 40, to_client, 32_768)
            await server.raw(encode_data(None, whole))
            for exchange in exchanges:
                with pytest.raises(LocalProtocolError, match=r"could not be read.*open another one"):
                    await exchange
            assert ["still here\n"] == texts(await records(await runspace.run_cell("still here")))

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


# ---- what is on the line ----


def test_the_packets_are_those_of_the_engines_own_client() -> None:
    async def main() -> None:
        taps: list[Tap] = []

        def wrap(stream: ByteStream) -> ByteStream:
            taps.append(Tap(stream))
            return taps[0]

        async with far_end(wrap=wrap) as (transport, server):
            async with await Runspace.open(transport) as runspace:
                for text in ("1", "2"):
                    await records(await runspace.run_cell(text))
            pool, *cells = steps(taps[0].lines)
            # The fake server does not say that it is closing.
            assert stored()["pool_packets"][0] == pool[0]
            assert ["Close", ["CloseAck"]] == pool[1]
            assert [stored()["packets"]] * 2 == cells
            assert {"Data", "Command", "Close"} == set(server.log)

    run(main)


@pytest.mark.golden
def test_the_packets_are_those_of_a_real_enter_pssession(golden: Path) -> None:
    pool, *pipelines = steps(read_wire(golden / "enter-pssession-over-ssh.wire"))

    assert stored()["pool_packets"] == pool
    assert len(pipelines) > 5
    for pipeline in pipelines:
        assert stored()["packets"] == pipeline


def test_a_line_that_is_no_packet_is_shown_in_the_cell_it_came_in() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.line("before")
            await call.server.raw(b"Broadcast message from root\n")
            await call.line("after")

        async with opened(behaviour) as (runspace, _):
            first, notice, last, _ = await records(await runspace.run_cell("x"))
            assert [HostText("before\n"), HostText("after\n")] == [first, last]
            assert isinstance(notice, Notice)
            assert "Broadcast message from root" in notice.text

    run(main)


def test_silence_is_no_end() -> None:
    async def main() -> None:
        quiet = asyncio.Event()

        async def behaviour(call: Call) -> None:
            await quiet.wait()

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("x")
            following = asyncio.create_task(records(pipeline))
            await settle()
            assert not following.done()
            quiet.set()
            assert [PipelineEnd(PipelineState.COMPLETED)] == await following

    run(main)


# ---- a remote that breaks the rules ----

STRAY_ACK = b"<SignalAck PSGuid='00000000-0000-0000-0000-000000000000' />\n"
BAD_FRAGMENT = b"<Data Stream='Default' PSGuid='00000000-0000-0000-0000-000000000000'>AAAA</Data>\n"


@pytest.mark.parametrize(
    ("sent", "says"),
    [(STRAY_ACK, "answers nothing"), (BAD_FRAGMENT, "incomplete header"), (b"y" * 4_500_000, "without ending")],
    ids=["acknowledgement", "fragment", "line"],
)
@pytest.mark.parametrize("sending", [True, False])
def test_a_remote_that_breaks_the_rules_is_left(sent: bytes, says: str, sending: bool) -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.line("before")
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            server.acks = not sending
            cell = asyncio.create_task(runspace.run_cell("x"))
            await server.wait_for("Command")
            found: list[Record] = []
            pipeline = None if sending else await cell
            saying = asyncio.create_task(server.raw(sent))
            with pytest.raises((TransportClosed, RemoteProtocolError), match=says):
                if pipeline is None:
                    await cell
                else:
                    async for record in pipeline:
                        found.append(record)
            assert sending or [HostText("before\n")] == found
            assert RunspaceState.BROKEN is runspace.state
            # Nobody reads any more: the line is closed at once, whether or not anyone cleans up.
            with pytest.raises(TransportClosed):
                while True:
                    await server.raw(b"more\n")
            await asyncio.gather(saying, return_exceptions=True)

    run(main)


@pytest.mark.parametrize("sending", [True, False])
def test_a_pool_that_breaks_says_why(sending: bool) -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            server.acks = not sending
            cell = asyncio.create_task(runspace.run_cell("x"))
            await server.wait_for("Command")
            if not sending:
                cell = asyncio.create_task(records(await cell))  # type: ignore[arg-type]
            await server.break_pool("no more memory")
            with pytest.raises(TransportClosed, match="no more memory"):
                await cell
            with pytest.raises(RunspaceStateError, match="no more memory"):
                await runspace.run_cell("never sent")

    run(main)


def test_what_is_broken_stays_broken() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            opened_again = b'<Obj RefId="0"><MS><I32 N="RunspaceState">2</I32></MS></Obj>'
            broken = opened_again.replace(b">2<", b">5<")
            header = [struct.pack("<II32s", 1, 0x00021005, bytes(32)) + body for body in (broken, opened_again)]
            blob = b"".join(struct.pack(">QQBI", 9 + i, 0, 3, len(body)) + body for i, body in enumerate(header))
            await server.raw(encode_data(None, blob))
            await runspace.wait_ended()
            await settle()
            assert RunspaceState.BROKEN is runspace.state

    run(main)


def test_a_line_that_takes_nothing_but_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.runspace._LAST_WORDS_SECONDS", 0.01)

    async def main() -> None:
        async with opened() as (runspace, server):
            server.stream._in.broken = True
            server.stream._in.change()
            with pytest.raises(TransportClosed):
                await runspace.run_cell("x")
            assert RunspaceState.BROKEN is runspace.state
            with pytest.raises(RunspaceStateError):
                await runspace.run_cell("x")

    run(main)


def test_a_packet_cut_in_the_middle_says_nothing() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.line("whole")
            call.pipeline.host_call(ps.HostMethodIdentifier.WriteLine2, ["half"])
            payload = call.server.pool.data_to_send(32_768)
            assert payload is not None
            await call.server.raw(encode_data(payload.pipeline_id, payload.data)[:-40])
            call.server.stream.cut()

        async with opened(behaviour) as (runspace, _):
            found: list[Record] = []
            with pytest.raises(TransportClosed):
                async for record in await runspace.run_cell("x"):
                    found.append(record)
            assert [HostText("whole\n")] == found

    run(main)


def test_nothing_comes_after_the_end() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            call.pipeline.complete()
            call.pipeline.state = ps.PSInvocationState.Running  # psrpcore would not let it go on
            call.pipeline.host_call(ps.HostMethodIdentifier.WriteLine2, ["late"])
            call.pipeline.host_call(READ_LINE, [])
            call.pipeline.state = ps.PSInvocationState.Completed
            await call.server.flush()

        async with opened(behaviour) as (runspace, server):
            assert [PipelineEnd(PipelineState.COMPLETED)] == await records(await runspace.run_cell("x"))
            await server.wait_for("Close")
            # The prompt that nobody can answer any more is refused.
            async with asyncio.timeout(10):
                while 3 != server.log.count("Data"):
                    await asyncio.sleep(0)
            assert [HostText("late\n")] == runspace.idle.take()

    run(main)


def test_what_is_said_between_cells_is_bounded() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            for _ in range(3):
                for _ in range(1000):
                    server.pool.host_call(ps.HostMethodIdentifier.WriteLine2, ["x" * 5000])
                await server.flush()
            server.pool.host_call(ps.HostMethodIdentifier.WriteLine2, ["last"])
            await server.flush()
            kept = runspace.idle._records
            async with asyncio.timeout(10):
                while not kept or kept[-1][0] != HostText("last\n"):
                    await asyncio.sleep(0)
            assert 500 < len(runspace.idle.take()) < 1000

    run(main)


def test_a_remote_that_asks_on_and_on_is_left() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.acks = False
            for _ in range(300):
                server.pool.host_call(READ_LINE, [])
            with contextlib.suppress(TransportClosed):
                await server.flush()
            await runspace.wait_ended()
            assert isinstance(runspace.error, RemoteProtocolError)
            assert "asks on and on" in str(runspace.error)

    run(main)


def test_a_refusal_that_cannot_be_sent_is_nobodys_error() -> None:
    async def main() -> None:
        unhandled: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with opened() as (runspace, server):
            server.pool.host_call(READ_LINE, [])
            server.pool.host_call(READ_LINE, [])
            server.acks = False
            await server.flush()
            server.stream.cut()
            await runspace.wait_ended()
        gc.collect()
        assert [] == unhandled

    run(main)


# ---- waiting, giving up, and cleaning up ----


def test_who_gives_up_waiting_for_a_turn_disturbs_nobody() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def behaviour(call: Call) -> None:
            await gate.wait()
            await call.line(call.text)

        async with opened(behaviour) as (runspace, server):
            first = await runspace.run_cell("first")
            second, third = (asyncio.create_task(runspace.run_cell(text)) for text in ("second", "third"))
            await settle()
            second.cancel()
            gate.set()
            assert ["first\n"] == texts(await records(first))
            assert ["third\n"] == texts(await records(await third))
            assert ["first", "third"] == server.texts
            assert second.cancelled()

    run(main)


@pytest.mark.parametrize("after", range(40))
def test_a_start_can_be_cancelled_anywhere(after: int) -> None:
    """At every point the runspace stays of use, and nothing is left."""

    async def main() -> None:
        async with opened() as (runspace, _):
            sending = asyncio.create_task(runspace.run_cell("x" * 70_000))
            for _ in range(after):
                await asyncio.sleep(0)
            sending.cancel()
            try:
                pipeline = await sending
            except asyncio.CancelledError:
                assert ["y\n"] == texts(await records(await runspace.run_cell("y")))
            else:
                assert 70_001 == len("".join(texts(await records(pipeline))))

    run(main)


def test_all_ways_of_being_cancelled_are_met() -> None:
    """Otherwise the test above would say less than it seems to."""

    async def main() -> None:
        seen = set()
        for after in range(40):
            async with opened() as (runspace, server):
                sending = asyncio.create_task(runspace.run_cell("x" * 70_000))
                for _ in range(after):
                    await asyncio.sleep(0)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                seen.add(("Command" in server.log, sending.cancelled()))
                assert RunspaceState.OPEN is runspace.state
        assert {(False, True), (True, True), (True, False)} == seen

    run(main)


@pytest.mark.parametrize("after", range(0, 40, 2))
def test_an_opening_can_be_cancelled_anywhere(after: int) -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            opening = asyncio.create_task(Runspace.open(transport))
            for _ in range(after):
                await asyncio.sleep(0)
            opening.cancel()
            try:
                runspace = await opening
            except asyncio.CancelledError:
                if after:
                    with pytest.raises(TransportClosed):
                        await server.raw(b"x\n")
            else:
                await runspace.aclose()

    run(main)


@pytest.mark.parametrize("after", range(12))
def test_closing_can_be_cancelled_anywhere(after: int) -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.acks = False
            closing = asyncio.create_task(runspace.aclose(grace=60))
            for _ in range(after + 1):
                await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert runspace._reader.done()
            with pytest.raises(TransportClosed):
                await server.raw(b"x\n")
            await runspace.aclose()

    run(main)


def test_closing_twice_at_once_is_closing() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            await asyncio.gather(runspace.aclose(), runspace.aclose(), runspace.abandon("too"))
            assert RunspaceState.CLOSED is runspace.state
            assert server.log.count("Close") <= 1

    run(main)


def test_abandoning_says_nothing_to_the_remote_and_why_to_the_reader() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("x")
            await runspace.abandon("The command could not be stopped.")
            with pytest.raises(TransportClosed, match=r"could not be stopped"):
                await records(pipeline)
            assert RunspaceState.BROKEN is runspace.state
            assert not {"Close", "Signal"} & set(server.log)
            with pytest.raises(RunspaceStateError, match=r"broken.*could not be stopped"):
                await runspace.query("x")

    run(main)


def test_a_stop_that_is_ignored_leaves_the_choice_to_abandon() -> None:
    async def main() -> None:
        forever = asyncio.Event()

        async def behaviour(call: Call) -> None:
            await forever.wait()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("x")
            await pipeline.stop()
            await server.wait_for("Signal")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pipeline.wait_ended(), 0.02)
            await runspace.abandon("It did not stop.")
            assert pipeline.ended

    run(main)


def test_a_query_waits_for_its_turn_and_then_counts_its_time() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def behaviour(call: Call) -> None:
            if call.text == "cell":
                await gate.wait()
            else:
                await call.output("there")

        async with opened(behaviour) as (runspace, _):
            cell = await runspace.run_cell("cell")
            asking = asyncio.create_task(runspace.query("'there'", timeout=5))
            await settle()
            assert not asking.done()
            gate.set()
            await records(cell)
            assert ["there"] == await asking

    run(main)


def test_a_query_refuses_what_it_is_asked() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            answer = await call.ask(READ_LINE, [])
            await call.output(str(answer.error))

        async with opened(behaviour) as (runspace, _):
            (said,) = await runspace.query("Read-Host")
            assert "no cell is running" in said

    run(main)


@pytest.mark.parametrize("how", ["query", "display"])
def test_what_is_cancelled_is_stopped_and_the_next_one_runs(how: str) -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            if call.text == "next":
                await call.line("next")
            else:
                await call.stopped.wait()

        async with opened(behaviour) as (runspace, server):
            error = ErrorRecord("x", clixml=b"<S>x</S>")
            work = runspace.query("slow") if how == "query" else runspace.display_error(error)
            task = asyncio.create_task(work)
            await server.wait_for("Data")
            while 1 != len(server.calls):
                await asyncio.sleep(0)
            await settle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "Signal" in server.log
            assert ["next\n"] == texts(await records(await runspace.run_cell("next")))

    run(main)


def test_rendering_an_error_does_not_wait_for_answers() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            answer = await call.ask(READ_LINE, [])
            await call.line(f"refused: {answer.error}")

        async with opened(behaviour) as (runspace, _):
            (line,) = await runspace.display_error(ErrorRecord("x", clixml=b"<S>x</S>"))
            assert line.text.startswith("refused: ")
            assert [] == await runspace.display_error(ErrorRecord("without its record"))

    run(main)


def test_a_reset_resets() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            server.answers_reset = True
            await runspace.reset()
            server.answers_reset = False
            with pytest.raises(RunspaceStateError, match="refused"):
                await runspace.reset()
            assert ["x\n"] == texts(await records(await runspace.run_cell("x")))

    run(main)


@pytest.mark.parametrize("how", ["cut", "aclose", "abandon"])
def test_a_reset_that_is_never_answered_ends_with_the_connection(how: str) -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            resetting = asyncio.create_task(runspace.reset())
            while 2 != server.log.count("Data"):
                await asyncio.sleep(0)
            await settle()
            assert not resetting.done()
            if how == "cut":
                server.stream.cut()
            elif how == "aclose":
                await runspace.aclose(grace=0.01)
            else:
                await runspace.abandon("No patience.")
            with pytest.raises(RunspaceStateError, match=r"runspace is (broken|closed)"):
                await resetting

    run(main)


def test_a_call_can_be_answered_once() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            await call.ask(READ_LINE, [])

        async with opened(behaviour) as (runspace, _):
            pipeline = await runspace.run_cell("x")
            async for record in pipeline:
                if isinstance(record, HostCall):
                    await pipeline.reply(record, "typed")
                    with pytest.raises(LocalProtocolError, match="answered already"):
                        await pipeline.reply(record, "typed again")

    run(main)


def test_a_call_that_expects_nothing_is_not_answered() -> None:
    async def main() -> None:
        async def behaviour(call: Call) -> None:
            call.pipeline.host_call(ps.HostMethodIdentifier.SetShouldExit, [3])
            await call.server.flush()

        async with opened(behaviour) as (runspace, server):
            pipeline = await runspace.run_cell("exit 3")
            async for record in pipeline:
                if isinstance(record, HostCall):
                    assert ("SetShouldExit", (3,), None) == (record.method, record.parameters, record.call_id)
                    await pipeline.refuse(record, "no")
            assert 2 == server.log.count("Data")

    run(main)


# ---- what else the reader may meet ----


def test_who_left_before_the_opening_is_told_by_what_it_said() -> None:
    async def main() -> None:
        async with far_end() as (transport, server):
            await server.raw(b"Permission denied\n")
            await server.stream.aclose()
            with pytest.raises(NotPowerShell, match=r"ended the connection.*Permission denied"):
                await Runspace.open(transport)

    run(main)


def test_a_mistake_of_ours_breaks_the_runspace_and_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened() as (runspace, _):

            def receive(data: bytes) -> list[object]:
                raise ZeroDivisionError(data)

            monkeypatch.setattr(runspace._protocol, "receive", receive)
            with pytest.raises(
                (TransportClosed, RemoteProtocolError), match=r"could not be read \(ZeroDivisionError\)"
            ):
                await records(await runspace.run_cell("x"))
            assert isinstance(runspace.error, RemoteProtocolError)

    run(main)


def test_what_goes_wrong_while_a_lost_connection_is_closed_is_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            aclose = runspace._transport.aclose

            async def failing() -> None:
                await aclose()
                raise ReplayError("The recording cannot be written.")

            monkeypatch.setattr(runspace._transport, "aclose", failing)
            server.stream.cut()
            await runspace.wait_ended()
            await settle()
            assert [Notice("The recording cannot be written.")] == runspace.idle.take()
            monkeypatch.undo()

    run(main)


def test_a_runspace_has_an_id_and_no_error() -> None:
    async def main() -> None:
        async with opened() as (runspace, server):
            assert server.pool.runspace_pool_id == runspace.instance_id
            assert runspace.error is None

    run(main)
