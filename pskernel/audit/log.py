"""The log as it is written: one record a line, each with the digest of the one before.

A crash is told from tampering by the order of writing: a record is on the disk before the head names it, and a new file
has its first record before it has its name. So what a crash can leave is a line that was cut off, behind the record
that the head names; or one whole record behind it. Both are left as they are: the log goes on in a new file, whose
first record tells what was found.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pskernel.audit.files import (
    date_of,
    failing,
    file_name,
    locked,
    log_files,
    make_folder,
    open_to_append,
    put,
    read,
    write_all,
)
from pskernel.audit.head import Head, read_head
from pskernel.audit.keys import AuditKey, NoKey
from pskernel.audit.records import MAX_LINE, Event, Record, digest_of_line, fields_of, read_line, sealed
from pskernel.errors import AuditError
from pskernel.masking import Masker

__all__ = ["MAX_BYTES", "AuditLog", "local_user"]

# What an editor still opens.
MAX_BYTES: Final = 64 * 1024 * 1024
_VERSION: Final = 1
# Two lines: the one that the head names, and what may stand behind it.
_MOST: Final = 2 * MAX_LINE


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands behind the head: nothing, a part of a line, or a record that the head does not name yet."""

    torn: bytes = b""
    ahead: Head | None = None


class AuditLog:
    """An audit log that is open for writing; :meth:`open` makes one. Any number of processes may have it open.

    Any failure ends it: what was to be recorded may or may not be, and only a new one finds out.
    """

    def __init__(self, folder: Path, key: AuditKey, masker: Masker | None, max_bytes: int) -> None:
        self._folder = folder
        self._key = key
        self._masker = masker
        self._max_bytes = max_bytes
        self._who = {
            "user": local_user()[0],
            "host": socket.gethostname(),
            "uid": None if sys.platform == "win32" else os.getuid(),
        }
        self._thread = threading.Lock()
        self._closed = False
        # Set as soon as the log is held for the first time.
        self._head: Head | None = None
        self._head_data: bytes | None = None
        self._file: int | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        key: AuditKey | None = None,
        *,
        masker: Masker | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Self:
        """Open the log in a folder, or begin one there. What a crash has left is noted in it.

        Args:
            folder: for one user, and nobody else.
            key: seals the records; without one, only a chain of digests holds them. A log keeps its key.
            masker: takes secrets out of what is recorded.
            max_bytes: the size that a file has at most before the next one is begun; each day begins one too.

        Raises:
            AuditError: the folder or what is in it cannot be used or is damaged.
        """
        log = cls(folder.absolute(), key or NoKey(), masker, max_bytes)
        try:
            with failing("opened", log._folder):
                make_folder(log._folder)
            with log._held():
                pass
        except BaseException:
            log.close()
            raise
        return log

    @property
    def anchor(self) -> str:
        """The last record that this object knows of, as ``NUMBER:SHA256``, for keeping elsewhere."""
        return "" if self._head is None else str(self._head.anchor)

    def append(self, event: Event, masker: Masker | None = None) -> int:
        """Put an event on record; return the record's number. It is on the disk then.

        ``masker`` takes secrets out that are those of this event's run alone, instead of the log's own.

        Raises:
            AuditError: it may not be on record. Nothing more can be, by this object.
        """
        with self._held() as found:
            head = self._begin_file(found, "size or date") if self._is_due(found) else found
            record, line = self._compose(fields_of(event, masker or self._masker), head, _now())
            if len(line) >= MAX_LINE:
                raise AuditError(
                    f"A record of more than {MAX_LINE >> 20} MB does not go into an audit log. Divide the cell."
                )
            assert self._file is not None  # noqa: S101 - whoever holds the log has the file
            write_all(self._file, line + b"\n")
            self._name(Head.of(record, line, head.file, head.size))
        return head.seq + 1

    def close(self) -> None:
        """Let go of the file. Can be called again."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _held(self) -> Iterator[Head]:
        """Hold the log, at its end."""
        with self._thread:
            if self._closed:
                raise AuditError(f"The audit log {self._folder} is closed, or an earlier record could not be written.")
            try:
                with failing("written", self._folder), locked(self._folder):
                    yield self._find_end()
            except BaseException:
                self.close()
                raise

    def _find_end(self) -> Head:
        """The last record. What another process has appended is taken up, and what a crash has left is noted."""
        data = read_head(self._folder)
        if (
            self._head is not None
            and self._file is not None
            and data == self._head_data
            and os.fstat(self._file).st_size == self._head.size
        ):
            return self._head
        if data is None and not log_files(self._folder):
            return self._begin_file(None, "start")
        head = Head.parse(data, self._key) if data is not None else None
        if data is not None and head is None:
            raise self._damaged("its head was not written with this key")
        found = self._look_behind(head)
        last = found.ahead or head
        assert last is not None  # noqa: S101 - without a head there is a record ahead of it, or it is damaged
        self._let_go()
        self._file = open_to_append(self._folder / last.file)
        if found.ahead is not None:
            # No harm is done if this is lost: the next one finds the same.
            self._name(found.ahead)
            return self._begin_file(found.ahead, "head")
        self._head, self._head_data = last, data
        return self._begin_file(last, "torn", found.torn) if found.torn else last

    def _look_behind(self, head: Head | None) -> _Found:
        """What stands behind the record that the head names, after a look at that one."""
        files = log_files(self._folder)
        if head is None:
            later = files
            torn = b""
        else:
            current = self._folder / head.file
            later = [file for file in files if file.name > head.file]
            if current not in files:
                raise self._damaged(f"the file {head.file} is missing")
            line, torn = self._tail(current, head)
            if digest_of_line(line) != head.digest:
                raise self._damaged(f"record {head.seq} is not the one that its head names")
        lines = torn.split(b"\n")
        if not later and len(lines) == 1 and head is not None:
            return _Found(torn)
        if not later and len(lines) == 2 and not lines[1] and head is not None:
            return _Found(ahead=self._next(head, lines[0], head.file, head.size))
        if len(later) == 1 and len(lines) == 1:
            first = read(later[0], _MOST)
            if first.endswith(b"\n") and first.count(b"\n") == 1:
                return _Found(ahead=self._next(head, first[:-1], later[0].name, 0))
        raise self._damaged("there is more behind the record that its head names than a crash leaves")

    def _tail(self, file: Path, head: Head) -> tuple[bytes, bytes]:
        data = read(file, _MOST, head.start)
        length = head.size - head.start
        if len(data) < length or data[length - 1 : length] != b"\n":
            raise self._damaged(f"{head.file} is shorter than its head says")
        return data[: length - 1], data[length:]

    def _next(self, head: Head | None, line: bytes, file: str, start: int) -> Head:
        record = read_line(line, self._key)
        before = (0, None) if head is None else (head.seq, head.digest)
        if record is None or (record.get("seq"), record.get("prev")) != (before[0] + 1, before[1]):
            raise self._damaged(f"what stands behind record {before[0]} is not a record of it")
        return Head.of(record, line, file, start)

    def _is_due(self, head: Head) -> bool:
        return head.size >= self._max_bytes or date_of(head.file) != _now()[:10]

    def _begin_file(self, head: Head | None, why: str, torn: bytes = b"") -> Head:
        now = _now()
        name = file_name(1 if head is None else head.seq + 1, now)
        if os.path.lexists(self._folder / name):
            raise self._damaged(f"there is a {name} already")
        fields = {
            "kind": "file",
            "file": name,
            "version": _VERSION,
            "key": {"kind": self._key.kind, "id": self._key.id},
            "why": why,
            "torn": {"length": len(torn), "sha256": digest_of_line(torn)} if torn else None,
        }
        record, line = self._compose(fields, head, now)
        put(self._folder / name, line + b"\n")
        self._let_go()
        self._file = open_to_append(self._folder / name)
        last = Head.of(record, line, name, 0)
        self._name(last)
        return last

    def _compose(self, fields: Record, head: Head | None, now: str) -> tuple[Record, bytes]:
        record: Record = {
            **fields,
            "log": uuid.uuid4().hex if head is None else head.log,
            "seq": 1 if head is None else head.seq + 1,
            "time": now,
            "who": {**self._who, "pid": os.getpid()},
            "prev": None if head is None else head.digest,
        }
        return record, sealed(record, self._key)

    def _name(self, head: Head) -> None:
        self._head_data = head.write(self._folder, self._key)
        self._head = head

    def _damaged(self, why: str) -> AuditError:
        return AuditError(
            f"The audit log {self._folder} is not continued: {why}. See what `pskernel audit verify` says of it with "
            "its key, keep it as it is, and begin another one in a new folder."
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


if sys.platform == "win32":

    def local_user() -> tuple[str, str]:
        """The name of this process's user, and their home."""
        return getpass.getuser(), str(Path.home())
else:
    import pwd

    def local_user() -> tuple[str, str]:
        """The name of this process's user, and their home."""
        # Not getpass and Path.home, which believe the environment.
        try:
            found = pwd.getpwuid(os.getuid())
        except KeyError:
            return str(os.getuid()), "/nonexistent"
        return found.pw_name, found.pw_dir
