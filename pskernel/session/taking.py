"""What of the received is shown or used: a far side that keeps it for another client need not keep that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.transports.base import KeepsUntaken

if TYPE_CHECKING:
    from pskernel.protocol.runspace import RunspaceProtocol
    from pskernel.records import HostCall
    from pskernel.session.running import RunningPipelines
    from pskernel.transports.base import Transport

__all__ = ["Taking"]


class Taking:
    """Tells the transport when everything was taken.

    Not taken is a part of a message, a record that nobody has read, and a question that nobody has answered: whoever
    comes to the session next must be able to show it, and to answer. Nor is the end of a pipeline that is not closed:
    whoever comes next must hear of it, to close it.
    """

    def __init__(self, transport: Transport, protocol: RunspaceProtocol, running: RunningPipelines) -> None:
        self._keeper = transport if isinstance(transport, KeepsUntaken) else None
        self._protocol = protocol
        self._running = running
        self._asked: set[int] = set()

    @property
    def matters(self) -> bool:
        """Whether anybody else can come for what this client has not taken."""
        return self._keeper is not None

    def note(self, *, at_once: bool = False) -> None:
        """Find out whether that is so now."""
        if self._keeper is None or self._asked or not self._protocol.is_between_messages:
            return
        if self._running.all_taken:
            self._keeper.taken(at_once=at_once)

    def asked(self, call: HostCall) -> None:
        """A question has arrived."""
        if call.call_id is not None:
            self._asked.add(call.call_id)

    def answered(self, call: HostCall) -> None:
        """It is answered, and must not be asked again."""
        if call.call_id in self._asked:
            self._asked.discard(call.call_id)
            self.note(at_once=True)
