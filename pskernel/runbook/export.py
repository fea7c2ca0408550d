"""A notebook as a script that PowerShell runs by itself: docs/runbooks.md says what is the same and what is not."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pskernel.runbook.notebook import NotebookError, counts, plain, runs
from pskernel.runbook.tags import EXPECTED_TAG, PARAMETERS_TAG, tags_of

__all__ = ["EXPORTED", "to_ps1"]

# The beginning of each export, by which it may be replaced by the next one. Windows PowerShell takes a file without the
# mark at its beginning for one of the machine's code page.
EXPORTED: Final = "\ufeff<#\nExported by pskernel from "

# Not those of splitlines(), some of which PowerShell takes for a part of the line.
_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_USING: Final = re.compile(r"using[ \t]+\S", re.IGNORECASE)
# One statement on one line, with nothing behind it but a remark.
_ALONE: Final = re.compile(
    r"using[ \t]+[a-z]+[ \t]+(?:'[^'\r\n]*'|\"[^\"$`\r\n]*\"|[^\s;'\"`@{}()|#]+)[ \t;]*(?:#.*)?", re.IGNORECASE
)
# Possessive throughout: there is one way to read comments and attributes.
_BLANK: Final = r"(?:\s++|#[^\r\n]*+|<#.*?#>)*+"
_ATTRIBUTES: Final = rf"(?:\[(?:[^\[\]]++|\[[^\[\]]*+\])*+\]{_BLANK})*+"
_PARAM: Final = re.compile(rf"{_BLANK}{_ATTRIBUTES}param\s*+\(", re.IGNORECASE | re.DOTALL)

# The dot keeps variables and functions; the block keeps return, trap and a pipe at the beginning to the cell;
# Out-Default shows the cell's output by itself, as in the notebook: otherwise, objects that differ would share a table.
_CELL: Final = ". {{\n{0}\n}} | Out-Default"
# Neither try nor trap would do around the cell itself: PowerShell would no longer go on after the errors that it goes
# on after. So the cell is run as a pipeline of its own in this very session.
_EXPECTED: Final = """\
# An error that ends this cell does not end the script.
try {{ $null = [powershell]::Create('CurrentRunspace').AddScript({{ . {{
{0}
}} 2>&1 | Out-Default }}).Invoke() }} catch {{ $_.Exception.InnerException.ErrorRecord | Out-Default }}"""


def to_ps1(notebook: Any, name: str) -> str:
    """Return the script, to be written as UTF-8.

    Args:
        notebook: as :func:`pskernel.runbook.notebook.read_notebook` returns it.
        name: what the script says it comes from.

    Raises:
        NotebookError: there is no code in it, or something that cannot be moved to where a script needs it.
    """
    if not any(map(counts, notebook.cells)):
        raise NotebookError(f"There is nothing to export in {plain(name)}: it has no code cell with text.")
    usings: dict[str, None] = {}
    top = ""
    pieces = []
    for number, cell in enumerate(notebook.cells, 1):
        head = _head(cell)
        if not cell.source.strip():
            continue
        if not runs(cell):
            pieces.append(f"{head}\n{_comment(cell.source)}")
            continue
        source, moved = _without_using(cell.source.rstrip("\r\n"), number)
        usings |= dict.fromkeys(moved)
        if not top and PARAMETERS_TAG in tags_of(cell) and _PARAM.match(source):
            top = f"{head}\n{source}"
            continue
        form = _EXPECTED if EXPECTED_TAG in tags_of(cell) else _CELL
        pieces.append(f"{head}\n{form.format(source)}")
    # Only comments and `using` may stand before `param`.
    first = [f"{EXPORTED}{_inert(plain(name))}\n#>", "\n".join(usings), top]
    return "\n\n".join(piece for piece in [*first, *pieces] if piece) + "\n"


def _head(cell: Any) -> str:
    """The line that begins a cell, as Jupytext and editors know it."""
    kind = "" if cell.cell_type == "code" else f" [{cell.cell_type}]"
    # JSON in ASCII: no tag leaves the line.
    tags = f" tags={json.dumps(tags_of(cell))}" if tags_of(cell) else ""
    return f"# %%{kind}{tags}"


def _comment(text: str) -> str:
    # Of comments, only those of one line may be taken for the beginning of a signature, or for #requires.
    return f"<#\n{_inert(text.rstrip())}\n#>"


def _inert(text: str) -> str:
    return text.replace("#>", "# >")


def _without_using(source: str, number: int) -> tuple[str, list[str]]:
    """The cell, and its `using` statements, which a script has at its top. They are the first of a cell."""
    kept: list[str] = []
    moved: list[str] = []
    inside = False
    lines = _LINES.findall(source)
    for index, line in enumerate(lines):
        text = line.strip()
        if inside or text.startswith("<#"):
            _, closed, behind = text.partition("#>")
            inside = not closed
            if behind.strip():
                return "".join(kept + lines[index:]), moved
            kept.append(line)
        elif _USING.match(text):
            if not _ALONE.fullmatch(text):
                raise NotebookError(
                    f"Cell {number} has a `using` statement that cannot be moved to the top of a script, where it "
                    "must be: write each on a line by itself."
                )
            moved.append(text)
            kept.append(f"# At the top: {line.lstrip()}")
        elif not text or text.startswith("#"):
            kept.append(line)
        else:
            return "".join(kept + lines[index:]), moved
    return "".join(kept), moved
