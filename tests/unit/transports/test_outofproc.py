"""The out-of-process transport over a line in memory."""

from __future__ import annotations

import asyncio
from uuid import uuid4

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
