"""What the verbs that run notebooks have in common: where cells run, and the run itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pskernel.cells.place import Place
from pskernel.cli.console import CommandError, output, show_error
from pskernel.cli.progress import Progress
from pskernel.cli.specs import InstalledSpec, find_specs, installed_specs
from pskernel.connect import opener
from pskernel.directives import DirectiveError, read_directives
from pskernel.resolve import TARGET_VARIABLE, resolve
from pskernel.runbook.notebook import SKIP_TAG, read_notebook, runs
from pskernel.runbook.report import Report, RunState
from pskernel.runbook.run import NotebookRun
from pskernel.target import Target

__all__ = ["Chosen", "Ended", "choose_place", "default_output", "execute"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_LANGUAGES = ("powershell", "pwsh")


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over: its report, the status to exit with, and what went wrong when its session closed."""

    report: Report
    status: int
    last_words: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where a notebook's cells run.

    Attributes:
        target: None leaves it to a ``#% target`` line of the notebook, for which the options are.
        options: as given.
        env: variables of the kernelspec.
    """

    target: Target | None
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def place(self, record_to: Path | None = None) -> Place:
        """The session for it, which is not open yet. ``record_to``: as :func:`pskernel.connect.connect` has it."""
        record = None if record_to is None else str(record_to.absolute())
        return Place(self.target, self.options, opening=lambda target: opener(target, record_to=record))


def default_output(notebook: Path) -> Path:
    """Where the executed notebook goes: beside the notebook, never over it.

    Raises:
        CommandError: ``notebook`` names a folder.
    """
    if not notebook.name:
        raise CommandError(f"{notebook} is not a notebook: it is a folder.")
    return notebook.with_name(f"{notebook.stem}.out.ipynb")


def choose_place(notebook: Any, *, target: str | None, kernel: str | None, options: dict[str, str]) -> Chosen:
    """Decide where a notebook's cells run: ``target``, else the kernelspec ``kernel``, else as its kernel itself would.

    The last is PSKERNEL_TARGET, else the kernelspec that the notebook names, else a ``#% target`` line at the top of
    its first cell.

    Raises:
        TargetError: the target is wrong.
        CommandError: there is none, or the notebook is for another kernel.
    """
    _refuse_other_language(notebook)
    if target is not None and kernel is not None:
        raise CommandError("Give --target or --kernel, not both.")
    stored = str(notebook.metadata.get("kernelspec", {}).get("name", ""))
    spec = find_specs(kernel)[0] if kernel is not None else _installed(stored)
    # What is said on the command line counts more than a variable.
    environment = {} if kernel is not None else os.environ
    chosen = resolve(target, environment, None if spec is None else spec.content, options)
    if chosen is None and not _names_target(notebook):
        raise CommandError(_no_target(stored, spec))
    return Chosen(chosen, options, {} if spec is None or target is not None else dict(spec.env))


def _refuse_other_language(notebook: Any) -> None:
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        language = str(notebook.metadata.get(key, {}).get(name, "")).lower()
        if language and language not in _LANGUAGES:
            raise CommandError(
                f"The notebook says that its language is {language}, not PowerShell. If that is wrong, open it with a "
                "Remote PowerShell kernel once and save it."
            )


def _installed(name: str) -> InstalledSpec | None:
    return next((spec for spec in installed_specs() if spec.name == name.lower()), None) if name else None


def _names_target(notebook: Any) -> bool:
    first = next((cell for cell in notebook.cells if runs(cell)), None)
    try:
        return first is not None and read_directives(first.source).target is not None
    except DirectiveError:
        return True  # the cell itself will say what is wrong


def _no_target(stored: str, spec: InstalledSpec | None) -> str:
    if stored and spec is None:
        return (
            f"The notebook is for the kernel {stored}, which is not a Remote PowerShell kernel that is installed here. "
            "Say where to run it with --target URL or --kernel NAME; `pskernel list` shows the kernels."
        )
    return (
        f"Nothing says where PowerShell is. Give --target URL or --kernel NAME, or set {TARGET_VARIABLE}; the first "
        "cell may also have this line at its top, after comments at most: #% target ssh://user@host"
    )


def execute(
    notebook: Path,
    out: Path,
    *,
    target: str | None,
    kernel: str | None,
    options: dict[str, str],
    record: Path | None = None,
) -> Ended:
    """Run a notebook, and show its progress and its end.

    Raises:
        PSKernelError: the run could not begin, or the executed notebook could not be written.
    """
    content = read_notebook(notebook)
    if not any(map(runs, content.cells)):
        raise CommandError(
            f"There is nothing to run in {notebook}: it has no code cell with text, or all are tagged {SKIP_TAG}. "
            "Nothing was connected to, and nothing written."
        )
    chosen = choose_place(content, target=target, kernel=kernel, options=options)
    with _environment(chosen.env):
        run = NotebookRun(content, chosen.place(record), out, Progress(output()))
        run.report.notebook = str(notebook.absolute())
        ended = asyncio.run(drive(run))
    show_end(ended, out)
    return ended


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
    loop = asyncio.get_running_loop()
    signals: list[int] = []

    def obey(number: int) -> None:
        if not signals:
            output(error=True).print("Stopping the cell on the remote. Once more to give up at once.")
        signals.append(number)
        run.interrupt()

    for name in _SIGNALS:
        # Not on Windows; there, Ctrl+C cancels the run. What nohup or the shell had ignored stays ignored.
        with contextlib.suppress(NotImplementedError, AttributeError):
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, obey, number)
    report = await run.run()
    by_signal = report.state is RunState.INTERRUPTED and signals
    return Ended(report, 128 + signals[0] if by_signal else report.exit_status, run.last_words)


def show_end(ended: Ended, out: Path) -> None:
    """Say how it ended, and where the executed notebook is."""
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
    output().print(f"{ends[report.state]}{where} after {report.duration:.1f} s. Written to {out}.")
