"""Whether the network to an endpoint is there, for the threads that use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Line"]

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


class Line:
    """Shared by all connections of one session. Its methods may be called from any thread.

    Args:
        host: as it is named to the user.
        window: seconds for which an interrupted connection is tried again.
        tell: takes sentences for the user.
    """

    def __init__(self, host: str, window: float, tell: Callable[[str], None]) -> None:
        self._host = host
        self._window = window
        self._tell = tell
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # Since when nothing was answered, and whether the user knows.
        self._lost_at: float | None = None
        self._told = False
        self._pause = _FIRST_PAUSE
        self._interrupted = False
        # Before the session exists there is nothing worth waiting for.
        self.session_exists = False

    @property
    def closed(self) -> bool:
        """Whether nobody is interested any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Nobody is interested any more: who waits to try again gives up."""
        self._closed.set()

    def lost(self) -> bool:
        """Note that a request found no network, and wait until it is worth another try.

        Returns:
            False if it is not: the window has passed, or the line was closed.
        """
        if not self.session_exists:
            return False
        with self._lock:
            now = time.monotonic()
            self._interrupted = True
            if self._lost_at is None:
                self._lost_at, self._pause = now, _FIRST_PAUSE
            if not self._told:
                self._told = True
                self._tell(
                    f"The network connection to {self._host} has been interrupted. Attempting to reconnect for up to "
                    f"{self._window:g} seconds..."
                )
            left = self._lost_at + self._window - now
            pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return left > 0 and not self._closed.wait(min(pause, left))

    def reached(self) -> None:
        """Note that the server was reached: somebody answers there, be it only to a login."""
        with self._lock:
            if not self._told:
                return
            self._told = False
        self._tell(f"The network connection to {self._host} has been restored.")

    def answered(self) -> None:
        """Note that a request was answered: the window begins anew with the next interruption."""
        with self._lock:
            self._lost_at = None

    def take_interrupted(self) -> bool:
        """Whether it was interrupted since this was last asked."""
        with self._lock:
            was, self._interrupted = self._interrupted, False
        return was
