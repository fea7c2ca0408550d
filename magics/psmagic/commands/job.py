"""Get-Job, Receive-Job, Wait-Job, Stop-Job and Remove-Job."""

from __future__ import annotations

from psmagic.parameters import ERROR_ACTIONS, Command, Kind, Parameter, Place

__all__ = ["GET_JOB", "RECEIVE_JOB", "REMOVE_JOB", "STOP_JOB", "WAIT_JOB"]

_SETS = ("Job", "Id", "Name")


def _job(*, not_empty: bool) -> Parameter:
    place = Place(0, mandatory=True)
    return Parameter("Job", Kind.JOB, {"Job": place}, "Jobs: $name.", not_empty=not_empty, many=True)


def _command(verb: str, default_set: str, *parameters: Parameter, lists: bool = False) -> Command:
    """A command that takes jobs. One that ``lists`` them takes none as objects, and alone lists all."""
    return Command(
        f"%{verb.lower()}_job",
        f"{verb}-Job",
        _SETS[1:] if lists else _SETS,
        default_set,
        (
            *(() if lists else (_job(not_empty=verb != "Receive"),)),
            Parameter("Id", Kind.INT, {"Id": Place(0, mandatory=not lists)}, "Numbers.", not_empty=True, many=True),
            Parameter(
                "Name",
                Kind.STRING,
                {"Name": Place(0, mandatory=True)},
                "Names, with * and ?.",
                not_empty=True,
                many=True,
            ),
            *parameters,
        ),
    )


def _switch(name: str, text: str) -> Parameter:
    return Parameter(name, Kind.SWITCH, dict.fromkeys(_SETS, Place()), text)


GET_JOB = _command("Get", "Id", lists=True)
RECEIVE_JOB = _command(
    "Receive",
    "Job",
    _switch("Keep", "Leave it to be received again."),
    _switch("Wait", "Wait for the end first."),
    Parameter(
        "ErrorAction",
        Kind.CHOICE,
        dict.fromkeys(_SETS, Place()),
        "Whether errors are shown, and make the cell fail.",
        ("ea",),
        choices=ERROR_ACTIONS,
    ),
)
WAIT_JOB = _command(
    "Wait", "Id", Parameter("Timeout", Kind.INT, dict.fromkeys(_SETS, Place()), "Seconds.", ("TimeoutSec",), lowest=-1)
)
STOP_JOB = _command("Stop", "Id")
REMOVE_JOB = _command("Remove", "Id", _switch("Force", "Stop it first."))
