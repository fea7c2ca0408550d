"""Invoke-Command on other hosts. Unlike PowerShell's, one command takes sessions and hosts of all kinds together."""

from __future__ import annotations

from psmagic.commands.connecting import container_parameters, ssh_parameters, vm_parameters, wsman_parameters
from psmagic.parameters import ERROR_ACTIONS, Command, Kind, Parameter, Place

__all__ = ["INVOKE_COMMAND"]

# By what stands first; all the rest goes with either.
_SETS = ("Session", "ComputerName")
_NAMED = dict.fromkeys(_SETS, Place())

INVOKE_COMMAND = Command(
    "%%invoke_command",
    "Invoke-Command",
    _SETS,
    "ComputerName",
    (
        Parameter("Session", Kind.SESSION, {"Session": Place(0)}, "Open sessions: $a, $b.", not_empty=True, many=True),
        *wsman_parameters({"Session": Place(), "ComputerName": Place(0)}, _NAMED),
        *ssh_parameters(_NAMED),
        *container_parameters(_NAMED),
        *vm_parameters(_NAMED, _NAMED),
        Parameter(
            "ScriptBlock", Kind.SCRIPT_BLOCK, dict.fromkeys(_SETS, Place(1)), "{ the script }; a cell's is its text.",
            ("Command",),
        ),
        Parameter("FilePath", Kind.STRING, _NAMED, "A script in a file on this side.", ("PSPath",)),
        Parameter(
            "ArgumentList", Kind.OBJECT, _NAMED, "What the script finds in $args or param().", ("Args",), many=True
        ),
        Parameter("ThrottleLimit", Kind.INT, _NAMED, "How many hosts at a time; 32 otherwise."),
        Parameter("AsJob", Kind.SWITCH, _NAMED, "In the background; what comes back is a job."),
        Parameter("InDisconnectedSession", Kind.SWITCH, _NAMED, "Leave the sessions while it runs; %receive_pssession.",
            ("Disconnected",)),
        Parameter("SessionName", Kind.STRING, _NAMED, "With -InDisconnectedSession: the sessions' names, one a host.",
            many=True),
        Parameter("JobName", Kind.STRING, _NAMED, "The job's name; with one it is a job."),
        Parameter("HideComputerName", Kind.SWITCH, _NAMED, "Lines do without their host.", ("HCN",)),
        Parameter(
            "OutVariable", Kind.STRING, _NAMED, "The Python variable for the objects; +name adds to it.", ("ov",)
        ),
        Parameter(
            "ErrorAction", Kind.CHOICE, _NAMED, "Whether errors are shown, and make the cell fail.",
            ("ea",), choices=ERROR_ACTIONS,
        ),
    ),
)  # fmt: skip
