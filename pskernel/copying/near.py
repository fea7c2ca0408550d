"""This side's files: what a path names, and what a copy of it is called while it is not complete."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Source", "digest", "find", "is_writable", "landing", "part_name", "size_of"]

_BLOCK = 1024 * 1024
_MAX_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder. ``parts`` is its path below what was named, beginning with its own name."""

    path: Path
    parts: tuple[str, ...]
    is_folder: bool
    size: int
    modified: datetime


def find(pattern: str, *, literal: bool, recurse: bool, skipped: list[str]) -> list[Source]:
    """What a path with ``*``, ``?`` and ``[ ]`` names, and with ``recurse`` what is below. Links are not followed.

    Args:
        pattern: the path; ``~`` is the user's folder.
        literal: whether no character has a meaning.
        recurse: whether folders come with their contents.
        skipped: takes what is left out.
    """
    text = os.path.expanduser(pattern)  # noqa: PTH111 - pathlib would raise for an unknown user
    paths = [Path(text)] if literal or os.path.lexists(text) else [Path(name) for name in sorted(glob.glob(text))]  # noqa: PTH207
    found: list[Source] = []
    for path in paths:
        if path.exists():
            found += _walk(path, (path.resolve().name,), recurse=recurse, skipped=skipped)
    return found


def _walk(path: Path, parts: tuple[str, ...], *, recurse: bool, skipped: list[str]) -> Iterator[Source]:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime_ns // 1000 / 1e6, UTC)
    if path.is_dir():
        yield Source(path, parts, is_folder=True, size=0, modified=modified)
        for below in sorted(path.iterdir()) if recurse else ():
            if below.is_symlink():
                skipped.append(f"{below}: a link")
            elif below.is_dir() or below.is_file():
                yield from _walk(below, (*parts, below.name), recurse=True, skipped=skipped)
            else:
                skipped.append(f"{below}: no file or folder")
    elif path.is_file():
        yield Source(path, parts, is_folder=False, size=status.st_size, modified=modified)
    else:
        skipped.append(f"{path}: no file or folder")


def digest(path: Path, length: int) -> str:
    """The SHA-256 of a file's first bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            sha.update(block)
            length -= len(block)
    return sha.hexdigest()


def part_name(name: str, size: int, modified: datetime) -> str:
    """What a copy is called before it is complete: another version of the source has another name."""
    version = hashlib.sha256(f"{name}\0{size}\0{modified.isoformat()}".encode("utf-8", "surrogateescape")).hexdigest()[
        :12
    ]
    short = name.encode("utf-8", "surrogateescape")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return f".{short}.{version}.pskernel-part"


def landing(text: str) -> tuple[Path, bool, bool]:
    """A destination: its path, whether it is a folder, and whether the folder around it exists."""
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib would raise for an unknown user
    return path, path.is_dir(), path.parent.is_dir()


def is_writable(path: Path) -> bool | None:
    """Whether a file may be replaced without being asked; None where a folder is in its place."""
    if path.is_dir():
        return None
    return not path.exists() or os.access(path, os.W_OK)


def size_of(path: Path) -> int:
    """The size of a file; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0
