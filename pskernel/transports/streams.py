"""What every byte stream needs: a bounded inbox, a gate for writers, and the tail of standard error."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING

from pskernel.errors import TransportClosed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHUNK", "CLOSED_HERE", "Gate", "Inbox", "Tail", "plain_text"]

# Bytes that may wait in an inbox before its source is told to stop.
_HIGH_WATER = 262_144
# A large send is handed to the event loop in pieces of this size: no more than one is copied at a time.
CHUNK = 65_536
_TAIL_BYTES = 8_192

CLOSED_HERE = "The connection was closed on this side."

# Escape sequences (ECMA-48: CSI, OSC, two-character ones), then every control character but tab and newline.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    """Return ``text`` from a far side without terminal control: safe to show anywhere."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


class Inbox:
    """Bytes that arrived and that nobody has taken yet.

    ``pause`` is called when so many wait that the source must stop, ``resume`` when it may go on.
    """

    def __init__(self, *, pause: Callable[[], object], resume: Callable[[], object]) -> None:
        self._pause = pause
        self._resume = resume
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._why = ""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def paused(self) -> bool:
        """Whether the source was told to stop."""
        return self._paused

    def feed(self, data: bytes) -> None:
        """Add bytes from the source. After the end they are dropped."""
        if self._ended or not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def end(self, why: str = "") -> None:
        """Note that nothing more will come: in good order, or, with ``why``, because the line was cut."""
        if not self._ended:
            self._ended = True
            self._why = why
            self._wake()

    def close(self) -> None:
        """Forget what is left: this side does not want it any more."""
        self._chunks.clear()
        self._size = 0
        self._ended = True
        self._why = CLOSED_HERE
        self._wake()

    async def take(self, max_bytes: int) -> bytes:
        """Return what waits, at most ``max_bytes``; ``b""`` after an end in good order.

        Raises:
            TransportClosed: the line was cut, or closed on this side.
        """
        while not self._chunks:
            if self._ended:
                if self._why:
                    raise TransportClosed(self._why)
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._pop(max_bytes)
        self._size -= len(data)
        if self._paused and self._size <= _HIGH_WATER // 2:
            self._paused = False
            self._resume()
        return data

    def _pop(self, max_bytes: int) -> bytes:
        parts: list[bytes] = []
        room = max_bytes
        while self._chunks and room:
            chunk = self._chunks.popleft()
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
                chunk = chunk[:room]
            parts.append(chunk)
            room -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Gate:
    """Where a writer waits while the other side does not read."""

    def __init__(self) -> None:
        self._shut = False
        self._why = ""
        self._waiter: asyncio.Future[None] | None = None

    def shut(self) -> None:
        """Make writers wait."""
        self._shut = True

    def open(self) -> None:
        """Let writers go on."""
        self._shut = False
        self._wake()

    def break_(self, why: str) -> None:
        """Turn all writers away for good. The first reason given is the one they hear."""
        if not self._why:
            self._why = why
            self._wake()

    def check(self) -> None:
        """Raise if writing has become pointless.

        Raises:
            TransportClosed: the peer is gone, or this side has closed the stream.
        """
        if self._why:
            raise TransportClosed(self._why)

    async def passed(self) -> None:
        """Wait until the other side reads again.

        Raises:
            TransportClosed: the peer is gone, or this side has closed the stream.
        """
        while self._shut and not self._why:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self.check()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Tail:
    """The last 8 KiB of a stream of text that is always read and seldom looked at."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes, and forget the oldest that no longer fit."""
        self._data += data[-_TAIL_BYTES:]
        del self._data[:-_TAIL_BYTES]

    def text(self) -> str:
        """Return what is kept, as text without terminal control."""
        return plain_text(self._data.decode("utf-8", "replace")).strip()
