"""The session a user is *in*, as Enter-PSSession means it: opened, left, lost, and never quietly replaced.

The rule everything here serves: a cell meant for one remote state must not run on another. Whenever the runspace that
held the user's variables and directory is gone (they left, the line was cut, a stuck command was abandoned) or the
server has moved to another host without being told to, the next cell is refused and nothing of it is sent. Only the
cell after that opens a new session, or runs on the other host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pskernel.errors import PromptUnavailable, PSKernelError
from pskernel.questions import NobodyToAsk
from pskernel.session import debugger
from pskernel.session.aims import Aim, mentions_hosts
from pskernel.session.facts import Facts, ask_facts
from pskernel.session.hops import BEHIND_SECONDS, CHECK_SECONDS, Hops, LeftTarget, Move, leave_all
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.transports.base import TakenOver

if TYPE_CHECKING:
    from pskernel.questions import Asker

__all__ = ["InteractiveSession", "Opener", "SessionLost"]

Opener = Callable[["Asker"], Awaitable[Runspace]]

# A failure to connect that is older than that is not what the user sees now: the network may be there by now.
_STALE_SECONDS = 10.0


class SessionLost(PSKernelError):
    """The cell was not sent: what it was meant for is gone. The message says what was lost and what to do."""


class InteractiveSession:
    """One target's interactive session. All methods belong to one event loop.

    Args:
        opener: opens a runspace, asking the given asker for what it needs.
        label: how messages name the target.
        computer: how prompts and security warnings name it: the host alone.
        afterwards: what to tell the user to do when the session is over, where no cell opens another one.
        outlives_exit: whether it stays open when a script or a user leaves it.
        stays: whether it is left to its server, and not ended, when it is closed.
    """

    def __init__(
        self,
        opener: Opener,
        label: str,
        computer: str = "localhost",
        *,
        afterwards: str = "",
        outlives_exit: bool = False,
        stays: bool = False,
    ) -> None:
        self._opener = opener
        self.label = label
        self._computer = computer
        self._afterwards = afterwards
        self.outlives_exit = outlives_exit
        self._stays = stays
        # Whether its host was asked who it is. One that is at work when it is come back to cannot be asked.
        self._is_known = False
        # On which host its runspace runs what is sent.
        self._hops = Hops(Facts(), label)
        # The pipeline that has stopped in the debugger; cells go to the debugger meanwhile.
        self.stopped: Pipeline | None = None
        # How many sessions there were, this one included.
        self.number = 0
        # As the runspace has it that was opened last.
        self.was_there: bool | None = None
        self._runspace: Runspace | None = None
        self._opening: asyncio.Task[Runspace] | None = None
        self._closed = False
        self._failed_at = 0.0
        self._refusal: SessionLost | None = None
        # Why the last connection was lost.
        self.loss = ""
        self._check: asyncio.Task[Move | None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a runspace is open now."""
        return self._runspace is not None and self._runspace.state is RunspaceState.OPEN

    @property
    def connection(self) -> str:
        """``connected``, ``reconnecting`` (lost, and being made again), ``away`` (left at its server), or ``none``."""
        if self._runspace is not None and self._runspace.state is RunspaceState.DISCONNECTED:
            return "away"
        if self._runspace is None or not self.is_open:
            return "none"
        return "reconnecting" if self._runspace.is_reconnecting else "connected"

    @property
    def facts(self) -> Facts:
        """What the host that runs the cells says about itself."""
        return self._hops.facts

    @property
    def is_away(self) -> bool:
        """Whether Enter-PSSession has taken the session to a host behind its own."""
        return self._hops.is_away

    @property
    def is_behind(self) -> bool:
        """Whether it runs behind another host, by a hop or because its target is reached through that."""
        return self._hops.is_behind

    @property
    def place(self) -> str:
        """Where cells run: the target, and the hosts behind it, as in ``admin@web01 → DB01``."""
        return self._hops.place

    @property
    def computer(self) -> str:
        """Who asks, where a cell asks something: the host alone, and those behind it."""
        return self._hops.way_from(self._computer)

    @property
    def visit(self) -> tuple[int, ...]:
        """Which session it is, and which hops from its host lead to where cells run: equal only in the same place."""
        return self.number, *self._hops.numbers

    @property
    def runspace(self) -> Runspace | None:
        """The open runspace, if there is one now."""
        return self._runspace

    def begin(self) -> None:
        """Start opening in the background. Nobody can be asked anything yet."""
        if self._opening is None and self._runspace is None and not self._closed:
            self._opening = asyncio.create_task(self._open(NobodyToAsk()))

    async def ready(self, asker: Asker, *, by_user: bool = True) -> Runspace:
        """The open runspace, opened now if there is none.

        Cancelling the call cancels the opening.

        Args:
            asker: answers what the opening asks.
            by_user: whether a person's cell waits. What a front end sends by itself neither uses up a refusal nor
                begins to connect.

        Raises:
            SessionLost: the last session is gone, or moved to another host; said once, then the way is free.
            ConnectError: opening failed. The next call tries again.
        """
        if self._closed:
            raise SessionLost(f"The session on {self.label} is being closed. This cell was not run.")
        await self.settle()
        if self.is_behind and by_user and self.is_open and self.stopped is None and self._refusal is None:
            # A host behind another one may be lost while nothing runs; what is meant for it is for no other. What was
            # found out earlier does not count: the next cell is sent on this answer.
            self._check = asyncio.create_task(self._look(Aim.NOTHING, follow=True))
            await self.settle()
        refusal = self.refusal(keep=not by_user)
        if refusal is not None:
            raise refusal
        if self._runspace is not None:
            await self._get_to_know(self._runspace)
            return self._unrefused(self._runspace, by_user=by_user)
        if not by_user and self._opening is None:
            raise SessionLost(f"There is no session on {self.label}; the next cell opens one.")
        in_background = self._opening is not None
        try:
            return self._unrefused(await self._opened(asker), by_user=by_user)
        except PromptUnavailable:
            # The attempt at start-up had nobody to ask; this cell may have.
            if not in_background or not by_user:
                raise
        return self._unrefused(await self._opened(asker), by_user=by_user)

    def _unrefused(self, runspace: Runspace, *, by_user: bool) -> Runspace:
        """What was found out of a session that was come back to may be no place for the cell."""
        refusal = self.refusal(keep=not by_user)
        if refusal is not None:
            raise refusal
        return runspace

    async def settle(self) -> None:
        """Wait until it is known where the session is, if that is being asked. A move makes the next cell refused."""
        check = self._check
        if check is None:
            return
        try:
            moved = await asyncio.shield(check)
        finally:
            if check.done() and self._check is check:
                self._check = None
        if moved and self._refusal is None:
            self._refusal = _refusal(moved.text, f"Run it again to run it on {self.place}.")

    def refusal(self, *, keep: bool = False) -> SessionLost | None:
        """Why the next cell must not be sent, if there is a reason; said once unless ``keep``."""
        if self._runspace is not None and self._runspace.state is RunspaceState.DISCONNECTED:
            return _refusal(f"The session on {self.label} is disconnected.", "Connect it with %connect_pssession.")
        if self._runspace is not None and not self.is_open:
            self._lost(self._runspace)
        refusal = self._refusal
        if not keep and not (self._afterwards and self._runspace is None):
            self._refusal = None
        return refusal

    async def after_cell(self, text: str, aim: Aim = Aim.NOTHING, *, follow: bool = True) -> Move | None:
        """Find out whether the server is still on the host that it was on.

        For most cells this happens behind the reply, and the next cell waits for it; after a cell that names
        Enter-PSSession or Exit-PSSession, and on a host behind another one, it is told at once. An endpoint that did
        not say where it is when it was opened is not asked.

        Args:
            text: the cell.
            aim: what it asked for.
            follow: whether the session may stay on another host; otherwise it is brought back.

        Returns:
            what the user must know about this cell, or None.
        """
        if not self.is_open or not self._hops.can_tell or self.stopped is not None:
            return None
        self._check = check = asyncio.create_task(self._look(aim, follow=follow))
        if not mentions_hosts(text) and not self.is_behind:
            return None
        try:
            # Cancelled, the next cell hears it.
            return await asyncio.shield(check)
        finally:
            if check.done() and self._check is check:
                self._check = None

    async def come_home(self) -> None:
        """Come back from the hosts behind the own one; a session that does not is abandoned."""
        await self.settle()
        runspace = self._runspace
        if runspace is None or not self._hops.can_tell or not self.is_open:
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._hops.come_home(runspace)
        except (PSKernelError, TimeoutError) as error:
            await self.abandon(f"The session on {self.place} did not come back from there. {error}".rstrip())

    async def leave(self, how: str) -> None:
        """Close the session because the user said so (``exit``), unless it is one that stays."""
        if self.outlives_exit:
            await self.come_home()
            return
        self._drop(
            f"You left the session with {how}: the variables, functions and location it had on {self.label} are gone."
        )
        runspace, self._runspace = self._runspace, None
        if runspace is not None:
            await runspace.aclose()

    async def abandon(self, why: str) -> None:
        """Drop a session that no longer obeys."""
        self._drop(why)
        runspace, self._runspace = self._runspace, None
        if runspace is not None:
            try:
                await runspace.give_up(why)
            except PSKernelError as error:
                self._refuse(f"{why} {error}")  # a recording that could not be written

    async def aclose(self, *, grace: float = 1.5, for_good: bool = False) -> None:
        """Close it: the runspace within ``grace`` seconds, or an opening that is under way.

        Args:
            grace: seconds.
            for_good: whether one that stays ends all the same.
        """
        self._closed = True
        tasks = [task for task in (self._opening, self._check, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._opening = self._check = self._watch = None
            runspace, self._runspace = self._runspace, None
            if runspace is not None and self._stays and not for_good:
                await runspace.leave_for_good(grace=grace)
            elif runspace is not None:
                await runspace.aclose(grace=grace)

    async def _opened(self, asker: Asker) -> Runspace:
        failed_long_ago = self._failed_at and asyncio.get_running_loop().time() - self._failed_at > _STALE_SECONDS
        if self._opening is not None and self._opening.done() and failed_long_ago:
            self._opening.exception()
            self._opening = None
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(asker))
        opening = self._opening
        try:
            return await opening
        except asyncio.CancelledError:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            raise
        finally:
            self._opening = None

    async def _open(self, asker: Asker) -> Runspace:
        try:
            runspace = await self._opener(asker)
        except PSKernelError:
            self._failed_at = asyncio.get_running_loop().time()
            raise
        try:
            self._hops, self._is_known = Hops(Facts(), self.label), False
            await self._get_to_know(runspace)
        except BaseException:
            await runspace.abandon("The session was not wanted any more.")
            raise
        self.number += 1
        self.stopped = None
        self.was_there = runspace.was_there
        self._runspace = runspace
        # Opened in the background, nobody may ever wait for it, and it must not be taken for the next session.
        self._opening = None
        self._watch = asyncio.create_task(self._note_loss(runspace))
        return runspace

    async def _get_to_know(self, runspace: Runspace) -> None:
        """Ask the host of a new session who it is, as soon as nothing runs there that another client has left."""
        if self._is_known or runspace.is_busy or runspace.left:
            return
        if runspace.is_taken_over and await leave_all(runspace):
            self._refusal = _refusal(
                "When the session was left, Enter-PSSession had taken it to another host. What it had there is gone; "
                f"it was brought back to {self.label}.",
                f"Run it again to run it on {self.label}.",
            )
        self._hops = Hops(await ask_facts(runspace, self.label), self.label, runspace.in_front)
        await debugger.enable(runspace)
        self._is_known = True

    async def _note_loss(self, runspace: Runspace) -> None:
        await runspace.wait_ended()
        self._lost(runspace)

    def _lost(self, runspace: Runspace) -> None:
        if self._runspace is runspace:
            self._runspace = None
            self._hops = Hops(self._hops.home, self.label)
            self.loss = f"The connection was lost: {runspace.error}"
            gone = "The variables, functions and location of that session are gone."
            if isinstance(runspace.error, TakenOver):
                gone = "The session goes on there."
            self._refuse(f"The connection to {self.label} was lost: {runspace.error} {gone}")

    def _drop(self, why: str) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._hops = Hops(self._hops.home, self.label)
        self._refuse(why)

    def _refuse(self, what_happened: str) -> None:
        what_next = self._afterwards or f"Run it again to open a new session on {self.label}."
        self._refusal = _refusal(what_happened, what_next)

    @property
    def _patience(self) -> float:
        """Seconds for the answer where the session is."""
        return BEHIND_SECONDS if self.is_behind else CHECK_SECONDS

    async def _look(self, aim: Aim, *, follow: bool) -> Move | None:
        """Ask where the session is. One that does not tell, or that does not come back, is abandoned."""
        runspace = self._runspace
        if runspace is None:
            return None
        seconds = self._patience
        try:
            return await runspace.in_time(seconds, lambda: self._hops.look(runspace, aim, follow=follow))
        except LeftTarget as error:
            await self.abandon(str(error))
            return Move(str(error), wanted=aim is Aim.BACK)
        except TimeoutError:
            why = f"The session did not say within {seconds:g} seconds which host it is on."
        except PSKernelError as error:
            if runspace.state is not RunspaceState.OPEN:
                return None  # _note_loss takes care of it
            why = f"It is not known which host the session is on. {error}"
        why += f" So the session on {self.place} was abandoned: its variables, functions and location are gone."
        await self.abandon(why)
        return Move(why)


def _refusal(what_happened: str, what_next: str) -> SessionLost:
    return SessionLost(f"{what_happened} This cell was not run, and nothing of it was sent. {what_next}")
