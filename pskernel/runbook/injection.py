"""Values put into a notebook, in a cell of their own behind that of the parameters: papermill's convention.

What PowerShell itself refuses of them ends the cell, and with it the run: by itself, a failed assignment or a value
that does not bind is an error that PowerShell goes on after, and the notebook would run with the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nbformat.v4 import new_code_cell

from pskernel.runbook.kinds import is_hashtable
from pskernel.runbook.literals import check_name, literal
from pskernel.runbook.parameters import Parameter, Parameters, tagged
from pskernel.runbook.tags import INJECTED_TAG, SKIP_TAG

__all__ = ["assignments", "inject"]

_DIRECTIVE = re.compile(r"\s*#%(?!%)")


def inject(notebook: Any, parameters: Parameters, values: Mapping[str, Any]) -> None:
    """Put the values into the notebook, as :func:`pskernel.runbook.binding.bind` returns them. It is changed.

    Assignments: a new cell, tagged ``injected-parameters``, assigns the values behind the cell that assigns the
    defaults. An earlier such cell is replaced.

    A ``param()`` block: the new cell holds the block once more, called with the values by the dot, so that PowerShell
    binds, converts and validates them, and the variables are the session's. The parameters' own cell is then not to be
    run, for it would ask for the mandatory ones: it is tagged ``skip-execution``, in this notebook, which is the one
    to be executed. Directives at its head are repeated, because the new cell is now the one that is run.

    Without values and without a mandatory parameter nothing is changed: the cell of the parameters runs as it is, and
    so does a cell that was injected earlier.
    """
    if not values and not any(item.mandatory for item in parameters.items):
        return
    cell = notebook.cells[parameters.index]
    written = [(item.name, _written(item, values[item.name])) for item in parameters.items if item.name in values]
    if parameters.block:
        source = _call(cell.source, written)
        if SKIP_TAG not in cell.metadata["tags"]:
            cell.metadata["tags"] = [*cell.metadata["tags"], SKIP_TAG]
        cell.update(outputs=[], execution_count=None)
    else:
        source = _guarded([f"${name} = {text}" for name, text in written])
    # The same values make the same notebook: the cell's id is not by chance.
    new = new_code_cell(source, id=INJECTED_TAG, metadata={"tags": [INJECTED_TAG]})
    if notebook.nbformat_minor < 5:
        del new["id"]
    earlier = {id(notebook.cells[index]) for index in tagged(notebook, INJECTED_TAG)}
    cells = [other for other in notebook.cells if id(other) not in earlier]
    place = next(index for index, other in enumerate(cells) if other is cell)
    notebook.cells = [*cells[: place + 1], new, *cells[place + 1 :]]


def assignments(values: Mapping[str, Any], comment: str = "Parameters") -> str:
    """The text of a cell that assigns the values, whatever is known of the parameters.

    Raises:
        LiteralError: a name cannot be a variable's, or a value cannot be written.
    """
    for name in values:
        check_name(name)
    return _guarded([f"${name} = {literal(value)}" for name, value in values.items()], comment)


def _written(parameter: Parameter, value: Any) -> str:
    text = literal(value)
    # Made from an ordered dictionary, a hashtable would have regard to the case of its keys.
    return text.removeprefix("[ordered]") if is_hashtable(parameter) else text


def _guarded(lines: list[str], comment: str = "Parameters") -> str:
    return "\n".join([f"# {comment}", "try {", *lines, "} catch { throw }"])


def _call(source: str, written: list[tuple[str, str]]) -> str:
    arguments = "".join(f" -{name}:({text})" for name, text in written)
    directives = []
    for line in source.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            break
        if _DIRECTIVE.match(line):
            directives.append(line)
    return "\n".join([*directives, _guarded([". {", source, f"}}{arguments}"])])
