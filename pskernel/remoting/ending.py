"""Sessions end with the process that opened them: a WinRM server would keep them for hours.

A thread waits for the main thread's end, because nothing may start one any more when :mod:`atexit` has its turn, and a
request over WinRM takes one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from pskernel.remoting.loop import LOOP

if TYPE_CHECKING:
    from pskernel.session.interactive import InteractiveSession

__all__ = ["end_with_process"]

# For all of them together. Jupyter kills a kernel that is still there 2.5 seconds after it was told to end.
_SECONDS = 2.0
_sessions: WeakSet[InteractiveSession] = WeakSet()
_waiting = threading.Lock()


def end_with_process(session: InteractiveSession) -> InteractiveSession:
    """Close a session of the sessions' loop when the process ends, if it is open then. One that was left stays."""
    if _waiting.acquire(blocking=False):
        threading.Thread(target=_wait_and_close, name="pskernel-end", daemon=False).start()
    _sessions.add(session)
    return session


def _wait_and_close() -> None:
    threading.main_thread().join()
    if _sessions:
        with contextlib.suppress(Exception):  # there is nobody to be told
            LOOP.start(_close_all()).result(_SECONDS)


async def _close_all() -> None:
    await asyncio.gather(*(session.aclose(grace=_SECONDS) for session in list(_sessions)), return_exceptions=True)
