"""Enter-PSSession's parameters: the table of PowerShell 7.6 (`Get-Command Enter-PSSession`, and its source's rules)."""

from __future__ import annotations

from psmagic.commands.connecting import AUTHENTICATIONS, DURABLE, take_over
from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["ENTER_PSSESSION", "EXIT_PSSESSION"]

_SETS = (
    "ComputerName", "SSHHost", "Session", "Uri", "InstanceId", "Id", "Name", "VMId", "VMName", "ContainerId",
)  # fmt: skip
_NAMED, _FIRST = Place(), Place(0)
_FIRST_MUST, _SECOND_MUST = Place(0, mandatory=True), Place(1, mandatory=True)


def _in(*names: str) -> dict[str, Place]:
    return dict.fromkeys(names, _NAMED)


_PARAMETERS = (
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
    Parameter("VMId", Kind.GUID, {"VMId": _FIRST_MUST}, "The id of a virtual machine on this host.", ("VMGuid",)),
    Parameter("VMName", Kind.STRING, {"VMName": _FIRST_MUST},
        "The name of a virtual machine on this host.", not_empty=True),
    Parameter("ContainerId", Kind.STRING, {"ContainerId": _FIRST_MUST},
        "A container: [engine/]name-or-id.", not_empty=True),
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
        choices=AUTHENTICATIONS,
    ),
    Parameter("CertificateThumbprint", Kind.STRING, _in("ComputerName", "Uri"), "The client certificate."),
    Parameter("RunAsAdministrator", Kind.SWITCH, _in("ContainerId"), "As administrator of the container."),
    Parameter("UserName", Kind.STRING, _in("SSHHost"), "The user on the host.", not_empty=True),
    Parameter("KeyFilePath", Kind.STRING, _in("SSHHost"), "The private key.", ("IdentityFilePath",), not_empty=True),
    Parameter("Subsystem", Kind.STRING, _in("SSHHost"), "The SSH subsystem that runs PowerShell."),
    Parameter("ConnectingTimeout", Kind.INT, _in("SSHHost"), "Milliseconds to connect in; -1 is without end."),
    Parameter("SSHTransport", Kind.SWITCH, _in("SSHHost"), "Says that it is SSH.", choices=("true",)),
    Parameter("Options", Kind.HASHTABLE, _in("SSHHost"), "Options of ssh: @{ Name = 'value' }.", not_empty=True),
    # For a host it is ours.
    Parameter("Name", Kind.STRING, _in("Name", "SSHHost", "ContainerId"),
        "The name of an open session; with -Durable, that of one at the host, which is opened if there is none."),
    DURABLE,
    take_over("Session", "InstanceId", "Id", "Name", "SSHHost", "ContainerId"),
)  # fmt: skip

ENTER_PSSESSION = Command("%enter_pssession", "Enter-PSSession", _SETS, "ComputerName", _PARAMETERS)

EXIT_PSSESSION = Command("%exit_pssession", "Exit-PSSession", ("Default",), "Default", ())
