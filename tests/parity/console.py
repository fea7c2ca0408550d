"""The engine's own console: lines typed into its Enter-PSSession, and what it shows for each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from tests.parity.screens import Cell
from tests.parts.sshd import Sshd

# A prompt of our own: a marker that is printed by a typed line would change $?, $^ and the history.
_MARK = "#%prompt%#"
_PROMPT = re.compile(rf"\[[^\]\n]*\]: {_MARK}")


def console_screens(pwsh: str, sshd: Sshd, cells: Sequence[Cell]) -> list[str]:
    """What the console shows for each cell, typed one after the other into one session."""
    enter = (
        f"Enter-PSSession -HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath {sshd.key} "
        f"-Options @{{ UserKnownHostsFile = '{sshd.known_hosts}' }}"
    )
    lines = [line for cell in cells for line in (cell.text, *cell.answers)]
    typed = "\n".join([enter, f"function prompt {{ '{_MARK}' }}", *lines, "exit", "exit", ""])
    console = subprocess.run(
        [pwsh, "-NoLogo", "-NoProfile"],
        input=typed.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=110,
        check=True,
    )
    _, *screens = _PROMPT.split(console.stdout.decode())
    assert len(screens) == len(cells) + 1, f"{len(screens)} prompts for {len(cells)} cells: {screens[-1][-500:]}"
    return screens[:-1]
