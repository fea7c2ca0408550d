"""``pskernel inspect``: what a notebook says of itself, without running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pskernel.cli.console import output, show_rows
from pskernel.directives import DirectiveError, read_directives
from pskernel.runbook.parameters import Parameter, read_parameters

__all__ = ["inspect"]


def inspect(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook to look at.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs, as JSON.")] = False,
) -> None:
    """Show the parameters of a notebook, the target that it names, and its cells' tags. Nothing is connected to."""
    # Seconds that other verbs need not pay.
    from pskernel.runbook.notebook import counts, read_notebook, runs  # noqa: PLC0415

    content = read_notebook(notebook)
    parameters = read_parameters(content)
    items = () if parameters is None else parameters.items
    facts = {
        "target": _target([cell for cell in content.cells if runs(cell)]),
        "cells": sum(map(counts, content.cells)),
        "tags": _tags(content),
        "parameters": [_facts(item) for item in items],
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    if items:
        show_rows(("Name", "Type", "Default", "Mandatory", "Allowed", "Help"), [_row(item) for item in items])
    # Beside the table, which programs may read.
    console = output(error=True)
    if not items:
        console.print(
            "The notebook has no parameters." if parameters else "No cell of the notebook is tagged parameters."
        )
    if facts["target"]:
        console.print(f"Its target: {facts['target']}")
    tags = ", ".join(f"{tag} ({', '.join(map(str, cells))})" for tag, cells in _tags(content).items())
    console.print(
        f"{facts['cells']} cells with code." + (f" Tags, with the cells that have them: {tags}." if tags else "")
    )


def _target(cells: list[Any]) -> str | None:
    try:
        return read_directives(cells[0].source).target if cells else None
    except DirectiveError:
        return None  # the cell itself will say what is wrong


def _tags(notebook: Any) -> dict[str, list[int]]:
    """The numbers, from 1, of the cells with each tag."""
    found: dict[str, list[int]] = {}
    for number, cell in enumerate(notebook.cells, 1):
        for tag in cell.metadata.get("tags", []):
            found.setdefault(str(tag), []).append(number)
    return found


def _facts(item: Parameter) -> dict[str, Any]:
    rules = item.attributes
    return {
        "name": item.name,
        "type": item.type,
        "default": item.default,
        "mandatory": item.mandatory,
        "aliases": list(rules.aliases),
        "allowed": None if rules.allowed is None else list(rules.allowed),
        "range": None if rules.lowest is None else [str(rules.lowest), str(rules.highest)],
        "checked_by_powershell": list(rules.others),
        "help": item.help,
    }


def _row(item: Parameter) -> tuple[str, ...]:
    rules = item.attributes
    allowed = [", ".join(rules.allowed)] if rules.allowed is not None else []
    if rules.lowest is not None:
        allowed.append(f"{rules.lowest} to {rules.highest}")
    if rules.not_empty:
        allowed.append("not empty")
    allowed += rules.others
    name = item.name + "".join(f", {alias}" for alias in rules.aliases)
    # A row is a line for programs, and tabs part its fields.
    fields = (name, item.type or "", item.default or "", "yes" if item.mandatory else "", "; ".join(allowed), item.help)
    return tuple(" ".join(field.split()) for field in fields)
