"""How a cell ended, and its error as Jupyter shows one."""

from __future__ import annotations

from dataclasses import dataclass

from pskernel.render.ansi import neutralise, strip

__all__ = [
    "ERROR_SEEN",
    "CellError",
    "Outcome",
    "clean",
    "connection_lost",
    "interrupted",
    "own_error",
    "script_error",
    "session_abandoned",
    "with_second_hop",
]

# The name of the error where an error record alone makes a cell fail, because it was asked to.
ERROR_SEEN = "ErrorRecord"


@dataclass(frozen=True, slots=True)
class CellError:
    """What becomes the Jupyter error: ``name`` is PowerShell's FullyQualifiedErrorId, or our own id.

    ``own`` says which: an error of pskernel's (no connection, a refused cell) is never the one that a script announces.
    """

    name: str
    message: str
    traceback: list[str]
    own: bool = False


@dataclass(slots=True)
class Outcome:
    """How a cell ended. ``exit_code`` is set when the script called ``exit``; ``error_records`` when it wrote some."""

    error: CellError | None = None
    exit_code: int | None = None
    sent: bool = True
    error_records: bool = False


def own_error(name: str, message: str) -> CellError:
    """An error of pskernel's own, to be shown as PowerShell shows its errors."""
    return script_error(name, message, own=True)


def with_second_hop(error: CellError | None, text: str) -> CellError:
    """A hop must be told even where the cell failed on its own: its user believes to be on the other host."""
    hop = own_error("SecondHop", text)
    if error is None:
        return hop
    return CellError(error.name, f"{error.message} {hop.message}", [*error.traceback, *hop.traceback], own=True)


def session_abandoned(place: str, seconds: float, *, unreached: bool) -> CellError:
    """An interrupt that was not obeyed, or that did not get there."""
    why = "the connection was away" if unreached else "a call that cannot be interrupted, most likely"
    return own_error(
        "SessionAbandoned",
        f"The command did not stop within {seconds:g} seconds of the interrupt ({why}). The session on {place} was "
        "abandoned, and the command may still be running there.",
    )


def connection_lost(place: str, error: Exception) -> CellError:
    """The line was cut while a cell ran."""
    return own_error(
        "ConnectionLost",
        f"The connection to {place} was lost while this cell was running. What is shown above had arrived; the command "
        f"may have completed, may have stopped half-way, or may still be running. {error}",
    )


def interrupted() -> Outcome:
    """A cell that was interrupted before it was sent."""
    return Outcome(own_error("Interrupted", "The cell was interrupted before it was sent."), sent=False)


def script_error(name: str, message: str, *, own: bool) -> CellError:
    """An error of a message alone; ``own`` as :class:`CellError` has it."""
    shown = neutralise(message)
    return CellError(clean(name), strip(shown), [f"\x1b[31;1m{shown}\x1b[0m"], own)


def clean(text: str) -> str:
    """Text without control sequences and colours."""
    # `throw` makes any text both the id and the message, and headless runs write them to terminals.
    return strip(neutralise(text))
