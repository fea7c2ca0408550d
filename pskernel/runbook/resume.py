"""An executed notebook as a checkpoint: what of it was done, and from where a later run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pskernel.runbook.notebook import NotebookError, counts, digest, parameters_digest, read_notebook, runs
from pskernel.runbook.report import CellState, Report, RunState
from pskernel.runbook.tags import ALWAYS_TAGS, tags_of

__all__ = ["Checkpoint", "read_checkpoint"]

_DONE = {CellState.OK, CellState.EXPECTED, CellState.SKIPPED}
_KNOWN = {
    CellState.RUNNING: "was being run when that run ended, so how much of it was done is not known",
    CellState.INTERRUPTED: "was interrupted, so how much of it was done is not known",
    CellState.FAILED: "failed",
    CellState.EXITED: "ended the run by its own exit",
    CellState.UNSENT: "was not sent",
}
_NOT_REACHED = "had not been reached"
# What a report holds, as JSON.
_TEXT = str | None
_KINDS: dict[str, Any] = {
    "target": _TEXT, "computer": _TEXT, "user": _TEXT, "version": _TEXT, "identity": dict | None,
    "came_back": bool | None, "started": str, "duration": int | float, "had_errors": bool, "unanswered": int,
    "dry": bool, "withheld": int, "exit_code": int | None, "failed_cell": int | None,
    "state": str, "problem": str, "error_id": str, "book": str, "parameters": str, "notebook": str, "earlier": list,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An earlier run.

    Attributes:
        notebook: the executed notebook.
        report: of that run.
        keep: the indices of the cells that need not be run again; ``again``, of those that are, and the rest.
        first: the index of the first cell that did not succeed.
        known: what is known of that cell, as a sentence for people.
    """

    notebook: Any
    report: Report
    keep: frozenset[int]
    again: frozenset[int]
    first: int
    known: str

    def next_report(self) -> Report:
        """Where the report of the run begins that goes on from here."""
        before = asdict(self.report)
        earlier = before.pop("earlier")
        return Report(
            book=self.report.book,
            parameters=self.report.parameters,
            notebook=self.report.notebook,
            had_errors=False,
            earlier=[*earlier, before],
        )


def read_checkpoint(path: Path) -> Checkpoint:
    """Read an executed notebook to go on from.

    Raises:
        NotebookError: it is none, it was changed since, or there is nothing left to do.
    """
    notebook = read_notebook(path)
    report = _report(notebook.metadata.get("pskernel"), path)
    if report.dry:
        raise NotebookError(f"The run in {path} was a dry run: nothing was done, so there is nothing to go on from.")
    if digest(notebook) != report.book or parameters_digest(notebook) != report.parameters:
        raise NotebookError(
            f"The cells of {path} are not those that were run: the file was changed since, so it cannot say which of "
            "them are done. Run the notebook from its beginning."
        )
    if report.state is RunState.COMPLETED or (report.state is RunState.EXITED and not report.exit_code):
        raise NotebookError(f"There is nothing to go on with: the run in {path} {report.state}, all went well.")
    states = {index: _state(cell, path) for index, cell in enumerate(notebook.cells) if counts(cell)}
    always = {index for index in states if ALWAYS_TAGS.intersection(tags_of(notebook.cells[index]))}
    undone = [index for index, state in states.items() if state not in _DONE]
    if not undone:
        raise NotebookError(f"There is nothing to go on with: every cell of {path} is done.")
    # A cell that each run runs says nothing of how far they came: the last one may have come no further than to it.
    rest = [index for index in undone if index not in always]
    first = rest[0] if rest else undone[0]
    keep = frozenset(index for index in states if index not in always and (index < first or not rest))
    again = frozenset(index for index in states if index not in keep and runs(notebook.cells[index]))
    return Checkpoint(notebook, report, keep, again, first, _sentence(notebook, first, states[first]))


def _report(stored: Any, path: Path) -> Report:
    if not isinstance(stored, Mapping) or "book" not in stored or "state" not in stored:
        raise NotebookError(
            f"{path} is no executed notebook of `pskernel run`, so there is nothing to go on from. The file to give is "
            "the one that a run has written, NOTEBOOK.out.ipynb."
        )
    try:
        return Report(**{name: _checked(name, stored[name]) for name in _KINDS if name in stored})
    except (ValueError, TypeError) as error:
        raise NotebookError(f"The record of the run in {path} is damaged: {str(error)[:80]}.") from None


def _checked(name: str, value: Any) -> Any:
    if name == "state":
        return RunState(value)
    if not isinstance(value, _KINDS[name]):
        raise TypeError(f"{name} is of the wrong kind")
    return value


def _state(cell: Any, path: Path) -> CellState | None:
    """How a cell ended; None if it had not been reached."""
    if not runs(cell):
        return CellState.SKIPPED
    stored = cell.metadata.get("pskernel")
    try:
        return None if stored is None else CellState(stored["state"])
    except (ValueError, TypeError, KeyError):
        raise NotebookError(f"The record of a cell in {path} is damaged: its state is none of a cell's.") from None


def _sentence(notebook: Any, first: int, state: CellState | None) -> str:
    record = notebook.cells[first].metadata.get("pskernel", {})
    started = str(record.get("started", ""))[:19].replace("T", " ")
    known = _NOT_REACHED if state is None else _KNOWN.get(state, _NOT_REACHED)
    return f"Cell {first + 1} {known}{f' (begun {started} UTC)' if started else ''}."
