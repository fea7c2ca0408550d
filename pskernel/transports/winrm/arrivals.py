"""Which of a server's fragments have arrived.

PowerShell numbers the messages of a session from 1 on, without gaps, over all its pipelines (MS-PSRP 2.2.4, ObjectId).
Those of one pipeline come in order; those of several come as their receives do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from uuid import UUID

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.fragments import is_last, split_fragments

__all__ = ["Arrivals"]

# A server that numbers otherwise would make us remember all of it.
_MAX_REMEMBERED = 65_536


class Arrivals:
    """What was there before is dropped; what never came can be counted, and is welcome still."""

    def __init__(self) -> None:
        # All messages up to this one are here, but for the gaps; and these beyond it.
        self._all_up_to = 0
        self._gaps: set[int] = set()
        self._beyond: set[int] = set()
        self._late = False
        # Messages that are not complete, and how many fragments of each are here.
        self._begun: dict[int, int] = {}
        # Since an interruption: the last message that had come then, and who has not been answered since.
        self._horizon = 0
        self._unheard: set[UUID | None] = set()

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

    def suspect(self, receivers: Iterable[UUID | None]) -> None:
        """There was an interruption: what is absent by now is lost, unless one of these is still to bring it."""
        self._horizon = max(self._beyond, default=self._all_up_to)
        self._unheard = set(receivers)

    def heard(self, receiver: UUID | None) -> int:
        """One of them was answered, or is none any more. Returns how many messages are lost, once all were."""
        self._unheard.discard(receiver)
        if self._unheard or not self._horizon:
            return 0
        lost, self._horizon = self._count_absent(self._horizon), 0
        return lost

    def start_late(self) -> None:
        """Earlier messages were for somebody else: which ones, is known when some of ours have come."""
        self._late = True

    def _count_absent(self, horizon: int) -> int:
        if self._late and self._beyond and not self._all_up_to:
            self._give_up_on(min(self._beyond) - 1)
        start = self._all_up_to
        # Of what has begun to come, the rest comes with another answer.
        here = sum(start < each <= horizon for each in self._beyond | self._begun.keys())
        self._give_up_on(horizon)
        return max(0, horizon - start - here)

    def _is_new(self, object_id: int, number: int, *, last: bool) -> bool:
        if object_id in self._beyond or (object_id <= self._all_up_to and object_id not in self._gaps):
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
        if object_id in self._gaps:
            self._gaps.remove(object_id)
            return True
        self._beyond.add(object_id)
        self._advance()
        if len(self._beyond) > _MAX_REMEMBERED:
            self._give_up_on(sorted(self._beyond)[_MAX_REMEMBERED // 2])
        return True

    def _advance(self) -> None:
        while self._all_up_to + 1 in self._beyond:
            self._all_up_to += 1
            self._beyond.remove(self._all_up_to)

    def _give_up_on(self, horizon: int) -> None:
        """Wait no longer for what is absent up to there. Of more than can be remembered, it is the latest."""
        absent = (each for each in range(horizon, self._all_up_to, -1) if each not in self._beyond)
        kept = sorted([*self._gaps, *islice(absent, _MAX_REMEMBERED)])
        self._gaps = set(kept[-_MAX_REMEMBERED:])
        self._all_up_to = max(self._all_up_to, horizon)
        self._beyond = {each for each in self._beyond if each > horizon}
        self._advance()
