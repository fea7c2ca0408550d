"""What ``%load_ext psmagic`` puts into a shell, and ``%unload_ext`` takes out again."""

from __future__ import annotations

from typing import Any

from psmagic.base import PowerShellMagics
from psmagic.commands.copy_item import COPY_ITEM
from psmagic.commands.enter_pssession import ENTER_PSSESSION
from psmagic.commands.invoke_command import INVOKE_COMMAND
from psmagic.commands.job import GET_JOB, RECEIVE_JOB, REMOVE_JOB, STOP_JOB, WAIT_JOB
from psmagic.commands.pssession import (
    CONNECT_PSSESSION,
    DISCONNECT_PSSESSION,
    GET_PSSESSION,
    NEW_PSSESSION,
    RECEIVE_PSSESSION,
    REMOVE_PSSESSION,
)
from psmagic.commands.session_option import NEW_PSSESSION_OPTION
from psmagic.completion import matcher
from psmagic.copy_magics import CopyMagics
from psmagic.invoke_magics import InvokeMagics
from psmagic.leaving_magics import LeavingMagics
from psmagic.magics import EnterMagics
from psmagic.redirect import CELL_MAGIC
from psmagic.session_magics import SessionMagics

__all__ = ["COMMANDS", "Extension"]

COMMANDS = (
    ENTER_PSSESSION, NEW_PSSESSION, GET_PSSESSION, REMOVE_PSSESSION, DISCONNECT_PSSESSION, CONNECT_PSSESSION,
    RECEIVE_PSSESSION, NEW_PSSESSION_OPTION, INVOKE_COMMAND, GET_JOB, RECEIVE_JOB, WAIT_JOB, STOP_JOB,
    REMOVE_JOB, COPY_ITEM,
)  # fmt: skip


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
        ]
        for group in self._magics:
            shell.register_magics(group)
        self._matcher = matcher(COMMANDS, shell.user_ns)
        shell.Completer.custom_matchers.append(self._matcher)

    def unload(self) -> None:
        """Leave the session, if one is entered, and take the magics away. Sessions of the list stay open."""
        self._entered.leave()
        registered = self._shell.magics_manager.magics
        registered["cell"].pop(CELL_MAGIC, None)
        for group in self._magics:
            for kind, names in group.magics.items():
                for name in names:
                    registered[kind].pop(name, None)
        matchers = self._shell.Completer.custom_matchers
        if self._matcher in matchers:
            matchers.remove(self._matcher)
