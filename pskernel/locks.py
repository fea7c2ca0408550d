"""Files that one process at a time may hold. The system lets go of them when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["held", "try_lock"]

if sys.platform == "win32":
    import msvcrt

    def try_lock(number: int) -> bool:
        """Lock an open file, by its descriptor; False if another process, or another opening of it, holds it."""
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(number: int) -> bool:
        """Lock an open file, by its descriptor; False if another process, or another opening of it, holds it."""
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a file that is there as long as somebody does. Gives whether it could be had, and does not wait.

    Raises:
        OSError: it cannot be made.
    """
    number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        # Whoever had it may have taken the file away between our opening and our lock.
        ours = try_lock(number) and _is_at(number, path)
        try:
            yield ours
        finally:
            if ours:
                with contextlib.suppress(OSError):
                    path.unlink()
    finally:
        os.close(number)


def _is_at(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False
