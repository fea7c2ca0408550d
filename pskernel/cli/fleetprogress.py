"""The progress of many hosts on the terminal: a line for each that is over, and a table of those that run."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pskernel.cli.console import is_screen
from pskernel.fleet.host import HostResult
from pskernel.render.ansi import neutralise, strip
from pskernel.runbook.report import CellDone

__all__ = ["FleetProgress"]

_MAX_ROWS = 12
_TITLE = 60


class FleetProgress:
    """Shows a fleet's run, as its :class:`pskernel.fleet.run.FleetWatcher`. Where there is no terminal, lines alone."""

    def __init__(self, console: Console, hosts: int) -> None:
        self._console = console
        self._cells: dict[str, str] = {}
        self._bar = Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
        self._task = self._bar.add_task("hosts", total=hosts)
        self._live = Live(get_renderable=self._shown, console=console, transient=True) if is_screen(console) else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def host_begins(self, name: str) -> None:
        """Show that a host is being reached."""
        self._cells[name] = "connecting"

    def cell_begins(self, name: str, cell: CellDone) -> None:
        """Show which cell a host is at."""
        self._cells[name] = f"[{cell.number}/{cell.total}] {cell.title[:_TITLE]}"

    def host_ended(self, result: HostResult) -> None:
        """Show how it ended."""
        self._cells.pop(result.name, None)
        self._bar.advance(self._task)
        style = "green" if result.is_good else "bold red"
        seconds = f"{result.report.duration:.1f} s  " if result.report is not None else ""
        problem = strip(neutralise(result.problem)).replace("\n", " ")
        self._console.print(Text.assemble(f"{result.name}  ", (result.state, style), f"  {seconds}{problem}"))

    def _shown(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, at in list(self._cells.items())[:_MAX_ROWS]:
            table.add_row(Text(name), Text(at))
        if len(self._cells) > _MAX_ROWS:
            table.add_row(Text(f"and {len(self._cells) - _MAX_ROWS} more"))
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(self._bar)
        return outer
