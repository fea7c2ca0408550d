"""A replay says what was recorded, to whoever asks the same; the session above it is the real one."""

from __future__ import annotations

import asyncio
import selectors
import struct
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psrpcore
import pytest

from pskernel.errors import PipelineFailed, TransportClosed
from pskernel.protocol.decode import decode_state
from pskernel.protocol.fragments import fragment
from pskernel.protocol.pipelines import PipelineShape
from pskernel.protocol.runspace import PoolOpened, PoolSettings, RunspaceProtocol
from pskernel.records import ErrorRecord, HostCall, HostText, Notice, Output, PipelineEnd, PipelineState
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.transports.base import Payload
from pskernel.transports.cassettes.asked import Key
from pskernel.transports.cassettes.cassette import Act, Cassette, Event, Mark, Recording, Sent
from pskernel.transports.cassettes.replay import ReplayTransport
from tests.parts.sessions import (
    ENDLESS,
    PROMPT,
    SAMPLE,
    SAMPLE_CELLS,
    notices,
    record,
    run_cell,
    run_cells,
    run_through,
    until_idle,
)

CELL = Key((("1", True), ("Out-Default", False)))
OTHER = Key((("2", True), ("Out-Default", False)))
QUERY = Key((("1", True),))
STOPPED = next(r for r in Cassette.load(SAMPLE).recordings if r.key.cell == ENDLESS).events[-1]
CALL = next(r for r in Cassette.load(SAMPLE).recordings if r.key.cell == PROMPT).events[0]


def out(text: str, seconds: float = 0.0) -> Sent:
    return Sent(seconds, 0x00041004, f"<S>{text}</S>".encode())


def completed(seconds: float = 0.0) -> Sent:
    return Sent(seconds, 0x00041006, b'<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>')


def answered(seconds: float = 0.0) -> Mark:
    return Mark(seconds, Act.ANSWERED)


def signalled(seconds: float = 0.0) -> Mark:
    return Mark(seconds, Act.SIGNALLED)


def once(*events: Event, key: Key = CELL) -> Recording:
    return Recording(key, events)


def playing(*recordings: Recording, path: str = "", speed: float = 0.0, strict: bool = False) -> ReplayTransport:
    cassette = replace(Cassette.load(SAMPLE), recordings=recordings, path=path)
    return ReplayTransport(cassette, speed=speed, strict=strict)


def error_of(end: PipelineEnd | None) -> ErrorRecord:
    assert end is not None
    assert end.error is not None
    return end.error


class Leaping(asyncio.SelectorEventLoop):
    """An event loop whose clock leaps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_LeapingSelector(self))
        self.leapt = 0.0

    def time(self) -> float:
        return self.leapt


class _LeapingSelector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def __init__(self, loop: Leaping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self._loop.leapt += timeout
        return super().select(0)


def run_leaping(main: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


# ---- what is played ----


def test_the_kept_recording_plays_without_an_engine() -> None:
    async def main() -> None:
        seen = await run_through(ReplayTransport(Cassette.load(SAMPLE), speed=0, strict=True), SAMPLE_CELLS)
        shown = dict(zip(SAMPLE_CELLS, seen, strict=True))
        end = "PipelineEnd(state=<PipelineState.COMPLETED: 4>, error=None)"
        assert [seen[0], seen[1], seen[3]] == [[repr(HostText(f"{n}\n")), end] for n in (2, 1, 2)]
        assert "percent=5" in shown[SAMPLE_CELLS[2]][2]
        assert "Attempted to divide by zero" in shown[SAMPLE_CELLS[2]][4]
        assert shown["throw 'x'"][-1] == repr(HostText("Error: x\n"))
        assert "nobody is here" in shown[PROMPT][1]
        assert shown[SAMPLE_CELLS[6]][0] == repr(HostText("h\u00e9 \U0001f600\n"))
        assert "SetShouldExit" in shown[SAMPLE_CELLS[6]][1]
        assert "STOPPED" in shown[ENDLESS][1]

    asyncio.run(main())


def test_it_plays_the_same_each_time() -> None:
    async def main() -> None:
        cassette = Cassette.load(SAMPLE)
        first = await run_through(ReplayTransport(cassette, speed=0), SAMPLE_CELLS)
        assert first == await run_through(ReplayTransport(cassette, speed=100), SAMPLE_CELLS)

    asyncio.run(main())


def test_a_cell_is_found_by_its_text_and_occurrence() -> None:
    async def main() -> None:
        transport = playing(
            once(out("first"), completed()),
            once(out("other"), completed(), key=OTHER),
            once(out("second"), completed()),
            once(out("query"), completed(), key=QUERY),
        )
        seen = await run_through(transport, ["2", "1", "1"])
        assert [lines[0] for lines in seen] == [repr(Output(text)) for text in ("other", "first", "second")]

    asyncio.run(main())


def test_an_error_is_displayed_by_what_it_is() -> None:
    async def main() -> None:
        async with await Runspace.open(ReplayTransport(Cassette.load(SAMPLE), speed=0)) as runspace:
            pipeline = await runspace.run_cell("throw 'x'")
            await pipeline.wait_ended()
            error = error_of(pipeline.end)
            assert await runspace.display_error(error) == [HostText("Error: x\n")]
            other = replace(error, clixml=error.clixml.replace(b">x<", b">y<"))
            assert await runspace.display_error(other) == []

    asyncio.run(main())


def test_large_messages_are_whole() -> None:
    async def main() -> None:
        text = "x" * 100_000
        async with await Runspace.open(playing(once(out(text), completed(), key=QUERY))) as runspace:
            assert await runspace.query("1") == [text]

    asyncio.run(main())


def test_a_long_recording_comes_in_pieces() -> None:
    async def main() -> None:
        client = Client(playing(once(*[out("x")] * 10_000, completed())))
        await client.open()
        await client.start()
        sizes = []
        while sum(sizes) < 10_001:
            sizes.append(len(await client.transport.receive()))
        assert max(sizes) < 1000

    asyncio.run(main())


def test_what_came_for_the_pool_comes_for_the_pool() -> None:
    async def main() -> None:
        event = Sent(0.0, 0x00021008, b"<S>event</S>")
        client = Client(playing(once(event, completed())))
        await client.open()
        pipeline_id = await client.start()
        first, second = (item for item in await client.transport.receive() if isinstance(item, Payload))
        assert (first.pipeline_id, second.pipeline_id) == (None, pipeline_id)
        runspace_id = client.protocol.runspace_id.bytes_le
        assert first.data[21:61] == struct.pack("<II", 1, 0x00021008) + runspace_id + bytes(16)
        assert second.data[21:61] == struct.pack("<II", 1, 0x00041006) + runspace_id + pipeline_id.bytes_le

    asyncio.run(main())


# ---- what was not recorded ----


@pytest.mark.parametrize("strict", [False, True])
def test_an_unknown_cell_is_an_error_and_the_session_goes_on(strict: bool) -> None:
    async def main() -> None:
        transport = playing(once(out("a"), completed()), path="/runs/c.jsonl", strict=strict)
        async with await Runspace.open(transport) as runspace:
            pipeline = await runspace.run_cell("unknown <&> {0} é")
            await pipeline.wait_ended()
            assert pipeline.end is not None
            assert pipeline.end.state is PipelineState.FAILED
            error = error_of(pipeline.end)
            assert error.fully_qualified_error_id == "CellNotRecorded"
            assert error.exception_type == "System.Management.Automation.RuntimeException"
            assert error.category == "ObjectNotFound: (:) [], RuntimeException"
            assert error.message == (
                "This cell is not in the recording /runs/c.jsonl of process:. Nothing was run. To run it, use a live "
                "target (--target ssh://user@host), or record it anew with `pskernel record`."
            )
            assert await runspace.display_error(error) == []
            with pytest.raises(PipelineFailed, match="This query is not in the recording"):
                await runspace.query("another")
            assert await run_cell(runspace, "1") == [repr(Output("a")), repr(PipelineEnd(PipelineState.COMPLETED))]

    asyncio.run(main())


def test_the_name_of_the_file_may_be_anything() -> None:
    async def main() -> None:
        async with await Runspace.open(playing(path="a<b>&{c}_x0041_.jsonl")) as runspace:
            with pytest.raises(PipelineFailed) as raised:
                await runspace.query("1")
            assert "a<b>&{c}_x0041_.jsonl" in str(raised.value)

    asyncio.run(main())


def test_a_repeated_cell_gets_its_last_answer_with_a_note() -> None:
    async def main() -> None:
        transport = playing(once(out("first"), completed()), once(out("second"), completed()), path="c.jsonl")
        seen = await run_through(transport, ["1"] * 4)
        assert [lines[-2] for lines in seen] == [repr(Output(text)) for text in ("first", "second", "second", "second")]
        assert [len(notices(lines)) for lines in seen] == [0, 0, 1, 1]
        text = "This cell was recorded 2 times in the recording c.jsonl of process:; showing its last recorded answer again."
        assert seen[2][0] == repr(Notice(text))

    asyncio.run(main())


def test_a_repeated_cell_is_an_error_in_strict_mode() -> None:
    async def main() -> None:
        transport = playing(once(out("first"), completed()), once(out("other"), completed(), key=OTHER), strict=True)
        first, again, other = await run_through(transport, ["1", "1", "2"])
        assert repr(Output("first")) in first
        assert "CellNotRecorded" in again[0]
        assert "was recorded 1 time in the recording" in again[0]
        assert "this is time 2" in again[0]
        assert repr(Output("other")) in other

    asyncio.run(main())


def test_strict_mode_keeps_the_order() -> None:
    async def main() -> None:
        recordings = once(out("a"), completed()), once(out("b"), completed(), key=OTHER), once(out("c"), completed())
        for cells, refused in ((["1", "2", "1"], None), (["1", "1"], None), (["2", "1"], 1)):
            seen = await run_through(playing(*recordings, strict=True), cells)
            for index, lines in enumerate(seen):
                assert ("the replay is strict" in lines[0]) == (index == refused)
            seen = await run_through(playing(*recordings), cells)
            assert not [lines for lines in seen if "CellNotRecorded" in lines[0]]

    asyncio.run(main())


@pytest.mark.parametrize("strict", [False, True])
def test_queries_of_our_own_are_answered_as_often_as_they_come(strict: bool) -> None:
    async def main() -> None:
        transport = playing(
            once(out("one"), completed(), key=QUERY),
            once(completed()),
            once(out("two"), completed(), key=QUERY),
            strict=strict,
        )
        async with await Runspace.open(transport) as runspace:
            assert [await runspace.query("1") for _ in range(3)] == [["one"], ["two"], ["two"]]
            assert notices(await run_cell(runspace, "1")) == []

    asyncio.run(main())


def test_a_connection_that_was_lost_before_anything_came() -> None:
    async def main() -> None:
        client = Client(playing(once()))
        await client.open()
        await client.start()
        with pytest.raises(TransportClosed, match="ends within this cell"):
            await client.hear()

    run_leaping(main())


def test_a_lost_connection_is_lost_again() -> None:
    async def main() -> None:
        runspace = await Runspace.open(playing(once(out("a"), out("b")), path="c.jsonl"))
        pipeline = await runspace.run_cell("1")
        seen = []
        with pytest.raises(TransportClosed, match=r"was lost here when the recording c\.jsonl of process: was made"):
            async for item in pipeline:
                seen.append(item)
        assert seen == [Output("a"), Output("b")]
        assert runspace.state is RunspaceState.BROKEN
        await runspace.aclose()

    asyncio.run(main())


# ---- what waits for the client ----


class Client:
    """A session's protocol over a replay, one call at a time."""

    def __init__(self, transport: ReplayTransport) -> None:
        self.transport = transport
        self.protocol = RunspaceProtocol(PoolSettings(), transport.max_payload)

    async def open(self) -> None:
        for outgoing in self.protocol.open():
            for piece in outgoing.fragments:
                await self.transport.open(piece)
        while PoolOpened() not in await self.hear():
            pass

    async def start(self, text: str = "1") -> UUID:
        pipeline_id, outgoing = self.protocol.start(PipelineShape.CELL, text)
        await self.transport.command(pipeline_id, outgoing.fragments[0])
        for piece in outgoing.fragments[1:]:
            await self.transport.send(pipeline_id, piece)
        return pipeline_id

    async def hear(self) -> list[object]:
        heard: list[object] = []
        for item in await asyncio.wait_for(self.transport.receive(), 100):
            heard += [r for _, r in self.protocol.receive(item.data)] if isinstance(item, Payload) else [item]
        return heard

    async def answer(self, pipeline_id: UUID, call_id: int = 1) -> None:
        for outgoing in self.protocol.answer(call_id, "x"):
            await self.transport.send(pipeline_id, outgoing.fragments[0], prompt_response=True)

    async def hears_nothing(self) -> bool:
        try:
            await asyncio.wait_for(self.transport.receive(), 1000)
        except TimeoutError:
            return True
        return False


def test_nothing_is_played_before_the_pool_is_asked_for() -> None:
    async def main() -> None:
        client = Client(playing())
        assert await client.hears_nothing()
        await client.open()

    run_leaping(main())


def test_it_waits_for_the_answer() -> None:
    async def main() -> None:
        client = Client(playing(once(out("a"), CALL, answered(), out("b"), completed())))
        await client.open()
        pipeline_id = await client.start()
        first, call = await client.hear()
        assert first == Output("a")
        assert isinstance(call, HostCall)
        assert await client.hears_nothing()
        await client.answer(pipeline_id)
        assert await client.hear() == [Output("b"), PipelineEnd(PipelineState.COMPLETED)]

    run_leaping(main())


def test_an_early_answer_counts() -> None:
    async def main() -> None:
        client = Client(playing(once(CALL, out("a", 5), answered(6), out("b", 8), completed(8)), speed=1))
        await client.open()
        pipeline_id = await client.start()
        await client.hear()
        await client.answer(pipeline_id)
        assert await client.hear() == [Output("a")]
        began = now()
        assert await client.hear() == [Output("b"), PipelineEnd(PipelineState.COMPLETED)]
        assert now() - began == pytest.approx(2, abs=0.1)

    run_leaping(main())


def test_each_answer_counts_once() -> None:
    async def main() -> None:
        second = replace(CALL, body=CALL.body.replace(b">1</I64>", b">2</I64>")) if isinstance(CALL, Sent) else CALL
        client = Client(playing(once(CALL, answered(), second, answered(), completed())))
        await client.open()
        pipeline_id = await client.start()
        await client.hear()
        await client.answer(pipeline_id, 1)
        (call,) = await client.hear()
        assert isinstance(call, HostCall)
        assert await client.hears_nothing()
        await client.answer(pipeline_id, 2)
        assert await client.hear() == [PipelineEnd(PipelineState.COMPLETED)]

    run_leaping(main())


def test_a_stop_where_it_was_stopped_plays_on() -> None:
    async def main() -> None:
        client = Client(playing(once(out("a"), signalled(), out("last words"), STOPPED)))
        await client.open()
        pipeline_id = await client.start()
        assert await client.hear() == [Output("a")]
        await client.transport.signal(pipeline_id)
        words, end = await client.hear()
        assert words == Output("last words")
        assert isinstance(end, PipelineEnd)
        assert end.state is PipelineState.STOPPED

    run_leaping(main())


def test_a_stop_needs_no_reader_to_have_caught_up() -> None:
    async def main() -> None:
        client = Client(playing(once(*[out("a")] * 600, signalled(), STOPPED)))
        await client.open()
        pipeline_id = await client.start()
        heard = await client.hear()
        await client.transport.signal(pipeline_id)
        while not isinstance(heard[-1], PipelineEnd):
            heard += await client.hear()
        assert len(heard) == 601

    run_leaping(main())


@pytest.mark.parametrize(
    "events",
    [
        (out("a"), out("b", 5), completed(5)),
        (out("a"), out("b", 5), signalled(6), STOPPED),
        (out("a"), CALL, answered(6), completed(7)),
    ],
)
def test_a_stop_anywhere_else_stops_at_once(events: tuple[Event, ...]) -> None:
    async def main() -> None:
        client = Client(playing(once(*events), once(out("b"), completed()), speed=1))
        await client.open()
        pipeline_id = await client.start()
        assert (await client.hear())[0] == Output("a")
        began = now()
        await client.transport.signal(pipeline_id)
        (end,) = await client.hear()
        assert now() == began
        assert end == decoded(STOPPED)
        await client.transport.signal(pipeline_id)
        assert await client.hears_nothing()
        await client.start()
        assert await client.hear() == [Output("b"), PipelineEnd(PipelineState.COMPLETED)]

    run_leaping(main())


def decoded(state: Event) -> PipelineEnd:
    """What the engine's own message says."""
    assert isinstance(state, Sent)
    end = decode_state(state.body)
    assert end is not None
    return end


def test_a_pipeline_that_waits_for_input_can_be_stopped() -> None:
    async def main() -> None:
        client = Client(playing())
        await client.open()
        pipeline_id, outgoing = client.protocol.start(PipelineShape.DISPLAY)
        await client.transport.command(pipeline_id, outgoing.fragments[0])
        assert await client.hears_nothing()
        await client.transport.signal(pipeline_id)
        assert await client.hear() == [decoded(STOPPED)]
        for message in client.protocol.input_error(pipeline_id, b"<S>late</S>"):
            await client.transport.send(pipeline_id, message.fragments[0])
        assert await client.hears_nothing()

    run_leaping(main())


# ---- time ----


@pytest.mark.parametrize(
    ("speed", "times"), [(1.0, [2, 4, 14]), (2.0, [1, 2, 12]), (0.1, [10, 20, 30]), (0, [0, 0, 0])]
)
def test_the_pace(speed: float, times: list[float]) -> None:
    async def main() -> None:
        client = Client(playing(once(out("a", 2), out("b", 4), out("c", 104), completed(104)), speed=speed))
        await client.open()
        began = now()
        await client.start()
        heard: list[tuple[object, float]] = []
        while len(heard) < 4:
            heard += [(item, now() - began) for item in await client.hear()]
        assert [item for item, _ in heard[:3]] == [Output("a"), Output("b"), Output("c")]
        assert [time for _, time in heard[:3]] == pytest.approx(times, abs=0.1)

    run_leaping(main())


def test_the_time_the_client_takes_is_its_own() -> None:
    async def main() -> None:
        client = Client(playing(once(CALL, answered(5), out("a", 6), completed(6)), speed=1))
        await client.open()
        pipeline_id = await client.start()
        await client.hear()
        assert await client.hears_nothing()
        began = now()
        await client.answer(pipeline_id)
        assert (await client.hear())[0] == Output("a")
        assert now() - began == pytest.approx(1, abs=0.1)

    run_leaping(main())


# ---- what the client asks of the pool ----


def test_keys_are_exchanged() -> None:
    async def main() -> None:
        client = Client(playing())
        await client.open()
        pool = client.protocol._pool
        pool.exchange_key()
        payload = pool.data_to_send()
        assert payload is not None
        await client.transport.send(None, payload.data)
        (answer,) = await client.transport.receive()
        assert isinstance(answer, Payload)
        assert answer.pipeline_id is None
        pool.receive_data(psrpcore.PSRPPayload(answer.data, psrpcore.StreamType.default, None))
        assert isinstance(pool.next_event(), psrpcore.EncryptedSessionKeyEvent)
        assert pool._cipher.decrypt(pool._cipher.encrypt("both ends of it")) == "both ends of it"

    asyncio.run(main())


def test_a_cell_that_was_stopped_ends_also_where_nobody_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.transports.cassettes.replay._STOP_PATIENCE", 0.05)

    async def main() -> None:
        transport = ReplayTransport(Cassette.load(SAMPLE), speed=0)
        async with await Runspace.open(transport) as runspace:
            pipeline = await runspace.run_cell(ENDLESS)
            async for _ in pipeline:
                pass
            assert pipeline.end is not None
            assert PipelineState.STOPPED is pipeline.end.state

    asyncio.run(main())


def test_the_runspace_can_be_reset() -> None:
    async def main() -> None:
        async with await Runspace.open(playing(once(out("a"), completed()))) as runspace:
            await run_cells(runspace, ["1"])
            await until_idle(runspace)
            async with asyncio.timeout(10):
                await runspace.reset()

    asyncio.run(main())


# ---- the contract of transports ----


def test_receive_can_be_cancelled_and_loses_nothing() -> None:
    async def main() -> None:
        client = Client(playing(once(out("a"), completed())))
        await client.open()
        waiting = asyncio.create_task(client.transport.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.start()
        assert await client.hear() == [Output("a"), PipelineEnd(PipelineState.COMPLETED)]

    asyncio.run(main())


def test_closing_ends_a_waiting_receive_and_everything_after() -> None:
    async def main() -> None:
        client = Client(playing(once(out("a"), completed())))
        await client.open()
        waiting = asyncio.create_task(client.transport.receive())
        await asyncio.sleep(0)
        await client.transport.close_pool()
        await client.transport.aclose()
        await client.transport.aclose()
        with pytest.raises(TransportClosed, match="closed on this side"):
            await asyncio.wait_for(waiting, 10)
        pipeline_id, outgoing = client.protocol.start(PipelineShape.CELL, "1")
        transport, data = client.transport, outgoing.fragments[0]
        for call in (
            lambda: transport.open(data),
            lambda: transport.command(pipeline_id, data),
            lambda: transport.send(pipeline_id, data),
            lambda: transport.signal(pipeline_id),
            lambda: transport.close_pipeline(pipeline_id),
            transport.close_pool,
            transport.receive,
        ):
            with pytest.raises(TransportClosed):
                await call()
        assert "replay" in transport.diagnostics()

    asyncio.run(main())


def test_what_was_not_read_is_gone_after_closing() -> None:
    async def main() -> None:
        client = Client(playing(once(out("a"), completed())))
        await client.open()
        await client.start()
        await client.transport.aclose()
        with pytest.raises(TransportClosed):
            await client.transport.receive()

    asyncio.run(main())


def test_a_pipeline_in_many_fragments_is_found() -> None:
    async def main() -> None:
        text = "1" * 100_000
        key = Key(((text, True), ("Out-Default", False)))
        client = Client(playing(once(out("a"), completed(), key=key)))
        await client.open()
        pipeline_id, outgoing = client.protocol.start(PipelineShape.CELL, text)
        assert len(outgoing.fragments) > 3
        assert max(map(len, fragment(1, b"".join(outgoing.fragments), client.transport.max_payload))) == 32_768
        await client.transport.command(pipeline_id, outgoing.fragments[0])
        for piece in outgoing.fragments[1:]:
            await client.transport.send(pipeline_id, piece)
        assert (await client.hear())[0] == Output("a")

    asyncio.run(main())


# ---- against the real engine ----

LIVE_CELLS = [
    *SAMPLE_CELLS,
    "Write-Host hi -ForegroundColor Red; Write-Host; Write-Information i -InformationAction Continue",
    "Write-Verbose v -Verbose; Write-Debug d -Debug; Write-Error 'e'; 'after'",
    "1..5 | ForEach-Object { Write-Progress count -Status $_ -PercentComplete ($_ * 20) }; Write-Progress count -Completed",
    "Get-Item /no/such/file",
    "Get-Item /no/such/file -ErrorAction Stop",
    "if (",
    "}{",
    "throw [System.InvalidOperationException]::new('typed')",
    "function Test-It { throw 'inside' }; Test-It",
    "Read-Host name",
    "$Host.UI.PromptForChoice('t', 'm', @('&Yes', '&No'), 0)",
    "'x' * 100000",
    "1..600",
    "[pscustomobject]@{ a = 1; b = '\u0442\u0435\u0441\u0442 _x000A_ \U0001f600' } | Format-List",
    '"`e[31mred`e[0m`t`0end"',
    "$null; ''; @()",
    "Exit-PSSession",
    "[guid]::NewGuid()",
    ENDLESS,
]


@pytest.mark.live
def test_a_replay_is_what_the_session_was(pwsh: str, tmp_path: Path) -> None:
    async def main() -> None:
        cassette, seen = await record(pwsh, LIVE_CELLS)
        cassette.save(tmp_path / "c.jsonl")
        loaded = Cassette.load(tmp_path / "c.jsonl")
        assert loaded == cassette
        for speed in (0.0, 50.0):
            again = await run_through(ReplayTransport(loaded, speed=speed, strict=True), LIVE_CELLS)
            for text, lines, replayed in zip(LIVE_CELLS, seen, again, strict=True):
                assert (text, replayed) == (text, lines)

    asyncio.run(main())
