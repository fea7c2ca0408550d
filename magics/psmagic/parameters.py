"""What a command of PowerShell takes: its parameters and sets, from which binding, help and completion come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["COMMON", "ERROR_ACTIONS", "Command", "Kind", "Parameter", "Place", "syntax"]


class Kind(Enum):
    """The .NET type of a parameter, as error messages name it."""

    STRING = "System.String"
    INT = "System.Int32"
    GUID = "System.Guid"
    URI = "System.Uri"
    SWITCH = "System.Management.Automation.SwitchParameter"
    CREDENTIAL = "System.Management.Automation.PSCredential"
    SESSION = "System.Management.Automation.Runspaces.PSSession"
    SESSION_OPTION = "System.Management.Automation.Remoting.PSSessionOption"
    CHOICE = "System.Management.Automation.ActionPreference"
    AUTHENTICATION = "System.Management.Automation.Runspaces.AuthenticationMechanism"
    HASHTABLE = "System.Collections.Hashtable"
    SCRIPT_BLOCK = "System.Management.Automation.ScriptBlock"
    PROCESS = "System.Diagnostics.Process"
    HOST_PROCESS = "Microsoft.PowerShell.Commands.PSHostProcessInfo"
    JOB = "System.Management.Automation.Job"
    OBJECT = "System.Object"

    @property
    def is_value(self) -> bool:
        """Whether the type has no null."""
        return self in {Kind.INT, Kind.GUID, Kind.AUTHENTICATION, Kind.CHOICE}


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter's part in one set."""

    position: int | None = None
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    ``lowest`` and ``highest`` bound an integer; ``choices`` are the only values, in any case; with ``many`` it takes
    several values, and its value is a list.
    """

    name: str
    kind: Kind
    sets: Mapping[str, Place]
    help: str
    aliases: tuple[str, ...] = ()
    not_empty: bool = False
    lowest: int | None = None
    highest: int | None = None
    choices: tuple[str, ...] = ()
    many: bool = False

    @property
    def is_mandatory(self) -> bool:
        """Whether a set cannot do without it; then it is never null or empty."""
        return any(place.mandatory for place in self.sets.values())

    @property
    def type_name(self) -> str:
        """Its type, as messages name it."""
        return f"{self.kind.value}{'[]' if self.many else ''}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its magic, what PowerShell calls it, its sets in order, the default one, and its parameters."""

    magic: str
    name: str
    sets: tuple[str, ...]
    default_set: str
    parameters: tuple[Parameter, ...]

    @property
    def short_name(self) -> str:
        """As it stands before its errors: ``EnterPSSession``."""
        return self.name.replace("-", "")


# They take part in the resolution of shortened names.
COMMON = (
    "Verbose", "Debug", "ErrorAction", "WarningAction", "InformationAction", "ProgressAction", "ErrorVariable",
    "WarningVariable", "InformationVariable", "OutVariable", "OutBuffer", "PipelineVariable",
)  # fmt: skip

# Of PowerShell's, those that ask nobody.
ERROR_ACTIONS = ("SilentlyContinue", "Stop", "Continue", "Ignore")


def syntax(command: Command) -> list[str]:
    """One line for each set, as `Get-Command -Syntax` writes them."""
    return [
        " ".join([command.magic, *(_described(p, p.sets[name]) for p in _in_order(command, name))])
        for name in command.sets
    ]


def _in_order(command: Command, set_name: str) -> list[Parameter]:
    ours = [parameter for parameter in command.parameters if set_name in parameter.sets]
    return sorted(ours, key=lambda p: (p.sets[set_name].position is None, p.sets[set_name].position or 0))


def _described(parameter: Parameter, place: Place) -> str:
    name = f"-{parameter.name}"
    if place.position is not None:
        name = f"[{name}]"
    if parameter.kind is Kind.SWITCH:
        return f"[{name}]"
    short = parameter.kind.value.rsplit(".", 1)[-1].lower().replace("int32", "int")
    text = f"{name} <{short}{'[]' if parameter.many else ''}>"
    return text if place.mandatory else f"[{text}]"
