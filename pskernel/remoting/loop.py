"""The event loop that sessions live on, in a thread of its own: whoever uses them from plain Python waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["LOOP", "LoopThread"]

_T = TypeVar("_T")
# How long is waited at a time: on Windows nothing else lets Ctrl+C in.
_POLL_SECONDS = 0.1


class LoopThread:
    """One loop for all sessions of a process; it ends with it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Run a coroutine there. Its result is awaited, or waited for, with the future."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine there to its end; Ctrl+C cancels it. Must not be called on the loop itself."""
        future = self.start(work)
        try:
            while True:
                try:
                    return future.result(_POLL_SECONDS)
                except TimeoutError:
                    if future.done():
                        raise  # its own
        except BaseException:
            # Around all of it: Ctrl+C may come while nothing is waited for, too.
            future.cancel()
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Call a function there, soon."""
        self._running().call_soon_threadsafe(function)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="pskernel", daemon=True).start()
            return self._loop


LOOP = LoopThread()
