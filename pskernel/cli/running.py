"""What the verbs that run notebooks have in common: where cells run, and the run itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pskernel.audit import AuditLog, AuditSettings
from pskernel.cli.auditing import audit_settings, digest_of_file, open_log
from pskernel.cli.choosing import Chosen, choose_place
from pskernel.cli.console import CommandError, check_writable, output, show_error
from pskernel.cli.parameters import given_parameters
from pskernel.cli.progress import Progress
from pskernel.cli.signals import on_signals
from pskernel.runbook.cellrun import CellRules
from pskernel.runbook.heard import Heard
from pskernel.runbook.junit import suite_of, write_junit
from pskernel.runbook.notebook import digest, parameters_digest, read_notebook, runs
from pskernel.runbook.onrecord import OnRecord
from pskernel.runbook.report import Report, RunState, tell
from pskernel.runbook.resume import Checkpoint, read_checkpoint
from pskernel.runbook.run import NotebookRun
from pskernel.runbook.tags import SKIP_TAG
from pskernel.target import Target

__all__ = ["Ended", "Order", "default_output", "execute"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over: its report, the status to exit with, and what went wrong when its session closed.

    ``written`` is where the executed notebook is.
    """

    report: Report
    status: int
    last_words: str
    written: Path | None


def default_output(notebook: Path) -> Path:
    """Where the executed notebook goes: beside the notebook, never over it.

    Raises:
        CommandError: ``notebook`` names a folder.
    """
    if not notebook.name:
        raise CommandError(f"{notebook} is not a notebook: it is a folder.")
    return notebook.with_name(f"{notebook.stem}.out.ipynb")


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a run.

    Attributes:
        notebook: the notebook; None where ``resume`` says which.
        out: where the executed one goes; None: beside it, or where the run that is gone on from has written.
        target: the URL of a target, and so on as :func:`choose_place` has them.
        parameters: ``name=value``; ``parameter_files``, YAML files of them.
        rules: what holds for all cells.
        resume: the executed notebook of a run to go on from.
        record: where to record the session to.
        junit: where to write the result as JUnit XML.
        audit: the log that the run goes into; None: the one that the machine's policy names, if it does.
    """

    notebook: Path | None
    out: Path | None = None
    target: str | None = None
    kernel: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    parameters: Sequence[str] | None = None
    parameter_files: Sequence[Path] | None = None
    rules: CellRules = field(default_factory=CellRules)
    resume: Path | None = None
    record: Path | None = None
    junit: Path | None = None
    audit: AuditSettings | None = None


def execute(order: Order, *, shows_file: bool = True) -> Ended:
    """Run a notebook, and show its progress and its end, and with ``shows_file`` where the executed one is.

    Raises:
        PSKernelError: the run could not begin, or the executed notebook could not be written.
    """
    if order.junit is not None:
        check_writable(order.junit, "JUnit file")
    heard = Heard()
    with open_log(order.audit or audit_settings(None, None), heard.masker) as log:
        if order.resume is not None:
            chosen, run = _going_on(order, order.resume, heard, log)
        else:
            chosen, run = _from_the_beginning(order, heard, log)
        with _environment(chosen.env):
            ended = asyncio.run(drive(run))
    if order.junit is not None:
        write_junit([suite_of(Path(run.report.notebook).name, run.report, run.notebook)], order.junit)
    tell(show_end, ended, shows_file=shows_file)
    return ended


def _from_the_beginning(order: Order, heard: Heard, log: AuditLog | None) -> tuple[Chosen, NotebookRun]:
    if order.notebook is None:
        raise CommandError("Say which notebook to run, or which run to go on from with --resume OUT.ipynb.")
    content = _read(order.notebook)
    given_parameters(content, order.parameters, order.parameter_files)
    chosen = choose_place(content, target=order.target, kernel=order.kernel, options=order.options)
    out = order.out or default_output(order.notebook)
    run = NotebookRun(
        content,
        chosen.place(heard, order.record),
        out,
        Progress(output()),
        rules=order.rules,
        report=Report(notebook=str(order.notebook.absolute())),
        heard=heard,
        on_record=_on_record(log, order.notebook),
    )
    return chosen, run


def _on_record(log: AuditLog | None, notebook: Path) -> OnRecord | None:
    return None if log is None else OnRecord(log, str(notebook.absolute()), digest_of_file(notebook))


def _going_on(order: Order, path: Path, heard: Heard, log: AuditLog | None) -> tuple[Chosen, NotebookRun]:
    checkpoint = read_checkpoint(path)
    _check_same_book(order, checkpoint, path)
    chosen = choose_place(
        checkpoint.notebook,
        target=order.target,
        kernel=order.kernel,
        options=order.options,
        otherwise=checkpoint.report.target,
    )
    before = checkpoint.report.target
    if chosen.target is not None and before is not None and not chosen.target.is_same_place(Target.parse(before)):
        raise CommandError(
            f"The run in {path} was on {before}, and this one would be on {chosen.target.redacted}: what the first "
            "cells have done is not there. Run the notebook from its beginning, or name the same target."
        )
    output(error=True).print(f"{checkpoint.known} {_again(checkpoint, chosen.target)}")
    out = order.out or path
    run = NotebookRun(
        checkpoint.notebook,
        chosen.place(heard, order.record),
        out,
        Progress(output()),
        rules=order.rules,
        keep=checkpoint.keep,
        report=checkpoint.next_report(),
        heard=heard,
        on_record=_on_record(log, path),
    )
    return chosen, run


def _again(checkpoint: Checkpoint, target: Target | None) -> str:
    before = sum(index < checkpoint.first for index in checkpoint.again)
    again = f" {before} of these, tagged `always` or with parameters, are run again first." if before else ""
    if target is not None and target.options.session is not None:
        return (
            f"The run goes on there, in the session {target.options.session} if that is still kept; what was left to "
            f"run in it is shown to its end first, and does not count as a cell.{again}"
        )
    return f"The run goes on there, in a new session: variables of the cells before it are gone.{again}"


def _check_same_book(order: Order, checkpoint: Checkpoint, executed: Path) -> None:
    """Refuse to go on with what is not the same. A notebook that is not named, and is no more, cannot be compared."""
    path = order.notebook or Path(checkpoint.report.notebook)
    gives_parameters = bool(order.parameters or order.parameter_files)
    if order.notebook is None and not gives_parameters and not path.is_file():
        return
    book = read_notebook(path)
    if digest(book) != checkpoint.report.book:
        raise CommandError(
            f"{path} is not the notebook that {executed} is a run of: its cells have changed since. Run it from its "
            "beginning, or restore it."
        )
    if not gives_parameters:
        return
    given_parameters(book, order.parameters, order.parameter_files)
    if parameters_digest(book) != checkpoint.report.parameters:
        raise CommandError(
            f"The run in {executed} had other parameters, and what its first cells have done is of those. Leave them "
            "out, or run the notebook from its beginning."
        )


def _read(path: Path) -> Any:
    content = read_notebook(path)
    if not any(map(runs, content.cells)):
        raise CommandError(
            f"There is nothing to run in {path}: it has no code cell with text, or all are tagged {SKIP_TAG}. "
            "Nothing was connected to, and nothing written."
        )
    return content


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a while: those that a kernelspec sets for its kernel."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


async def drive(run: NotebookRun) -> Ended:
    """Run it; signals stop the cell on the remote and then the run, a second one gives up at once."""
    signals = on_signals(run.interrupt, "Stopping the cell on the remote. Once more to give up at once.")
    report = await run.run()
    by_signal = report.state is RunState.INTERRUPTED and signals
    return Ended(report, 128 + signals[0] if by_signal else report.exit_status, run.last_words, run.written)


def show_end(ended: Ended, *, shows_file: bool) -> None:
    """Say how it ended, and with ``shows_file`` where the executed notebook is."""
    report = ended.report
    where = "" if report.target is None else f" on {report.target}"
    if report.problem:
        cell = "" if report.failed_cell is None else f"cell {report.failed_cell + 1} of the notebook: "
        show_error(f"{cell}{report.problem}")
    if report.unanswered:
        output(error=True).print(f"{report.unanswered} prompts had no answer; --answers FILE gives them.")
    ends = {
        RunState.COMPLETED: "Completed",
        RunState.EXITED: f"Ended by the script with exit code {report.exit_code}",
        RunState.FAILED: "Failed",
        RunState.NOT_RUN: "Nothing was run",
        RunState.REFUSED: "Ended early, at a cell that was not sent,",
        RunState.INTERRUPTED: "Interrupted",
    }
    if report.came_back is not None and report.target is not None:
        name = Target.parse(report.target).options.session
        news = "was there already." if report.came_back else "was not there: a new one was opened."
        output().print(f"The session {name} {news}")
    if report.dry:
        output().print(f"This was a dry run: nothing was changed, and {report.withheld} cells were not run.")
    written = f" Written to {ended.written}." if shows_file and ended.written is not None else ""
    output().print(f"{ends[report.state]}{where} after {report.duration:.1f} s.{written}")
