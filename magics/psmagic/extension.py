"""What ``%load_ext psmagic`` puts into a shell, and ``%unload_ext`` takes out again."""

from __future__ import annotations

import sys
from typing import Any

from psmagic.base import PowerShellMagics
from psmagic.commands import COMMANDS
from psmagic.completion import matcher
from psmagic.copy_magics import CopyMagics
from psmagic.host_process_magics import HostProcessMagics
from psmagic.invoke_magics import InvokeMagics
from psmagic.leaving_magics import LeavingMagics
from psmagic.magics import EnterMagics
from psmagic.redirect import CELL_MAGIC, refuse_to_run_on
from psmagic.session_magics import SessionMagics

__all__ = ["Extension"]


class Extension:
    """The magics in one shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._entered = EnterMagics(shell)
        self._magics: list[PowerShellMagics] = [
            self._entered,
            SessionMagics(shell, self._entered),
            LeavingMagics(shell, self._entered),
            InvokeMagics(shell),
            CopyMagics(shell),
            HostProcessMagics(shell, self._entered),
        ]
        for group in self._magics:
            shell.register_magics(group)
        shell.input_transformers_post.append(refuse_to_run_on)
        self._matcher = matcher(COMMANDS, shell.user_ns)
        shell.Completer.custom_matchers.append(self._matcher)

    def unload(self) -> None:
        """Leave the session, if one is entered, and take the magics away. Sessions of the list stay open."""
        label = self._entered.label
        if label is not None:
            # Nobody has typed `exit`, and the next cell is Python's.
            print(f"The session on {label} was left.", file=sys.stderr)  # noqa: T201
        self._entered.leave()
        registered = self._shell.magics_manager.magics
        registered["cell"].pop(CELL_MAGIC, None)
        for group in self._magics:
            for kind, names in group.magics.items():
                for name in names:
                    registered[kind].pop(name, None)
        for hooks, ours in (
            (self._shell.input_transformers_post, refuse_to_run_on),
            (self._shell.Completer.custom_matchers, self._matcher),
        ):
            if ours in hooks:
                hooks.remove(ours)
