"""A session of the list: open until it is removed, and taken by one command at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pskernel.connect import find_shells, opener, reopen
from pskernel.remoting.ending import end_with_process
from pskernel.remoting.errors import RemotingError
from pskernel.session.interactive import InteractiveSession, Opener
from pskernel.session.runspace import RunspaceState
from pskernel.transports.base import PoolGone

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pskernel.credentials import GivenCredential
    from pskernel.questions import Asker
    from pskernel.session.runspace import Runspace
    from pskernel.target import Target
    from pskernel.transports.base import KeptPool

__all__ = ["ListedSession"]

_TRANSPORTS = {
    "ssh": "SSH",
    "winrm": "WSMan",
    "winrm+https": "WSMan",
    "container": "Container",
    "vm": "VMBus",
    "process": "Process",
    "unix": "NamedPipe",
    "pid": "NamedPipe",
    "pipe": "NamedPipe",
    "replay": "Recording",
}
_COMPUTER_TYPES = {"container": "Container", "vm": "VirtualMachine"}
# A server that keeps sessions keeps this one for hours if it does not hear of its end, and that may need another login.
# Others end with their connection.
_AT_SERVER_SECONDS: Final = 15.0
_SECONDS: Final = 1.5
_GONE = "Open another one with New-PSSession; %remove_pssession takes this one from the list."


class ListedSession:
    """What a session is; :class:`pskernel.PSSession` adds what can be done with it.

    Attributes:
        id: its number in this process.
        name: its name.
        target: where it is.
        session: the interactive session, for whoever enters it.
        shell: for a session that was found at its server, what the server said of it last.
    """

    def __init__(
        self,
        number: int,
        name: str,
        target: Target,
        forget: Callable[[int], object],
        *,
        credential: GivenCredential | None = None,
        shell: KeptPool | None = None,
        session: InteractiveSession | None = None,
    ) -> None:
        self.id = number
        self.name = name
        self.target = target
        self.shell: KeptPool | None = shell
        self._asked = datetime.now().astimezone()
        self._credential = credential
        self._take_over = False
        opening = opener(target, credential=credential, name=name) if shell is None else self._reopen
        self.session = session or self._interactive(opening)
        self._instance_id: UUID | None = None if shell is None else shell.pool_id
        self._was_open = False
        # The runspace that was opened last, which may be lost: what had arrived of it can still be read.
        self.opened: Runspace | None = None if session is None else session.runspace
        if session is not None and session.runspace is not None:
            self._was_open = True
            self._instance_id = session.runspace.instance_id
        self._closed = False
        self._users = 0
        self._forget = forget

    @property
    def computer_name(self) -> str:
        """The host, or for a local target ``localhost``."""
        return self.target.machine or "localhost"

    @property
    def transport(self) -> str:
        """``SSH``, ``WSMan``, ``Container``, ``VMBus``, ``Process``, ``NamedPipe`` or ``Recording``."""
        return _TRANSPORTS[self.target.scheme]

    @property
    def computer_type(self) -> str:
        """``RemoteMachine``, ``VirtualMachine`` or ``Container``."""
        return _COMPUTER_TYPES.get(self.target.scheme, "RemoteMachine")

    @property
    def configuration_name(self) -> str:
        """WinRM's; the SSH subsystem where one was chosen, else ``DefaultShell``, as PowerShell has it for such."""
        if self.target.is_winrm:
            return self.target.options.configuration
        if self.target.options.vm_configuration is not None:
            return self.target.options.vm_configuration
        chosen = self.target.options.changed()
        return self.target.options.subsystem if "subsystem" in chosen else "DefaultShell"

    @property
    def instance_id(self) -> UUID | None:
        """The runspace's id, as ``$PSSenderInfo`` and logs of the remote have it."""
        return self._instance_id

    @property
    def state(self) -> str:
        """``Opened``, ``Connecting`` (again, after a loss), ``Disconnected``, ``Broken``, or ``Closed``."""
        runspace = self.session.runspace
        if self._closed:
            return "Closed"
        if runspace is None and not self._was_open and self.shell is not None:
            return "Disconnected"
        if runspace is not None and runspace.state is RunspaceState.DISCONNECTED:
            return "Disconnected"
        if runspace is not None and self.session.is_open and runspace.is_reconnecting:
            return "Connecting"
        return "Opened" if self.session.is_open else "Broken"

    @property
    def availability(self) -> str:
        """``Available``, ``Busy`` while a command runs there, or ``None``."""
        if self.state != "Opened":
            # Another client may have it.
            taken = self.shell is not None and self.shell.connected
            return "Busy" if taken and self.state == "Disconnected" else "None"
        return "Busy" if self._is_busy else "Available"

    @property
    def _is_busy(self) -> bool:
        left = self.session.runspace is not None and bool(self.session.runspace.left)
        return left or self._users > 0 or self.session.stopped is not None

    @property
    def client(self) -> str:
        """Who has a session that was found at its host, or had it last; empty for others."""
        return self.shell.client if self.shell is not None and self.state == "Disconnected" else ""

    @property
    def disconnected_on(self) -> datetime | None:
        """Since when nobody has a session that was found at its host; None for others."""
        if not self.client or self.shell is None or self.shell.connected:
            return None
        return self._asked - timedelta(seconds=self.shell.alone)

    async def open(self, asker: Asker, *, take_over: bool = False) -> None:
        """Open it. Belongs to the sessions' loop, as all coroutines here.

        Args:
            asker: whom to ask for passwords.
            take_over: whether another client, which has it still, loses it.

        Raises:
            ConnectError: it cannot be opened.
        """
        self._take_over = take_over
        runspace = await self.session.ready(asker)
        self.opened = runspace
        self._instance_id = runspace.instance_id
        self._was_open = True

    async def ask_server(self, asker: Asker) -> None:
        """Bring :attr:`shell` up to date.

        Raises:
            ConnectError: the server cannot be asked.
            PoolGone: it keeps the session no more.
        """
        found = await find_shells(self.target, asker, credential=self._credential)
        shell = next((each for each in found if each.pool_id == self._instance_id), None)
        if shell is None:
            raise PoolGone(f"The session does not exist on {self.computer_name} any more.")
        self.hear(shell)

    def hear(self, shell: KeptPool) -> None:
        """Take what its host says of it now."""
        self.shell, self._asked = shell, datetime.now().astimezone()

    async def give_up_own(self) -> None:
        """Another client has had it since it was left here: what that one has left in it counts."""
        own, self.session = self.session, self._interactive(self._reopen)
        self._was_open = False
        await own.abandon("Another client has had the session.")

    def _interactive(self, opening: Opener) -> InteractiveSession:
        label, computer = self.target.label, self.computer_name
        return end_with_process(InteractiveSession(opening, label, computer, afterwards=_GONE, outlives_exit=True))

    async def _reopen(self, asker: Asker) -> Runspace:
        assert self.shell is not None  # noqa: S101 - it was found
        return await reopen(self.target, self.shell, asker, credential=self._credential, take_over=self._take_over)

    async def aclose(self) -> None:
        """End it, on the remote too; one that was left stays there, see :func:`pskernel.remoting.leaving.remove`."""
        self._closed = True
        self._forget(self.id)
        await self.session.aclose(grace=_AT_SERVER_SECONDS if self.target.is_winrm else _SECONDS)

    def claim(self, *, entered: bool = False) -> None:
        """Take it for a command, which :meth:`release` ends. One whose connection is being made again is waited for.

        Args:
            entered: whether it is for a cell of whoever has entered it, and knows on which host it is now.

        Raises:
            RemotingError: it is not open; it is on another host; or it is taken: what came next would wait, for hours
                perhaps.
        """
        which = f"{self.name}, {self.instance_id}, {self.computer_name}"
        if self.state not in {"Opened", "Connecting"}:
            raise RemotingError(
                f"Because the session state for session {which} is not equal to Open, you cannot run a command in the "
                f"session.  The session state is {self.state}.{self.why_lost()}",
                "InvokeCommandCommandInvalidSessionState",
            )
        if self._is_busy:
            raise RemotingError(
                f"Because the session availability for session {which} is not equal to Available, you cannot run a "
                "command in the session.  The session availability is Busy.",
                "InvokeCommandCommandInvalidSessionAvailability",
            )
        if self.session.is_away and not entered:
            raise RemotingError(
                f"Session {self.name} is on another host, to which a cell has taken it with Enter-PSSession "
                f"({self.session.place}). Nothing was run there. Come back with Exit-PSSession first, or open a "
                "session of its own.",
                "SessionIsAway",
            )
        self._users += 1

    def why_lost(self) -> str:
        """Why it is ``Broken``, where that is known; with a space before it."""
        return f" {self.session.loss}" if self.state == "Broken" and self.session.loss else ""

    def release(self) -> None:
        """The command is over."""
        self._users -= 1
