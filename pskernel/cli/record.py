"""``pskernel record``: run a notebook and keep what the remote said, to be replayed without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pskernel.cli.console import BAD_USE, CommandError, OptionTexts, check_writable, output, parse_options, show_error
from pskernel.cli.parameters import ParameterFiles, ParameterTexts
from pskernel.runbook.report import RunState

if TYPE_CHECKING:
    from pskernel.cli.running import Ended

__all__ = ["record"]


def record(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook to run.")],
    *,
    cassette: Annotated[Path, typer.Option("--output", "-o", metavar="CASSETTE", help="The recording (JSON lines).")],
    target: Annotated[str | None, typer.Option(metavar="URL", help="Where its cells run.")] = None,
    option: OptionTexts = None,
    parameter: ParameterTexts = None,
    parameters_file: ParameterFiles = None,
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME", help="The installed kernel whose target to run on.")
    ] = None,
) -> None:
    """Run a notebook and record the session; the target replay:CASSETTE plays it again.

    Exits as `pskernel run` does, and with 2 if all went well but the recording. The executed notebook is written as
    NOTEBOOK.out.ipynb beside the notebook. A recording is of one session: where that is lost, it ends.
    """
    # Seconds that other verbs need not pay.
    from pskernel.cli.running import Order, default_output, execute  # noqa: PLC0415

    out = default_output(notebook)
    _check_place(cassette, notebook, out)
    before = _written(cassette)
    options = parse_options(option)
    ended = execute(Order(notebook, out, target, kernel, options, parameter, parameters_file, record=cassette))
    if _written(cassette) != before:
        _show_recorded(ended, cassette)
        raise typer.Exit(ended.status)
    why = f" {ended.last_words}" if ended.last_words else ""
    show_error(f"Nothing was recorded to {cassette}.{why}")
    raise typer.Exit(ended.status or BAD_USE)


def _show_recorded(ended: Ended, cassette: Path) -> None:
    whole = ended.report.state in (RunState.COMPLETED, RunState.EXITED)
    output().print(f"Recorded to {cassette}{'' if whole else ', up to where the run ended'}.")


def _check_place(cassette: Path, notebook: Path, out: Path) -> None:
    """Refuse a place that would cost a notebook, or that only shows itself to be none when the cells have run."""
    if cassette.resolve() in {notebook.resolve(), out.resolve()}:
        raise CommandError(f"{cassette} is a notebook of this run; the recording needs a file of its own.")
    check_writable(cassette, "recording")


def _written(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
