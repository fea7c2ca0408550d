"""Whether an audit log is what was written, and all of it; and where it first is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from pskernel.audit.files import failing, file_name, locked, log_files, open_to_read
from pskernel.audit.head import Anchor, Head, read_head
from pskernel.audit.keys import AuditKey, NoKey, Unchecked
from pskernel.audit.records import MAX_LINE, Record, digest_of_line, read_line
from pskernel.errors import AuditError

__all__ = ["LogState", "Verification", "read_anchor", "read_records", "verify"]


class LogState(StrEnum):
    """What is known of a log."""

    GOOD = "good"
    TAMPERED = "tampered"


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying a log came to.

    Attributes:
        state: whether something is wrong.
        records: how many records are good, up to the first bad place.
        place: the first bad place: a file, and a line in it.
        problem: what is wrong there, as a sentence.
        notes: what is not wrong and worth knowing, as sentences.
        key: the kind and the id of the key.
        anchor: the last good record, for keeping elsewhere; empty if there is none.
    """

    state: LogState
    records: int
    place: str = ""
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    key: str = ""
    anchor: str = ""


class _TamperedError(Exception):
    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem


def verify(folder: Path, key: AuditKey | None = None, expect: Sequence[Anchor] = ()) -> Verification:
    """Verify a whole log. Others may go on writing meanwhile: what there is at the beginning is verified.

    Args:
        folder: where it is.
        key: the one it was sealed with; None for a log without one.
        expect: records that it must have.

    Raises:
        AuditError: it cannot be read, or is sealed and there is no key.
    """
    with failing("read", folder):
        head, files = _snapshot(folder)
        if not files and head is None:
            raise AuditError(
                f"There is no audit log in {folder}: neither records nor a head. If there was one, it was removed."
            )
        said = _said_key(files)
        if key is None and said not in {None, NoKey.kind}:
            # It is not bad for want of its key.
            raise AuditError(f"The audit log is sealed by a key ({said}). Give it with --key.")
        walk = _Walk(key or NoKey(), expect)
        try:
            walk.expect_key(said, files)
            for file, size in files:
                walk.through(file, size)
            walk.finish(head)
        except _TamperedError as bad:
            return walk.result(LogState.TAMPERED, bad.place, bad.problem)
    return walk.result(LogState.GOOD)


def read_records(folder: Path) -> Iterator[Record]:
    """The records of a log as they stand there, oldest first, verified by nobody. What is no record is left out.

    Raises:
        AuditError: it cannot be read.
    """
    with failing("read", folder):
        for file, size in _snapshot(folder)[1]:
            with open_to_read(file) as opened:
                for line in _lines(opened, size):
                    if line.endswith(b"\n") and (record := read_line(line[:-1], Unchecked())) is not None:
                        yield record


def read_anchor(folder: Path) -> Anchor:
    """The last record as the head names it. The record must be there; its seal is not verified.

    Raises:
        AuditError: it is not, or cannot be read.
    """
    with failing("read", folder):
        data, files = _snapshot(folder)
        head = Head.parse(data, Unchecked()) if data is not None else None
        if head is None:
            raise AuditError(f"The audit log {folder} has no head, or one that is damaged. Verify it.")
        for file, size in files:
            if file.name == head.file and head.size <= size:
                with open_to_read(file) as opened:
                    opened.seek(head.start)
                    if digest_of_line(opened.read(head.size - head.start)[:-1]) == head.digest:
                        return head.anchor
    raise AuditError(f"The last record that the head of the audit log {folder} names is not there. Verify it.")


def _snapshot(folder: Path) -> tuple[bytes | None, list[tuple[Path, int]]]:
    """The head, and how far the files went at that moment. What is there is never changed, so that the lock can go."""
    with locked(folder, to_write=False):
        return read_head(folder), [(file, file.lstat().st_size) for file in log_files(folder)]


def _said_key(files: Sequence[tuple[Path, int]]) -> str | None:
    """The key that a log says it was sealed by. Anybody may have written that."""
    for file, size in files[:1]:
        with open_to_read(file) as opened:
            first = read_line(next(_lines(opened, size), b"").rstrip(b"\n"), Unchecked())
        said = first.get("key") if first is not None else None
        if isinstance(said, dict):
            return f"{said.get('kind')} {said.get('id')}".strip()
    return None


def _lines(opened: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (line := opened.readline(min(size, MAX_LINE))):
        size -= len(line)
        yield line


class _Walk:
    """From the first record to the last."""

    def __init__(self, key: AuditKey, expect: Sequence[Anchor]) -> None:
        self._key = key
        self._name = f"{key.kind} {key.id}".strip()
        self._expect = {anchor.seq: anchor for anchor in expect}
        self._several = next((a for a in expect if self._expect[a.seq] != a), None)
        self._place = ""
        # The last two: the head may name the one before the last, if a crash came in between.
        self._last: Head | None = None
        self._before: Head | None = None
        self._torn: tuple[str, dict[str, Any]] | None = None
        self._notes: list[str] = []

    def expect_key(self, said: str | None, files: Sequence[tuple[Path, int]]) -> None:
        """Say it plainly if the log is another key's.

        Raises:
            _TamperedError: it is, or says so.
        """
        if said not in {None, self._name}:
            problem = f"The log was sealed by {said}, and not by {self._name}: it was replaced, or this is not its key."
            raise _TamperedError(files[0][0].name, problem)

    def through(self, file: Path, size: int) -> None:
        """One file.

        Raises:
            _TamperedError: something in it is not right.
            OSError: it cannot be read.
        """
        start = 0
        self._place = file.name
        with open_to_read(file) as opened:
            for number, line in enumerate(_lines(opened, size), 1):
                self._place = f"{file.name}, line {number}"
                if not line.endswith(b"\n"):
                    self._cut_off(line, first=start == 0)
                    return
                self._record(line[:-1], file.name, start)
                start += len(line)
        if start == 0:
            raise self._bad("The file is empty: it began with a record")

    def _cut_off(self, line: bytes, *, first: bool) -> None:
        if first or len(line) >= MAX_LINE:
            raise self._bad("The line is not a record")
        self._torn = (self._place, {"length": len(line), "sha256": hashlib.sha256(line).hexdigest()})

    def _record(self, line: bytes, file: str, start: int) -> None:
        record = read_line(line, self._key)
        last = self._last
        seq, prev = (0, None) if last is None else (last.seq, last.digest)
        if record is None:
            raise self._bad(f"This is not record {seq + 1} as it was written with this key: it was changed or replaced")
        if type(record.get("seq")) is not int or record["seq"] != seq + 1:
            raise self._bad(
                f"Record {_number(record)} stands where record {seq + 1} belongs: records were removed, repeated "
                "or moved"
            )
        if record.get("prev") != prev or not isinstance(record.get("log"), str):
            raise self._bad(
                f"Record {seq + 1} does not follow record {seq} as it stands before it: one of them was changed, or is "
                "of another log"
            )
        if (start == 0) != (record.get("kind") == "file"):
            raise self._bad("A file does not begin here, or not with this record: files were joined or divided")
        if start == 0:
            self._begin(record, file)
        self._before, self._last = last, Head.of(record, line, file, start)
        anchor = self._expect.pop(seq + 1, None)
        if anchor is not None and anchor.digest != self._last.digest:
            raise self._bad(f"Record {seq + 1} is not the one that the expected anchor names: the log was made anew")

    def _begin(self, record: Record, file: str) -> None:
        """The first record of a file, which tells what was found at the end of the one before."""
        if record.get("file") != file or file != file_name(record["seq"], str(record.get("time"))):
            raise self._bad("The file has another name than it was begun with: it was renamed")
        if record.get("torn") != (self._torn[1] if self._torn else None):
            place = self._torn[0] if self._torn else self._place
            raise _TamperedError(place, "What stands at the end of the file is not what a crash had left there.")
        if self._torn is not None:
            self._notes.append(f"{self._torn[0]}: a line was cut off by a crash; the log went on after it and says so.")
        if record.get("why") == "head":
            self._notes.append(f"{file}: a writer had ended before its last record was named by the head.")
        self._torn = None

    def finish(self, data: bytes | None) -> None:
        """The head, and what was expected.

        Raises:
            _TamperedError: they do not name what there is.
        """
        last = self._last
        if data is None:
            head = None
            if last is None or last.seq > 1:
                raise _TamperedError("head.json", "The head is missing: it was removed.")
        else:
            head = Head.parse(data, self._key)
            if head is None:
                raise _TamperedError("head.json", "The head is not as it was written with this key: it was changed.")
        self._compare(head)
        if self._torn is not None:
            self._notes.append(
                f"{self._torn[0]}: the last line is cut off, by a crash or a full disk: a record that was being "
                "written is not there. The next writer notes it and goes on."
            )
        for anchor in self._expect.values():
            raise _TamperedError(self._place, f"Record {anchor.seq}, which an expected anchor names, is missing.")
        if self._several is not None:
            raise _TamperedError(self._place, f"Two expected anchors name different records {self._several.seq}.")

    def _compare(self, head: Head | None) -> None:
        last = self._last
        if head == last:
            return
        if head is not None and last is not None and head.seq > last.seq:
            raise _TamperedError(
                self._place,
                f"The log ends with record {last.seq}, and its head names record {head.seq}: the end is missing.",
            )
        if head != self._before or self._torn is not None:
            raise _TamperedError("head.json", "The head is not that of these records: it is older, or another log's.")
        self._notes.append("The head does not name the last record: a writer ended in between, or is just there.")

    def _bad(self, problem: str) -> _TamperedError:
        return _TamperedError(self._place, f"{problem}.")

    def result(self, state: LogState, place: str = "", problem: str = "") -> Verification:
        """What it came to."""
        last = self._last
        return Verification(
            state,
            0 if last is None else last.seq,
            place,
            problem,
            self._notes,
            self._name,
            "" if last is None else str(last.anchor),
        )


def _number(record: Record) -> str:
    seq = record.get("seq")
    return str(seq) if type(seq) is int else "without a number"
