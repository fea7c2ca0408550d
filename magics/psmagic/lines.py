"""Whose a cell is while a session is entered, and which cells are nobody's: told from the text alone."""

from __future__ import annotations

import re
from enum import Enum, auto

from psmagic.commands import COMMANDS

__all__ = ["Whose", "magic_in", "runs_on_after_entering", "whose"]

_NAMES = "|".join(command.magic.lstrip("%") for command in COMMANDS)
# `found = %get_pssession` too; what PowerShell assigns to begins with a $.
_LINE = rf"[ \t]*(?:[A-Za-z_][\w.,[\] \t]*=[ \t]*)?(?P<name>%(?:{_NAMES}))"
_OURS = re.compile(rf"\s*(?:%%(?:local|invoke_command)(?!\S)|{_LINE}(?!\S)[^\n]*\s*\Z)")
_OURS_AMONG_OTHERS = re.compile(
    rf"^(?:{_LINE}\b|[ \t]*(?P<cell>%%(?:local|invoke_command)\b))", re.MULTILINE | re.IGNORECASE
)
# The cell magic of somebody else, or one of ours with a slip of the pen: its cell is for another place than the remote.
_CELL_MAGIC = re.compile(r"\s*(%%[A-Za-z][\w-]*)")
# What is typed to leave. `quit` is none: PowerShell does not know it, and its debugger takes it for something else.
# Each part of a text fits in one place only: else a line of # signs would be tried in all the ways to cut it.
_LEAVES = re.compile(
    r"\s*(?:#[^\n]*\n\s*)*(?:%?exit_ps(?:session|hostprocess)|Exit-PS(?:Session|HostProcess)|exit(?:[ \t]+-?[0-9]+)?)"
    r"\s*(?:;\s*)?(?:#[^\n]*(?:\n\s*|\Z))*\Z",
    re.IGNORECASE,
)
# A command's name with a question mark behind it, as IPython's users ask; to PowerShell it is no command.
_ASKS = re.compile(r"\s*[A-Za-z]+-[A-Za-z]+\?\s*\Z")
# What IPython makes of these magics. It makes nothing of one that is only a line of a text.
_ENTERS = re.compile(r"get_ipython\(\)\.run_line_magic\('enter_ps(?:session|hostprocess)',")


class Whose(Enum):
    """What becomes of a cell. NOBODYS mixes a magic of ours with other lines: one of them would go the wrong way."""

    OURS = auto()
    LEAVES = auto()
    ASKS_HELP = auto()
    NOBODYS = auto()
    REMOTES = auto()


def whose(text: str) -> Whose:
    """Tell what becomes of a cell while a session is entered."""
    if _OURS.match(text):
        return Whose.OURS
    if _LEAVES.match(text):
        return Whose.LEAVES
    if _ASKS.match(text):
        return Whose.ASKS_HELP
    return Whose.NOBODYS if magic_in(text) is not None else Whose.REMOTES


def magic_in(text: str) -> tuple[str, int] | None:
    """The magic that makes a cell nobody's, and its line."""
    found = _CELL_MAGIC.match(text) or _OURS_AMONG_OTHERS.search(text)
    if found is None:
        return None
    name = next(group for group in found.groups() if group is not None)
    return name, text.count("\n", 0, found.start(found.lastindex or 0)) + 1


def runs_on_after_entering(lines: list[str]) -> bool:
    """Whether a cell of Python, as IPython has transformed it, has lines below one that enters a session."""
    entering = next((at for at, line in enumerate(lines) if _ENTERS.search(line)), len(lines))
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines[entering + 1 :])
