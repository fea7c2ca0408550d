"""The values that a debugger's client sends. psrpcore does not know them, and MS-PSRP does not describe them."""

from __future__ import annotations

from psrpcore import types as ps

__all__ = ["DebugModes", "ResumeAction"]


@ps.PSType(["System.Management.Automation.DebugModes"])
class DebugModes(ps.PSFlagBase):
    """What breakpoints may stop (System.Management.Automation.DebugModes)."""

    LocalScript = 2
    RemoteScript = 4


@ps.PSType(["System.Management.Automation.DebuggerResumeAction"])
class ResumeAction(ps.PSEnumBase):
    """How a stopped pipeline goes on (System.Management.Automation.DebuggerResumeAction)."""

    Continue = 0
    StepInto = 1
    StepOut = 2
    StepOver = 3
    Stop = 4
