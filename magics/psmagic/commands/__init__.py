"""What each magic takes, as PowerShell's commands of the same names do."""

from __future__ import annotations

from psmagic.commands.copy_item import COPY_ITEM
from psmagic.commands.enter_pssession import ENTER_PSSESSION, EXIT_PSSESSION
from psmagic.commands.host_process import ENTER_PSHOSTPROCESS, EXIT_PSHOSTPROCESS, GET_PSHOSTPROCESSINFO
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

__all__ = ["COMMANDS"]

COMMANDS = (
    ENTER_PSSESSION, EXIT_PSSESSION, NEW_PSSESSION, GET_PSSESSION, REMOVE_PSSESSION, DISCONNECT_PSSESSION,
    CONNECT_PSSESSION, RECEIVE_PSSESSION, NEW_PSSESSION_OPTION, INVOKE_COMMAND, GET_JOB, RECEIVE_JOB, WAIT_JOB,
    STOP_JOB, REMOVE_JOB, COPY_ITEM, ENTER_PSHOSTPROCESS, EXIT_PSHOSTPROCESS, GET_PSHOSTPROCESSINFO,
)  # fmt: skip
