"""Lines to a server of this machine that can be cut: at once, after so many bytes, for good or for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Self

import psutil

from tests.parts.sshd import Sshd

__all__ = ["Clock", "Line", "unreachable"]


class Clock:
    """Seconds that pass only where somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@contextlib.contextmanager
def unreachable(server: Sshd) -> Iterator[None]:
    """For a while: its connections have ended, and who connects to it is not answered."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        for each in psutil.Process(server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


class Line:
    """Passes bytes on to a port; ``async with``. A cut ends all connections abruptly.

    Attributes:
        port: where to connect to.
        far: the port that it leads to.
        cuts: how often it was cut.
        sent: how many bytes the server has sent.
        is_up: whether new connections are served; otherwise they end at once.
    """

    def __init__(self, far: int) -> None:
        self.port = 0
        self.cuts = self.sent = 0
        self.is_up = True
        self.far = far
        self._writers: set[asyncio.StreamWriter] = set()
        self._countdown: int | None = None
        self._refused = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection, as a router does that has forgotten them."""
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def cut_after(self, count: int | None) -> None:
        """Cut it when the server has sent so many bytes more: in the middle of whatever that is. None: do not."""
        self._countdown = count

    async def refused(self) -> None:
        """Wait until somebody tries to connect while it is down."""
        self._refused.clear()
        await self._refused.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            self._refused.set()
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.far)
        self._writers |= {writer, far_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer, counted=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        while data := await reader.read(65536):
            self.sent += len(data) if counted else 0
            if counted and self._countdown is not None:
                if len(data) >= self._countdown:
                    writer.write(data[: self._countdown])
                    self._countdown = None
                    self.cut()
                    return
                self._countdown -= len(data)
            writer.write(data)
            await writer.drain()
        writer.close()
