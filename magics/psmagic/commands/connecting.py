"""The parameters by which several commands say which hosts they mean, and how to get there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from psmagic.parameters import Kind, Parameter, Place

__all__ = [
    "AUTHENTICATIONS", "DURABLE", "container_parameters", "ssh_parameters", "take_over", "vm_parameters",
    "wsman_parameters",
]  # fmt: skip

# Ours: PowerShell knows no such sessions.
DURABLE = Parameter(
    "Durable", Kind.SWITCH, {"SSHHost": Place(), "ContainerId": Place()}, "The session outlives its connection."
)


AUTHENTICATIONS = (
    "Default", "Basic", "Negotiate", "NegotiateWithImplicitCredential", "Credssp", "Digest", "Kerberos",
)  # fmt: skip


def wsman_parameters(
    computers: Mapping[str, Place],
    uris: Mapping[str, Place],
    *,
    configurations: Iterable[str] = (),
    credentials: Mapping[str, Place] | None = None,
) -> tuple[Parameter, ...]:
    """-ComputerName and -ConnectionUri, with their places in each set, and what belongs to them, over WinRM.

    -ConfigurationName is also for the sets ``configurations``, -Credential for ``credentials``.
    """
    both = dict.fromkeys([*computers, *uris], Place())
    by_name, by_uri = dict.fromkeys(computers, Place()), dict.fromkeys(uris, Place())
    return (
        Parameter(
            "ComputerName", Kind.STRING, computers, "The computers, over WinRM.", ("Cn",),
            not_empty=True, many=True,
        ),
        Parameter(
            "ConnectionUri", Kind.URI, uris, "The endpoints' URIs: http(s)://host:port/application.", ("URI", "CU"),
            not_empty=True, many=True,
        ),
        Parameter(
            "Credential", Kind.CREDENTIAL, {**both, **(credentials or {})},
            "A user, who is asked for the password; keyring:NAME; or a credential: $name.",
        ),
        Parameter(
            "ConfigurationName", Kind.STRING, both | dict.fromkeys(configurations, Place()),
            "The session configuration.",
        ),
        Parameter("EnableNetworkAccess", Kind.SWITCH, both, "Local sessions may reach others."),
        Parameter("UseSSL", Kind.SWITCH, by_name, "HTTPS."),
        Parameter("ApplicationName", Kind.STRING, by_name, "The application part of the endpoint's URI."),
        Parameter("AllowRedirection", Kind.SWITCH, by_uri, "Follow the endpoint to another URI."),
        Parameter("SessionOption", Kind.SESSION_OPTION, both, "Options: $name.", not_empty=True),
        Parameter("Authentication", Kind.AUTHENTICATION, both, "How to log in.", choices=AUTHENTICATIONS),
        Parameter("CertificateThumbprint", Kind.STRING, both, "The client certificate."),
    )  # fmt: skip


def ssh_parameters(sets: Mapping[str, Place], *, ports: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """-HostName, with its place in each set, and what belongs to it, over SSH; -Port also for the sets ``ports``."""
    named = dict.fromkeys(sets, Place())
    return (
        Parameter(
            "HostName", Kind.STRING, sets, "[user@]host[:port] of each host, over SSH.", not_empty=True,
            many=True,
        ),
        Parameter("Port", Kind.INT, named | dict.fromkeys(ports, Place()), "The port.", lowest=1, highest=65535),
        Parameter("UserName", Kind.STRING, named, "The user on the hosts.", not_empty=True),
        Parameter("KeyFilePath", Kind.STRING, named, "The private key.", ("IdentityFilePath",), not_empty=True),
        Parameter("Subsystem", Kind.STRING, named, "The SSH subsystem that runs PowerShell."),
        Parameter("ConnectingTimeout", Kind.INT, named, "Milliseconds to connect in; -1 is without end."),
        Parameter("SSHTransport", Kind.SWITCH, named, "Says that it is SSH.", choices=("true",)),
        Parameter("Options", Kind.HASHTABLE, named, "Options of ssh: @{ Name = 'value' }.", not_empty=True),
    )  # fmt: skip


def container_parameters(sets: Mapping[str, Place]) -> tuple[Parameter, ...]:
    """-ContainerId, with its place in each set, and what belongs to it."""
    return (
        Parameter(
            "ContainerId", Kind.STRING, sets, "Containers: [engine/]name-or-id.", not_empty=True, many=True,
        ),
        Parameter(
            "RunAsAdministrator", Kind.SWITCH, dict.fromkeys(sets, Place()), "As administrator of the container.",
        ),
    )  # fmt: skip


def take_over(*sets: str) -> Parameter:
    """-TakeOver, which is ours."""
    return Parameter(
        "TakeOver", Kind.SWITCH, dict.fromkeys(sets, Place()), "Take a durable session that another client has."
    )


def vm_parameters(ids: Mapping[str, Place], names: Mapping[str, Place]) -> tuple[Parameter, ...]:
    """-VMId and -VMName, with their places in each set."""
    return (
        Parameter("VMId", Kind.GUID, ids, "The ids of virtual machines on this host.", ("VMGuid",), many=True),
        Parameter(
            "VMName", Kind.STRING, names, "The names of virtual machines on this host.", not_empty=True, many=True
        ),
    )
