"""What a cell does to the place where cells run: looked at before it is sent, and told after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pskernel.cells.outcome import CellError, Outcome, own_error, with_second_hop
from pskernel.session.aims import AWAY, EXIT, THROUGH, Aim, aim_of
from pskernel.session.hops import Move

if TYPE_CHECKING:
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.runspace import Runspace

__all__ = ["Moving"]

_STOPPED = "PipelineStopped"
_UNKNOWN = (
    "The question which host the session is on now was interrupted, so the session was abandoned: its variables, "
    "functions and location are gone."
)


class Moving:
    """For one cell.

    Args:
        session: where it runs.
        follows: whether the session may stay on the host to which the cell takes it.
    """

    def __init__(self, session: InteractiveSession, *, follows: bool) -> None:
        self._session = session
        self._follows = follows
        self._aim = Aim.NOTHING
        self._asking: asyncio.Task[Move | None] | None = None
        self._interrupted = False

    async def refusal(self, runspace: Runspace, text: str) -> CellError | None:
        """Why the cell must not be sent, or None: a part of it would run on another host than it reads as."""
        if self._follows and self._session.stopped is None:
            away = self._session.is_away
            self._aim = await aim_of(runspace, text, self._session.facts, away=away)
            if self._aim is Aim.THROUGH or (away and self._aim is Aim.AWAY):
                why = THROUGH if self._aim is Aim.THROUGH else AWAY
                return own_error("SecondHop", why.format(self._session.place))
        return None

    def as_sent(self, text: str) -> str:
        """The cell, or what PowerShell's console sends for it: a plain `exit` would end the session in front, too."""
        return EXIT if self._aim is Aim.BACK and self._session.is_away else text

    def interrupt(self) -> bool:
        """Stop asking where the session is, if that is being asked. Returns whether it is."""
        if self._asking is None:
            return False
        self._interrupted = True
        self._asking.cancel()
        return True

    async def settle(self, outcome: Outcome, text: str, *, wrote_error: bool, stopped_here: bool) -> str:
        """Find out where the session is after the cell, and what that means for the outcome.

        Args:
            outcome: of the cell; changed.
            text: the cell.
            wrote_error: whether it wrote error records.
            stopped_here: whether it was interrupted from this side.

        Returns:
            what to show, or nothing.
        """
        moved = await self._ask(text)
        if moved is None:
            if self._aim is Aim.HOP and wrote_error and outcome.error is None:
                place = self._session.place
                outcome.error = own_error("SecondHop", f"No other host was entered. Cells run on {place} still.")
            return ""
        if outcome.error is not None and outcome.error.name == _STOPPED and not stopped_here:
            outcome.error = None  # the host that was left ends so what had left it
        if moved.wanted and outcome.error is None:
            return moved.text
        outcome.error = with_second_hop(outcome.error, moved.text)
        return ""

    async def _ask(self, text: str) -> Move | None:
        self._asking = asyncio.create_task(self._session.after_cell(text, self._aim, follow=self._follows))
        try:
            return await self._asking
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            await self._session.abandon(_UNKNOWN)
            return Move(_UNKNOWN)
        finally:
            self._asking = None
