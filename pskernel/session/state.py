"""Where a runspace is in its life, and why it never got there."""

from __future__ import annotations

from enum import Enum

from pskernel.errors import ConnectError, NotPowerShell, ProtocolError, PSKernelError

__all__ = ["RunspaceState", "opening_error"]


class RunspaceState(Enum):
    """Where a runspace is in its life. BROKEN is for good: state on the remote may be lost."""

    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"
    BROKEN = "broken"


def opening_error(error: PSKernelError | None) -> PSKernelError:
    """What to tell of a runspace that broke with ``error`` while it was being opened."""
    if isinstance(error, ConnectError):
        return error
    if isinstance(error, ProtocolError):
        return NotPowerShell(f"No PowerShell answered. {error}")
    return ConnectError(f"The remote did not open a runspace. {error or ''}".strip())
