"""New-PSSession, Get-PSSession and Remove-PSSession."""

from __future__ import annotations

from psmagic.commands.connecting import ssh_parameters, wsman_parameters
from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["GET_PSSESSION", "NEW_PSSESSION", "REMOVE_PSSESSION"]

_NEW_SETS = ("ComputerName", "Uri", "SSHHost")
NEW_PSSESSION = Command(
    "%new_pssession",
    "New-PSSession",
    _NEW_SETS,
    "ComputerName",
    (
        *wsman_parameters({"ComputerName": Place(0)}, {"Uri": Place(0, mandatory=True)}),
        *ssh_parameters({"SSHHost": Place(0, mandatory=True)}, ports=["ComputerName"]),
        Parameter("Name", Kind.STRING, dict.fromkeys(_NEW_SETS, Place()), "The names of the sessions.", many=True),
    ),
)

GET_PSSESSION = Command(
    "%get_pssession",
    "Get-PSSession",
    ("Name", "InstanceId", "Id"),
    "Name",
    (
        Parameter("Name", Kind.STRING, {"Name": Place()}, "Names, with * and ?.", not_empty=True, many=True),
        Parameter("InstanceId", Kind.GUID, {"InstanceId": Place()}, "Instance ids.", many=True),
        Parameter("Id", Kind.INT, {"Id": Place(0, mandatory=True)}, "Numbers.", many=True),
    ),
)

REMOVE_PSSESSION = Command(
    "%remove_pssession",
    "Remove-PSSession",
    ("Session", "InstanceId", "Id", "Name"),
    "Id",
    (
        Parameter("Session", Kind.SESSION, {"Session": Place(0, mandatory=True)}, "Sessions: $name.", many=True),
        Parameter("InstanceId", Kind.GUID, {"InstanceId": Place(mandatory=True)}, "Instance ids.", many=True),
        Parameter("Id", Kind.INT, {"Id": Place(0, mandatory=True)}, "Numbers.", many=True),
        Parameter(
            "Name", Kind.STRING, {"Name": Place(mandatory=True)}, "Names, with * and ?.", not_empty=True, many=True
        ),
    ),
)
