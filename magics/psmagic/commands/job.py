"""Get-Job, Receive-Job, Wait-Job, Stop-Job and Remove-Job."""

from __future__ import annotations

from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["GET_JOB", "RECEIVE_JOB", "REMOVE_JOB", "STOP_JOB", "WAIT_JOB"]

_SETS = ("Job", "Id", "Name")


def _command(verb: str, default_set: str, *parameters: Parameter) -> Command:
    job, name = {"Job": Place(0, mandatory=True)}, {"Name": Place(0, mandatory=True)}
    # Get-Job alone lists them all.
    number = {"Id": Place(0, mandatory=verb != "Get")}
    return Command(
        f"%{verb.lower()}_job",
        f"{verb}-Job",
        _SETS,
        default_set,
        (
            Parameter("Job", Kind.JOB, job, "Jobs: $name.", many=True),
            Parameter("Id", Kind.INT, number, "Numbers.", many=True),
            Parameter("Name", Kind.STRING, name, "Names, with * and ?.", not_empty=True, many=True),
            *parameters,
        ),
    )


def _switch(name: str, text: str) -> Parameter:
    return Parameter(name, Kind.SWITCH, dict.fromkeys(_SETS, Place()), text)


GET_JOB = _command("Get", "Id")
RECEIVE_JOB = _command(
    "Receive", "Job", _switch("Keep", "Leave it to be received again."), _switch("Wait", "Wait for the end first.")
)
WAIT_JOB = _command(
    "Wait", "Id", Parameter("Timeout", Kind.INT, dict.fromkeys(_SETS, Place()), "Seconds.", ("TimeoutSec",), lowest=-1)
)
STOP_JOB = _command("Stop", "Id")
REMOVE_JOB = _command("Remove", "Id", _switch("Force", "Stop it first."))
