"""How far a copy is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pskernel.records import ProgressRecord

__all__ = ["CopyResult", "Counter"]

_HOLD_SECONDS = 0.1


@dataclass(slots=True, repr=False)
class CopyResult:
    """What was copied.

    Attributes:
        way: ``SFTP`` or ``PSRP``.
        files: how many files are complete and verified.
        folders: how many folders were made.
        bytes: the size of the files.
        resumed: bytes of them that were there from an earlier attempt.
        seconds: how long it took.
        skipped: what was left out, and why.
    """

    way: str
    files: int = 0
    folders: int = 0
    bytes: int = 0
    resumed: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)

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
        )

    def __repr__(self) -> str:
        return "\n".join([str(self), *(f"left out: {text}" for text in self.skipped)])

    def __str__(self) -> str:
        resumed = f", {self.resumed:,} of them from an earlier attempt" if self.resumed else ""
        rate = self.bytes / self.seconds / 1e6 if self.seconds else 0.0
        return (
            f"{self.files:,} files, {self.bytes:,} bytes{resumed}, by {self.way} in {self.seconds:.1f} s "
            f"({rate:.1f} MB/s), verified by SHA-256"
        )


class Counter:
    """Counts bytes, and tells of them ten times a second.

    Args:
        total: of all files.
        tell: takes a progress record.
    """

    def __init__(self, total: int, tell: Callable[[ProgressRecord], object] | None) -> None:
        self._total = total
        self._tell = tell
        self._done = 0
        self._last = 0.0

    def add(self, count: int, name: str) -> None:
        """So many bytes of a file are copied."""
        self._done += count
        now = time.monotonic()
        if self._tell is not None and now - self._last >= _HOLD_SECONDS:
            self._last = now
            self._tell(self._record(name, completed=False))

    def end(self) -> None:
        """All are."""
        if self._tell is not None:
            self._tell(self._record("", completed=True))

    def _record(self, name: str, *, completed: bool) -> ProgressRecord:
        percent = min(100, 100 * self._done // self._total) if self._total else 100
        status = f"{name}  {self._done:,} of {self._total:,} bytes"
        return ProgressRecord(0, 0, -1, "Copying", status, "", percent, -1, completed)
