"""Files of an SSH server, by SFTP over the connection that the session has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh

from pskernel.errors import FileAccessError

__all__ = ["SSHFiles", "open_files"]

# What every server takes in one request, and how many of them are under way.
_REQUEST = 32_768
_AT_A_TIME = 64
# A server that takes the request for SFTP and then says nothing.
_OPEN_SECONDS = 15.0


class SSHFiles:
    """A :class:`pskernel.transports.base.FileAccess`; one file is open at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._file: Any = None
        self._open = ("", "")

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file."""
        file = await self._opened(path, "rb")
        end = offset + size
        blocks = await self._all(lambda at: file.read(min(_REQUEST, end - at), at), range(offset, end, _REQUEST))
        for at, block in enumerate(blocks):
            if len(block) > _REQUEST:
                raise FileAccessError("SFTP could not do it: the server sends more than it was asked for.")
            if len(block) < _REQUEST:
                # The file ends here, or the server sends less than it is asked: what is behind would be out of place.
                return b"".join(blocks[: at + 1])
        return b"".join(blocks)

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write at a place."""
        file = await self._opened(path, "r+b")
        await self._all(lambda at: file.write(data[at : at + _REQUEST], offset + at), range(0, len(data), _REQUEST))

    async def settle(self) -> None:
        """Close what is open: what was written is there for others."""
        file, self._file, self._open = self._file, None, ("", "")
        if file is not None:
            await self._guarded(file.close())

    async def aclose(self) -> None:
        """End it; the connection stays."""
        try:
            await self.settle()
        finally:
            self._client.exit()

    async def _opened(self, path: str, mode: str) -> Any:
        if self._file is None or self._open != (path, mode):
            await self.settle()
            self._file = await self._guarded(self._client.open(_sftp_path(path), mode))
            self._open = path, mode
        return self._file

    async def _all(self, request: Callable[[int], Any], starts: range) -> list[Any]:
        done: list[Any] = []
        for at in range(0, len(starts), _AT_A_TIME):
            done += await self._guarded(asyncio.gather(*map(request, starts[at : at + _AT_A_TIME])))
        return done

    async def _guarded(self, work: Any) -> Any:
        try:
            return await work
        except (asyncssh.Error, OSError) as error:
            reason = "".join(c if c.isprintable() else " " for c in str(error))[:200]
            raise FileAccessError(f"SFTP could not do it: {reason}.") from None


async def open_files(connection: Any) -> SSHFiles:
    """SFTP over a connection.

    Raises:
        FileAccessError: the server has none.
    """
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            return SSHFiles(await connection.start_sftp_client())
    except (asyncssh.Error, OSError):
        raise FileAccessError("The server offers no SFTP.") from None


def _sftp_path(path: str) -> bytes:
    """A path as SFTP writes it: with a Windows drive it begins with a slash."""
    if len(path) > 1 and path[1] == ":":
        path = "/" + path.replace("\\", "/")
    return path.encode("utf-8", "surrogateescape")
