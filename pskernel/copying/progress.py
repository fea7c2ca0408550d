"""How far a copy is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pskernel.records import ProgressRecord

__all__ = ["CopyResult", "Counter"]

_HOLD_SECONDS = 0.1


@dataclass(slots=True, repr=False)
class CopyResult:
    """What was copied.

    Attributes:
        way: ``SFTP`` or ``PSRP``.
        files: how many files were carried, and are complete and verified.
        unchanged: how many were there already, which SHA-256 has shown too.
        folders: how many folders were made.
        bytes: the size of the files that were carried.
        resumed: bytes of them that were there from an earlier attempt.
        seconds: how long it took.
        skipped: what was left out, and why.
        notices: what the user should know of the way.
    """

    way: str
    files: int = 0
    folders: int = 0
    bytes: int = 0
    resumed: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)
    unchanged: int = 0
    notices: list[str] = field(default_factory=list)

    def plus(self, other: CopyResult) -> CopyResult:
        """Both together."""
        return CopyResult(
            self.way,
            self.files + other.files,
            self.folders + other.folders,
            self.bytes + other.bytes,
            self.resumed + other.resumed,
            self.seconds + other.seconds,
            [*self.skipped, *other.skipped],
            self.unchanged + other.unchanged,
            [*self.notices, *other.notices],
        )

    def note_empty(self, folders: Iterable[str]) -> None:
        """Folders were asked for without -Recurse: made, as by Copy-Item, which is hardly what was meant."""
        for name in folders:
            shown = "".join(c if c.isprintable() else "?" for c in name)
            self.notices.append(
                f"WARNING: of the folder {shown} nothing that is in it was copied. Use -Recurse (recurse=True)."
            )

    def __repr__(self) -> str:
        return "\n".join([str(self), *self.notices, *(f"left out: {text}" for text in self.skipped)])

    def __str__(self) -> str:
        resumed = f", {self.resumed:,} of them from an earlier attempt" if self.resumed else ""
        unchanged = f", {self.unchanged:,} were there already" if self.unchanged else ""
        rate = self.bytes / self.seconds / 1e6 if self.seconds else 0.0
        if not self.files and not self.unchanged:
            folders = f", {self.folders:,} folder{'s' * (self.folders != 1)}" if self.folders else ""
            return f"No files{folders}, by {self.way} in {self.seconds:.1f} s"
        return (
            f"{self.files:,} files, {self.bytes:,} bytes{resumed}, by {self.way} in {self.seconds:.1f} s "
            f"({rate:.1f} MB/s), verified by SHA-256{unchanged}"
        )


class Counter:
    """Counts bytes, and tells of them ten times a second.

    Args:
        total: bytes of all files.
        files: how many files these are.
        tell: takes a progress record.
    """

    def __init__(self, total: int, files: int, tell: Callable[[ProgressRecord], object] | None) -> None:
        self._total = total
        self._files = files
        self._tell = tell
        self._name = ""
        self._number = 0
        self._done = 0
        self._last = 0.0

    def begin(self, name: str) -> None:
        """Another file comes."""
        self._name = name
        self._number += 1

    def add(self, count: int) -> None:
        """So many bytes of it are copied."""
        self._done += count
        now = time.monotonic()
        if count and self._tell is not None and now - self._last >= _HOLD_SECONDS:
            self._last = now
            self._tell(self._record(completed=False))

    def end(self) -> None:
        """All are."""
        if self._tell is not None:
            self._tell(self._record(completed=True))

    def _record(self, *, completed: bool) -> ProgressRecord:
        percent = min(100, 100 * self._done // self._total) if self._total else 100
        # The remote's names may hold what moves a terminal's cursor.
        name = "".join(c if c.isprintable() else "?" for c in self._name)
        status = f"{name} ({self._number:,} of {self._files:,})  {self._done:,} of {self._total:,} bytes"
        return ProgressRecord(0, 0, -1, "Copying", status, "", percent, -1, completed)
