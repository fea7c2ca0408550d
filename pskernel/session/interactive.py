"""The session a user is *in*, as Enter-PSSession means it: opened, left, lost, and never quietly replaced.

The rule everything here serves: a cell meant for one remote state must not run on another. Whenever the runspace that
held the user's variables and directory is gone (they left, the line was cut, a stuck command was abandoned) or the
server has moved to another host, the next cell is refused and nothing of it is sent. Only the cell after that opens a
new session.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from pskernel.errors import PipelineFailed, PromptUnavailable, PSKernelError
from pskernel.questions import NobodyToAsk
from pskernel.session.runspace import Runspace, RunspaceState

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.session.pipeline import Pipeline

__all__ = ["Facts", "InteractiveSession", "Opener", "SessionLost"]

Opener = Callable[["Asker"], Awaitable[Runspace]]

_MAY_HOP = re.compile(r"\b(?:enter-ps|etsn)", re.IGNORECASE)
# The inner session may still be closing when the outer one answers again.
_UNDO_ATTEMPTS = 5
_QUERY_SECONDS = 10.0


class SessionLost(PSKernelError):
    """The cell was not sent: what it was meant for is gone. The message says what was lost and what to do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the remote says about itself. Empty where a restricted endpoint does not tell."""

    version: str = ""
    edition: str = ""
    user: str = ""
    computer: str = ""
    host_id: str = ""


class InteractiveSession:
    """One target's interactive session. All methods belong to one event loop.

    Args:
        opener: opens a runspace, asking the given asker for what it needs.
        label: how messages name the target.
    """

    def __init__(self, opener: Opener, label: str) -> None:
        self._opener = opener
        self.label = label
        self.facts = Facts()
        self._runspace: Runspace | None = None
        self._opening: asyncio.Task[Runspace] | None = None
        self._refusal: SessionLost | None = None
        self._check: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a runspace is open now."""
        return self._runspace is not None and self._runspace.state is RunspaceState.OPEN

    @property
    def runspace(self) -> Runspace | None:
        """The open runspace, if there is one now."""
        return self._runspace

    @property
    def instance_id(self) -> str:
        """The runspace's id, or empty."""
        return str(self._runspace.instance_id) if self._runspace else ""

    def begin(self) -> None:
        """Start opening in the background. Nobody can be asked anything yet."""
        if self._opening is None and self._runspace is None:
            self._opening = asyncio.create_task(self._open(NobodyToAsk()))

    async def ready(self, asker: Asker) -> Runspace:
        """The open runspace, opened now if there is none.

        Cancelling the call cancels the opening.

        Raises:
            SessionLost: the last session is gone, or moved to another host; said once, then the way is free.
            ConnectError: opening failed. The next call tries again.
        """
        if self._check is not None:
            await asyncio.shield(self._check)
            self._check = None
        if self._runspace is not None and not self.is_open:
            self._lost(self._runspace)
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        if self._runspace is not None:
            return self._runspace
        in_background = self._opening is not None
        try:
            return await self._opened(asker)
        except PromptUnavailable:
            # The attempt at start-up had nobody to ask; this cell may have.
            if not in_background:
                raise
        return await self._opened(asker)

    async def run(self, text: str, asker: Asker) -> Pipeline:
        """Send a cell, verbatim.

        Raises:
            SessionLost, ConnectError: as :meth:`ready`; nothing was sent.
            TransportClosed: the connection broke while it was being sent.
        """
        runspace = await self.ready(asker)
        return await runspace.run_cell(text)

    async def after_cell(self, text: str) -> SessionLost | None:
        """Find out whether the server is still on its own host.

        For most cells this happens behind the reply, and the next cell waits for it; a cell that names
        Enter-PSSession is told at once.

        Returns:
            what the user must know about this cell, or None.
        """
        if not self.is_open or not self.facts.host_id:
            return None
        self._check = asyncio.create_task(self._check_host())
        if not _MAY_HOP.search(text):
            return None
        await self._check
        self._check = None
        refusal, self._refusal = self._refusal, None
        return refusal

    async def leave(self, how: str) -> None:
        """Close the session because the user said so (``exit``)."""
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
            await runspace.abandon(why)

    async def aclose(self, *, grace: float = 1.5) -> None:
        """Close for good: the runspace within ``grace`` seconds, or an opening that is under way."""
        tasks = [task for task in (self._opening, self._check, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._opening = self._check = self._watch = None
            runspace, self._runspace = self._runspace, None
            if runspace is not None:
                await runspace.aclose(grace=grace)

    async def _opened(self, asker: Asker) -> Runspace:
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
        runspace = await self._opener(asker)
        try:
            self.facts = await _ask_facts(runspace)
        except BaseException:
            await runspace.abandon("The session was not wanted any more.")
            raise
        self._runspace = runspace
        # Opened in the background, nobody may ever wait for it, and it must not be taken for the next session.
        self._opening = None
        self._watch = asyncio.create_task(self._note_loss(runspace))
        return runspace

    async def _note_loss(self, runspace: Runspace) -> None:
        await runspace.wait_ended()
        self._lost(runspace)

    def _lost(self, runspace: Runspace) -> None:
        if self._runspace is runspace:
            self._runspace = None
            self._refuse(
                f"The connection to {self.label} was lost: {runspace.error} "
                "The variables, functions and location of that session are gone."
            )

    def _drop(self, why: str) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._refuse(why)

    def _refuse(self, what_happened: str) -> None:
        self._refusal = SessionLost(
            f"{what_happened} This cell was not run, and nothing of it was sent. "
            f"Run it again to open a new session on {self.label}."
        )

    async def _check_host(self) -> None:
        runspace = self._runspace
        if runspace is None:
            return
        try:
            if await _host_id(runspace) in ("", self.facts.host_id):
                return
            for _ in range(_UNDO_ATTEMPTS):
                pipeline = await runspace.run_cell("Exit-PSSession")
                await pipeline.wait_ended()
                with contextlib.suppress(PipelineFailed):
                    if await _host_id(runspace) == self.facts.host_id:
                        break
            else:
                await self.abandon(
                    f"Enter-PSSession took the session on {self.label} to another host, and it did not come back."
                )
                return
        except (PSKernelError, TimeoutError):
            return  # a lost connection is noted by _note_loss; an endpoint that will not say cannot hop either
        self._refusal = SessionLost(
            f"Enter-PSSession took this session to another host. pskernel does not follow such a second hop yet and "
            f"has come back to {self.label}. No further cell was run meanwhile: the next one runs on {self.label}. "
            f"Open the other host as a target of its own."
        )


def _script(name: str) -> str:
    return resources.files("pskernel.session").joinpath("scripts", name).read_text("utf-8")


async def _host_id(runspace: Runspace) -> str:
    values = await runspace.query(_script("where.ps1"), timeout=_QUERY_SECONDS)
    return str(values[0]) if values else ""


async def _ask_facts(runspace: Runspace) -> Facts:
    try:
        values = await runspace.query(_script("facts.ps1"), timeout=_QUERY_SECONDS)
    except (PipelineFailed, TimeoutError):
        return Facts()
    texts = [str(value) for value in values]
    return Facts(*texts[:5]) if len(texts) >= 5 else Facts()
