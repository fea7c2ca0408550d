"""New-PSSession, Get-PSSession and Remove-PSSession, and those that leave sessions and come back to them."""

from __future__ import annotations

from psmagic.commands.connecting import (
    DURABLE,
    container_parameters,
    ssh_parameters,
    take_over,
    vm_parameters,
    wsman_parameters,
)
from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = [
    "CONNECT_PSSESSION", "DISCONNECT_PSSESSION", "GET_PSSESSION", "NEW_PSSESSION", "RECEIVE_PSSESSION",
    "REMOVE_PSSESSION",
]  # fmt: skip

_NEW_SETS = ("ComputerName", "Uri", "SSHHost", "VMId", "VMName", "ContainerId")
_NAMED_MUST = Place(mandatory=True)
NEW_PSSESSION = Command(
    "%new_pssession",
    "New-PSSession",
    _NEW_SETS,
    "ComputerName",
    (
        *wsman_parameters(
            {"ComputerName": Place(0)},
            {"Uri": Place(0, mandatory=True)},
            configurations=["ContainerId", "VMId", "VMName"],
            credentials={"VMId": _NAMED_MUST, "VMName": _NAMED_MUST},
        ),
        *ssh_parameters({"SSHHost": Place(0, mandatory=True)}, ports=["ComputerName"]),
        *container_parameters({"ContainerId": _NAMED_MUST}),
        *vm_parameters({"VMId": Place(0, mandatory=True)}, {"VMName": _NAMED_MUST}),
        Parameter("Name", Kind.STRING, dict.fromkeys(_NEW_SETS, Place()), "The names of the sessions.", many=True),
        DURABLE,
    ),
)

# The last two are ours: PowerShell asks WinRM servers alone.
_SERVERS = ("ComputerName", "Uri", "SSHHost", "ContainerId")


def _at_servers() -> tuple[Parameter, ...]:
    """Sessions that WinRM servers keep, or relays on hosts and in containers, of this client or another."""
    first, named = Place(0, mandatory=True), Place(mandatory=True)
    ways = wsman_parameters({"ComputerName": first}, {"Uri": first})
    return (
        # That is said of a session when it is made.
        *(each for each in ways if each.name != "EnableNetworkAccess"),
        *ssh_parameters({"SSHHost": named}, ports=["ComputerName"]),
        *container_parameters({"ContainerId": named}),
    )


def _named(*sets: str) -> tuple[Parameter, ...]:
    """By name or instance id, in sets of their own, or as a choice from what servers keep."""
    at_servers = dict.fromkeys(_SERVERS, Place()) if sets else {}
    return (
        Parameter(
            "Name", Kind.STRING, {"Name": Place(mandatory=not sets), **at_servers}, "Names, with * and ?.",
            not_empty=True, many=True,
        ),
        Parameter(
            "InstanceId", Kind.GUID, {"InstanceId": Place(mandatory=not sets), **at_servers}, "Instance ids.", many=True
        ),
    )  # fmt: skip


_ID = Parameter("Id", Kind.INT, {"Id": Place(0, mandatory=True)}, "Numbers.", many=True)
_SESSION = Parameter("Session", Kind.SESSION, {"Session": Place(0, mandatory=True)}, "Sessions: $name.", many=True)

GET_PSSESSION = Command(
    "%get_pssession",
    "Get-PSSession",
    ("Name", "InstanceId", "Id", *_SERVERS),
    "Name",
    (*_named(*_SERVERS), _ID, *_at_servers()),
)

DISCONNECT_PSSESSION = Command(
    "%disconnect_pssession",
    "Disconnect-PSSession",
    ("Session", "InstanceId", "Id", "Name"),
    "Session",
    (
        # PowerShell's is mandatory; here a session may be entered.
        Parameter("Session", Kind.SESSION, {"Session": Place(0)}, "Sessions: $name; the entered one.", many=True),
        *_named(),
        _ID,
        Parameter(
            "IdleTimeoutSec", Kind.INT, dict.fromkeys(("Session", "InstanceId", "Id", "Name"), Place()),
            "Seconds for which the server keeps it.", lowest=60,
        ),
        Parameter(
            "OutputBufferingMode", Kind.CHOICE, dict.fromkeys(("Session", "InstanceId", "Id", "Name"), Place()),
            "What happens to output that finds no room there.", choices=("None", "Drop", "Block"),
        ),
    ),
)  # fmt: skip

_BACK = ("Session", "InstanceId", "Id", "Name", *_SERVERS)
# A WinRM server gives a session to nobody else while its client is connected.
_TAKE_OVER = take_over("Session", "InstanceId", "Id", "Name", "SSHHost", "ContainerId")
CONNECT_PSSESSION = Command(
    "%connect_pssession",
    "Connect-PSSession",
    _BACK,
    "Session",
    (_SESSION, *_named(*_SERVERS), _ID, *_at_servers(), _TAKE_OVER),
)

RECEIVE_PSSESSION = Command(
    "%receive_pssession",
    "Receive-PSSession",
    _BACK,
    "Session",
    (_SESSION, *_named(*_SERVERS), _ID, *_at_servers(), _TAKE_OVER),
)

REMOVE_PSSESSION = Command(
    "%remove_pssession",
    "Remove-PSSession",
    ("Session", "InstanceId", "Id", "Name", "ComputerName"),
    "Id",
    (
        Parameter("Session", Kind.SESSION, {"Session": Place(0, mandatory=True)}, "Sessions: $name.", many=True),
        Parameter("InstanceId", Kind.GUID, {"InstanceId": Place(mandatory=True)}, "Instance ids.", many=True),
        Parameter("Id", Kind.INT, {"Id": Place(0, mandatory=True)}, "Numbers.", many=True),
        Parameter(
            "Name", Kind.STRING, {"Name": Place(mandatory=True)}, "Names, with * and ?.", not_empty=True, many=True
        ),
        Parameter(
            "ComputerName",
            Kind.STRING,
            {"ComputerName": Place(0, mandatory=True)},
            "All on these hosts.",
            ("Cn",),
            not_empty=True,
            many=True,
        ),
    ),
)
