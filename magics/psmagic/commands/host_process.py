"""Parameters of Enter-PSHostProcess and its kin: the table of PowerShell 7.6 (`Get-Command Enter-PSHostProcess`).

-HostName and what belongs to it are ours: PowerShell's commands know the processes of their own machine only.
"""

from __future__ import annotations

from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["ENTER_PSHOSTPROCESS", "EXIT_PSHOSTPROCESS", "GET_PSHOSTPROCESSINFO"]

_ID, _PROCESS, _NAME = "ProcessIdParameterSet", "ProcessParameterSet", "ProcessNameParameterSet"
_INFO, _PIPE = "PSHostProcessInfoParameterSet", "PipeNameParameterSet"
_FIRST, _FIRST_MUST, _SECOND = Place(0), Place(0, mandatory=True), Place(1)


def _at_a_host(*sets: str) -> tuple[Parameter, ...]:
    places = dict.fromkeys(sets, Place())
    return (
        Parameter("HostName", Kind.STRING, places, "[user@]host[:port]: a process there, over SSH.", not_empty=True),
        Parameter("Port", Kind.INT, places, "The port.", lowest=1, highest=65535),
        Parameter("UserName", Kind.STRING, places, "The user on the host.", not_empty=True),
        Parameter("KeyFilePath", Kind.STRING, places, "The private key.", ("IdentityFilePath",), not_empty=True),
        Parameter("ConnectingTimeout", Kind.INT, places, "Milliseconds to connect in; -1 is without end."),
        Parameter("Options", Kind.HASHTABLE, places, "Options of ssh: @{ Name = 'value' }.", not_empty=True),
    )


ENTER_PSHOSTPROCESS = Command(
    "%enter_pshostprocess", "Enter-PSHostProcess", (_ID, _PROCESS, _NAME, _INFO, _PIPE), _ID,
    (
        Parameter("Process", Kind.PROCESS, {_PROCESS: _FIRST_MUST}, "A process: $name.", not_empty=True),
        Parameter("Id", Kind.INT, {_ID: _FIRST_MUST}, "The id of a PowerShell process.", lowest=0),
        Parameter("Name", Kind.STRING, {_NAME: _FIRST_MUST}, "The name of its program.", not_empty=True),
        Parameter("HostProcessInfo", Kind.HOST_PROCESS, {_INFO: _FIRST_MUST},
            "One that %get_pshostprocessinfo has found: $name.", not_empty=True),
        Parameter("CustomPipeName", Kind.STRING, {_PIPE: Place(mandatory=True)},
            "What it was started with, as in pwsh -CustomPipeName; or the path of its socket."),
        Parameter("AppDomainName", Kind.STRING, dict.fromkeys((_PROCESS, _ID, _NAME, _INFO), _SECOND),
            "Its application domain, if it is another than the one it has.", not_empty=True),
        *_at_a_host(_ID, _NAME, _PIPE),
    ),
)  # fmt: skip

EXIT_PSHOSTPROCESS = Command("%exit_pshostprocess", "Exit-PSHostProcess", ("Default",), "Default", ())

GET_PSHOSTPROCESSINFO = Command(
    "%get_pshostprocessinfo", "Get-PSHostProcessInfo", (_NAME, _PROCESS, _ID), _NAME,
    (
        Parameter("Name", Kind.STRING, {_NAME: _FIRST}, "Names of programs.", not_empty=True, many=True),
        Parameter("Process", Kind.PROCESS, {_PROCESS: _FIRST_MUST}, "Processes: $name.", not_empty=True, many=True),
        Parameter("Id", Kind.INT, {_ID: _FIRST_MUST}, "Their ids.", not_empty=True, many=True),
        *_at_a_host(_NAME, _ID),
    ),
)  # fmt: skip
