"""This side's files: what a path names, and what a copy of it is called while it is not complete."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pskernel.copying.errors import failed, no_file
from pskernel.wildcards import is_name, wildcard

__all__ = ["Source", "digest", "find", "give_name", "landing", "make_folder", "open_part", "part_name"]

_BLOCK = 1024 * 1024
_MAX_NAME_BYTES = 200
# .NET counts 100 ns from the year 1.
_EPOCH_TICKS = 621_355_968_000_000_000
_NEAR_TICKS = 20_000_000
_UNKNOWN_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder. ``parts`` is its path below what was named, beginning with its own name."""

    path: Path
    parts: tuple[str, ...]
    is_folder: bool
    size: int
    ticks: int
    mode: int


def find(pattern: str, *, literal: bool, recurse: bool, hidden: bool, skipped: list[str]) -> list[Source]:
    """What a path with ``*``, ``?`` and ``[ ]`` names, and with ``recurse`` what is below, but for links.

    Args:
        pattern: the path; ``~`` is the user's folder.
        literal: whether no character has a meaning.
        recurse: whether folders come with their contents.
        hidden: whether wildcards mean names with a dot in front, too.
        skipped: takes what is left out.

    Raises:
        CopyError: what is named is neither file nor folder.
    """
    text = os.path.expanduser(pattern)  # noqa: PTH111 - pathlib would raise for an unknown user
    paths = [Path(text)] if literal else _expanded(Path(text), hidden=hidden)
    found: list[Source] = []
    for path in paths:
        if path.exists():
            name = path.name if path.name not in {"", ".."} else path.resolve().name
            found += _walk(path, (name,), recurse=recurse, skipped=skipped)
    if skipped and not found and (literal or is_name(pattern)):
        raise no_file(pattern)
    return found


def digest(path: Path, length: int) -> str:
    """``size/SHA-256`` of a file, the latter of its first bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            sha.update(block)
            length -= len(block)
        return f"{os.fstat(file.fileno()).st_size}/{sha.hexdigest()}"


def part_name(name: str, size: int, ticks: int) -> str:
    """What a copy is called before it is complete: another version of the source has another name."""
    version = hashlib.sha256(f"{name}\0{size}\0{ticks}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
    short = name.encode("utf-8", "surrogateescape")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return f".{short}.{version}.pskernel-part"


def landing(text: str) -> tuple[Path, bool]:
    """A destination: its path, and whether it is a folder."""
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib would raise for an unknown user
    return path, path.is_dir()


def make_folder(path: Path) -> None:
    """Make a folder, and those around it.

    Raises:
        CopyError: a file is there.
    """
    if path.is_symlink():
        # It may lead anywhere; the names below it are the remote's.
        raise failed(f"Cannot copy into '{path}': it is a link.", "CopyError", str(path))
    if path.is_file():
        message = f"Destination path {path} is a file that already exists on the target destination."
        raise failed(message, "CopyError", str(path))
    path.mkdir(parents=True, exist_ok=True)


def open_part(path: Path, part: Path, *, size: int, ticks: int, force: bool) -> int | str:
    """See to a place for a file: how many bytes of its part are there, or the digest of a file that seems the same.

    Raises:
        CopyError: it cannot be written.
    """
    if path.is_dir():
        raise failed(f"Cannot copy a file to '{path}': a folder is there.", "CopyError", str(path))
    if path.exists():
        status = path.stat()
        if status.st_size == size and abs(_ticks(status) - ticks) < _NEAR_TICKS:
            return digest(path, size)
        # Root may write to everything; what is marked is marked for root, too.
        if not force and not (status.st_mode & 0o222 and os.access(path, os.W_OK)):
            message = f"Access to the path '{path}' is denied."
            raise failed(message, "CopyFileInfoItemUnauthorizedAccessError", str(path))
    # No link is followed, and what it will be others may not be meant to read.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def give_name(part: Path, path: Path, *, ticks: int, mode: int) -> None:
    """Give a complete part its name. A file that it replaces keeps its mode, but can be run if the new one can."""
    mode = _UNKNOWN_MODE if mode < 0 else _shared(mode)
    if path.is_file():
        was = stat.S_IMODE(path.stat().st_mode)
        mode = was | (mode & 0o111 & (was >> 2))
    moment = (ticks - _EPOCH_TICKS) * 100
    os.utime(part, ns=(moment, moment))
    part.chmod(mode)
    part.replace(path)


def _expanded(path: Path, *, hidden: bool) -> list[Path]:
    found = [Path(path.anchor)]
    for part in path.parts[1:] if path.anchor else path.parts:
        pattern = wildcard(part)
        if isinstance(pattern, str):
            found = [one / pattern for one in found]
            continue
        with_dot = hidden or part.startswith(".")
        found = [
            one / name
            for one in found
            if one.is_dir()
            for name in sorted(os.listdir(one))  # noqa: PTH208 - names are wanted
            if pattern.fullmatch(name) and (with_dot or not name.startswith("."))
        ]
    return found


def _walk(path: Path, parts: tuple[str, ...], *, recurse: bool, skipped: list[str]) -> Iterator[Source]:
    status = path.stat()
    mode = _shared(status.st_mode) if os.name == "posix" else -1
    if path.is_dir():
        yield Source(path, parts, True, 0, _ticks(status), mode)
        for below in sorted(path.iterdir()) if recurse else ():
            if below.is_symlink():
                skipped.append(f"{below}: a link")
            elif below.is_dir() or below.is_file():
                yield from _walk(below, (*parts, below.name), recurse=True, skipped=skipped)
            else:
                skipped.append(f"{below}: no file or folder")
    elif path.is_file():
        yield Source(path, parts, False, status.st_size, _ticks(status), mode)
    else:
        skipped.append(f"{path}: no file or folder")


def _ticks(status: os.stat_result) -> int:
    return status.st_mtime_ns // 100 + _EPOCH_TICKS


def _shared(mode: int) -> int:
    """The mode of a copy: as the source's, but nobody else than its owner writes to it."""
    return mode & 0o755
