"""The progress of a run on the terminal: one line a cell, and on a real terminal the one that is running."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

from pskernel.cli.console import is_screen
from pskernel.runbook.report import CellDone, CellState

__all__ = ["Progress"]

_STYLES = {
    CellState.OK: "green",
    CellState.EXPECTED: "green",
    CellState.SKIPPED: "dim",
    CellState.KEPT: "dim",
    CellState.WITHHELD: "yellow",
    CellState.EXITED: "cyan",
    CellState.FAILED: "bold red",
    CellState.UNSENT: "bold red",
    CellState.INTERRUPTED: "yellow",
}
_TITLE = 80


class Progress:
    """Shows what a run does, as its :class:`pskernel.runbook.report.Watcher`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def begins(self, cell: CellDone) -> None:
        """Show the running cell, where the line can be taken back."""
        if is_screen(self._console):
            self._status = self._console.status(Text(f"[{cell.number}/{cell.total}] {cell.title[:_TITLE]}"))
            self._status.start()

    def ended(self, cell: CellDone) -> None:
        """Show how a cell ended."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        place = f"[{cell.number}/{cell.total}] "
        state = (str(cell.state), _STYLES[cell.state])
        self._console.print(Text.assemble(place, state, f"  {cell.seconds:.2f} s  {cell.title[:_TITLE]}"))
        if cell.state is CellState.WITHHELD:
            for reason in cell.message.splitlines():
                self._console.print(f"      {reason}")
