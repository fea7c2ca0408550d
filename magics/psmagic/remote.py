"""An entered session, as IPython's thread uses it: everything here waits for the session's loop."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any

from pskernel.answers import Answers, FileAsker
from pskernel.cells.assertion import Assertion
from pskernel.cells.cell import Cell
from pskernel.cells.outcome import Outcome
from pskernel.cells.progress import ProgressDisplay
from pskernel.cells.where import where
from pskernel.connect import opener
from pskernel.credentials import GivenCredential
from pskernel.directives import read_directives
from pskernel.errors import PSKernelError, TargetError
from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.ending import end_with_process
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.pssession import PSSession
from pskernel.remoting.sessions import SESSIONS
from pskernel.render.ansi import neutralise, strip
from pskernel.session.interactive import InteractiveSession, SessionLost
from pskernel.session.language import Completions, LanguageService
from pskernel.target import Target
from psmagic.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pskernel.remoting.loop import LoopThread
    from psmagic.progress import Progress

__all__ = ["LEAVE_OR_ENTER", "Remote"]

LEAVE_OR_ENTER = (
    "Enter a host again with %enter_pssession, or leave with %exit_pssession; until then every cell is refused."
)

# An editor's question; the service itself gives up before.
_EDITOR_SECONDS = 1.0
_HELP_SECONDS = 6.0
_PROMPT_SECONDS = 1.0
# What Enter-PSHostProcess makes the prompt of the process it enters.
_ATTACHED_PROMPT = '"[Process:$PID]: PS $($ExecutionContext.SessionState.Path.CurrentLocation)> "'
_MAX_CONTAINER = 15
_MAX_PROMPT = 300


class Remote:
    """One session, as long as it is entered.

    Args:
        where: the target, for a session that ends when it is left; or one of the list, which stays.
        loop: where sessions live.
        progress: draws the progress of cells.
        credential: the password for a target.
        take_over: whether a session of the list is taken from another client.
    """

    def __init__(
        self,
        where: Target | PSSession,
        loop: LoopThread,
        progress: Progress | None = None,
        *,
        credential: GivenCredential | None = None,
        take_over: bool = False,
    ) -> None:
        self._loop = loop
        self._credential = credential
        self._progress = progress
        self._exited = False
        self._take_over = take_over
        # Whether it was left to its server from here.
        self.is_left = False
        if isinstance(where, PSSession):
            self.kept: PSSession | None = where
            self.target = where.target
            self.name = where.computer_name
            self._session = where.session
        else:
            self.kept = None
            self.target = where
            self.name = where.machine or where.label
            opening = opener(where, credential=credential)
            session = InteractiveSession(opening, where.label, self.name, afterwards=LEAVE_OR_ENTER)
            self._session = end_with_process(session)
        self._language = LanguageService(self._session)

    @property
    def is_open(self) -> bool:
        """Whether cells can run now."""
        return self._session.is_open and not self._exited

    @property
    def is_away(self) -> bool:
        """Whether cells run on a host behind the one that was entered."""
        return self.is_open and self._session.is_away

    @property
    def place(self) -> str:
        """The target, and the hosts behind it."""
        return strip(neutralise(self._session.place))

    def where(self) -> str:
        """Where cells run now, in one line."""
        return where(self._session)

    def connect(self, *, interactive: bool) -> None:
        """Open the session, asking for what that needs.

        Raises:
            PSKernelError: it cannot be opened.
            KeyboardInterrupt: the user gave up.
        """
        pump = Pump(self._loop, interactive=interactive)
        asker: Asker = pump if interactive else NobodyToAsk()

        async def work() -> None:
            if self.kept is not None:
                await SESSIONS.connect(self.kept, asker, to_enter=True, take_over=self._take_over)
                # Where another client has had it, it is not the one that was left.
                self._session = self.kept.session
                self._language = LanguageService(self._session)
            else:
                await self._open_own(asker)

        pump.run(work())

    async def _open_own(self, asker: Asker) -> None:
        runspace = await self._session.ready(asker)
        if runspace.left:
            # It was there, and cells would wait for that command. Nothing of what that has written was taken.
            await runspace.disconnect()
            await self._session.aclose()
            raise leaving.not_available(self.target.options.session or "")

    def run(self, text: str, *, interactive: bool) -> Outcome:
        """Run a cell, verbatim, and show what it writes. Ctrl+C stops it on the remote.

        Raises:
            PSKernelError: the cell was not sent.
        """
        if self._exited:
            raise SessionLost(f"A script ended the session with exit. This cell was not run. {LEAVE_OR_ENTER}")
        pump = Pump(self._loop, interactive=interactive, progress=self._progress)
        directives = read_directives(text, entered=True)
        self._require_own(directives.target)
        asker: Asker = pump if interactive else NobodyToAsk()
        if directives.disconnect:
            self._leave_to_server(lambda session: _start_and_leave(session, text, pump, asker))
            return Outcome()
        if directives.answers:
            asker = FileAsker([Answers.load(directives.answers, secrets=False)], asker)
        cells: list[Cell] = []

        async def work() -> Outcome:
            progress = ProgressDisplay(pump.draw if self._progress is not None else None)
            stop_timeout = self.target.options.stop_timeout
            kind = Assertion if directives.asserts else Cell
            cell = kind(self._session, pump, stop_timeout, directives=directives, progress=progress)
            cells.append(cell)
            await self._language.begin_cell()
            try:
                return await cell.run(text, asker)
            finally:
                self._language.end_cell()

        def interrupt() -> None:
            for cell in cells:
                cell.interrupt()

        # In the debugger it is taken already, by the cell that has stopped there.
        claimed = self.kept if self._session.stopped is None else None
        if claimed is not None:
            claimed.claim(entered=True)
        try:
            outcome = pump.run(work(), interrupt)
        finally:
            if claimed is not None:
                claimed.release()
        self._exited = outcome.exit_code is not None
        return outcome

    def disconnect(self, *, idle_timeout: float | None = None, buffering: str | None = None) -> PSSession:
        """Leave the session to its server. It is one of the list then, if it was not.

        Raises:
            RemotingError: it cannot be left; it is entered as before.
        """
        return self._leave_to_server(
            lambda session: self._loop.run(leaving.disconnect(session, idle_timeout=idle_timeout, buffering=buffering))
        )

    def _leave_to_server(self, leave: Callable[[PSSession], None]) -> PSSession:
        if self._session.stopped is not None:
            raise RemotingError(
                "A command has stopped in the debugger of this session. Go on with it, or stop it, first.",
                "PSSessionDisconnectFailed",
            )
        session = self.kept or SESSIONS.take_in(self._session, self.target, credential=self._credential)
        try:
            leave(session)
        finally:
            # Ctrl+C may have come when the server had been asked; and what was started may run though it refused.
            self.is_left = session.state == "Disconnected"
            if self.is_left or session.availability == "Busy":
                SESSIONS.keep(session)
                self.kept = session
        return session

    def _require_own(self, named: str | None) -> None:
        """Raise TargetError if a cell names another target than the one that is entered."""
        if named is None:
            return
        other = Target.parse(named)
        if self.is_away:
            raise TargetError(
                f"The cell asks for {other.redacted}, and cells run on {self._session.place} now. It was not run. Come "
                "back with Exit-PSSession, or leave the line out."
            )
        parts = ("scheme", "user", "host", "port", "machine")
        same = all(getattr(other, part) == getattr(self.target, part) for part in parts)
        same = same and other.options.elevated_as == self.target.options.elevated_as
        attached = other.is_attached or self.target.is_attached
        if not same or ((other.scheme == "container" or attached) and not other.is_same_place(self.target)):
            raise TargetError(
                f"The session on {self.target.label} is entered, and the cell asks for {other.redacted}. "
                "It was not run."
            )

    def close(self) -> None:
        """Close the session, unless it is one of the list; a remote that does not answer is left after two seconds."""
        self._wait(self._leave() if self.kept is not None else self._session.aclose(), 5.0)

    def complete(self, text: str, cursor: int) -> Completions:
        """Completions at a position in code points."""
        return self._wait(self._language.complete(text, cursor), _EDITOR_SECONDS) or Completions(cursor, cursor)

    def is_complete(self, text: str) -> str:
        """``complete``, ``incomplete``, ``invalid`` or ``unknown``."""
        return self._wait(self._language.is_complete(text), _EDITOR_SECONDS) or "unknown"

    def help(self, text: str, cursor: int) -> str:
        """Syntax and help of the command at a position, or empty."""
        return neutralise(self._wait(self._language.help(text, cursor), _HELP_SECONDS) or "")

    def prompt(self) -> str:
        """What the console shows before each line: the host, then the remote's own prompt."""
        shown = self._wait(self._ask_prompt(), _PROMPT_SECONDS)
        text = strip(neutralise(str(shown or "PS> "))).replace("\n", " ")[:_MAX_PROMPT]
        name = strip(neutralise(self._session.computer)) if self.is_away else self.name
        if self.target.scheme == "container" and len(name) > _MAX_CONTAINER:
            # As PowerShell shortens them.
            name = f"{name[: _MAX_CONTAINER - 1]}\N{HORIZONTAL ELLIPSIS}"
        # A process of this machine is no other host: the text says which it is.
        is_here = self.target.is_attached and self.target.machine is None and text.startswith("[")
        return text if is_here else f"[{name}{self.target.options.elevated_as}]: {text}"

    async def _leave(self) -> None:
        await self._language.begin_cell()  # which ends what it is fetching
        stopped, self._session.stopped = self._session.stopped, None
        if stopped is not None:
            await stopped.stop()
        await self._session.come_home()

    async def _ask_prompt(self) -> Any:
        runspace = self._session.runspace
        if self._session.stopped is not None:
            return "[DBG]: PS>> "
        if runspace is None:
            return "(not connected) "
        if runspace.is_reconnecting:
            return "(reconnecting) "
        attached = self.target.is_attached
        values = await runspace.query(_ATTACHED_PROMPT if attached else "prompt", timeout=_PROMPT_SECONDS)
        return values[0] if values else None

    def _wait(self, work: Coroutine[Any, Any, Any], seconds: float) -> Any:
        future = self._loop.start(work)
        try:
            return future.result(seconds)
        except (PSKernelError, TimeoutError, FutureTimeout):
            future.cancel()
            return None


def _start_and_leave(session: PSSession, text: str, pump: Pump, asker: Asker) -> None:
    session.claim()
    try:
        pump.run(leaving.start_cell_and_leave(session, text, asker))
    finally:
        session.release()
