"""The head: which record is the last one, beside the log, so that a log that was cut shorter does not look whole."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pskernel.audit.files import HEAD_NAME, put, read
from pskernel.audit.records import digest_of_line, read_line, sealed
from pskernel.errors import AuditError

if TYPE_CHECKING:
    from pskernel.audit.keys import AuditKey

__all__ = ["Anchor", "Head", "read_head"]

_MAX_BYTES = 64 * 1024
_ANCHOR = re.compile(r"([1-9][0-9]{0,14}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """One record of a log, for keeping where nobody who may write the log can reach it: ``NUMBER:SHA256``."""

    seq: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read an anchor.

        Raises:
            AuditError: it is none.
        """
        match = _ANCHOR.fullmatch(text.strip())
        if match is None:
            raise AuditError("An anchor is NUMBER:SHA256, as `pskernel audit head` prints it.")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


@dataclass(frozen=True, slots=True)
class Head:
    """The last record.

    Attributes:
        log: the id of the log.
        seq: the record's number.
        digest: SHA-256 of its line, without the end of the line.
        file: the name of the file it is in.
        start: where in the file it begins.
        size: where the file ends, with it.
    """

    log: str
    seq: int
    digest: str
    file: str
    start: int
    size: int

    @property
    def anchor(self) -> Anchor:
        """The record, for keeping elsewhere."""
        return Anchor(self.seq, self.digest)

    @classmethod
    def of(cls, record: dict[str, Any], line: bytes, file: str, start: int) -> Head:
        """The head that names this record."""
        return cls(record["log"], record["seq"], digest_of_line(line), file, start, start + len(line) + 1)

    def line(self, key: AuditKey) -> bytes:
        """The content of the file."""
        return sealed({"kind": "head", **asdict(self)}, key) + b"\n"

    @classmethod
    def parse(cls, data: bytes, key: AuditKey) -> Head | None:
        """Read the content of the file; None if it was not sealed with this key, or is no head."""
        fields = read_line(data.removesuffix(b"\n"), key) if data.endswith(b"\n") else None
        if fields is None or fields.pop("kind", None) != "head":
            return None
        del fields["seal"]
        try:
            head = cls(**fields)
        except TypeError:
            return None
        numbers = (head.seq, head.start, head.size)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        # It is put behind the folder's path.
        named = isinstance(head.file, str) and os.path.basename(head.file) == head.file  # noqa: PTH119
        return head if whole and named and isinstance(head.digest, str) else None

    def write(self, folder: Path, key: AuditKey) -> bytes:
        """Replace the file; return its content.

        Raises:
            OSError: it cannot be written.
        """
        data = self.line(key)
        put(folder / HEAD_NAME, data)
        return data


def read_head(folder: Path) -> bytes | None:
    """The content of the file, if there is one.

    Raises:
        AuditError: it is no plain file.
        OSError: it cannot be read.
    """
    try:
        return read(folder / HEAD_NAME, _MAX_BYTES)
    except FileNotFoundError:
        return None
