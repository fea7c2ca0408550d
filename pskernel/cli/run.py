"""``pskernel run``: a notebook from beginning to end, without a front end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pskernel.answers import Answers
from pskernel.cli.console import CommandError, OptionTexts, parse_options
from pskernel.cli.parameters import ParameterFiles, ParameterTexts

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
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A YAML file with answers to the prompts of cells; see docs/prompts.md."),
    ] = None,
    cell_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.001, help="Stop a cell after that long, if it says nothing itself."),
    ] = None,
    stop_on_error_record: Annotated[
        bool,
        typer.Option("--stop-on-error-record", help="Let any error record fail its cell."),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Go on from a run that did not come to its end: the executed notebook that it has written.",
        ),
    ] = None,
    whatif: Annotated[
        bool,
        typer.Option("--whatif", help="Change nothing: run what is known to be harmless, and list the rest."),
    ] = False,
    vouch: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="With --whatif, a module whose commands obey -WhatIf throughout."),
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put the run on record in the audit log of that folder.")
    ] = None,
    audit_key: Annotated[
        str | None, typer.Option(metavar="REF", help="What seals it: keyring:NAME, env:NAME, file:PATH or ssh:PATH.")
    ] = None,
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
    from pskernel.runbook.cellrun import CellRules  # noqa: PLC0415

    if vouch and not whatif:
        raise CommandError("--vouch is for a dry run: give --whatif, too, or leave it out.")
    if whatif and resume is not None and (out is None or out.resolve() == resume.resolve()):
        raise CommandError(
            f"A dry run would take the place of the run in {resume}, which could not be gone on with then. Name "
            "another file for it with --output."
        )
    options = parse_options(option)
    if answers is not None:
        options["answers"] = str(answers.absolute())
        Answers.load(answers)
    rules = CellRules(cell_timeout, stop_on_error_record, whatif, tuple(vouch or ()))
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
