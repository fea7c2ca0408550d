"""Cells and the debugger: a stop ends the cell, and the cells after it talk to the debugger until it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.records import HostText, TextKind

if TYPE_CHECKING:
    from pskernel.records import DebuggerStop

__all__ = ["DEBUGGER_LEFT", "declined", "stop_message", "stop_text"]

DEBUGGER_LEFT = (
    "The command that had stopped in the debugger has ended meanwhile. This cell was not run, because it may have been "
    "meant for the debugger. Run it again to run it in the session."
)
_ENTERING = "Entering debug mode. Use h or ? for help.\n\n"


def stop_text(stop: DebuggerStop, *, entering: bool) -> HostText:
    """What the console writes where a pipeline stops."""
    hits = "".join(f"Hit {hit}\n" for hit in stop.breakpoints)
    head = f"{hits}\n" if hits else _ENTERING if entering else ""
    return HostText(f"{head}{stop.position_message}\n")


def stop_message(stop: DebuggerStop) -> str:
    """The stop as the cell's error."""
    where = f" at line {stop.line}" if stop.line else ""
    script = f" of {stop.script}" if stop.script else ""
    return (
        f"Stopped in the debugger{where}{script}. Cells go to the debugger now: s, v and o step, c continues, q stops "
        "the command, l lists the source, k shows the call stack, anything else runs there. Cells that were queued "
        "were not run."
    )


def declined(stop: DebuggerStop) -> HostText:
    """What a run says that nobody watches."""
    where = f" at line {stop.line}" if stop.line else ""
    return HostText(
        f"A breakpoint{where} was passed over: nobody can use the debugger in this run.\n", TextKind.WARNING
    )
