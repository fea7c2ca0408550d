"""What may stand between us and a server: an HTTP proxy, and a network that goes silent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

__all__ = ["Dripper", "Forwarder", "Tunnel"]


class Forwarder:
    """Passes bytes on, to a port of this machine."""

    def __init__(self, far: int = 0) -> None:
        self.port = 0
        self._far = far
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._silent: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def fall_silent(self) -> None:
        """All connections that there are pass nothing on any more, as after a NAT has forgotten them. New ones do."""
        self._silent.update(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await self._join(reader, writer, "127.0.0.1", self._far)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        self._writers.append(far_writer)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer not in self._silent:
                writer.write(data)
        if writer not in self._silent:
            writer.close()


class Tunnel(Forwarder):
    """An HTTP proxy that knows CONNECT alone, or refuses with ``status``."""

    def __init__(self, status: str = "200 OK") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._status = status

    @property
    def url(self) -> str:
        """For the option ``proxy``."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.splitlines()[0])
        good = self._status.startswith("200")
        length = "" if good else "Content-Length: 0\r\n"
        writer.write(f"HTTP/1.1 {self._status}\r\n{length}\r\n".encode())
        if good:
            host, port = head.split()[1].rsplit(":", 1)
            await self._join(reader, writer, host, int(port))
        else:
            writer.close()


class Dripper(Forwarder):
    """Listens until somebody has said something, says ``start``, and then a byte now and then, for ever."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self.heard = asyncio.Event()
        self.left = asyncio.Event()
        self._start = start

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await reader.read(65536)
        self.heard.set()
        writer.write(self._start)
        leaving = asyncio.create_task(self._read_all(reader))
        while not leaving.done():
            writer.write(b"x")
            await asyncio.wait({leaving}, timeout=0.05)
        self.left.set()

    @staticmethod
    async def _read_all(reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
