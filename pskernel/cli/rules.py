"""What verbs that run a notebook take on the command line: the rules of its cells, answers, and where it is noted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pskernel.answers import Answers
from pskernel.cli.console import CommandError

if TYPE_CHECKING:
    from pskernel.runbook.cellrun import CellRules

__all__ = [
    "AnswersFile",
    "AuditFolder",
    "AuditKey",
    "CellTimeout",
    "DryRun",
    "StopOnErrorRecord",
    "VouchedModules",
    "cell_rules",
    "put_answers",
]

AnswersFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A YAML file with answers to the prompts of cells; see docs/prompts.md."),
]
AuditFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Put what is run on record in the audit log of that folder.")
]
AuditKey = Annotated[
    str | None, typer.Option(metavar="REF", help="What seals it: keyring:NAME, env:NAME, file:PATH or ssh:PATH.")
]
CellTimeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.001, help="Stop a cell after that long, if it says nothing itself."),
]
DryRun = Annotated[
    bool, typer.Option("--whatif", help="Change nothing: run what is known to be harmless, and list the rest.")
]
StopOnErrorRecord = Annotated[bool, typer.Option("--stop-on-error-record", help="Let any error record fail its cell.")]
VouchedModules = Annotated[
    list[str] | None,
    typer.Option(metavar="MODULE", help="With --whatif, a module whose commands obey -WhatIf throughout."),
]


def cell_rules(timeout: float | None, stop_on_error_record: bool, whatif: bool, vouched: list[str] | None) -> CellRules:
    """The rules of a run's cells.

    Raises:
        CommandError: modules are vouched for, and the run is no dry one.
    """
    # Seconds that other verbs need not pay.
    from pskernel.runbook.cellrun import CellRules  # noqa: PLC0415

    if vouched and not whatif:
        raise CommandError("--vouch is for a dry run: give --whatif, too, or leave it out.")
    return CellRules(timeout, stop_on_error_record, whatif, tuple(vouched or ()))


def put_answers(options: dict[str, str], answers: Path | None) -> None:
    """Name the file of answers in the options of a target.

    Raises:
        PSKernelError: it cannot be read, or has no answers in it.
    """
    if answers is not None:
        options["answers"] = str(answers.absolute())
        Answers.load(answers)
