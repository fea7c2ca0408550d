"""``pskernel run-many``: one notebook on many hosts."""

from __future__ import annotations

import math
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

__all__ = ["run_many"]


def run_many(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook to run.")],
    *,
    inventory: Annotated[
        str,
        typer.Option(
            "--inventory",
            "-i",
            metavar="SOURCE",
            help="The hosts: a YAML or CSV file, sshconfig:PATTERN, or command:COMMAND LINE; see docs/fleet.md.",
        ),
    ],
    limit: Annotated[str | None, typer.Option(metavar="GROUPS", help="Only these groups, hosts or patterns.")] = None,
    only_failed: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Only the hosts that did not go well in that earlier run.")
    ] = None,
    option: OptionTexts = None,
    parameter: ParameterTexts = None,
    parameters_file: ParameterFiles = None,
    throttle: Annotated[int, typer.Option(metavar="N", min=1, help="Hosts at a time.")] = 32,
    openings: Annotated[int, typer.Option(metavar="N", min=1, help="Connections that are made at a time.")] = 8,
    canary: Annotated[
        int, typer.Option(metavar="N", min=0, help="Hosts that go first; the others follow if all goes well there.")
    ] = 0,
    max_failures: Annotated[
        str | None, typer.Option(metavar="N or P%", help="Begin no further host once more than that have failed.")
    ] = None,
    retries: Annotated[
        int, typer.Option(metavar="N", min=0, help="How often connecting is tried again. Cells never are.")
    ] = 2,
    cell_timeout: CellTimeout = None,
    stop_on_error_record: StopOnErrorRecord = False,
    answers: AnswersFile = None,
    whatif: DryRun = False,
    vouch: VouchedModules = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Let the workers of a Dask cluster do it: dask://scheduler:8786."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where results go; else NOTEBOOK.fleet-TIME beside it."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML, too.")] = None,
    audit: AuditFolder = None,
    audit_key: AuditKey = None,
) -> None:
    """Run a notebook on many hosts, each in a session of its own, and sum up what came of it.

    Exits with 0 if all went well everywhere, 1 if it did not on some hosts, 2 if nothing could be run anywhere, 130
    after Ctrl+C and 143 after SIGTERM. The folder has an executed notebook for each host, summary.html and
    results.json.
    """
    # Seconds that other verbs need not pay.
    from pskernel.cli.auditing import audit_settings  # noqa: PLC0415
    from pskernel.cli.fleet import FleetOrder, execute_fleet  # noqa: PLC0415
    from pskernel.fleet.run import FleetRules  # noqa: PLC0415

    cells = cell_rules(cell_timeout, stop_on_error_record, whatif, vouch)
    options = parse_options(option)
    if answers is not None and cluster is not None:
        raise CommandError(
            "--answers is a file of this machine. For workers, name a file of theirs: --option answers=FILE."
        )
    put_answers(options, answers)
    order = FleetOrder(
        notebook,
        inventory,
        limit=limit,
        only_failed=only_failed,
        options=options,
        parameters=parameter,
        parameter_files=parameters_file,
        rules=FleetRules(throttle, canary),
        max_failures=_limit(max_failures),
        openings=openings,
        retries=retries,
        cells=cells,
        cluster=cluster,
        out=out,
        junit=junit,
        audit=audit_settings(audit, audit_key),
    )
    raise typer.Exit(execute_fleet(order))


def _limit(text: str | None) -> tuple[float, bool] | None:
    """A number of hosts, or a part of them in percent."""
    if text is None:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not math.isfinite(number) or number < 0 or (not text.endswith("%") and number != int(number)):
        raise CommandError(f"--max-failures takes a number of hosts, or a part of them such as 5%, not {text[:40]}.")
    return number, text.endswith("%")
