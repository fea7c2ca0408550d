"""Whether the network to an endpoint is there, for the threads that use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Line", "Trouble"]

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Trouble:
    """One request's with the network: until when it is tried again, and the pause before the next try."""

    until: float | None = None
    pause: float = _FIRST_PAUSE


class Line:
    """Shared by all connections of one session. Its methods may be called from any thread.

    Args:
        host: as it is named to the user.
        window: seconds for which an interrupted request is tried again.
        tell: takes sentences for the user.

    Attributes:
        window: see there.
        generation: how often a request has found no network. Connections from before may be dead without a word.
        session_exists: before, there is nothing worth waiting for.
    """

    def __init__(self, host: str, window: float, tell: Callable[[str], None]) -> None:
        self.window = window
        self.generation = 0
        self.session_exists = False
        self._host = host
        self._tell = tell
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # Whether the user knows that nothing is answered.
        self._told = False
        self._interrupted = False

    @property
    def closed(self) -> bool:
        """Whether nobody is interested any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Nobody is interested any more: who waits to try again gives up."""
        self._closed.set()

    def lost(self, trouble: Trouble) -> bool:
        """Note that a request found no network, and wait until it is worth another try.

        Returns:
            False if it is not: the window has passed, or the line was closed.
        """
        if not self.session_exists:
            return False
        now = time.monotonic()
        if trouble.until is None:
            trouble.until = now + self.window
        with self._lock:
            self._interrupted = True
            self.generation += 1
            if not self._told:
                self._told = True
                self._tell(
                    f"The network connection to {self._host} has been interrupted. Attempting to reconnect for up to "
                    f"{self.window:g} seconds..."
                )
        left = trouble.until - now
        pause, trouble.pause = trouble.pause, min(2 * trouble.pause, _LONGEST_PAUSE)
        return left > 0 and not self._closed.wait(min(pause, left))

    def reached(self) -> None:
        """Note that the server was reached: somebody answers there, be it only to a login."""
        with self._lock:
            if not self._told:
                return
            self._told = False
        self._tell(f"The network connection to {self._host} has been restored.")

    def take_interrupted(self) -> bool:
        """Whether it was interrupted since this was last asked."""
        with self._lock:
            was, self._interrupted = self._interrupted, False
        return was
