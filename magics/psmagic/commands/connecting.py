"""The parameters by which several commands say which hosts they mean, and how to get there."""

from __future__ import annotations

from collections.abc import Mapping

from psmagic.parameters import Kind, Parameter, Place

__all__ = ["ssh_parameters", "wsman_parameters"]


def wsman_parameters(sets: Mapping[str, Place]) -> tuple[Parameter, ...]:
    """-ComputerName, over WinRM, with its place in each set."""
    return (
        Parameter(
            "ComputerName", Kind.STRING, sets, "The computers, over WinRM.", ("Cn",),
            not_empty=True, many=True,
        ),
    )  # fmt: skip


def ssh_parameters(sets: Mapping[str, Place]) -> tuple[Parameter, ...]:
    """-HostName, with its place in each set, and what belongs to it, over SSH."""
    named = dict.fromkeys(sets, Place())
    return (
        Parameter(
            "HostName", Kind.STRING, sets, "[user@]host[:port] of each host, over SSH.", not_empty=True,
            many=True,
        ),
        Parameter("Port", Kind.INT, named, "The port.", lowest=1, highest=65535),
        Parameter("UserName", Kind.STRING, named, "The user on the hosts.", not_empty=True),
        Parameter("KeyFilePath", Kind.STRING, named, "The private key.", ("IdentityFilePath",), not_empty=True),
        Parameter("Subsystem", Kind.STRING, named, "The SSH subsystem that runs PowerShell."),
        Parameter("ConnectingTimeout", Kind.INT, named, "Milliseconds to connect in; -1 is without end."),
        Parameter("SSHTransport", Kind.SWITCH, named, "Says that it is SSH.", choices=("true",)),
        Parameter("Options", Kind.HASHTABLE, named, "Options of ssh: @{ Name = 'value' }.", not_empty=True),
    )  # fmt: skip
