"""What the remote says while no pipeline runs (events, a profile): kept for whoever asks next, within limits."""

from __future__ import annotations

from collections import deque

from pskernel.records import Record
from pskernel.session.pipeline import weigh

__all__ = ["IdleRecords"]

_MAX_RECORDS = 1000
_MAX_BYTES = 4 * 1024 * 1024


class IdleRecords:
    """A queue in which older records give way to newer ones."""

    def __init__(self) -> None:
        self._records: deque[tuple[Record, int]] = deque()
        self._bytes = 0

    def add(self, record: Record, received: int = 0) -> None:
        """Keep a record, for which ``received`` bytes came over the line. One that is too large alone is dropped."""
        weight = weigh(record, received)
        self._records.append((record, weight))
        self._bytes += weight
        while len(self._records) > _MAX_RECORDS or self._bytes > _MAX_BYTES:
            self._bytes -= self._records.popleft()[1]

    def take(self) -> list[Record]:
        """Everything kept, once."""
        records = [record for record, _ in self._records]
        self._records.clear()
        self._bytes = 0
        return records
