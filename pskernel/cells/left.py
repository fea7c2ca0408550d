"""What was left to run in a session by whoever had it before: shown to its end, before the first cell is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pskernel.cells.cell import Cell
from pskernel.cells.outcome import CellError, own_error
from pskernel.cells.output import write_between
from pskernel.directives import Directives
from pskernel.render.text import StreamText

if TYPE_CHECKING:
    from pskernel.cells.output import Output
    from pskernel.cells.progress import ProgressDisplay
    from pskernel.questions import Asker
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["finish_left"]

_GOES_ON = "A command was left in this session. What follows is its output; this cell is sent when it has ended.\n"
_STOPPED = "The command that was left in this session was stopped.\n"
_FAILED = "The command that was left in the session did not end well: {}. This cell was not run."


class _Left(Cell):
    """Takes a command that runs already."""

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:  # noqa: ARG002 - it has been sent
        return runspace.left.pop(0)


async def finish_left(
    session: InteractiveSession,
    output: Output,
    stop_timeout: float,
    asker: Asker | None,
    *,
    limit: float | None = None,
    progress: ProgressDisplay | None = None,
) -> CellError | None:
    """Follow what was left in an open session to its end. Cancelled, it is stopped.

    Args:
        session: open.
        output: of the cell that comes after it, and so are the others.
        stop_timeout: seconds.
        asker: answers what it asks: the user, and no file, which is for the cell; None for a cell of a front end's
            own, which is shown to nobody.
        limit: seconds for the command, as the cell has for itself.
        progress: shows progress records.

    Returns:
        why that cell must not be sent, if it must not.
    """
    while (runspace := session.runspace) is not None and runspace.left:
        if asker is None:
            return own_error("LeftCommandFailed", "The session is at work. This cell was not run.")
        await write_between(output, runspace.idle.take())
        await output.write(StreamText("stderr", _GOES_ON))
        rest = _Left(session, output, stop_timeout, progress=progress, directives=Directives(timeout=limit))
        following = asyncio.create_task(rest.run("", asker))
        try:
            outcome = await asyncio.shield(following)
        except asyncio.CancelledError:
            rest.interrupt()
            await asyncio.wait({following})
            await output.write(StreamText("stderr", _STOPPED))
            raise
        if session.stopped is not None:
            return outcome.error
        if outcome.error is not None:
            return own_error("LeftCommandFailed", _FAILED.format(outcome.error.message.rstrip(" .")))
        # It may have ended the session; otherwise it is known only now where that is.
        await session.ready(asker)
    return None
