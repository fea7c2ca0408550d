"""``pskernel doctor``: why a target does or does not work."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pskernel.cli.ask import asker
from pskernel.cli.checks import State, Step, Visit, examine
from pskernel.cli.console import BAD_USE, OptionTexts, output, parse_options

__all__ = ["doctor"]

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "dim"}


def doctor(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="Where PowerShell is, such as ssh://admin@web01; otherwise what PSKERNEL_TARGET says.",
            show_default=False,
        ),
    ] = None,
    option: OptionTexts = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at a target step by step: how far one gets, how long it takes, and what to do where it ends."""
    visit = Visit(target, parse_options(option), asker())
    console = output()
    steps = asyncio.run(_examine(visit, None if as_json else console))
    good = all(step.state is not State.FAILED for step in steps)
    if as_json:
        shown = None if visit.target is None else visit.target.redacted
        findings = {"target": shown, "ok": good, "steps": [asdict(step) for step in steps]}
        typer.echo(json.dumps(findings, indent=2))
    elif good:
        warned = any(step.state is State.WARNING for step in steps)
        console.print("This target works, with warnings." if warned else "This target works.")
    else:
        console.print(f"This target does not work: the step “{steps[-1].name}” failed.")
    raise typer.Exit(0 if good else BAD_USE)


async def _examine(visit: Visit, console: Console | None) -> list[Step]:
    steps = []
    try:
        async for step in examine(visit):
            steps.append(step)
            if console is not None:
                _show(console, step)
    finally:
        await visit.aclose()
    return steps


def _show(console: Console, step: Step) -> None:
    head = (f"{step.state:<8}", _STYLES[step.state])
    indent = " " * 30
    body = "\n".join(step.lines).replace("\n", f"\n{indent}")
    console.print(Text.assemble(head, f"{step.name:<11}{step.seconds:>8.3f} s  ", body))
