"""The remote's file system: asked through PowerShell, files' bytes carried by SFTP where the connection has that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pskernel.copying.errors import CopyError, failed
from pskernel.errors import FileAccessError, PipelineFailed, RemoteProtocolError
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.pipelines import Command, Statements
from pskernel.protocol.values import Value
from pskernel.records import DebuggerStop, HostCall, HostText, Notice, Output
from pskernel.session.pipeline import NO_HOST_NOW

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace
    from pskernel.transports.base import FileAccess

__all__ = ["Far", "Item", "Place", "read_listing"]

# A remote's disk may be slow, and a hash of many gigabytes takes its time.
_SECONDS = 6 * 3600.0
# What a listing of the remote may hold; each becomes an object here.
_MAX_ITEMS = 1_000_000
_MAX_DEPTH = 500
_MAX_TICKS = 3_155_378_975_999_999_999
# Beyond this an engine only needs more memory: see docs/performance.md.
_PSRP_BLOCK = 1024 * 1024
_SFTP_BLOCK = 4 * 1024 * 1024
# Where names of Windows end up, these would be paths, or other streams of a file.
_NOT_IN_NAMES = "\\:\0" if os.name == "nt" else "\0"


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder of the remote. ``parts`` is its path below the source, beginning with its own name.

    ``kind`` is ``f``, ``d``, ``l`` (a link) or ``o`` (something else); ``ticks`` are .NET's, of 100 ns; ``mode`` is -1
    where the remote has none.
    """

    path: str
    parts: tuple[str, ...]
    kind: str
    size: int
    ticks: int
    mode: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: its full form, the folder around it, whether that exists, what separates names, its kind."""

    full: str
    parent: str
    has_parent: bool
    separator: str
    kind: str

    def below(self, parts: tuple[str, ...]) -> str:
        """The path of something below."""
        return self.separator.join([self.full.rstrip(self.separator) if parts else self.full, *parts])


class Far:
    """One session's file system.

    Args:
        runspace: the session.
        files: carries bytes; None sends them through PowerShell too, as does a failure of it.
        notices: takes what the user should know of the way.
    """

    def __init__(self, runspace: Runspace, files: FileAccess | None, notices: list[str]) -> None:
        self._runspace = runspace
        self._files = files
        self._notices = notices

    @property
    def way(self) -> str:
        """``SFTP`` or ``PSRP``."""
        return "PSRP" if self._files is None else "SFTP"

    @property
    def block(self) -> int:
        """Bytes that are carried at a time."""
        return _PSRP_BLOCK if self._files is None else _SFTP_BLOCK

    async def look(self, path: str) -> Place:
        """See where a path leads, from the session's location.

        Raises:
            CopyError: it is none of the file system.
        """
        found = await self._ask("look", path)
        if len(found) != 5:
            raise _nonsense()
        full, parent, has_parent, separator, kind = found
        return Place(str(full), str(parent), bool(has_parent), str(separator), str(kind))

    async def find(self, path: str, *, literal: bool, recurse: bool, hidden: bool) -> list[Item]:
        """What a path with wildcards names, and what is below; links that are found there are not followed.

        Raises:
            CopyError: there is nothing of that name.
            RemoteProtocolError: the remote lists what no file system holds.
        """
        return read_listing(await self._ask("find", path, literal, recurse, hidden))

    async def make_folder(self, path: str) -> None:
        """Make a folder, and those around it."""
        await self._ask("folder", path)

    async def begin(self, path: str, part: str, *, size: int, ticks: int, force: bool) -> int | str:
        """See to a place for a file: how many bytes of its part are there, or the digest of a file that seems the same.

        Raises:
            CopyError: it cannot be written.
        """
        (found,) = await self._ask("begin", path, part, size, ticks, force) or [""]
        what, _, rest = str(found).partition("/")
        if what == "part" and rest.isdigit():
            return int(rest)
        if what != "same":
            raise _nonsense()
        return rest

    async def digest(self, path: str, length: int) -> str | None:
        """``size/SHA-256`` of a file, the latter of its first bytes; None if there is none."""
        found = await self._ask("hash", path, length)
        return str(found[0]) if found else None

    async def cut(self, path: str, size: int) -> None:
        """Leave only the first bytes of a file."""
        await self._ask("cut", path, size)

    async def read(self, path: str, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from ``offset`` on, up to ``end`` or its end."""
        while self._files is not None and offset < end:
            try:
                data = await self._files.read(path, offset, min(self.block, end - offset))
            except FileAccessError as error:
                await self._give_up(error)
                break
            if not data:
                return
            offset += len(data)
            yield data
        if offset < end:
            async with contextlib.aclosing(self._read_by_psrp(path, offset, end)) as blocks:
                async for data in blocks:
                    yield data

    async def write(self, part: str, offset: int, data: bytes) -> None:
        """Write to a part."""
        if self._files is not None:
            try:
                await self._files.write(part, offset, data)
            except FileAccessError as error:
                await self._give_up(error)
            else:
                return
        for start in range(0, len(data), _PSRP_BLOCK):
            await self._ask("write", part, offset + start, data[start : start + _PSRP_BLOCK])

    async def finish(self, part: str, path: str, digest: str, *, ticks: int, mode: int) -> bool:
        """Give a part its name if its digest is right; what had the name is replaced. Otherwise the part is removed."""
        await self.settle()
        return await self._ask("finish", part, path, digest, ticks, mode) == [digest]

    async def settle(self) -> None:
        """What was written is there for the remote's PowerShell."""
        if self._files is not None:
            try:
                await self._files.settle()
            except FileAccessError as error:
                await self._give_up(error)

    async def aclose(self) -> None:
        """End what this opened beside the session."""
        files, self._files = self._files, None
        if files is not None:
            # Whatever else went wrong is what the user has to know.
            with contextlib.suppress(FileAccessError):
                await files.aclose()

    async def _give_up(self, error: FileAccessError) -> None:
        """Go on through PowerShell, which either can do it or says why not."""
        self._notices.append(f"{error} The rest went through PowerShell.")
        await self.aclose()

    async def _read_by_psrp(self, path: str, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        pipeline = await self._runspace.invoke(_call("read", path, offset, _PSRP_BLOCK))
        try:
            async for record in pipeline:
                if isinstance(record, HostCall):
                    await pipeline.refuse(record, NO_HOST_NOW)
                elif isinstance(record, DebuggerStop):
                    await pipeline.stop()
                elif isinstance(record, HostText | Notice):
                    self._runspace.idle.add(record)
                elif isinstance(record, Output):
                    data = record.value.value if isinstance(record.value, PSObject) else record.value
                    if not isinstance(data, bytes):
                        raise _nonsense()
                    data = data[: end - offset]
                    offset += len(data)
                    yield data
                    if offset >= end:
                        break
        finally:
            await pipeline.stop()
        if offset < end and pipeline.end is not None and pipeline.end.error is not None:
            raise _translated(PipelineFailed(pipeline.end.error))

    async def _ask(self, operation: str, path: str, *arguments: Any) -> list[Any]:
        try:
            return await self._runspace.query(_call(operation, path, *arguments), timeout=_SECONDS)
        except PipelineFailed as failure:
            raise _translated(failure) from None
        except TimeoutError:
            raise failed(f"The remote did not answer about {path}.", "CopyItemRemotelyIOError", path) from None


def read_listing(lines: list[Any]) -> list[Item]:
    """Read what the script lists.

    Raises:
        RemoteProtocolError: it is no listing, or has names that lead elsewhere.
    """
    found: list[Item] = []
    separator, root = "", ""
    for line in map(str, lines):
        if line.startswith("="):
            separator, root = line[1:2], line[2:]
            continue
        for text in line.split("//"):
            found.append(_item(text, separator, root))
            if len(found) > _MAX_ITEMS:
                raise RemoteProtocolError(f"The remote lists more than {_MAX_ITEMS:,} files. Copy them in parts.")
    return found


def _item(text: str, separator: str, root: str) -> Item:
    kind, *numbers = text.split("/", 4)[:4]
    parts = tuple(text.split("/")[4:])
    # The remote says where on this side a file goes: it must stay below the destination.
    if not parts or len(parts) > _MAX_DEPTH or any(_leads_elsewhere(part) for part in parts):
        raise RemoteProtocolError(
            f"The remote lists a name that is none: {'/'.join(parts)[:100]!r}. Nothing is copied."
        )
    try:
        size, ticks, mode = map(int, numbers)
    except ValueError:
        raise _nonsense() from None
    if kind not in {"f", "d", "l", "o"} or not 0 <= size < 2**63 or not 0 <= ticks <= _MAX_TICKS or mode > 0o7777:
        raise _nonsense()
    path = separator.join([root.rstrip(separator) if len(parts) > 1 else root, *parts[1:]])
    return Item(path, parts, kind, size, ticks, mode)


def _leads_elsewhere(name: str) -> bool:
    return name in {"", ".", ".."} or any(character in name for character in _NOT_IN_NAMES)


def _nonsense() -> RemoteProtocolError:
    return RemoteProtocolError("The remote answers something else than what was asked about its files.")


def _translated(failure: PipelineFailed) -> CopyError:
    """The error of our script, as one of the command that the user gave."""
    error_id = failure.record.fully_qualified_error_id.partition(",")[0] or "CopyError"
    return CopyError(
        replace(failure.record, fully_qualified_error_id=f"{error_id},Microsoft.PowerShell.Commands.CopyItemCommand")
    )


def _call(operation: str, path: str, *arguments: Any) -> Statements:
    values = tuple((None, Value(value)) for value in (operation, path, *arguments))
    return [[Command(_script(), values, is_script=True)]]


@cache
def _script() -> str:
    return resources.files("pskernel.copying").joinpath("scripts", "files.ps1").read_text("utf-8")
