"""Where a runspace is in its life, why it never got there, and whether it can take secrets."""

from __future__ import annotations

import asyncio
from enum import Enum

from pskernel.errors import ConnectError, LocalProtocolError, NotPowerShell, ProtocolError, PSKernelError

__all__ = ["KeyExchange", "RunspaceState", "opening_error"]


class RunspaceState(Enum):
    """Where a runspace is in its life. DISCONNECTED, the server keeps it; BROKEN is for good: its state may be lost."""

    OPENING = "opening"
    OPEN = "open"
    DISCONNECTED = "disconnected"
    CLOSED = "closed"
    BROKEN = "broken"


def opening_error(error: PSKernelError | None) -> PSKernelError:
    """What to tell of a runspace that broke with ``error`` while it was being opened."""
    if isinstance(error, ConnectError):
        return error
    if isinstance(error, ProtocolError):
        return NotPowerShell(f"No PowerShell answered. {error}")
    return ConnectError(f"The remote did not open a runspace. {error or ''}".strip())


class KeyExchange:
    """The one exchange of keys that a runspace's first secret needs."""

    def __init__(self) -> None:
        self._begun = False
        self._problem = ""
        self._over = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether anybody has asked for it."""
        return self._begun

    def begins(self) -> bool:
        """Whether whoever asks is the first, and has to begin it."""
        first, self._begun = not self._begun, True
        return first

    def end(self, problem: str = "") -> None:
        """Note that there is a key, or never will be one; with a ``problem`` because the server's is none."""
        self._problem = self._problem or problem
        self._over.set()

    async def wait(self) -> None:
        """Wait for that.

        Raises:
            LocalProtocolError: the server's is none. Everything else goes on working.
        """
        await self._over.wait()
        if self._problem:
            raise LocalProtocolError(f"{self._problem} No secret can be sent in this session; open another one.")
