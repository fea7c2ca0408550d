"""Enter-PSSession's parameters: one table, from which binding, help and completion come.

The table is that of PowerShell 7.6 (`Get-Command Enter-PSSession -Syntax`, and what its source declares beside).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["COMMON", "DEFAULT_SET", "PARAMETERS", "SETS", "Kind", "Parameter", "Place", "syntax"]


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
    AUTHENTICATION = "System.Management.Automation.Runspaces.AuthenticationMechanism"
    HASHTABLE = "System.Collections.Hashtable"


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter's part in one set."""

    position: int | None = None
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``lowest`` and ``highest`` bound an integer; ``choices`` are the only values, in any case."""

    name: str
    kind: Kind
    sets: Mapping[str, Place]
    help: str
    aliases: tuple[str, ...] = ()
    not_empty: bool = False
    lowest: int | None = None
    highest: int | None = None
    choices: tuple[str, ...] = ()


SETS = (
    "ComputerName", "SSHHost", "Session", "Uri", "InstanceId", "Id", "Name", "VMId", "VMName", "ContainerId",
)  # fmt: skip
DEFAULT_SET = "ComputerName"
# They take part in the resolution of shortened names.
COMMON = (
    "Verbose", "Debug", "ErrorAction", "WarningAction", "InformationAction", "ProgressAction", "ErrorVariable",
    "WarningVariable", "InformationVariable", "OutVariable", "OutBuffer", "PipelineVariable",
)  # fmt: skip

_NAMED, _FIRST = Place(), Place(0)
_FIRST_MUST, _SECOND_MUST = Place(0, mandatory=True), Place(1, mandatory=True)


def _in(*names: str) -> dict[str, Place]:
    return dict.fromkeys(names, _NAMED)


PARAMETERS = (
    Parameter("ComputerName", Kind.STRING, {"ComputerName": _FIRST_MUST},
        "The computer, over WinRM.", ("Cn",), not_empty=True),
    Parameter("HostName", Kind.STRING, {"SSHHost": _FIRST_MUST}, "[user@]host[:port], over SSH.", not_empty=True),
    Parameter("Session", Kind.SESSION, {"Session": _FIRST}, "An open session: $name.", not_empty=True),
    Parameter(
        "ConnectionUri", Kind.URI, {"Uri": Place(1)}, "The endpoint's URI: http(s)://host:port/application.",
        ("URI", "CU"), not_empty=True,
    ),
    Parameter("InstanceId", Kind.GUID, {"InstanceId": _NAMED}, "The instance id of an open session."),
    Parameter("Id", Kind.INT, {"Id": _FIRST}, "The number of an open session."),
    Parameter("Name", Kind.STRING, {"Name": _NAMED}, "The name of an open session."),
    Parameter("VMId", Kind.GUID, {"VMId": _FIRST_MUST}, "The id of a virtual machine on this host.", ("VMGuid",)),
    Parameter("VMName", Kind.STRING, {"VMName": _FIRST_MUST},
        "The name of a virtual machine on this host.", not_empty=True),
    Parameter("ContainerId", Kind.STRING, {"ContainerId": _FIRST_MUST},
        "The id of a container on this host.", not_empty=True),
    Parameter(
        "Credential", Kind.CREDENTIAL,
        {"ComputerName": Place(1), "Uri": Place(1), "VMId": _SECOND_MUST, "VMName": _SECOND_MUST},
        "A user, who is asked for the password; keyring:NAME; or a credential: $name.",
    ),
    Parameter(
        "ConfigurationName", Kind.STRING, _in("ComputerName", "Uri", "VMId", "VMName", "ContainerId"),
        "The session configuration.",
    ),
    Parameter("EnableNetworkAccess", Kind.SWITCH, _in("ComputerName", "Uri"), "Local sessions may reach others."),
    Parameter("Port", Kind.INT, _in("ComputerName", "SSHHost"), "The port.", lowest=1, highest=65535),
    Parameter("UseSSL", Kind.SWITCH, _in("ComputerName"), "HTTPS."),
    Parameter("ApplicationName", Kind.STRING, _in("ComputerName"), "The application part of the endpoint's URI."),
    Parameter("AllowRedirection", Kind.SWITCH, _in("Uri"), "Follow the endpoint to another URI."),
    Parameter("SessionOption", Kind.SESSION_OPTION, _in("ComputerName", "Uri"), "Options: $name.", not_empty=True),
    Parameter(
        "Authentication", Kind.AUTHENTICATION, _in("ComputerName", "Uri"), "How to log in.",
        choices=("Default", "Basic", "Negotiate", "NegotiateWithImplicitCredential", "Credssp", "Digest", "Kerberos"),
    ),
    Parameter("CertificateThumbprint", Kind.STRING, _in("ComputerName", "Uri"), "The client certificate."),
    Parameter("RunAsAdministrator", Kind.SWITCH, _in("ContainerId"), "As administrator of the container."),
    Parameter("UserName", Kind.STRING, _in("SSHHost"), "The user on the host.", not_empty=True),
    Parameter("KeyFilePath", Kind.STRING, _in("SSHHost"), "The private key.", ("IdentityFilePath",), not_empty=True),
    Parameter("Subsystem", Kind.STRING, _in("SSHHost"), "The SSH subsystem that runs PowerShell."),
    Parameter("ConnectingTimeout", Kind.INT, _in("SSHHost"), "Milliseconds to connect in; -1 is without end."),
    Parameter("SSHTransport", Kind.SWITCH, _in("SSHHost"), "Says that it is SSH.", choices=("true",)),
    Parameter("Options", Kind.HASHTABLE, _in("SSHHost"), "Options of ssh: @{ Name = 'value' }.", not_empty=True),
)  # fmt: skip


def syntax(command: str) -> list[str]:
    """One line for each set, as `Get-Command -Syntax` writes them."""
    return [" ".join([command, *(_described(p, p.sets[name]) for p in _in_order(name))]) for name in SETS]


def _in_order(set_name: str) -> list[Parameter]:
    ours = [parameter for parameter in PARAMETERS if set_name in parameter.sets]
    return sorted(ours, key=lambda p: (p.sets[set_name].position is None, p.sets[set_name].position or 0))


def _described(parameter: Parameter, place: Place) -> str:
    name = f"-{parameter.name}"
    if place.position is not None:
        name = f"[{name}]"
    if parameter.kind is Kind.SWITCH:
        return f"[{name}]"
    short = parameter.kind.value.rsplit(".", 1)[-1].lower().replace("int32", "int")
    text = f"{name} <{short}>"
    return text if place.mandatory else f"[{text}]"
