"""Two byte streams joined in memory, with a hand on the line between them."""

from __future__ import annotations

import asyncio
from collections import deque

from pskernel.errors import TransportClosed

_LIMIT = 65_536


class _Lane:
    """Bytes on their way from one end to the other; at most ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.total = 0
        self.held = False
        self.ended = False
        self.broken = False
        self._changed = asyncio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        await self._changed.wait()

    async def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            while self.size >= self.limit and not (self.broken or self.ended):
                await self.wait()
            if self.broken or self.ended:
                raise TransportClosed("The memory stream is closed or cut.")
            piece = bytes(view[: self.limit - self.size])
            view = view[len(piece) :]
            self.chunks.append(piece)
            self.size += len(piece)
            self.total += len(piece)
            self.change()

    async def get(self, max_bytes: int) -> bytes:
        while not self.chunks or self.held:
            if self.broken:
                raise TransportClosed("The memory stream was cut.")
            if self.ended and not self.chunks:
                return b""
            await self.wait()
        chunk = self.chunks.popleft()
        if len(chunk) > max_bytes:
            self.chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self.size -= len(chunk)
        self.change()
        return chunk


class MemoryStream:
    """One end. ``sent`` counts the bytes the line has taken from it."""

    def __init__(self, outgoing: _Lane, incoming: _Lane) -> None:
        self._out = outgoing
        self._in = incoming
        self._closed = False

    @property
    def sent(self) -> int:
        return self._out.total

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        if self._closed:
            raise TransportClosed("The memory stream was closed on this side.")
        data = await self._in.get(max_bytes)
        if self._closed:
            raise TransportClosed("The memory stream was closed on this side.")
        return data

    async def send(self, data: bytes) -> None:
        if self._closed:
            raise TransportClosed("The memory stream was closed on this side.")
        await self._out.put(data)

    async def aclose(self) -> None:
        """Close both directions: the other end reads what is on its way, then ``b""``."""
        self._closed = True
        self._in.broken = True
        self._in.change()
        self._out.ended = True
        self._out.change()

    def diagnostics(self) -> str:
        return ""

    # ---- controls ----

    def half_close(self) -> None:
        """End this end's sending half only: the other end reads ``b""``, and may go on sending."""
        self._out.ended = True
        self._out.change()

    def cut(self) -> None:
        """Cut the line: what has arrived can still be read, then both ends fail."""
        for lane in (self._out, self._in):
            lane.broken = True
            lane.change()

    def pause(self) -> None:
        """Hold back what the other end sent: it arrives here only after :meth:`resume`."""
        self._in.held = True

    def resume(self) -> None:
        """Let held bytes arrive."""
        self._in.held = False
        self._in.change()


def memory_pair(limit: int = _LIMIT) -> tuple[MemoryStream, MemoryStream]:
    """Return two joined streams. Each direction holds at most ``limit`` bytes."""
    one, other = _Lane(limit), _Lane(limit)
    return MemoryStream(one, other), MemoryStream(other, one)
