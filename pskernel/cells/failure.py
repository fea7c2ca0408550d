"""A terminating error, as the remote itself would show it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from pskernel.cells.outcome import CellError, clean
from pskernel.errors import PSKernelError
from pskernel.records import ErrorRecord, HostText
from pskernel.render.text import error_traceback

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["shown_error"]

_DISPLAY_SECONDS = 5.0


async def shown_error(error: ErrorRecord, runspace: Runspace | None) -> CellError:
    """An error of the remote's as a cell's.

    Args:
        error: the error.
        runspace: where it is rendered with the remote's own view; None shows its message alone.
    """
    shown: list[HostText] = []
    if runspace is not None:
        # The cell has failed either way; an endpoint that cannot render it costs only the remote's own layout.
        with contextlib.suppress(PSKernelError, TimeoutError):
            async with asyncio.timeout(_DISPLAY_SECONDS):
                shown = await runspace.display_error(error)
    name = error.fully_qualified_error_id or error.exception_type or "RemoteException"
    return CellError(clean(name), clean(error.message), error_traceback(error, shown))
