"""``pskernel run``: a notebook from beginning to end, without a front end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pskernel.cli.console import CommandError, OptionTexts, parse_options
from pskernel.cli.parameters import ParameterFiles, ParameterTexts
from pskernel.cli.rules import (
    AnswersFile,
    AuditFolder,
    AuditKey,
    CellTimeout,
    DryRun,
    StopOnErrorRecord,
    VouchedModules,
    cell_rules,
    put_answers,
)

__all__ = ["run"]


def run(
    notebook: Annotated[Path | None, typer.Argument(metavar="NOTEBOOK", help="The notebook to run.")] = None,
    *,
    target: Annotated[str | None, typer.Option(metavar="URL", help="Where its cells run.")] = None,
    option: OptionTexts = None,
    parameter: ParameterTexts = None,
    parameters_file: ParameterFiles = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The executed notebook; otherwise NOTEBOOK.out.ipynb beside it."
        ),
    ] = None,
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME", help="The installed kernel whose target to run on.")
    ] = None,
    answers: AnswersFile = None,
    cell_timeout: CellTimeout = None,
    stop_on_error_record: StopOnErrorRecord = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Go on from a run that did not come to its end: the executed notebook that it has written.",
        ),
    ] = None,
    whatif: DryRun = False,
    vouch: VouchedModules = None,
    audit: AuditFolder = None,
    audit_key: AuditKey = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JUnit XML, too.")] = None,
) -> None:
    """Run a notebook headless, one line of progress a cell.

    With --resume, from the first cell that did not succeed; cells tagged `always`, and those of parameters, are run
    again before it.

    Exits with 0 if all went well, 1 if a cell failed or the script called exit with a code but 0, 2 if nothing could
    be run, and 130 after Ctrl+C. The executed notebook is written whenever the run has begun.
    """
    # Seconds that other verbs need not pay.
    from pskernel.cli.auditing import audit_settings  # noqa: PLC0415
    from pskernel.cli.running import Order, execute  # noqa: PLC0415

    rules = cell_rules(cell_timeout, stop_on_error_record, whatif, vouch)
    if whatif and resume is not None and (out is None or out.resolve() == resume.resolve()):
        raise CommandError(
            f"A dry run would take the place of the run in {resume}, which could not be gone on with then. Name "
            "another file for it with --output."
        )
    options = parse_options(option)
    put_answers(options, answers)
    settings = audit_settings(audit, audit_key)
    ended = execute(
        Order(
            notebook,
            out,
            target,
            kernel,
            options,
            parameter,
            parameters_file,
            rules,
            resume,
            junit=junit,
            audit=settings,
        )
    )
    raise typer.Exit(ended.status)
