"""``pskernel test``: a runbook against its recording, or a host, with a verdict that continuous integration reads."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from pskernel.cli.console import CommandError, OptionTexts, check_writable, parse_options, show_error
from pskernel.cli.parameters import ParameterFiles, ParameterTexts

__all__ = ["check", "nbval_sanitize"]


def check(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook to test.")],
    *,
    cassette: Annotated[
        Path | None,
        typer.Option(metavar="CASSETTE", help="The recording of `pskernel record` to run it against, with no host."),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="URL", help="A host to run it on instead.")] = None,
    option: OptionTexts = None,
    parameter: ParameterTexts = None,
    parameters_file: ParameterFiles = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Keep the executed notebook there.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JUnit XML.")] = None,
) -> None:
    """Run a notebook as a test: it passes if no cell fails and what is recorded is what is run.

    Cells tagged `assert` fail unless everything they return is true. Against a recording, a cell that was changed,
    added, moved or taken away since is a failure. Exits with 0 if it passes, 1 if it fails, 2 if it could not be run.
    """
    # Seconds that other verbs need not pay.
    from pskernel.cli.running import Order, execute  # noqa: PLC0415
    from pskernel.runbook.drift import missing_cells  # noqa: PLC0415
    from pskernel.runbook.junit import suite_of, write_junit  # noqa: PLC0415
    from pskernel.runbook.notebook import read_notebook  # noqa: PLC0415

    if (cassette is None) == (target is None):
        raise CommandError("Say against what to test, and one thing only: --cassette FILE, or --target URL.")
    if junit is not None:
        check_writable(junit, "JUnit file")
    options = parse_options(option)
    if cassette is not None:
        target = f"replay:{quote(str(cassette.absolute()))}"
        options = {"speed": "0", "strict": "true", **options}
    with tempfile.TemporaryDirectory(prefix="pskernel-") as folder:
        kept = out or Path(folder) / "executed.ipynb"
        order = Order(notebook, kept, target, None, options, parameter, parameters_file)
        ended = execute(order, shows_file=out is not None)
        gone = missing_cells(kept, cassette) if cassette is not None else []
        drift = [
            f"The recording has a cell that {notebook} does not have (any more): {title}. Record it again."
            for title in gone
        ]
        if junit is not None:
            write_junit([suite_of(notebook.name, ended.report, read_notebook(kept), drift)], junit)
    for problem in drift:
        show_error(problem)
    raise typer.Exit(ended.status or bool(drift))


def nbval_sanitize() -> None:
    """Print the path of the file that tells nbval what differs each time: times, dates, GUIDs, paths, colours."""
    typer.echo(str(resources.files("pskernel.runbook").joinpath("data", "nbval_sanitize.cfg")))
