"""PowerShell's script debugger, as a console drives that of a remote runspace.

A stop is announced with a USER_EVENT of the pool while the pipeline stays Running. What is typed then runs in nested
pipelines; the output of one that goes on ends in a DebuggerCommand with a ResumeAction, which the client passes on with
``__Set-PSDebuggerAction``. None of it is in MS-PSRP; this is what PowerShell's own client and server say to each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pskernel.errors import PSKernelError
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.debugging import DebugModes, ResumeAction
from pskernel.protocol.pipelines import Command
from pskernel.records import Output

if TYPE_CHECKING:
    from pskernel.records import Record
    from pskernel.session.runspace import Runspace

__all__ = [
    "CONTINUE",
    "STEPS",
    "STOP",
    "debugger_script",
    "enable",
    "is_debugger_command",
    "output_text",
    "resume",
    "resume_action",
]

# The names of actions.
CONTINUE, STOP = "Continue", "Stop"
# Whoever steps expects to stop again.
STEPS = {"StepInto", "StepOver", "StepOut"}
_ENABLE_SECONDS = 10.0
# The debugger reads these itself, and only where they are all that is sent. `k` gives objects, and is better formatted.
_COMMANDS = re.compile(
    r"(?:s|stepinto|v|stepover|o|stepout|c|continue|q|quit|d|detach|h|\?|(?:l|list)(?:\s+\d+){0,2})\Z", re.IGNORECASE
)
_STACK = re.compile(r"k\Z", re.IGNORECASE)


async def enable(runspace: Runspace) -> None:
    """Let breakpoints stop here. An endpoint that does not know of it has no debugger."""
    command = Command("__Set-PSDebugMode", (("Mode", DebugModes.LocalScript | DebugModes.RemoteScript),))
    try:
        await runspace.query([[command]], timeout=_ENABLE_SECONDS)
    except (PSKernelError, TimeoutError):
        return


def is_debugger_command(text: str) -> bool:
    """Whether a text is one of the debugger's own commands, which must travel alone."""
    return _COMMANDS.match(text.strip()) is not None


def debugger_script(text: str) -> str:
    """What to send for a text. The debugger reads its own commands only where nothing is around them."""
    if is_debugger_command(text):
        return text.strip()
    return "Get-PSCallStack" if _STACK.match(text.strip()) else text


def resume_action(record: Record) -> str | None:
    """The action that a debugger command's output asks for; None if it stays stopped."""
    value = record.value if isinstance(record, Output) else None
    if not isinstance(value, PSObject) or not any(name.endswith(".DebuggerCommand") for name in value.type_names):
        return None
    action = value.properties.get("ResumeAction")
    name = getattr(action, "value", action)
    return name if isinstance(name, str) and name in ResumeAction.__members__ else None


def output_text(record: Record) -> str | None:
    """A line that a debugger command writes, or None."""
    if not isinstance(record, Output) or not isinstance(record.value, str):
        return None
    # Empty lines come as line breaks of their own.
    return record.value.strip("\r\n") + "\n"


async def resume(runspace: Runspace, action: str) -> None:
    """Tell the debugger how to go on.

    Raises:
        PSKernelError: it does not, or the connection is lost.
    """
    pipeline = await runspace.run_nested(
        [[Command("__Set-PSDebuggerAction", (("ResumeAction", ResumeAction[action]),))]]
    )
    async for _ in pipeline.batches():
        pass
