"""Which of a server's fragments have arrived.

PowerShell numbers the messages of a session from 1 on, without gaps, over all its pipelines (MS-PSRP 2.2.4, ObjectId).
"""

from __future__ import annotations

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.fragments import is_last, split_fragments

__all__ = ["Arrivals"]

# A server that numbers otherwise would make us remember all of it.
_MAX_REMEMBERED = 65_536


class Arrivals:
    """What was there before is dropped; what never came can be counted."""

    def __init__(self) -> None:
        # All messages up to this one are here, and these beyond it.
        self._all_up_to = 0
        self._beyond: set[int] = set()
        self._late = False
        # Messages that are not complete, and how many fragments of each are here.
        self._begun: dict[int, int] = {}

    def take(self, data: bytes) -> bytes:
        """Return the fragments of ``data`` that are new.

        Raises:
            RemoteProtocolError: a message goes on where it cannot.
        """
        new = [
            data[start:end]
            for object_id, number, flags, start, end in split_fragments(data)
            if self._is_new(object_id, number, last=is_last(flags))
        ]
        return b"".join(new)

    def missing(self) -> int:
        """How many messages have not come although later ones have. They are not waited for any longer."""
        if self._late and self._beyond and not self._all_up_to:
            self._all_up_to = min(self._beyond) - 1
        latest = max(self._beyond, default=self._all_up_to)
        absent = latest - self._all_up_to - len(self._beyond)
        self._forget_up_to(latest)
        return absent

    def start_late(self) -> None:
        """Earlier messages were for somebody else: which ones, is known when some of ours have come."""
        self._late = True

    def _is_new(self, object_id: int, number: int, *, last: bool) -> bool:
        if object_id <= self._all_up_to or object_id in self._beyond:
            return False
        there = self._begun.get(object_id, 0)
        if number < there:
            return False
        if number > there:
            raise RemoteProtocolError("A part of a message was lost when the connection was interrupted.")
        if not last:
            self._begun[object_id] = there + 1
            return True
        self._begun.pop(object_id, None)
        self._beyond.add(object_id)
        while self._all_up_to + 1 in self._beyond:
            self._all_up_to += 1
            self._beyond.remove(self._all_up_to)
        if len(self._beyond) > _MAX_REMEMBERED:
            self._forget_up_to(sorted(self._beyond)[_MAX_REMEMBERED // 2])
        return True

    def _forget_up_to(self, object_id: int) -> None:
        self._all_up_to = object_id
        self._beyond = {each for each in self._beyond if each > object_id}
