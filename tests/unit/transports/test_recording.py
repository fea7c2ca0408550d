"""A recorder passes everything on, and keeps what the server sent and nothing the client answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pskernel.errors import ReplayError, TransportClosed
from pskernel.protocol.hostvalues import Secret
from pskernel.protocol.pipelines import PipelineShape
from pskernel.protocol.runspace import PoolReset, PoolSettings, RunspaceProtocol
from pskernel.records import HostCall, HostText, Notice
from pskernel.session.runspace import Runspace
from pskernel.transports.base import Payload
from pskernel.transports.cassettes import recording as module
from pskernel.transports.cassettes.asked import Key
from pskernel.transports.cassettes.cassette import Act, Cassette, Event, Mark, Recording, Sent
from pskernel.transports.cassettes.recording import RecordingTransport
from pskernel.transports.cassettes.replay import ReplayTransport
from tests.parts.sessions import (
    ENDLESS,
    PROMPT,
    SAMPLE,
    SAMPLE_CELLS,
    open_recorder,
    record,
    run_cell,
    run_cells,
    run_through,
    until_idle,
)

CELL = Key((("1", True), ("Out-Default", False)))
COMPLETED = Sent(0.2, 0x00041006, b'<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>')
RUNNING = Sent(0.2, 0x00041006, b'<Obj RefId="0"><MS><I32 N="PipelineState">2</I32></MS></Obj>')
OUTPUT = Sent(0.1, 0x00041004, b"<S>out</S>")
USER_EVENT = Sent(0.3, 0x00021008, b"<S>event</S>")


def timeless(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(replace(event, seconds=0.0) for event in events)


def with_recordings(*recordings: Recording) -> Cassette:
    return replace(Cassette.load(SAMPLE), recordings=recordings)


class Remote:
    """What a server sends, by hand; what it is sent is only noted."""

    max_payload = 1234

    def __init__(self, *items: Payload | Notice) -> None:
        self.items: list[Payload | Notice] = list(items)
        self.asked: list[tuple[object, ...]] = []

    async def open(self, data: bytes) -> None:
        self.asked.append(("open", data))

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        self.asked.append(("command", pipeline_id, data))

    async def send(self, pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> None:
        self.asked.append(("send", pipeline_id, data, prompt_response))

    async def signal(self, pipeline_id: UUID) -> None:
        self.asked.append(("signal", pipeline_id))

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        self.asked.append(("close_pipeline", pipeline_id))

    async def receive(self) -> list[Payload | Notice]:
        if not self.items:
            raise TransportClosed("It left.")
        return [self.items.pop(0)]

    async def close_pool(self) -> None:
        self.asked.append(("close_pool",))

    async def aclose(self) -> None:
        self.asked.append(("aclose",))

    def diagnostics(self) -> str:
        return "what it said"


class Client:
    """A session's protocol over a recorder, one call at a time."""

    def __init__(self, cassette: Cassette) -> None:
        self.recorder = RecordingTransport(ReplayTransport(cassette, speed=0), target="here")
        self.protocol = RunspaceProtocol(PoolSettings(), 32_768)

    async def open(self) -> None:
        for outgoing in self.protocol.open():
            for fragment in outgoing.fragments:
                await self.recorder.open(fragment)
        await self.hear()

    async def hear(self) -> list[object]:
        async with asyncio.timeout(10):
            items = await self.recorder.receive()
        return [
            record
            for item in items
            if isinstance(item, Payload)
            for _, record in self.protocol.receive(item.data)
            if record
        ]

    async def start(self, text: str = "1") -> UUID:
        pipeline_id, outgoing = self.protocol.start(PipelineShape.CELL, text)
        await self.recorder.command(pipeline_id, outgoing.fragments[0])
        for fragment in outgoing.fragments[1:]:
            await self.recorder.send(pipeline_id, fragment)
        return pipeline_id

    def recorded(self) -> list[tuple[Event, ...]]:
        return [timeless(recording.events) for recording in self.recorder.cassette().recordings]


def test_a_recorded_replay_is_the_same_recording() -> None:
    async def main() -> None:
        original = Cassette.load(SAMPLE)
        recorder = RecordingTransport(ReplayTransport(original, speed=0), target=original.target)
        seen = await run_through(recorder, SAMPLE_CELLS)
        again = recorder.cassette()
        assert (again.target, again.made_with) == (original.target, original.made_with)
        assert timeless(again.opening) == timeless(original.opening)
        assert [recording.key for recording in again.recordings] == [recording.key for recording in original.recordings]
        for recording, model in zip(again.recordings, original.recordings, strict=True):
            assert timeless(recording.events) == timeless(model.events)
        assert seen == await run_through(ReplayTransport(again, speed=0), SAMPLE_CELLS)

    asyncio.run(main())


def test_times_are_seconds_from_the_creation_of_the_pipeline() -> None:
    async def main() -> None:
        client = Client(with_recordings(Recording(CELL, (OUTPUT, COMPLETED))))
        await client.open()
        opening = client.recorder.cassette().opening
        assert all(0 <= event.seconds < 10 for event in opening)
        await client.start()
        await client.hear()
        (recording,) = client.recorder.cassette().recordings
        for event in (*opening, *recording.events):
            assert 0 <= event.seconds < 10
            assert event.seconds == round(event.seconds, 3)

    asyncio.run(main())


def test_everything_is_passed_on() -> None:
    async def main() -> None:
        banner, payload = Notice("Welcome"), Payload(None, b"")
        remote = Remote(banner, payload)
        recorder = RecordingTransport(remote, target="here")
        pipeline_id = uuid4()
        await recorder.open(b"")
        await recorder.command(pipeline_id, b"")
        await recorder.send(pipeline_id, b"", prompt_response=True)
        await recorder.send(None, b"")
        await recorder.signal(pipeline_id)
        await recorder.close_pipeline(pipeline_id)
        assert await recorder.receive() == [banner]
        assert await recorder.receive() == [payload]
        with pytest.raises(TransportClosed, match="It left"):
            await recorder.receive()
        await recorder.close_pool()
        await recorder.aclose()
        await recorder.aclose()
        assert remote.asked == [
            ("open", b""),
            ("command", pipeline_id, b""),
            ("send", pipeline_id, b"", True),
            ("send", None, b"", False),
            ("signal", pipeline_id),
            ("close_pipeline", pipeline_id),
            ("close_pool",),
            ("aclose",),
            ("aclose",),
        ]
        assert recorder.max_payload == 1234
        assert recorder.diagnostics() == "what it said"

    asyncio.run(main())


def test_broken_framing_is_for_the_session_to_complain_of() -> None:
    async def main() -> None:
        broken = Payload(None, b"no fragment")
        recorder = RecordingTransport(Remote(broken, broken), target="here")
        assert await recorder.receive() == [broken]
        assert await recorder.receive() == [broken]

    asyncio.run(main())


def test_nothing_was_recorded() -> None:
    async def main() -> None:
        recorder = RecordingTransport(Remote(), target="ssh://me@host")
        with pytest.raises(ReplayError, match="Nothing was recorded: ssh://me@host did not open a session"):
            recorder.cassette()

    asyncio.run(main())


def test_a_recording_without_bounds_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(module, "MAX_BYTES", 10_000)
        output = Sent(0, OUTPUT.message_type, b"<S>" + b"x" * 6000 + b"</S>")
        client = Client(with_recordings(Recording(CELL, (output, output, COMPLETED))))
        await client.open()
        client.recorder.cassette()
        await client.start()
        assert len(await client.hear()) == 3  # the session goes on
        with pytest.raises(ReplayError, match="and was given up: record fewer cells"):
            client.recorder.cassette()

    asyncio.run(main())


def test_a_recording_that_is_asked_for_in_the_middle() -> None:
    async def main() -> None:
        client = Client(with_recordings(Recording(CELL, (OUTPUT, Mark(0, Act.SIGNALLED), COMPLETED))))
        await client.open()
        pipeline_id, outgoing = client.protocol.start(PipelineShape.CELL, "1" * 40_000)
        await client.recorder.command(pipeline_id, outgoing.fragments[0])
        assert client.recorded() == []  # nobody knows yet what it asks for
        await client.start()
        await client.hear()
        assert client.recorded() == [timeless((OUTPUT,))]

    asyncio.run(main())


def test_what_the_pool_says_between_pipelines_comes_with_the_next() -> None:
    async def main() -> None:
        client = Client(
            with_recordings(
                Recording(CELL, (RUNNING, COMPLETED, USER_EVENT)),
                Recording(CELL, (USER_EVENT, OUTPUT, COMPLETED, OUTPUT)),
                Recording(CELL, (COMPLETED,)),
            )
        )
        await client.open()
        await client.start()
        await client.hear()
        assert client.recorded() == [timeless((RUNNING, COMPLETED))]
        await client.start()
        await client.hear()
        assert client.recorded()[1] == timeless((USER_EVENT, USER_EVENT, OUTPUT, COMPLETED))
        assert client.recorder.cassette().recordings[1].events[0].seconds == 0
        await client.start()
        await client.hear()
        assert client.recorded()[2] == timeless((COMPLETED,))

    asyncio.run(main())


def test_answers_that_a_replay_gives_by_itself_are_not_recorded() -> None:
    async def main() -> None:
        client = Client(with_recordings(Recording(CELL, (COMPLETED,))))
        await client.open()
        await client.start()
        await client.hear()
        for outgoing in client.protocol.reset():
            await client.recorder.send(None, outgoing.fragments[0])
        assert await client.hear() == [PoolReset(success=True)]
        client.protocol._pool.exchange_key()
        for outgoing in client.protocol._drain():
            await client.recorder.send(None, outgoing.fragments[0])
        await client.hear()
        await client.start()
        await client.hear()
        assert client.recorded() == [timeless((COMPLETED,))] * 2

    asyncio.run(main())


def test_the_farewell_is_not_recorded() -> None:
    async def main() -> None:
        client = Client(with_recordings(Recording(CELL, (COMPLETED, USER_EVENT))))
        await client.open()
        await client.start()
        await client.recorder.close_pool()
        await client.hear()
        assert client.recorded() == [()]

    asyncio.run(main())


def marks(seen: tuple[Event, ...]) -> list[Act]:
    return [event.act for event in seen if isinstance(event, Mark)]


def test_answers_and_stops_are_marked_once_and_in_their_place() -> None:
    async def main() -> None:
        sample = {recording.key.cell: recording for recording in Cassette.load(SAMPLE).recordings}
        assert marks(sample[PROMPT].events) == [Act.ANSWERED]
        assert marks(sample[ENDLESS].events) == [Act.SIGNALLED]
        client = Client(Cassette.load(SAMPLE))
        await client.open()
        pipeline_id = await client.start(PROMPT)
        (call,) = await client.hear()
        assert isinstance(call, HostCall)
        await client.recorder.signal(pipeline_id)
        await client.recorder.signal(pipeline_id)
        assert call.call_id is not None
        for outgoing in client.protocol.answer(call.call_id, "too late"):
            await client.recorder.send(pipeline_id, outgoing.fragments[0], prompt_response=True)
        await client.hear()
        await client.recorder.signal(pipeline_id)
        (seen,) = client.recorded()
        assert marks(seen) == [Act.SIGNALLED]
        assert isinstance(seen[1], Mark)

    asyncio.run(main())


def test_nothing_waits_for_an_answer_or_a_stop_after_the_end() -> None:
    async def main() -> None:
        prompt = next(r for r in Cassette.load(SAMPLE).recordings if r.key.cell == PROMPT)
        call = prompt.events[0]
        client = Client(with_recordings(Recording(CELL, (call, COMPLETED))))
        await client.open()
        pipeline_id = await client.start()
        await client.hear()
        for outgoing in client.protocol.answer(1, "late"):
            await client.recorder.send(pipeline_id, outgoing.fragments[0], prompt_response=True)
        await client.recorder.signal(pipeline_id)
        assert client.recorded() == [timeless((call, COMPLETED))]

    asyncio.run(main())


def test_a_stop_that_stopped_nothing_is_forgotten() -> None:
    async def main() -> None:
        cassette = with_recordings(Recording(CELL, (OUTPUT, Mark(0.1, Act.SIGNALLED), OUTPUT, COMPLETED)))
        client = Client(cassette)
        await client.open()
        pipeline_id = await client.start()
        await client.hear()
        await client.recorder.signal(pipeline_id)
        await client.hear()
        assert client.recorded() == [timeless((OUTPUT, OUTPUT, COMPLETED))]

    asyncio.run(main())


def test_the_cassette_is_written_when_the_session_closes(tmp_path: Path) -> None:
    async def main() -> None:
        original, path = Cassette.load(SAMPLE), tmp_path / "c.jsonl"
        recorder = RecordingTransport(ReplayTransport(original, speed=0), target="here", save_to=str(path))
        async with await Runspace.open(recorder) as runspace:
            await run_cells(runspace, SAMPLE_CELLS)
            assert not path.exists()
        assert Cassette.load(path) == recorder.cassette()
        path.unlink()
        await recorder.aclose()
        assert not path.exists()

    asyncio.run(main())


def test_a_cassette_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "nowhere" / "c.jsonl")
        recorder = RecordingTransport(ReplayTransport(Cassette.load(SAMPLE), speed=0), target="here", save_to=path)
        runspace = await Runspace.open(recorder)
        with pytest.raises(ReplayError, match="cannot be written"):
            await runspace.aclose()

    asyncio.run(main())


def test_a_session_that_never_opened_writes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        recorder = RecordingTransport(Remote(), target="here", save_to=str(tmp_path / "c.jsonl"))
        await recorder.aclose()

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


def test_receive_can_be_cancelled() -> None:
    async def main() -> None:
        client = Client(with_recordings(Recording(CELL, (OUTPUT, COMPLETED))))
        await client.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await client.recorder.receive()
        await client.start()
        await client.hear()
        assert client.recorded() == [timeless((OUTPUT, COMPLETED))]

    asyncio.run(main())


@pytest.mark.live
def test_a_real_session_seen_through_a_recorder(pwsh: str) -> None:
    async def main() -> None:
        cassette, seen = await record(pwsh, SAMPLE_CELLS)
        assert seen == await run_through(ReplayTransport(Cassette.load(SAMPLE), speed=0), SAMPLE_CELLS)
        kept = Cassette.load(SAMPLE)
        assert [r.key.cell for r in cassette.recordings] == [r.key.cell for r in kept.recordings]
        assert [marks(r.events) for r in cassette.recordings] == [marks(r.events) for r in kept.recordings]

    asyncio.run(main())


@pytest.mark.live
def test_answers_and_keys_are_never_recorded(pwsh: str, tmp_path: Path) -> None:
    async def main() -> None:
        recorder = await open_recorder(pwsh)
        async with await Runspace.open(recorder) as runspace:
            await run_cells(runspace, [PROMPT])
            await run_cell(runspace, PROMPT, answer="plain-answer")
            await until_idle(runspace)
            pool = runspace._protocol._pool
            pool.exchange_key()
            await runspace._send(runspace._protocol._drain())
            pipeline = await runspace.run_cell("$s = $Host.UI.ReadLineAsSecureString(); 'length ' + $s.Length; $s")
            texts = []
            async for item in pipeline:
                if isinstance(item, HostCall):
                    await pipeline.reply(item, Secret("secure-answer"))
                elif isinstance(item, HostText):
                    texts.append(item.text)
            assert texts == ["length 13\n", "System.Security.SecureString\n"]
            public, _ = await runspace.query("'p' + 'ublic'; $s")
            assert public == "public"
            await runspace._send(runspace._protocol.reset())
        path = tmp_path / "c.jsonl"
        recorder.cassette().save(path)
        written = path.read_text("utf-8")
        assert "public" in written
        for secret in ("plain-answer", "secure-answer", "ENCRYPTED_SESSION_KEY", "EncryptedSessionKey", "PublicKey<"):
            assert secret not in written
        assert '"type": "0x' not in written
        assert "HOST_RESPONSE" not in written
        recordings = Cassette.load(path).recordings
        assert [marks(recording.events) for recording in recordings] == [[Act.ANSWERED]] * 3 + [[]]

    asyncio.run(main())
