"""A byte stream over what asyncio connects on this machine: a Unix-domain socket, or a named pipe of Windows."""

from __future__ import annotations

import asyncio
from typing import cast

from pskernel.transports.streams import CHUNK, CLOSED_HERE, Gate, Inbox

__all__ = ["PipeStream"]

_GONE = "The process at the other end of the socket has gone away."


class PipeStream(asyncio.Protocol):
    """A :class:`pskernel.transports.base.ByteStream` over a connected socket or named pipe of this machine."""

    def __init__(self) -> None:
        self._inbox: Inbox
        self._gate = Gate()
        self.transport: asyncio.Transport
        self._lost = asyncio.Event()

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the peer sent."""
        return await self._inbox.take(max_bytes)

    async def send(self, data: bytes) -> None:
        """Send to the peer."""
        self._gate.check()
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            await self._gate.passed()
            self.transport.write(bytes(view[start : start + CHUNK]))
            if self.transport.is_closing():
                # The event loop tells only later, and until then would take any amount of data for nothing.
                self._gate.break_(_GONE)
        await self._gate.passed()

    async def aclose(self) -> None:
        """Close it. What was sent but not yet taken by the peer may be lost."""
        self._inbox.close()
        self._gate.break_(CLOSED_HERE)
        self.transport.abort()
        await self._lost.wait()

    def diagnostics(self) -> str:
        """Nothing: it has no second channel."""
        return ""

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._inbox = Inbox(pause=self.transport.pause_reading, resume=self.transport.resume_reading)

    def data_received(self, data: bytes) -> None:
        self._inbox.feed(data)

    def eof_received(self) -> bool:
        self._inbox.end()
        # The peer may have closed only its sending half.
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._inbox.end(_GONE)
        self._gate.break_(_GONE)
        self._lost.set()

    def pause_writing(self) -> None:
        self._gate.shut()

    def resume_writing(self) -> None:
        self._gate.open()
