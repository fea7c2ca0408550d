"""What a run tells: to whoever watches it, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ParamSpec, Protocol

__all__ = ["AFTER_CELL", "CellDone", "CellState", "Report", "RunState", "Watcher", "tell"]


P = ParamSpec("P")
_LOG = logging.getLogger(__name__)


class RunState(StrEnum):
    """How a run stands. RUNNING is only seen in the file of a run that goes on, or was killed.

    NOT_RUN: no cell was sent, for want of a connection or of a target. REFUSED: cells were sent, and then there was one
    that was not, because the session it was meant for was gone.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"
    NOT_RUN = "not run"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


class CellState(StrEnum):
    """How one cell ended. EXPECTED is an error that the tag ``raises-exception`` announces, and PowerShell's own.

    RUNNING is only seen in the file of a run that goes on, or was killed. KEPT was done by an earlier run. WITHHELD is
    only seen in dry runs: the cell might have changed something.
    """

    RUNNING = "running"
    WITHHELD = "not run"
    KEPT = "kept"
    OK = "ok"
    EXPECTED = "error, as expected"
    SKIPPED = "skipped"
    EXITED = "exited"
    FAILED = "failed"
    UNSENT = "not sent"
    INTERRUPTED = "interrupted"


AFTER_CELL = {
    CellState.EXITED: RunState.EXITED,
    CellState.FAILED: RunState.FAILED,
    CellState.UNSENT: RunState.REFUSED,
    CellState.INTERRUPTED: RunState.INTERRUPTED,
}
_EXIT_STATUS = {
    RunState.COMPLETED: 0,
    RunState.FAILED: 1,
    RunState.REFUSED: 1,
    RunState.NOT_RUN: 2,
    RunState.INTERRUPTED: 130,
}


@dataclass(frozen=True, slots=True)
class CellDone:
    """A cell that is over: its index among all cells, its number among those of the run, what it was and how it ended.

    ``title`` and ``message`` (of the error) hold no terminal control sequences.
    """

    index: int
    number: int
    total: int
    title: str
    state: CellState
    seconds: float = 0.0
    message: str = ""


class Watcher(Protocol):
    """Whoever is told of the progress of a run."""

    def begins(self, cell: CellDone) -> None:
        """A cell is being sent. Its state is not known yet."""

    def ended(self, cell: CellDone) -> None:
        """A cell is over."""


def tell(how: Callable[P, None], *words: P.args, **named: P.kwargs) -> None:
    """Tell somebody, who must not end the run: hosts are at work, and a pipe was closed or a disk is full."""
    try:
        how(*words, **named)
    # rich leaves the program when its pipe is closed.
    except (Exception, SystemExit) as error:  # noqa: BLE001 - see above
        _LOG.warning("A run could not tell how it goes (%s).", type(error).__name__)


@dataclass(slots=True)
class Report:
    """What a run came to, as in the executed notebook's ``metadata.pskernel``; while it goes on, so far.

    Attributes:
        target: the canonical URL of the target.
        computer: what the remote calls itself; so ``user`` and ``version``, of its PowerShell.
        identity: the host key or certificate by which the target was known, and how the user was.
        came_back: whether the session that the target names was there before the run, which has not opened it; None
            where it names none, or none was reached.
        started: when, as ISO 8601 in UTC.
        duration: seconds.
        had_errors: whether any cell failed or wrote an error record.
        unanswered: prompts that nobody answered.
        dry: whether it was a dry run; ``withheld`` is how many cells were not run because of that.
        exit_code: that of the script's own ``exit``, if it called it.
        failed_cell: the index, from 0, of the cell that ended the run with an error.
        state: how the run ended.
        problem: the error that ended it; ``error_id`` is its name.
        book: the digest of the notebook's cells, as :func:`pskernel.runbook.notebook.digest` makes it.
        parameters: likewise of injected parameters; empty where there are none.
        notebook: the path of the notebook.
        earlier: the reports of earlier runs that this one goes on from.
    """

    target: str | None = None
    computer: str | None = None
    user: str | None = None
    version: str | None = None
    identity: dict[str, str] | None = None
    came_back: bool | None = None
    started: str = ""
    duration: float = 0.0
    had_errors: bool = False
    unanswered: int = 0
    dry: bool = False
    withheld: int = 0
    exit_code: int | None = None
    failed_cell: int | None = None
    state: RunState = RunState.RUNNING
    problem: str = ""
    error_id: str = ""
    book: str = ""
    parameters: str = ""
    notebook: str = ""
    earlier: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """What a process should exit with: 0 good, 1 a cell failed or was refused, 2 nothing run, 130 interrupted."""
        if self.state is RunState.EXITED:
            return 1 if self.exit_code else 0
        return _EXIT_STATUS[self.state]
