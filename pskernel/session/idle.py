"""What the remote says while no pipeline runs (events, a profile): kept for whoever asks next, within limits."""

from __future__ import annotations

import asyncio
from collections import deque

from pskernel.records import Notice, Record
from pskernel.session.pipeline import weigh

__all__ = ["IdleRecords"]

_MAX_RECORDS = 1000
_MAX_BYTES = 4 * 1024 * 1024


class IdleRecords:
    """A queue in which older records give way to newer ones.

    Attributes:
        told: whether something of our own is among them, for whoever cannot wait for the next cell.
    """

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self._records: deque[tuple[Record, int]] = deque()
        self._bytes = 0

    def add(self, record: Record, received: int = 0) -> None:
        """Keep a record, for which ``received`` bytes came over the line. One that is too large alone is dropped."""
        weight = weigh(record, received)
        self._records.append((record, weight))
        self._bytes += weight
        while len(self._records) > _MAX_RECORDS or self._bytes > _MAX_BYTES:
            self._bytes -= self._records.popleft()[1]
        if isinstance(record, Notice):
            self.told.set()

    @property
    def waits(self) -> bool:
        """Whether the remote has said something that nobody has taken yet."""
        return any(not isinstance(record, Notice) for record, _ in self._records)

    def take(self) -> list[Record]:
        """Everything kept, once."""
        records = [record for record, _ in self._records]
        self._records.clear()
        self._bytes = 0
        self.told.clear()
        return records

    def take_notices(self) -> list[Notice]:
        """What is our own of it, once; what the remote said stays."""
        notices = [record for record, _ in self._records if isinstance(record, Notice)]
        self._records = deque((record, weight) for record, weight in self._records if not isinstance(record, Notice))
        self._bytes = sum(weight for _, weight in self._records)
        self.told.clear()
        return notices
