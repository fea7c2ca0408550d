"""What of the received is shown or used: a far side that keeps it for another client need not keep that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.transports.base import KeepsUntaken

if TYPE_CHECKING:
    from uuid import UUID

    from pskernel.protocol.runspace import RunspaceProtocol
    from pskernel.records import HostCall
    from pskernel.session.idle import IdleRecords
    from pskernel.session.running import RunningPipelines
    from pskernel.transports.base import Transport

__all__ = ["Taking"]


class Taking:
    """Tells the transport when everything was taken.

    Not taken is a part of a message, a record that nobody has read, and a question that nobody has answered: whoever
    comes to the session next must be able to show it, and to answer. Nor is what the remote said between two cells and
    is kept for the next; nor the end of a pipeline that is not closed: whoever comes next must hear of it, to close it.
    """

    def __init__(
        self, transport: Transport, protocol: RunspaceProtocol, running: RunningPipelines, idle: IdleRecords
    ) -> None:
        self._keeper = transport if isinstance(transport, KeepsUntaken) else None
        self._protocol = protocol
        self._running = running
        self._idle = idle
        # The calls that nobody has answered, and what they were made for; whether the far side is to hear it at once.
        self._asked: set[tuple[UUID | None, int]] = set()
        self._is_urgent = False

    @property
    def matters(self) -> bool:
        """Whether anybody else can come for what this client has not taken."""
        return self._keeper is not None

    def note(self) -> None:
        """Find out whether that is so now."""
        if self._keeper is None or self._asked or not self._protocol.is_between_messages:
            return
        if self._running.all_taken and not self._idle.waits:
            self._keeper.taken(at_once=self._is_urgent)
            self._is_urgent = False

    def asked(self, pipeline_id: UUID | None, call: HostCall) -> None:
        """A question has arrived."""
        if call.call_id is not None:
            self._asked.add((pipeline_id, call.call_id))

    def answered(self, call: HostCall) -> None:
        """It is answered, and must not be asked again."""
        self._asked = {(pipeline_id, number) for pipeline_id, number in self._asked if number != call.call_id}
        self._is_urgent = True
        self.note()

    def ended(self, pipeline_id: UUID) -> None:
        """A pipeline is over: nothing of it must be heard again, a stop in the debugger least."""
        self._asked = {each for each in self._asked if each[0] != pipeline_id}
        self._is_urgent = True
        self.note()
