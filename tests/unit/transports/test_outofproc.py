"""The out-of-process transport over a line in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from pskernel.errors import NotPowerShell, RemoteProtocolError, TransportClosed
from pskernel.protocol.outofproc import PacketKind, encode_data, encode_empty
from pskernel.records import Notice
from pskernel.transports.base import Payload
from pskernel.transports.outofproc import OutOfProcTransport
from tests.fakes.memory import MemoryStream, memory_pair

PIPELINE = uuid4()
DATA = encode_data(None, b"x")


def ack(kind: PacketKind, pipeline_id: object = PIPELINE) -> bytes:
    return f"<{kind.value} PSGuid='{pipeline_id}' />\n".encode()


def pair() -> tuple[OutOfProcTransport, MemoryStream]:
    near, far = memory_pair()
    return OutOfProcTransport(near), far


async def lines(far: MemoryStream, count: int) -> list[bytes]:
    """The next lines that the client sends."""
    data = b""
    while data.count(b"\n") < count:
        data += await far.receive()
    return data.splitlines()


@asynccontextmanager
async def reading(
    transport: OutOfProcTransport, far: MemoryStream
) -> AsyncIterator[tuple[OutOfProcTransport, MemoryStream]]:
    """Somebody reads what arrives, as a session does."""
    reader = asyncio.create_task(transport.receive())
    try:
        yield transport, far
    finally:
        await transport.aclose()
        await asyncio.gather(reader, return_exceptions=True)


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_command_waits_for_its_acknowledgement_before_data() -> None:
    async def main() -> None:
        transport, far = pair()
        reading = asyncio.create_task(transport.receive())
        command = asyncio.create_task(transport.command(PIPELINE, b"create"))
        assert [b"<Command PSGuid='%s' />" % str(PIPELINE).encode()] == await lines(far, 1)
        await settle()
        assert not command.done()
        await far.send(ack(PacketKind.COMMAND_ACK))
        assert [encode_data(PIPELINE, b"create").strip()] == await lines(far, 1)
        await command
        reading.cancel()
        await transport.aclose()

    asyncio.run(main())


def test_data_and_signals_wait_for_the_data_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.transports.outofproc._CREATION_SECONDS", 60.0)

    async def main() -> None:
        transport, far = pair()
        reading = asyncio.create_task(transport.receive())
        await transport.send(PIPELINE, b"1")
        second = asyncio.create_task(transport.send(PIPELINE, b"2"))
        other = asyncio.create_task(transport.send(None, b"3"))
        assert [encode_data(PIPELINE, b"1").strip(), encode_data(None, b"3").strip()] == await lines(far, 2)
        signal = asyncio.create_task(transport.signal(PIPELINE))
        await settle()
        assert not second.done()
        assert not signal.done()
        await far.send(ack(PacketKind.DATA_ACK))
        assert [encode_data(PIPELINE, b"2").strip()] == await lines(far, 1)
        await far.send(ack(PacketKind.DATA_ACK))
        assert [encode_empty(PacketKind.SIGNAL, PIPELINE).strip()] == await lines(far, 1)
        await asyncio.gather(second, other, signal)
        reading.cancel()
        await transport.aclose()

    asyncio.run(main())


def test_a_signal_does_not_wait_for_a_server_that_owes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.transports.outofproc._CREATION_SECONDS", 0.01)

    async def main() -> None:
        transport, far = pair()
        reading = asyncio.create_task(transport.receive())
        await transport.send(PIPELINE, b"1")
        await transport.signal(PIPELINE)
        assert encode_empty(PacketKind.SIGNAL, PIPELINE).strip() == (await lines(far, 2))[1]
        reading.cancel()
        await transport.aclose()

    asyncio.run(main())


def test_a_banner_is_a_notice_and_data_is_never_acknowledged() -> None:
    async def main() -> None:
        transport, far = pair()
        await far.send(b"Welcome!\n" + DATA)
        notice, payload = await transport.receive()
        assert isinstance(notice, Notice)
        assert "Welcome!" in notice.text
        assert Payload(None, b"x") == payload
        await transport.aclose()
        assert b"" == await far.receive()

    asyncio.run(main())


def test_an_endless_talker_is_not_powershell() -> None:
    async def main() -> None:
        transport, far = pair()
        await far.send(b"y\n" * 300)
        with pytest.raises(NotPowerShell, match=r"not as PowerShell does.*It wrote: y"):
            while True:
                await transport.receive()
        await transport.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "error", "says"),
    [
        (b"", NotPowerShell, "No PowerShell answered"),
        (b"HTTP/1.1 400 Bad Request\r\n", NotPowerShell, "HTTP/1.1 400 Bad Request"),
        (b"half a li", NotPowerShell, "half a li"),
        (DATA, TransportClosed, "ended the connection"),
        (DATA + DATA[:20], TransportClosed, "ended the connection"),
    ],
)
def test_an_end_is_told_by_what_came_before(sent: bytes, error: type[Exception], says: str) -> None:
    async def main() -> None:
        transport, far = pair()
        if sent:
            await far.send(sent)
        far.half_close()
        with pytest.raises(error, match=says):
            while True:
                await transport.receive()
        with pytest.raises(error):
            await transport.send(None, b"more")
        await transport.aclose()

    asyncio.run(main())


def test_a_cut_wakes_who_waits_for_an_acknowledgement() -> None:
    async def main() -> None:
        transport, far = pair()
        reading = asyncio.create_task(transport.receive())
        waiting = asyncio.create_task(transport.command(PIPELINE, b"x"))
        await lines(far, 1)
        await far.send(DATA)
        await reading
        reading = asyncio.create_task(transport.receive())
        far.cut()
        with pytest.raises(TransportClosed):
            await waiting
        with pytest.raises(TransportClosed):
            await reading
        await transport.aclose()

    asyncio.run(main())


def test_an_acknowledgement_of_nothing_breaks_the_line() -> None:
    async def main() -> None:
        transport, far = pair()
        await far.send(ack(PacketKind.SIGNAL_ACK))
        with pytest.raises(RemoteProtocolError):
            await transport.receive()
        await transport.aclose()

    asyncio.run(main())


def test_closing_is_idempotent_and_wakes_waiters() -> None:
    async def main() -> None:
        transport, far = pair()
        reading = asyncio.create_task(transport.receive())
        closing = asyncio.create_task(transport.close_pool())
        await lines(far, 1)
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(TransportClosed):
            await closing
        with pytest.raises((TransportClosed, NotPowerShell)):
            await reading

    asyncio.run(main())


# ---- acknowledgements ----


def test_an_acknowledgement_of_another_does_not_count() -> None:
    async def main() -> None:
        other = uuid4()
        async with reading(*pair()) as (transport, far):
            commands = [asyncio.create_task(transport.command(i, b"create")) for i in (PIPELINE, other)]
            await lines(far, 2)
            await far.send(ack(PacketKind.COMMAND_ACK, other))
            assert [encode_data(other, b"create").strip()] == await lines(far, 1)
            assert not commands[0].done()
            await far.send(ack(PacketKind.COMMAND_ACK))
            await asyncio.gather(*commands)

    asyncio.run(main())


def test_a_slow_server_gets_one_packet_at_a_time() -> None:
    async def main() -> None:
        async with reading(*pair()) as (transport, far):
            expected = [f"{number}".encode() for number in range(20)]
            sending = [asyncio.create_task(transport.send(PIPELINE, data)) for data in expected]
            for data in expected:
                assert [encode_data(PIPELINE, data).strip()] == await lines(far, 1)
                await settle()
                assert far._in.size == 0
                await far.send(ack(PacketKind.DATA_ACK))
            await asyncio.gather(*sending)

    asyncio.run(main())


def test_an_answer_to_a_prompt_waits_like_any_data() -> None:
    async def main() -> None:
        async with reading(*pair()) as (transport, far):
            await transport.send(PIPELINE, b"1")
            answer = asyncio.create_task(transport.send(PIPELINE, b"2", prompt_response=True))
            await lines(far, 1)
            await settle()
            assert not answer.done()
            await far.send(ack(PacketKind.DATA_ACK))
            assert [encode_data(PIPELINE, b"2", prompt_response=True).strip()] == await lines(far, 1)
            await answer

    asyncio.run(main())


@pytest.mark.parametrize("pipeline_id", [None, PIPELINE])
def test_closing_waits_until_the_server_has_closed(pipeline_id: UUID | None) -> None:
    async def main() -> None:
        async with reading(*pair()) as (transport, far):
            close = transport.close_pool() if pipeline_id is None else transport.close_pipeline(pipeline_id)
            closing = asyncio.create_task(close)
            assert [encode_empty(PacketKind.CLOSE, pipeline_id).strip()] == await lines(far, 1)
            await settle()
            assert not closing.done()
            await far.send(ack(PacketKind.CLOSE_ACK, pipeline_id or UUID(int=0)))
            await closing

    asyncio.run(main())


def test_who_gives_up_waiting_lets_the_next_one_go() -> None:
    async def main() -> None:
        async with reading(*pair()) as (transport, far):
            await transport.send(PIPELINE, b"1")
            impatient = asyncio.create_task(transport.send(PIPELINE, b"2"))
            patient = asyncio.create_task(transport.send(PIPELINE, b"3"))
            await settle()
            impatient.cancel()
            await far.send(ack(PacketKind.DATA_ACK))
            await patient
            assert [encode_data(PIPELINE, b"1").strip(), encode_data(PIPELINE, b"3").strip()] == await lines(far, 2)

    asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [
        ack(PacketKind.SIGNAL_ACK),
        ack(PacketKind.COMMAND_ACK, uuid4()),
        ack(PacketKind.COMMAND),
        b"y" * (4 * 1024 * 1024 + 300_000),
    ],
    ids=["kind", "id", "request", "endless line"],
)
def test_broken_framing_wakes_who_waits_for_an_acknowledgement(sent: bytes) -> None:
    async def main() -> None:
        transport, far = pair()
        waiting = asyncio.create_task(transport.command(PIPELINE, b"x"))
        await lines(far, 1)
        sending = asyncio.create_task(far.send(DATA + sent))
        with pytest.raises(RemoteProtocolError):
            while True:
                await transport.receive()
        with pytest.raises(TransportClosed, match=r"answers nothing|without ending the line"):
            await waiting
        with pytest.raises(TransportClosed):
            await transport.signal(PIPELINE)
        await transport.aclose()
        await asyncio.gather(sending, return_exceptions=True)

    asyncio.run(main())


def test_finished_pipelines_are_forgotten() -> None:
    async def main() -> None:
        async with reading(*pair()) as (transport, far):
            for number in range(1, 50):
                pipeline = UUID(int=number)
                work = asyncio.create_task(run_pipeline(transport, pipeline))
                for kind in (PacketKind.COMMAND_ACK, PacketKind.DATA_ACK, PacketKind.CLOSE_ACK):
                    await lines(far, 1)
                    await far.send(ack(kind, pipeline))
                await work
            assert not transport._acks._owed
            assert len(transport._id_locks) <= 1

    async def run_pipeline(transport: OutOfProcTransport, pipeline: UUID) -> None:
        await transport.command(pipeline, b"x")
        await transport._settled(PacketKind.DATA, pipeline)
        await transport.close_pipeline(pipeline)

    asyncio.run(main())


# ---- lines that are no packets ----


def test_a_long_banner_is_shown_in_part_and_does_no_harm() -> None:
    async def main() -> None:
        transport, far = pair()
        await far.send(b"".join(b"line %d\n" % number for number in range(200)) + DATA + b"later\n" * 500 + DATA)
        items: list[Payload | Notice] = []
        while sum(isinstance(item, Payload) for item in items) < 2:
            items += await transport.receive()
        notices = [item.text for item in items if isinstance(item, Notice)]
        assert 21 == len(notices)
        assert notices[0].endswith("line 0")
        assert notices[19].endswith("line 19")
        assert "not shown any more" in notices[20]
        await transport.aclose()

    asyncio.run(main())


def test_what_a_profile_prints_later_is_a_notice() -> None:
    async def main() -> None:
        transport, far = pair()
        await far.send(DATA + b"\x1b]0;title\x07hello\n")
        payload, notice = await transport.receive()
        assert isinstance(payload, Payload)
        assert isinstance(notice, Notice)
        assert notice.text.endswith("]0;title hello")
        await transport.aclose()

    asyncio.run(main())


class Talkative(MemoryStream):
    """A stream whose far side said something beside the protocol."""

    def diagnostics(self) -> str:
        return "The process ssh exited with status 255."


@pytest.mark.parametrize("before", [b"", DATA])
def test_what_the_far_side_said_is_quoted(before: bytes) -> None:
    async def main() -> None:
        near, far = memory_pair()
        transport = OutOfProcTransport(Talkative(near._out, near._in))
        await far.send(b"Permission denied\n" + before)
        far.half_close()
        with pytest.raises((NotPowerShell, TransportClosed)) as caught:
            while True:
                await transport.receive()
        assert (TransportClosed if before else NotPowerShell) is type(caught.value)
        assert "It wrote: Permission denied." in str(caught.value)
        assert 1 == str(caught.value).count("status 255")
        assert str(caught.value).count("Permission") == 1
        await transport.aclose()

    asyncio.run(main())


def test_a_packet_in_pieces_is_a_packet() -> None:
    async def main() -> None:
        transport, far = pair()
        receiving = asyncio.create_task(transport.receive())
        for byte in DATA:
            assert not receiving.done()
            await far.send(bytes([byte]))
            await settle()
        assert [Payload(None, b"x")] == await receiving
        await transport.aclose()

    asyncio.run(main())


def test_cancelling_a_receive_loses_nothing() -> None:
    async def main() -> None:
        transport, far = pair()
        for _ in range(3):
            receiving = asyncio.create_task(transport.receive())
            await settle()
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
        await far.send(DATA)
        assert [Payload(None, b"x")] == await transport.receive()
        await transport.aclose()

    asyncio.run(main())
