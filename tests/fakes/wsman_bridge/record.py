"""What clients asked for and what they were handed, for tests to look at. There are no credentials in it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.wsman_bridge.output import Taken

__all__ = ["Asked", "Record"]

_LOG_LINES = 2_000


@dataclass(frozen=True)
class Asked:
    """A request that was let in. Ids are in capitals; ``at`` is the monotonic clock."""

    operation: str
    message_id: str
    shell_id: str
    command_id: str | None
    user: str
    at: float = field(default_factory=time.monotonic)


class Record:
    """Kept for the life of a bridge; from all its threads."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._requests: list[Asked] = []
        self._sent: dict[tuple[str, str | None], list[Taken]] = {}

    @property
    def requests(self) -> list[Asked]:
        """In the order in which they came."""
        with self.changed:
            return list(self._requests)

    @property
    def sent(self) -> dict[tuple[str, str | None], bytes]:
        """The fragments handed out, by shell and command (None: the shell itself), each in the order it went.

        What was given back to the queue does not count; what was lost on its way does.
        """
        with self.changed:
            return {key: b"".join(each.data for each in taken) for key, taken in self._sent.items()}

    def asked(self, request: Asked) -> None:
        """Note a request."""
        with self.changed:
            self._requests.append(request)
            self.changed.notify_all()

    def handed_out(self, shell_id: str, command_id: str | None, taken: Taken) -> None:
        """Note what an answer carries."""
        with self.changed:
            self._sent.setdefault((shell_id, command_id), []).append(taken)
            self.changed.notify_all()

    def given_back(self, shell_id: str, command_id: str | None, taken: Taken) -> None:
        """It did not."""
        with self.changed:
            self._sent[shell_id, command_id].remove(taken)

    def note(self, line: str) -> None:
        """Write to the log."""
        with self.changed:
            self.log.append(line)
            self.changed.notify_all()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait for something that the record shows. Returns whether it came."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)
