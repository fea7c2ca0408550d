"""The out-of-process transport: PSRP over any byte stream (stdio, SSH, named pipe)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from pskernel.errors import NotPowerShell, RemoteProtocolError, TransportClosed
from pskernel.protocol.outofproc import (
    AckLedger,
    Junk,
    Packet,
    PacketDecoder,
    PacketKind,
    encode_data,
    encode_empty,
)
from pskernel.records import Notice
from pskernel.transports.base import (
    ByteStream,
    FileAccess,
    Interlude,
    KnowsPeer,
    MayBeAway,
    OffersFiles,
    Payload,
    Peer,
    TakenOver,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

__all__ = ["OutOfProcTransport"]

# The fragment size of PowerShell's own out-of-process transports.
_MAX_PAYLOAD = 32_768
# How long a stop waits for the server to have the whole command.
_CREATION_SECONDS = 1.0
# A banner may precede PowerShell; a peer that talks on and on is something else.
_MAX_JUNK_LINES = 200
# Shown to the user one by one only up to here.
_SHOWN_JUNK_LINES = 20
# What PowerShell writes between the packets when a session ends that Enter-PSSession had opened behind it. It means
# nothing but that, which the session finds out by itself.
_END_OF_A_HOP = "__NamedPipeError__:Remote transport error:"


class OutOfProcTransport:
    """A :class:`pskernel.transports.base.Transport` over a :class:`pskernel.transports.base.ByteStream`.

    One task must keep calling :meth:`receive`: it is also what settles the acknowledgements that senders wait for.

    Args:
        stream: connected to a PowerShell remoting server.
        news: sentences for the user about how it was connected; they are the first notices to be received.
    """

    def __init__(self, stream: ByteStream, *, news: Sequence[str] = ()) -> None:
        self._stream = stream
        self._news = news
        self._decoder = PacketDecoder()
        self._acks = AckLedger()
        self._ack_arrived = asyncio.Event()
        self._closed: TransportClosed | NotPowerShell | None = None
        self._write_lock = asyncio.Lock()
        self._id_locks: defaultdict[UUID | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._is_powershell = False
        self._junk: list[str] = []
        self._stray_lines = 0

    @property
    def max_payload(self) -> int:
        """Bytes one packet carries."""
        return _MAX_PAYLOAD

    @property
    def peer(self) -> Peer:
        """Who the far side is, where the stream knows."""
        return self._stream.peer if isinstance(self._stream, KnowsPeer) else Peer()

    @property
    def is_away(self) -> bool:
        """Whether the connection is away."""
        return isinstance(self._stream, MayBeAway) and self._stream.is_away

    async def back(self) -> None:
        """Wait until it is not."""
        if isinstance(self._stream, MayBeAway):
            await self._stream.back()

    async def open_files(self) -> FileAccess | None:
        """Files, where the stream is of a connection that has them."""
        return await self._stream.open_files() if isinstance(self._stream, OffersFiles) else None

    async def open(self, data: bytes) -> None:
        """Send the pool's first fragments."""
        await self.send(None, data)

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        """Create a pipeline.

        The server must have acknowledged Command before it sees the pipeline's Data: sent in one go they hang it.
        """
        async with self._id_locks[pipeline_id]:
            await self._write(PacketKind.COMMAND, pipeline_id, encode_empty(PacketKind.COMMAND, pipeline_id))
            await self._settled(PacketKind.COMMAND, pipeline_id)
            await self._write(PacketKind.DATA, pipeline_id, encode_data(pipeline_id, data))

    async def send(self, pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> None:
        """Send fragments, after everything sent before for the same id was acknowledged."""
        async with self._id_locks[pipeline_id]:
            await self._settled(PacketKind.DATA, pipeline_id)
            packet = encode_data(pipeline_id, data, prompt_response=prompt_response)
            await self._write(PacketKind.DATA, pipeline_id, packet)

    async def signal(self, pipeline_id: UUID) -> None:
        """Send Signal.

        A Signal that overtakes the pipeline's own creation is lost, so Data's acknowledgement is waited for, but not
        for long: a blocked server may owe it, and owes Signal's own until the blocking call returns.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CREATION_SECONDS):
                await self._settled(PacketKind.DATA, pipeline_id)
        await self._write(PacketKind.SIGNAL, pipeline_id, encode_empty(PacketKind.SIGNAL, pipeline_id))

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        """Send Close for a pipeline and wait for the acknowledgement."""
        self._id_locks.pop(pipeline_id, None)
        await self._write(PacketKind.CLOSE, pipeline_id, encode_empty(PacketKind.CLOSE, pipeline_id))
        await self._settled(PacketKind.CLOSE, pipeline_id)

    async def close_pool(self) -> None:
        """Send Close for the pool and wait for the acknowledgement."""
        await self._write(PacketKind.CLOSE, None, encode_empty(PacketKind.CLOSE, None))
        await self._settled(PacketKind.CLOSE, None)

    async def receive(self) -> list[Payload | Notice]:
        """Return the payloads and notices that arrived.

        Raises:
            TransportClosed: the peer left.
            NotPowerShell: it left, or talked without end, before it said anything PowerShell would say.
            RemoteProtocolError: the framing is broken.
        """
        if self._news:
            news, self._news = self._news, ()
            return [Notice(text) for text in news]
        while True:
            try:
                data = await self._stream.receive()
            except Interlude as news:
                return [Notice(str(news))]
            except TransportClosed as error:
                raise self._fail(str(error), TakenOver if isinstance(error, TakenOver) else TransportClosed) from None
            except RemoteProtocolError as error:
                self._fail(str(error))
                raise
            if not data:
                junk = self._decoder.feed_eof()
                if junk is not None:
                    self._junk.append(junk.text)
                raise self._fail("The remote ended the connection.")
            try:
                items = [item for packet in self._decoder.feed(data) if (item := self._item(packet)) is not None]
            except RemoteProtocolError as error:
                # Nobody reads on after this: whoever waits for an acknowledgement must not wait for ever.
                self._fail(str(error))
                raise
            if items:
                return items

    async def aclose(self) -> None:
        """Drop the connection."""
        if self._closed is None:
            self._closed = TransportClosed("The connection was closed on this side.")
        self._ack_arrived.set()
        await self._stream.aclose()

    def diagnostics(self) -> str:
        """What the far side wrote beside the protocol: lines that are no packets, standard error, an exit status."""
        lines = [line for line in self._junk[:5] if line]
        quoted = f"It wrote: {' | '.join(lines)}." if lines else ""
        return f"{quoted} {self._stream.diagnostics().strip()}".strip()

    def _item(self, packet: Packet | Junk) -> Payload | Notice | None:
        if isinstance(packet, Junk):
            return self._junk_line(packet)
        self._is_powershell = True
        if packet.kind is PacketKind.DATA:
            return Payload(packet.pipeline_id, packet.data)
        self._acks.received(packet)
        self._ack_arrived.set()
        return None

    def _junk_line(self, junk: Junk) -> Notice | None:
        if junk.text.strip() == _END_OF_A_HOP:
            return None
        self._stray_lines += 1
        if not self._is_powershell:
            self._junk.append(junk.text)
            if self._stray_lines > _MAX_JUNK_LINES:
                raise self._fail("The remote talks, but not as PowerShell does.")
        if self._stray_lines > _SHOWN_JUNK_LINES + 1:
            return None
        if self._stray_lines > _SHOWN_JUNK_LINES:
            return Notice("The remote goes on to write such lines. They are not shown any more.")
        return Notice(f"The remote wrote a line that is not PowerShell Remoting: {junk.text}")

    def _fail(self, what: str, kind: type[TransportClosed] = TransportClosed) -> TransportClosed | NotPowerShell:
        if self._closed is None:
            said = self.diagnostics()
            text = what if said in what else f"{what} {said}"
            if self._is_powershell:
                self._closed = kind(text)
            else:
                self._closed = NotPowerShell(f"No PowerShell answered. {text}")
            self._ack_arrived.set()
        return self._closed

    async def _write(self, kind: PacketKind, pipeline_id: UUID | None, packet: bytes) -> None:
        async with self._write_lock:
            if self._closed is not None:
                raise self._closed
            self._acks.sent(kind, pipeline_id)
            await self._stream.send(packet)

    async def _settled(self, kind: PacketKind, pipeline_id: UUID | None) -> None:
        while self._acks.owed(kind, pipeline_id):
            if self._closed is not None:
                raise self._closed
            self._ack_arrived.clear()
            await self._ack_arrived.wait()
