"""Parameters on the command line: what verbs that run a notebook take, and the notebook with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pskernel.runbook.binding import bind
from pskernel.runbook.given import read_values
from pskernel.runbook.parameters import Parameters, read_parameters, tagged
from pskernel.runbook.scanner import ParametersError
from pskernel.runbook.tags import INJECTED_TAG, PARAMETERS_TAG

__all__ = ["ParameterFiles", "ParameterTexts", "bound_parameters", "given_parameters"]

ParameterTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the notebook; may be given several times. `pskernel inspect NOTEBOOK` lists them.",
    ),
]
ParameterFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--parameters-file",
        "-y",
        metavar="FILE",
        help="A YAML file of parameters; may be given several times, later ones count more, and -p more than all.",
    ),
]


def given_parameters(notebook: Any, pairs: Sequence[str] | None, files: Sequence[Path] | None) -> None:
    """Put what the command line gives into the notebook, which is changed. See docs/runbooks.md.

    Raises as :func:`bound_parameters` does.
    """
    bound = bound_parameters(notebook, pairs, files)
    if bound is not None:
        bound(notebook)


def bound_parameters(
    notebook: Any,
    pairs: Sequence[str] | None,
    files: Sequence[Path] | None,
    hosts: Mapping[str, Any] | None = None,
) -> Callable[[Any], None] | None:
    """What puts the values into the notebook, or into a copy of it; None if it runs as it is.

    ``hosts`` are the values that an inventory has for a host; the command line's count more.

    If nothing is given, a notebook that had its values put in earlier, or whose parameters cannot be read, runs as it
    is.

    Raises:
        ParametersError: a parameter is unknown, missing, given twice or cannot have the value, or there are none.
        LiteralError: a value cannot be written in PowerShell.
    """
    # Seconds that other verbs need not pay.
    from pskernel.runbook.injection import inject  # noqa: PLC0415

    anything = bool(pairs or files or hosts)
    if not anything and tagged(notebook, INJECTED_TAG):
        return None
    try:
        parameters = read_parameters(notebook)
    except ParametersError:
        if anything:
            raise
        return None
    if parameters is None:
        if anything:
            raise ParametersError(
                f"The notebook has no parameters: no cell of it is tagged {PARAMETERS_TAG}. Tag the cell that has them."
            )
        return None
    values = _by_name(parameters, hosts or {}) | read_values(pairs or (), files or (), parameters)
    return partial(inject, parameters=parameters, values=bind(parameters, values))


def _by_name(parameters: Parameters, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the parameters' own names; what is unknown keeps its own, for whoever binds it to refuse."""
    found = {}
    for name, value in values.items():
        parameter = parameters.find(name)
        found[name if parameter is None else parameter.name] = value
    return found
