"""``%enter_pssession``, ``%exit_pssession`` and ``%%local``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from IPython.core.magic import cell_magic, line_magic, magics_class, no_var_expand

from pskernel.credentials import GivenCredential
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.pssession import PSSession
from pskernel.session.aims import EXIT
from pskernel.target import Target
from psmagic.arguments import ArgumentError
from psmagic.base import PowerShellMagics, command_magic, raised, refused, shown_errors
from psmagic.binding import Bound
from psmagic.commands.enter_pssession import ENTER_PSSESSION, EXIT_PSSESSION
from psmagic.errors import MagicError, remote_error
from psmagic.lines import magic_in
from psmagic.progress import progress_of
from psmagic.redirect import CELL_MAGIC, HELP, REFUSE, REFUSING, Redirect
from psmagic.remote import LEAVE_OR_ENTER, Remote
from psmagic.restofcell import RestOfCell
from psmagic.selection import session_of
from psmagic.targets import credential_of, target_of

__all__ = ["EnterMagics"]

_ENTERING = (
    "%enter_pssession must be the last line of its cell, and so must %enter_pshostprocess: what stands below it would "
    "run here, and not on the host. Nothing of that was run, and no session is entered. Give it a cell of its own."
)


_LEFT = (
    "The cell was started, and session {0.name} ({0.id}) is left with it to {0.computer_name}. Cells are Python's "
    "again. %receive_pssession -Id {0.id} comes back for its output, or from elsewhere with {1} and "
    "-InstanceId {0.instance_id}."
)


@magics_class
class EnterMagics(PowerShellMagics):
    """The session that is entered, if one is."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._remote: Remote | None = None
        self._redirect: Redirect | None = None
        shell.register_magic_function(self.remote_cell, "cell", CELL_MAGIC)

    @property
    def session(self) -> PSSession | None:
        """The session of the list that is entered."""
        return self._remote.kept if self._remote is not None else None

    @property
    def label(self) -> str | None:
        """Where cells go, if a session is entered."""
        return self._remote.target.label if self._remote is not None else None

    @line_magic
    @no_var_expand
    @command_magic(ENTER_PSSESSION)
    def enter_pssession(self, bound: Bound) -> None:
        """Send every following cell to a host, until %exit_pssession."""
        self.require_none()
        kept = session_of(bound)
        credential = None if kept is not None else credential_of(bound, ask=self.can_ask())
        take_over = kept is not None and bool(bound.get("TakeOver"))
        self.enter(kept or target_of(bound), credential, take_over=take_over)

    def require_none(self) -> None:
        """Raise ArgumentError if a session is entered."""
        if self._remote is not None and self._remote.is_open:
            raise ArgumentError(
                f"The session on {self._remote.target.label} is entered. Leave it first with %exit_pssession.",
                "SessionIsEntered",
            )

    def enter(
        self, place: Target | PSSession, credential: GivenCredential | None = None, *, take_over: bool = False
    ) -> None:
        """Send every following cell there.

        Args:
            place: a target, or a session of the list.
            credential: the password for a target.
            take_over: whether a session of the list is taken from another client.

        Raises:
            PSKernelError: it cannot be reached.
        """
        remote = Remote(place, LOOP, progress_of(self.shell), credential=credential, take_over=take_over)
        if not isinstance(place, PSSession) or place.state == "Disconnected":
            remote.connect(interactive=self.can_ask())
        self.leave()  # of a session that is over
        self._remote = remote
        self._redirect = Redirect(self.shell, remote, self._leave_by_key)
        RestOfCell(self.shell, self.leave, REFUSING)
        if self.can_ask():
            # A notebook has no prompt that would show it. Headless runs have the same output every time.
            print(f"{remote.where()}. Cells go there until exit.")  # noqa: T201

    @line_magic
    @no_var_expand
    @command_magic(EXIT_PSSESSION)
    def exit_pssession(self, bound: Bound) -> None:  # noqa: ARG002 - there is nothing to bind
        """Leave the session: cells are Python's again. From a host behind the one that was entered, come back to it."""
        if self._remote is not None and self._remote.is_away:
            self.remote_cell("", EXIT)
        else:
            self.leave()

    @cell_magic
    @no_var_expand
    def local(self, line: str, cell: str) -> None:  # noqa: ARG002
        """Run one cell of Python while a session is entered."""
        with self._redirect.local() if self._redirect is not None else contextlib.nullcontext():
            result = self.shell.run_cell(cell)
        result.raise_error()

    @no_var_expand
    def remote_cell(self, line: str, cell: str) -> None:
        """Run a cell on the remote, show the help that it asks for, or refuse it: what the line says."""
        if line == REFUSE:
            raise refused("MagicNotAlone", _refusal(cell), "RemoteCell")
        if self._remote is None:
            raise remote_error("NotEntered", "No session is entered.", (), MagicError)
        if line == HELP and self._remote.is_open:
            print(self._remote.help(cell, len(cell.rstrip()) - 1) or f"There is no help for {cell.strip()}")  # noqa: T201
            return
        remote = self._remote
        with shown_errors("RemoteCell"), self._leaving(remote):
            outcome = remote.run(cell, interactive=self.can_ask())
        if remote.kept is not None and remote.is_left:
            where = {"SSH": "-HostName", "Container": "-ContainerId"}.get(remote.kept.transport, "-ComputerName")
            print(_LEFT.format(remote.kept, where))  # noqa: T201
        if outcome.error is not None:
            raise raised(outcome.error)
        if outcome.exit_code is not None:
            # The cells behind this one were written for the remote, and must not run as Python.
            message = f"The script ended the session with exit {outcome.exit_code}. {LEAVE_OR_ENTER}"
            raise refused("SessionExited", message, "RemoteCell")

    def _leave_by_key(self) -> None:
        """Ctrl+D, where nothing is typed that would say so."""
        if self._remote is not None:
            print(f"{self._remote.place} was left. Cells are Python's again.", file=sys.stderr)  # noqa: T201
        self.leave()

    def leave(self) -> None:
        """Put IPython back, and close the session unless it is one of the list. Nothing to do where none is entered."""
        redirect, self._redirect = self._redirect, None
        remote, self._remote = self._remote, None
        if redirect is not None:
            redirect.undo()
        if remote is not None:
            remote.close()

    def leave_to_server(self, session: PSSession | None, **how: Any) -> PSSession | None:
        """Leave the entered session, if it is that one or None is named, to its server, and IPython as with exit.

        Args:
            session: of the list.
            how: as :meth:`psmagic.remote.Remote.disconnect` has it.

        Returns:
            the session; None if it is not entered.

        Raises:
            RemotingError: it cannot be left, and is still entered.
        """
        remote = self._remote
        if remote is None or (session is not None and session is not remote.kept):
            return None
        with self._leaving(remote):
            return remote.disconnect(**how)

    @contextlib.contextmanager
    def _leaving(self, remote: Remote) -> Iterator[None]:
        """Put IPython back if the session is left to its server within, also if that is interrupted."""
        try:
            yield
        finally:
            if remote.is_left:
                self.leave()

    def require_not_entered(self, session: PSSession) -> None:
        """Raise RemotingError if that session is entered: what is done to it would take the cells' ground away."""
        if session is self.session:
            raise RemotingError(
                f"Session {session.name} is entered. Leave it first with %exit_pssession.", "SessionIsEntered"
            )


def _refusal(cell: str) -> str:
    """Why a cell is nobody's."""
    found = magic_in(cell)
    if found is None:
        return _ENTERING
    name, line = found
    return (
        f"Line {line} has {name}, which is for this side, and the cell is for the host. Nothing of it was run or sent. "
        "Give each magic a cell of its own; %%local and %%invoke_command begin theirs."
    )
