"""``pskernel export``: a notebook as a script."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pskernel.cli.console import CommandError, clean, output

__all__ = ["export"]


class _Form(StrEnum):
    PS1 = "ps1"


def export(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook.")],
    *,
    to: Annotated[_Form, typer.Option("--to", help="As what: a script for PowerShell.")] = _Form.PS1,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The script; otherwise beside the notebook, by its name."),
    ] = None,
) -> None:
    """Write a notebook as a script that runs in plain PowerShell. Markdown becomes comments.

    An earlier export is replaced; any other file is not.
    """
    # nbformat takes a while, which other verbs need not wait for.
    from pskernel.cli.choosing import refuse_other_language  # noqa: PLC0415
    from pskernel.runbook.export import EXPORTED, to_ps1  # noqa: PLC0415
    from pskernel.runbook.notebook import read_notebook  # noqa: PLC0415

    content = read_notebook(notebook)
    refuse_other_language(content)
    script = to_ps1(content, notebook.name).encode()
    out = out or notebook.with_suffix(f".{to}")
    try:
        if out.exists() and not (out.is_file() and out.read_bytes().startswith(EXPORTED.encode())):
            raise CommandError(f"{out} is there already, and is no earlier export. Name another file with --output.")
        out.write_bytes(script)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror or type(error).__name__}.") from None
    output().print(clean(f"Written to {out}."))
