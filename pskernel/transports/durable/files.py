"""Files beside a durable session: when their connection is lost, they are opened again over the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pskernel.errors import FileAccessError
from pskernel.transports.base import ByteStream, FileAccess, OffersFiles

__all__ = ["ResumedFiles", "open_files_of"]

_LinkAfter = Callable[[ByteStream | None], Awaitable[ByteStream | None]]


async def open_files_of(link: ByteStream | None) -> FileAccess | None:
    """Files by a link's connection; None where it has no way to them. Raises FileAccessError."""
    return await link.open_files() if isinstance(link, OffersFiles) else None


class ResumedFiles:
    """A :class:`pskernel.transports.base.FileAccess`. What is read or written has a place, so it may be so twice.

    Args:
        files: over the present link.
        link: that link.
        link_after: waits for the one that follows it; None where it was not lost, or none follows.
    """

    def __init__(self, files: FileAccess, link: ByteStream | None, link_after: _LinkAfter) -> None:
        self._files = files
        self._link = link
        self._link_after = link_after

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file."""
        while True:
            try:
                return await self._files.read(path, offset, size)
            except FileAccessError:
                if not await self._reopened():
                    raise

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write at a place."""
        while True:
            try:
                return await self._files.write(path, offset, data)
            except FileAccessError:
                if not await self._reopened():
                    raise

    async def settle(self) -> None:
        """What was written is there for others. What is opened again has nothing to settle."""
        try:
            await self._files.settle()
        except FileAccessError:
            if not await self._reopened():
                raise

    async def aclose(self) -> None:
        """End it; the connection stays."""
        await self._files.aclose()

    async def _reopened(self) -> bool:
        link = await self._link_after(self._link)
        files = await open_files_of(link)
        if files is None:
            return False
        self._files, self._link = files, link
        return True
