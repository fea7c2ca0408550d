"""What all magics have in common: parameters read, help shown, errors as PowerShell shows them."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from IPython.core.magic import Magics
from traitlets import Dict

from pskernel.cells.outcome import CellError
from pskernel.errors import PipelineFailed, PSKernelError
from pskernel.render.ansi import neutralise, strip
from pskernel.sessionoption import PSSessionOption
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.binding import Bound, bind
from psmagic.errors import MagicError, RemoteError, remote_error
from psmagic.parameters import Command, syntax
from psmagic.words import error_in_parameters, in_parameters

__all__ = ["PowerShellMagics", "command_magic", "raised", "refused", "shown_errors", "with_defaults"]

_HELP = {"-?", "--help", "-help", "/?"}
_Result = TypeVar("_Result")


class PowerShellMagics(Magics):
    """Magics that are named and called as PowerShell's commands."""

    shell: Any
    session_option: Any = Dict(
        help="What -SessionOption is where none is given: fields of pskernel.PSSessionOption by name."
    ).tag(config=True)

    def can_ask(self) -> bool:
        """Whether a person can be asked now."""
        kernel = getattr(self.shell, "kernel", None)
        if kernel is None:
            return bool(sys.stdin and sys.stdin.isatty())
        return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))

    def default_option(self) -> PSSessionOption | None:
        """The user's variable PSSessionOption, as PowerShell's preference variable; else that of the configuration.

        Raises:
            ArgumentError: the configuration is wrong.
        """
        variable = self.shell.user_ns.get("PSSessionOption")
        if isinstance(variable, PSSessionOption) or not self.session_option:
            return variable if isinstance(variable, PSSessionOption) else None
        try:
            return PSSessionOption(**self.session_option)
        except TypeError as error:
            raise ArgumentError(
                f"PowerShellMagics.session_option, in IPython's configuration, is wrong: {error}",
                "InvalidConfiguration",
            ) from None


def command_magic(
    command: Command,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result | None]]:
    """Give a method that takes bound parameters the signature of a magic. ``-?`` prints the syntax."""

    def decorate(method: Callable[..., _Result]) -> Callable[..., _Result | None]:
        @functools.wraps(method)
        def magic(self: PowerShellMagics, line: str, *cell: str) -> _Result | None:
            if line.strip().casefold() in _HELP:
                print("\n\n".join(syntax(command)))  # noqa: T201 - that is what help does
                return None
            with shown_errors(command.short_name):
                bound: Bound = bind(command, read_arguments(line, self.shell.user_ns))
                bound = with_defaults(command, bound, self.default_option())
                return method(self, bound, *cell)

        magic.__doc__ = f"{method.__doc__}\n\n" + "\n".join(syntax(command))
        return magic

    return decorate


def with_defaults(command: Command, bound: Bound, default: PSSessionOption | None) -> Bound:
    """Give -SessionOption its default where the set has it and it is not given."""
    takes = any(each.name == "SessionOption" and bound.set_name in each.sets for each in command.parameters)
    if not takes or bound.get("SessionOption") is not None or default is None:
        return bound
    return Bound(bound.set_name, {**bound.values, "SessionOption": default})


@contextlib.contextmanager
def shown_errors(command: str) -> Iterator[None]:
    """Errors of this side as PowerShell shows its own."""
    try:
        yield
    except PipelineFailed as error:
        raise refused(error.record.fully_qualified_error_id.partition(",")[0], str(error), command) from None
    except (ArgumentError, PSKernelError) as error:
        raise refused(getattr(error, "error_id", type(error).__name__), in_parameters(str(error)), command) from None
    except KeyboardInterrupt:
        raise refused("Interrupted", "It was interrupted.", command) from None


def refused(error_id: str, message: str, command: str) -> RemoteError:
    """An error of this side."""
    # Some of it is the remote's: why it did not open a session.
    shown = neutralise(message)
    return remote_error(error_id, strip(shown), [f"\x1b[31;1m{command}: {shown}\x1b[0m"], MagicError)


def raised(error: CellError) -> RemoteError:
    """A cell's error."""
    error = error_in_parameters(error)
    name = error.name.partition(",")[0]
    return remote_error(name if name.isidentifier() else "RemoteException", error.message, error.traceback)
