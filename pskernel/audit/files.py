"""The files of an audit log: who may have made them, their lock, and writing that is on the disk when it returns."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pskernel.errors import AuditError
from pskernel.locks import try_lock

__all__ = [
    "HEAD_NAME",
    "date_of",
    "failing",
    "file_name",
    "locked",
    "log_files",
    "make_folder",
    "open_to_append",
    "open_to_read",
    "put",
    "read",
    "sync_folder",
    "write_all",
]

HEAD_NAME: Final = "head.json"
_LOCK_NAME: Final = "lock"
_NAME: Final = re.compile(r"audit-[0-9]{12}-[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl")
# Others hold the lock for milliseconds. Who holds it for longer is stopped, or its disk hangs.
_LOCK_SECONDS: Final = 30.0
_LOCK_AGAIN_SECONDS: Final = 0.001
_PLAIN: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def file_name(seq: int, time: str) -> str:
    """The name of the file that begins with record ``seq``, made at ``time``. Names sort as their records do."""
    return f"audit-{seq:012d}-{time[:10]}.jsonl"


def date_of(name: str) -> str:
    """The day in the name of a file."""
    return name[-len("2026-11-23.jsonl") : -len(".jsonl")]


def log_files(folder: Path) -> list[Path]:
    """The files with records, oldest first."""
    return sorted(folder / name for name in os.listdir(folder) if _NAME.fullmatch(name))  # noqa: PTH208 - names only


@contextlib.contextmanager
def failing(action: str, folder: Path) -> Iterator[None]:
    """Turn an error of the system into a sentence. ``action`` completes "cannot be"."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AuditError(f"The audit log {folder} cannot be {action}: {reason}.") from None


def make_folder(folder: Path) -> None:
    """Make the folder, or check that it is one that only this user can reach.

    Raises:
        AuditError: it is not.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise AuditError(f"The audit log {folder} is a link, and must be a folder of its own. Name the folder itself.")
    _check_owner(folder, found)


def open_to_append(path: Path, *, new: bool = False) -> int:
    """Open a file of the log for appending; ``new`` makes it, or empties one that is left from a crash.

    Raises:
        AuditError: it is a link, not a file, or not this user's alone.
        OSError: it cannot be opened.
    """
    how = os.O_CREAT | os.O_TRUNC if new else 0
    return _open(path, os.O_RDWR | os.O_APPEND | how)


def open_to_read(path: Path) -> BinaryIO:
    """Open a file of the log. Whose it is does not matter here: what counts is whether its seals hold.

    Raises:
        AuditError: it is no plain file.
        OSError: it cannot be opened, or is a link.
    """
    number = os.open(path, os.O_RDONLY | _PLAIN | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise AuditError(f"{path} is not a regular file, and so none of an audit log.")
    return open(number, "rb")  # noqa: PTH123 - a number, and the caller closes it


def read(path: Path, limit: int, start: int = 0) -> bytes:
    """Read a part of a file of the log, as :func:`open_to_read` opens it."""
    with open_to_read(path) as file:
        file.seek(start)
        return file.read(limit)


def put(path: Path, data: bytes) -> None:
    """Replace a file in one step that also a loss of power cannot divide.

    Raises:
        AuditError: what is there is not this user's alone.
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.new")
    number = open_to_append(part, new=True)
    try:
        write_all(number, data)
    finally:
        os.close(number)
    part.replace(path)
    sync_folder(path.parent)


def write_all(number: int, data: bytes) -> None:
    """Write, and wait until it is on the disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]
    os.fsync(number)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Windows has no such thing."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextlib.contextmanager
def locked(folder: Path, *, to_write: bool = True) -> Iterator[None]:
    """Hold the log alone. A reader that may not open the lock, or finds none, goes without.

    Raises:
        AuditError: somebody else has held it for too long.
        OSError: it cannot be opened.
    """
    number = None
    try:
        # Anew each time: a process that was forked would share it.
        number = _open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT) if to_write else _reader(folder / _LOCK_NAME)
        if number is not None:
            _wait_for(number, folder)
        yield
    finally:
        if number is not None:
            os.close(number)


def _reader(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | _PLAIN)
    except OSError:
        return None


def _wait_for(number: int, folder: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while not try_lock(number):
        if time.monotonic() > deadline:
            raise AuditError(
                f"The audit log {folder} is held by another process, and has been for {_LOCK_SECONDS:.0f} seconds. "
                f"See who has the file {_LOCK_NAME} in it open."
            )
        time.sleep(_LOCK_AGAIN_SECONDS)


def _open(path: Path, flags: int) -> int:
    if path.is_symlink():
        raise AuditError(f"{path} is a link, and the files of an audit log are none. Find out who made it.")
    number = os.open(path, flags | _PLAIN, 0o600)
    try:
        _check_plain(path, os.fstat(number))
    except BaseException:
        os.close(number)
        raise
    return number


def _check_plain(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise AuditError(f"{path} is not a plain file with one name, and so none of an audit log.")
    _check_owner(path, found)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise AuditError(f"{path} belongs to another user. Each user has an audit log of their own.")
    if stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        mode = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise AuditError(f"Others can reach {path}. Close it with: chmod {mode} {shlex.quote(str(path))}")
