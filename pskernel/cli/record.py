"""``pskernel record``: run a notebook and keep what the remote said, to be replayed without it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pskernel.cli.console import CommandError, OptionTexts, output, parse_options

__all__ = ["record"]


def record(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook to run.")],
    *,
    target: Annotated[str, typer.Option(metavar="URL", help="Where its cells run.")],
    cassette: Annotated[Path, typer.Option("--output", "-o", metavar="CASSETTE", help="The recording (JSON lines).")],
    option: OptionTexts = None,
) -> None:
    """Run a notebook and record the session; the target replay:CASSETTE plays it again.

    Exits as `pskernel run` does. The executed notebook is written as NOTEBOOK.out.ipynb beside the notebook.
    """
    # Seconds that other verbs need not pay.
    from pskernel.cli.running import default_output, execute  # noqa: PLC0415

    out = default_output(notebook)
    _check_place(cassette, notebook, out)
    before = _written(cassette)
    status = execute(notebook, out, target=target, kernel=None, options=parse_options(option), record=cassette)
    if _written(cassette) != before:
        output().print(f"Recorded to {cassette}.")
    elif status == 0:
        raise CommandError(f"The notebook was run, but nothing was recorded to {cassette}.")
    raise typer.Exit(status)


def _check_place(cassette: Path, notebook: Path, out: Path) -> None:
    """Refuse a place that would cost a notebook, or that only shows itself to be none when the cells have run."""
    if cassette.resolve() in {notebook.resolve(), out.resolve()}:
        raise CommandError(f"{cassette} is a notebook of this run; the recording needs a file of its own.")
    if cassette.is_dir() or (cassette.exists() and not cassette.is_file()):
        raise CommandError(f"The recording cannot be written to {cassette}: it is not a regular file.")
    if not cassette.resolve().parent.is_dir():
        raise CommandError(f"The recording cannot be written to {cassette}: there is no such folder.")


def _written(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
