"""What a cell says of other hosts: whether it goes on to one, or does nothing but come back."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from pskernel.errors import PSKernelError
from pskernel.protocol.pipelines import Command
from pskernel.session.facts import script

if TYPE_CHECKING:
    from pskernel.session.facts import Facts
    from pskernel.session.runspace import Runspace

__all__ = ["AWAY", "EXIT", "THROUGH", "Aim", "aim_of", "is_exit", "mentions_hosts"]

EXIT = "Exit-PSSession"
_MENTIONS = re.compile(r"\b(?:(?:enter|exit)-ps|etsn\b|exsn\b)", re.IGNORECASE)
_LEAVES = re.compile(r"\bexit\b", re.IGNORECASE)
_HOP = re.compile(r"\s*(?:enter-ps[a-z]+|etsn)\b[^\n;|]*\s*", re.IGNORECASE)
# Nothing but that, between remarks. `exit 3` is more: it ends the session in front, too, as it does in PowerShell.
_EXIT = re.compile(
    r"\s*(?:#[^\n]*\n\s*)*(?:exit|exit-pssession|exsn|exit-pshostprocess)\s*(?:;\s*)?(?:#[^\n]*(?:\n\s*|\Z))*",
    re.IGNORECASE,
)
_SECONDS = 10.0

THROUGH = (
    "What enters another host must be the last statement of its cell: what stands below it would run on {0}, and not "
    "on the host that is entered. Nothing of the cell was sent. Give the rest a cell of its own."
)
AWAY = (
    "What leaves a host must be alone in its cell: together with other statements it ends them half-way, or the whole "
    "session. Cells run on {0} now. Nothing of the cell was sent. Give exit, or Exit-PSSession, a cell of its own."
)


class Aim(Enum):
    """Where a cell wants to go, as far as it says so.

    THROUGH: it has statements behind the one that enters. AWAY: it leaves, and has other statements.
    """

    NOTHING = ""
    HOP = "hop"
    THROUGH = "through"
    BACK = "back"
    AWAY = "away"


def mentions_hosts(cell: str) -> bool:
    """Whether a cell has a word in it that could mean another host."""
    return _MENTIONS.search(cell) is not None


def is_exit(cell: str) -> bool:
    """Whether a cell does nothing but leave."""
    return _EXIT.fullmatch(cell) is not None


async def aim_of(runspace: Runspace, cell: str, facts: Facts, *, away: bool = False) -> Aim:
    """Where a cell wants to go: the remote's parser says it, or where it does not take the question, the text.

    Args:
        runspace: idle.
        cell: the text.
        facts: of the host that runs it.
        away: whether that is behind another one, so that to leave it is not the end.
    """
    if is_exit(cell):
        return Aim.BACK
    if not mentions_hosts(cell) and not (away and _LEAVES.search(cell)):
        return Aim.NOTHING
    if facts.takes_ours:
        ask = Command(f"param($Text) {script('aim.ps1')}", ((None, cell),), is_script=True, is_local=True)
        try:
            found = await runspace.query([[ask]], timeout=_SECONDS)
            return Aim(str(found[0]) if len(found) == 1 else "")
        except (PSKernelError, TimeoutError, ValueError):
            pass  # if the connection is lost, whoever sends the cell learns it
    return Aim.HOP if _HOP.fullmatch(cell) else Aim.NOTHING
