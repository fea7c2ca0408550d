"""The magics: ``%enter_pssession``, ``%exit_pssession``, ``%%local``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from pskernel.cells.outcome import CellError
from pskernel.errors import PSKernelError
from pskernel.render.ansi import neutralise, strip
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.binding import bind
from psmagic.errors import MagicError, RemoteError, remote_error
from psmagic.loop import LoopThread
from psmagic.parameters import syntax
from psmagic.redirect import CELL_MAGIC, Redirect
from psmagic.remote import LEAVE_OR_ENTER, Remote
from psmagic.targets import target_of

__all__ = ["PSMagics"]

_HELP = {"-?", "--help", "-help", "/?"}


@magics_class
class PSMagics(Magics):
    """PowerShell Remoting for IPython."""

    _loop: ClassVar = LoopThread()
    shell: Any

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._remote: Remote | None = None
        self._redirect: Redirect | None = None
        shell.register_magic_function(self.remote_cell, "cell", CELL_MAGIC)

    @line_magic
    @no_var_expand
    def enter_pssession(self, line: str) -> None:
        """Send every following cell to a host, until %exit_pssession. Takes Enter-PSSession's parameters."""
        if line.strip().casefold() in _HELP:
            print("\n\n".join(syntax("%enter_pssession")))  # noqa: T201 - that is what help does
            return
        with _shown_errors("EnterPSSession"):
            if self._remote is not None and self._remote.is_open:
                raise ArgumentError(
                    f"The session on {self._remote.target.label} is entered. Leave it first with %exit_pssession.",
                    "SessionIsEntered",
                )
            target = target_of(bind(read_arguments(line, self.shell.user_ns)))
            remote = Remote(target, self._loop)
            remote.connect(interactive=self._can_ask())
        self.leave()  # of a session that is over
        self._remote = remote
        self._redirect = Redirect(self.shell, remote, self.leave)

    @line_magic
    @no_var_expand
    def exit_pssession(self, line: str) -> None:  # noqa: ARG002 - PowerShell's own takes nothing either
        """Leave the session: cells are Python's again."""
        self.leave()

    @cell_magic
    @no_var_expand
    def local(self, line: str, cell: str) -> None:  # noqa: ARG002
        """Run one cell of Python while a session is entered."""
        with self._redirect.local() if self._redirect is not None else contextlib.nullcontext():
            result = self.shell.run_cell(cell)
        result.raise_error()

    @no_var_expand
    def remote_cell(self, line: str, cell: str) -> None:  # noqa: ARG002 - a cell magic's signature
        """Run a cell on the remote. What the redirection makes of every cell."""
        if self._remote is None:
            raise remote_error("NotEntered", "No session is entered.", (), MagicError)
        with _shown_errors("RemoteCell"):
            outcome = self._remote.run(cell, interactive=self._can_ask())
        if outcome.error is not None:
            raise _raised(outcome.error)
        if outcome.exit_code is not None:
            # The cells behind this one were written for the remote, and must not run as Python.
            message = f"The script ended the session with exit {outcome.exit_code}. {LEAVE_OR_ENTER}"
            raise _refused("SessionExited", message, "RemoteCell")

    def leave(self) -> None:
        """Put IPython back and close the session. Nothing to do where none is entered."""
        redirect, self._redirect = self._redirect, None
        remote, self._remote = self._remote, None
        if redirect is not None:
            redirect.undo()
        if remote is not None:
            remote.close()

    def _can_ask(self) -> bool:
        kernel = getattr(self.shell, "kernel", None)
        if kernel is None:
            return bool(sys.stdin and sys.stdin.isatty())
        return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


@contextlib.contextmanager
def _shown_errors(command: str) -> Iterator[None]:
    """Errors of this side as PowerShell shows its own."""
    try:
        yield
    except ArgumentError as error:
        raise _refused(error.error_id, str(error), command) from None
    except PSKernelError as error:
        raise _refused(type(error).__name__, str(error), command) from None
    except KeyboardInterrupt:
        raise _refused("Interrupted", "It was interrupted.", command) from None


def _refused(error_id: str, message: str, command: str) -> RemoteError:
    # Some of it is the remote's: why it did not open a session.
    shown = neutralise(message)
    return remote_error(error_id, strip(shown), [f"\x1b[31;1m{command}: {shown}\x1b[0m"], MagicError)


def _raised(error: CellError) -> RemoteError:
    name = error.name.partition(",")[0]
    return remote_error(name if name.isidentifier() else "RemoteException", error.message, error.traceback)
