"""A cell that waits for a session whose connection is away says so, and not only when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pskernel.cells.output import write_between

if TYPE_CHECKING:
    from pskernel.cells.output import Output
    from pskernel.session.runspace import Runspace

__all__ = ["ready_told"]


async def ready_told(ready: Coroutine[Any, Any, Runspace], before: Runspace | None, output: Output | None) -> Runspace:
    """The runspace that ``ready`` returns. Raises what that raises.

    Args:
        ready: waits until cells can be sent.
        before: the runspace that is open already.
        output: what is told of the connection of that one goes there meanwhile; None if nobody is to be told.
    """
    if before is None or output is None:
        return await ready
    waiting = asyncio.create_task(ready)
    try:
        while not waiting.done():
            told = asyncio.create_task(before.idle.told.wait())
            try:
                await asyncio.wait({waiting, told}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
            if not waiting.done():
                await write_between(output, before.idle.take_notices())
        return await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
