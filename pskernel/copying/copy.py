"""Files and folders between this side and a session's host, as Copy-Item -ToSession and -FromSession copy them.

A file travels under another name beside its place, and gets its own when its SHA-256 is the same on both sides. What
an interrupted copy leaves is where the next one goes on, if the source is still the same; files that it completed are
compared, and not carried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pskernel.copying import near
from pskernel.copying.asked import asked_for
from pskernel.copying.errors import CopyError, differs, failed, here, no_file, no_folder, not_found
from pskernel.copying.far import Far, Item, Place
from pskernel.copying.near import Source
from pskernel.copying.progress import CopyResult, Counter
from pskernel.errors import FileAccessError
from pskernel.records import ProgressRecord
from pskernel.wildcards import is_name

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["receive_items", "send_items"]

Tell = Callable[[ProgressRecord], object]
# As many bytes may be on their way at once, and a cut leaves gaps among them.
_LOOSE_END = 4 * 1024 * 1024


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
        force: whether read-only files are replaced, and wildcards mean hidden files too.
        tell: takes progress.

    Raises:
        CopyError: there is nothing to copy, or it cannot be written there; what was copied before stays.
        PSKernelError: the connection is lost.
    """
    async with _Copying(runspace, force=force) as copying:
        result = copying.result
        sources = await asyncio.to_thread(
            near.find, path, literal=literal, recurse=recurse, hidden=force, skipped=result.skipped
        )
        if not sources and not result.skipped:
            raise not_found(path)
        if not recurse:
            result.note_empty(source.parts[0] for source in sources if source.is_folder)
        place = await copying.far.look(destination)
        roots = [source for source in sources if len(source.parts) == 1]
        _require_room(place, several=len(roots) > 1, folder=any(source.is_folder for source in roots))
        files = [source for source in sources if not source.is_folder]
        counter = Counter(sum(file.size for file in files), len(files), tell)
        for source in sources:
            target = place.below(source.parts if place.kind == "d" else source.parts[1:])
            if source.is_folder:
                await copying.far.make_folder(target)
                result.folders += 1
            else:
                await copying.send(source, target, place.separator, counter)
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
        items = await copying.far.find(path, literal=literal, recurse=recurse, hidden=force)
        if not items:
            raise no_folder(path)
        items = asked_for(items, path, literal=literal, recurse=recurse, hidden=force, skipped=result.skipped)
        if (literal or is_name(path)) and all(item.kind not in "fd" for item in items):
            raise no_file(path)
        if not recurse:
            result.note_empty(item.parts[0] for item in items if item.kind == "d")
        base, inside = await asyncio.to_thread(near.landing, destination)
        if not inside and sum(1 for item in items if len(item.parts) == 1) > 1:
            raise _no_folder_here(base)
        files = [item for item in items if item.kind == "f"]
        counter = Counter(sum(file.size for file in files), len(files), tell)
        for item in items:
            target = base.joinpath(*item.parts) if inside else base.joinpath(*item.parts[1:])
            if item.kind == "d":
                await asyncio.to_thread(near.make_folder, target)
                result.folders += 1
            elif item.kind == "f":
                await copying.receive(item, target, counter)
            else:
                result.skipped.append(f"{item.path}: {'a link' if item.kind == 'l' else 'no file or folder'}")
        counter.end()
    return result


class _Copying:
    """One copy, from its first file to its last. Errors of this side's files become CopyErrors."""

    def __init__(self, runspace: Runspace, *, force: bool) -> None:
        self._runspace = runspace
        self._force = force

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self.result = CopyResult("PSRP")
        files = None
        try:
            files = await self._runspace.open_files()
        except FileAccessError as error:
            self.result.notices.append(f"{error} The files went through PowerShell.")
        self.far = Far(self._runspace, files, self.result.notices)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.result.seconds = time.monotonic() - self._began
        self.result.way = self.far.way
        await self.far.aclose()
        if isinstance(error, OSError):
            raise here(error) from None

    async def send(self, source: Source, target: str, separator: str, counter: Counter) -> None:
        """Copy one file there."""
        name = source.parts[-1]
        folder, _, called = target.rpartition(separator)
        part = f"{folder}{separator}{near.part_name(called, source.size, source.ticks)}"
        counter.begin(name)
        begun = await self.far.begin(target, part, size=source.size, ticks=source.ticks, force=self._force)
        if isinstance(begun, str):
            if begun == await asyncio.to_thread(near.digest, source.path, source.size):
                self._unchanged(source.size, counter)
                return
            begun = await self.far.begin(target, part, size=source.size, ticks=0, force=self._force)
            if isinstance(begun, str):
                raise differs(name)
        offset = await self._agreed(begun, source.path, part, source.size)
        if offset != begun:
            await self.far.cut(part, offset)
        counter.add(offset)
        with source.path.open("rb") as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, min(self.far.block, source.size - offset)):
                await self.far.write(part, offset, data)
                offset += len(data)
                counter.add(len(data))
        await self.far.settle()
        ours = await asyncio.to_thread(near.digest, source.path, source.size)
        if not await self.far.finish(part, target, ours, ticks=source.ticks, mode=source.mode):
            raise differs(name)
        self._count(source.size)

    async def receive(self, item: Item, target: Path, counter: Counter) -> None:
        """Copy one file here."""
        name = item.parts[-1]
        part = target.with_name(near.part_name(target.name, item.size, item.ticks))
        counter.begin(name)
        begun = await self._open_part(target, part, item, item.ticks)
        if isinstance(begun, str):
            if begun == await self.far.digest(item.path, item.size):
                self._unchanged(item.size, counter)
                return
            begun = await self._open_part(target, part, item, 0)
            if isinstance(begun, str):
                raise differs(name)
        offset = await self._agreed(begun, part, item.path, item.size)
        counter.add(offset)
        with part.open("r+b") as file:
            file.truncate(offset)
            file.seek(offset)
            async with contextlib.aclosing(self.far.read(item.path, offset, item.size)) as blocks:
                async for data in blocks:
                    await asyncio.to_thread(file.write, data)
                    counter.add(len(data))
        await self.far.settle()
        # Both sides read all of it again, at the same time. An empty file has nothing to be read.
        ours, theirs = await asyncio.gather(
            asyncio.to_thread(near.digest, part, item.size), self.far.digest(item.path, item.size)
        )
        if ours != theirs:
            part.unlink()
            raise differs(name)
        await asyncio.to_thread(near.give_name, part, target, ticks=item.ticks, mode=item.mode)
        self._count(item.size)

    async def _open_part(self, target: Path, part: Path, item: Item, ticks: int) -> int | str:
        return await asyncio.to_thread(near.open_part, target, part, size=item.size, ticks=ticks, force=self._force)

    async def _agreed(self, held: int, ours: Path, theirs: str, size: int) -> int:
        """How many bytes of an earlier attempt are the same on both sides. The part may have gaps near its end."""
        for length in (held, held - _LOOSE_END):
            if not 0 < length <= size:
                continue
            found = await self.far.digest(theirs, length)
            if found is not None and _hash(found) == _hash(await asyncio.to_thread(near.digest, ours, length)):
                self.result.resumed += length
                return length
        return 0

    def _unchanged(self, size: int, counter: Counter) -> None:
        counter.add(size)
        self.result.unchanged += 1

    def _count(self, size: int) -> None:
        self.result.files += 1
        self.result.bytes += size


def _hash(digest: str) -> str:
    return digest.rpartition("/")[2]


def _require_room(place: Place, *, several: bool, folder: bool) -> None:
    """Several things need a folder; a new name needs one around it, which Copy-Item only makes for folders."""
    if place.kind != "d" and several:
        raise no_folder(place.full)
    if not place.has_parent and not folder:
        raise no_folder(place.full)


def _no_folder_here(path: Path) -> CopyError:
    return failed(f"Could not find a part of the path '{path}'.", "CopyItemRemotelyIOError", str(path))
