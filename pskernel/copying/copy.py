"""Files and folders between this side and a session's host, as Copy-Item -ToSession and -FromSession copy them.

A file travels under another name beside its place, and gets its own when its SHA-256 is the same on both sides. What
an interrupted copy leaves is where the next one goes on, if the source is still the same.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pskernel.copying.far import CopyError, Far, Item, Place
from pskernel.copying.near import Source, digest, find, is_writable, landing, part_name, size_of
from pskernel.copying.progress import CopyResult, Counter
from pskernel.errors import PipelineFailed
from pskernel.records import ErrorRecord, ProgressRecord

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["receive_items", "send_items"]

Tell = Callable[[ProgressRecord], object]


async def send_items(
    runspace: Runspace,
    path: str,
    destination: str,
    *,
    literal: bool = False,
    recurse: bool = False,
    force: bool = False,
    tell: Tell | None = None,
) -> CopyResult:
    """Copy files of this side to the remote.

    Args:
        runspace: the session.
        path: of this side, with wildcards unless ``literal``.
        destination: a folder of the remote, or the new name.
        literal: whether ``path`` is taken as it is.
        recurse: whether folders come with their contents; without it they come empty, as with Copy-Item.
        force: whether read-only files are replaced.
        tell: takes progress.

    Raises:
        CopyError: there is nothing to copy, or it cannot be written there; what was copied before stays.
        PSKernelError: the connection is lost.
    """
    async with _Copying(runspace, force=force) as copying:
        result = copying.result
        sources = await asyncio.to_thread(find, path, literal=literal, recurse=recurse, skipped=result.skipped)
        if not sources:
            raise _not_found(path)
        place = await copying.far.look(destination)
        if not place.has_parent:
            raise _no_folder(place.parent)
        roots = sum(1 for source in sources if len(source.parts) == 1)
        counter = Counter(sum(source.size for source in sources), tell)
        for source in sources:
            target = _far_path(place, source.parts, several=roots > 1)
            if source.is_folder:
                await copying.far.make_folder(target)
                result.folders += 1
            else:
                await copying.send(source, target, counter)
        counter.end()
        return result


async def receive_items(
    runspace: Runspace,
    path: str,
    destination: str,
    *,
    literal: bool = False,
    recurse: bool = False,
    force: bool = False,
    tell: Tell | None = None,
) -> CopyResult:
    """Copy files of the remote to this side; see :func:`send_items`."""
    async with _Copying(runspace, force=force) as copying:
        result = copying.result
        items = await copying.far.find(path, literal=literal, recurse=recurse)
        if not items:
            raise _not_found(path)
        base, inside, has_parent = await asyncio.to_thread(landing, destination)
        roots = sum(1 for item in items if len(item.parts) == 1)
        if not inside and (roots > 1 or not has_parent):
            raise _no_folder(str(base if roots > 1 else base.parent))
        counter = Counter(sum(item.size for item in items), tell)
        for item in items:
            target = base.joinpath(*item.parts) if inside else base.joinpath(*item.parts[1:])
            if item.is_folder:
                await asyncio.to_thread(_make_near_folder, target)
                result.folders += 1
            else:
                await copying.receive(item, target, counter)
        counter.end()
        return result


class _Copying:
    """One copy, from its first file to its last."""

    def __init__(self, runspace: Runspace, *, force: bool) -> None:
        self._runspace = runspace
        self._force = force

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self._files = await self._runspace.open_files()
        self.far = Far(self._runspace, self._files)
        self.result = CopyResult(self.far.way)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.result.seconds = time.monotonic() - self._began
        if self._files is not None:
            await self._files.aclose()

    async def send(self, source: Source, target: str, counter: Counter) -> None:
        """Copy one file there."""
        name = source.parts[-1]
        place = await self.far.look(target)
        self._require_writable(target, place.item)
        part = f"{place.parent}{place.separator}{part_name(name, source.size, source.modified)}"
        offset = await self._resumable_far(part, source)
        counter.add(offset, name)
        self.result.resumed += offset
        with source.path.open("rb") as file:
            file.seek(offset)
            while offset < source.size or not source.size:
                data = await asyncio.to_thread(file.read, min(self.far.block, source.size - offset))
                await self.far.write(part, offset, data)
                offset += len(data)
                counter.add(len(data), name)
                if not data:
                    break
        ours = await asyncio.to_thread(digest, source.path, source.size)
        if await self.far.digest(part, source.size) != (source.size, ours):
            await self.far.remove(part)
            raise _differs(name)
        await self.far.finish(part, place.full, source.modified)
        self._count(source.size)

    async def receive(self, item: Item, target: Path, counter: Counter) -> None:
        """Copy one file here."""
        name = item.parts[-1]
        writable = await asyncio.to_thread(is_writable, target)
        if writable is None:
            raise _is_folder(str(target))
        if not writable and not self._force:
            raise _read_only(str(target))
        part = target.with_name(part_name(name, item.size, item.modified))
        offset = await self._resumable_near(part, item)
        counter.add(offset, name)
        self.result.resumed += offset
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            while offset < item.size:
                data = await self.far.read(item.path, offset, min(self.far.block, item.size - offset))
                if not data:
                    break  # it has become shorter; the hash will say so
                await asyncio.to_thread(file.write, data)
                offset += len(data)
                counter.add(len(data), name)
        ours = await asyncio.to_thread(digest, part, item.size)
        if await self.far.digest(item.path, item.size) != (offset, ours) or offset != item.size:
            part.unlink()
            raise _differs(name)
        stamp = item.modified.replace(tzinfo=item.modified.tzinfo or UTC).timestamp()
        os.utime(part, (stamp, stamp))
        part.replace(target)
        self._count(item.size)

    def _count(self, size: int) -> None:
        self.result.files += 1
        self.result.bytes += size

    async def _resumable_far(self, part: str, source: Source) -> int:
        """How many bytes of an earlier attempt are there, and right."""
        found = await self.far.digest(part, source.size)
        if found is None:
            return 0
        size, theirs = found
        ours = await asyncio.to_thread(digest, source.path, size) if 0 < size <= source.size else ""
        return size if ours == theirs else 0

    async def _resumable_near(self, part: Path, item: Item) -> int:
        size = await asyncio.to_thread(size_of, part)
        if not 0 < size <= item.size:
            return 0
        ours = await asyncio.to_thread(digest, part, size)
        theirs = await self.far.digest(item.path, size)
        return size if theirs is not None and theirs[1] == ours else 0

    def _require_writable(self, target: str, item: Item | None) -> None:
        if item is not None and item.is_folder:
            raise _is_folder(target)
        if item is not None and item.read_only and not self._force:
            raise _read_only(target)


def _far_path(place: Place, parts: tuple[str, ...], *, several: bool) -> str:
    """Where something goes: into a folder that exists, else the destination is its name."""
    inside = place.item is not None and place.item.is_folder
    if several and not inside:
        raise _no_folder(place.full)
    below = parts if inside else parts[1:]
    return place.separator.join([place.full.rstrip("/\\") if below else place.full, *below])


def _make_near_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise _failed(f"The folder {path} cannot be made: {error.strerror}.", "DirectoryCreationFailed", path) from None


def _failed(message: str, error_id: str, target: Any) -> PipelineFailed:
    return CopyError(
        ErrorRecord(message, f"{error_id},Microsoft.PowerShell.Commands.CopyItemCommand", target=str(target))
    )


def _not_found(path: str) -> PipelineFailed:
    return _failed(f"Cannot find path '{path}' because it does not exist.", "PathNotFound", path)


def _no_folder(path: str) -> PipelineFailed:
    return _failed(f"The destination {path} is no folder that exists.", "CopyItemRemoteDestinationIsNoFolder", path)


def _is_folder(path: str) -> PipelineFailed:
    return _failed(f"{path} is a folder, and a file does not replace it.", "CopyItemRemotelyDestinationIsFolder", path)


def _read_only(path: str) -> PipelineFailed:
    return _failed(
        f"Access to the path '{path}' is denied: it is read-only. -Force replaces it.", "UnauthorizedAccess", path
    )


def _differs(name: str) -> PipelineFailed:
    return _failed(
        f"{name} is not the same on both sides after it was copied: it changed meanwhile, or the way is not safe. The "
        "copy was removed; copy it again.",
        "CopyItemHashMismatch",
        name,
    )
