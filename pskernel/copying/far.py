"""The remote's file system: asked through PowerShell, files' bytes carried by SFTP where the connection has that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pskernel.errors import PipelineFailed, RemoteProtocolError
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pskernel.session.runspace import Runspace
    from pskernel.transports.base import FileAccess

__all__ = ["CopyError", "Far", "Item", "Place"]

# A remote's disk may be slow, and a hash of many gigabytes takes its time.
_SECONDS = 3600.0
# What a listing of the remote may hold; each becomes an object here.
_MAX_ITEMS = 1_000_000


class CopyError(PipelineFailed):
    """Something could not be copied; the record says what, in PowerShell's words where it has them."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder of the remote. ``parts`` is its path below the source, beginning with its own name."""

    path: str
    parts: tuple[str, ...]
    is_folder: bool
    size: int
    modified: datetime
    read_only: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: its full form, the folder around it, whether that exists, what separates names, its item."""

    full: str
    parent: str
    has_parent: bool
    separator: str
    item: Item | None


class Far:
    """One session's file system.

    Args:
        runspace: the session.
        files: carries bytes; None sends them through PowerShell too.
    """

    def __init__(self, runspace: Runspace, files: FileAccess | None) -> None:
        self._runspace = runspace
        self._files = files

    @property
    def way(self) -> str:
        """``SFTP`` or ``PSRP``."""
        return "PSRP" if self._files is None else "SFTP"

    @property
    def block(self) -> int:
        """Bytes that are carried at a time."""
        return 1024 * 1024 if self._files is None else 4 * 1024 * 1024

    async def look(self, path: str) -> Place:
        """See where a path leads, from the session's location.

        Raises:
            PipelineFailed: it is none of the file system.
        """
        where, *items = await self._ask("look", path)
        item = _item(items[0]) if items else None
        return Place(str(where.Full), str(where.Parent or ""), bool(where.HasParent), str(where.Separator), item)

    async def find(self, path: str, *, literal: bool, recurse: bool) -> list[Item]:
        """What a path with wildcards names, and what is below; links are not followed.

        Raises:
            PipelineFailed: there is nothing of that name.
            RemoteProtocolError: the remote lists what no file system holds.
        """
        found = await self._ask("find", path, literal, recurse)
        if len(found) > _MAX_ITEMS:
            raise RemoteProtocolError(f"The remote lists more than {_MAX_ITEMS:,} files.")
        return [_item(one) for one in found]

    async def make_folder(self, path: str) -> None:
        """Make a folder, and those around it."""
        await self._ask("folder", path)

    async def digest(self, path: str, length: int) -> tuple[int, str] | None:
        """The size of a file, and the SHA-256 of its first bytes; None if there is none."""
        if self._files is not None:
            await self._files.settle()
        found = await self._ask("hash", path, length)
        return (int(found[0]), str(found[1])) if len(found) == 2 else None

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer where it ends."""
        if self._files is not None:
            return await self._files.read(path, offset, size)
        (data,) = await self._ask("read", path, offset, size) or [b""]
        data = data.value if isinstance(data, PSObject) else data
        if not isinstance(data, bytes) or len(data) > size:
            raise RemoteProtocolError("The remote answered something else than the bytes of a file.")
        return data

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write to a file at its end, which ``offset`` is."""
        if self._files is not None:
            await self._files.write(path, offset, data)
        else:
            await self._ask("write", path, offset, data)

    async def finish(self, part: str, path: str, modified: datetime) -> None:
        """Give a complete copy its name; what had it is replaced."""
        if self._files is not None:
            await self._files.settle()
        await self._ask("finish", part, path, modified)

    async def remove(self, path: str) -> None:
        """Delete a file."""
        await self._ask("remove", path)

    async def _ask(self, operation: str, path: str, *arguments: Any) -> Sequence[Any]:
        values = tuple((None, Value(value)) for value in (operation, path, *arguments))
        return await self._runspace.query([[Command(_script(), values, is_script=True)]], timeout=_SECONDS)


@cache
def _script() -> str:
    return resources.files("pskernel.copying").joinpath("scripts", "files.ps1").read_text("utf-8")


def _item(found: Any) -> Item:
    parts = tuple(str(found.Relative).split("/"))
    # The remote says where on this side a file goes: it must stay below the destination.
    if any(part in {"", ".", ".."} or "\\" in part or "\0" in part or ":" in part for part in parts):
        raise RemoteProtocolError(
            f"The remote lists a name that is none: {str(found.Relative)[:100]!r}. Nothing is copied."
        )
    modified = found.Modified
    if not isinstance(modified, datetime):
        modified = datetime.fromtimestamp(0, UTC)
    size = int(found.Size)
    if size < 0:
        raise RemoteProtocolError("The remote lists a file whose size is negative.")
    return Item(str(found.Path), parts, bool(found.IsFolder), size, modified, bool(found.ReadOnly))
