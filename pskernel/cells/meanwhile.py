"""A cell whose session's connection is away says so at once, and not only when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from pskernel.cells.output import write_between

if TYPE_CHECKING:
    from pskernel.cells.output import Output
    from pskernel.session.runspace import Runspace

__all__ = ["told_meanwhile"]

_T = TypeVar("_T")


async def told_meanwhile(
    work: Coroutine[Any, Any, _T] | asyncio.Task[_T], runspace: Runspace | None, output: Output | None
) -> _T:
    """What ``work`` returns. Raises what that raises, and cancels it when cancelled.

    Args:
        work: what the cell has to wait for.
        runspace: what is told of its connection goes to the output meanwhile; None if there is none yet.
        output: of the cell; None if nobody is to be told.
    """
    waiting = asyncio.ensure_future(work)
    if runspace is None or output is None:
        return await waiting
    try:
        while not waiting.done():
            told = asyncio.create_task(runspace.idle.told.wait())
            try:
                await asyncio.wait({waiting, told}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
            if not waiting.done():
                await write_between(output, runspace.idle.take_notices())
        return await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
