"""What a cell asks of this side: comment lines ``#% name value`` at its head, which PowerShell ignores.

They are part of the cell's text, so they survive export to a .ps1 file and travel with the notebook.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from pskernel.errors import PSKernelError

__all__ = ["DirectiveError", "Directives", "read_directives"]

# ``#%%`` begins a cell in scripts (Jupytext, VS Code) and is no directive.
_LINE = re.compile(r"#%(?!%)[ \t]*(?P<name>[^\s]*)(?:[ \t]+(?P<value>.*))?", re.DOTALL)
_MAX_TIMEOUT = 7 * 24 * 3600.0


class DirectiveError(PSKernelError):
    """A directive that does not exist, or does not say what it must. Nothing of the cell was sent."""


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of one cell.

    Attributes:
        target: the target's text, unchecked; None if none is named.
        timeout: seconds after which the cell is stopped, or None.
        width: columns to format this cell's output for, or None for the session's.
        answers: the path of a file with answers to this cell's prompts, or None.
        stop_on_error_record: whether an error record fails the cell.
        asserts: whether it fails unless every value that it returns is true.
        disconnect: whether it is only started, and its session left to the server.
    """

    target: str | None = None
    timeout: float | None = None
    width: int | None = None
    answers: str | None = None
    stop_on_error_record: bool = False
    asserts: bool = False
    disconnect: bool = False


def read_directives(cell: str, *, entered: bool = False) -> Directives:
    """Read the lines ``#% name value`` at the head of a cell: before them are only blank lines and other comments.

    Args:
        cell: its text.
        entered: whether it is for a session that was entered from Python, to which one can come back from there.

    Raises:
        DirectiveError: one is unknown, given twice, or has a value it cannot have.
    """
    found: dict[str, Any] = {}
    # Not splitlines(), which also splits where PowerShell and people see no new line.
    for line in re.split(r"\r\n|\r|\n", cell):
        text = line.strip()
        if text and not text.startswith("#"):
            break
        match = _LINE.fullmatch(text)
        if match is None:
            continue
        name, value = match["name"].casefold(), (match["value"] or "").strip()
        if name not in _READERS:
            raise DirectiveError(_unknown(name))
        key = "asserts" if name == "assert" else name.replace("-", "_")
        if key in found:
            raise DirectiveError(f"The directive `#% {name}` is given twice. The cell was not run.")
        found[key] = _READERS[name](name, value)
    if "disconnect" in found:
        _require_alone(found, entered=entered)
    return Directives(**found)


def _require_alone(found: dict[str, Any], *, entered: bool) -> None:
    if not entered:
        raise DirectiveError(
            "The directive `#% disconnect` is for sessions that were entered with %enter_pssession. The cell was not "
            "run."
        )
    others = sorted(found.keys() - {"disconnect", "target"})
    if others:
        name = "assert" if others[0] == "asserts" else others[0].replace("_", "-")
        raise DirectiveError(
            f"A cell with `#% disconnect` is only started here, and `#% {name}` has no meaning in it. It was not run."
        )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _READERS, n=1)
    hint = f" Did you mean `#% {near[0]}`?" if near else ""
    return (
        f"There is no directive `#% {name[:40]}`.{hint} Directives are: {', '.join(sorted(_READERS))}. "
        "The cell was not run. A comment that is no directive begins with another character than %."
    )


def _text(name: str, value: str) -> str:
    if not value or not value.isprintable():
        raise DirectiveError(f"The directive `#% {name}` needs a value: `#% {name} {_EXAMPLES[name]}`. Not run.")
    return value


def _target(_name: str, value: str) -> str:
    # An empty one gets the target's own message.
    return value


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(?:\.[0-9]{1,3})?", value) or not 0 < float(value) <= _MAX_TIMEOUT:
        raise DirectiveError(
            f"The directive `#% {name}` takes a number of seconds, up to a week: `#% {name} {_EXAMPLES[name]}`. "
            "The cell was not run."
        )
    return float(value)


def _columns(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 20 <= int(value) <= 1000:
        raise DirectiveError(
            f"The directive `#% {name}` takes a number of columns from 20 to 1000: `#% {name} {_EXAMPLES[name]}`. "
            "The cell was not run."
        )
    return int(value)


def _switch(name: str, value: str) -> bool:
    if value:
        raise DirectiveError(f"The directive `#% {name}` takes no value. The cell was not run.")
    return True


_EXAMPLES = {"timeout": "60", "width": "200", "answers": "answers.yaml"}
_READERS = {
    "assert": _switch,
    "disconnect": _switch,
    "target": _target,
    "timeout": _seconds,
    "width": _columns,
    "answers": _text,
    "stop-on-error-record": _switch,
}
