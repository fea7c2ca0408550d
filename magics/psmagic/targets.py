"""From bound parameters to a target."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from pskernel.options import Options
from pskernel.target import Target
from psmagic.arguments import ArgumentError
from psmagic.binding import Bound
from psmagic.wsman_targets import credential_of, require_host, require_one_login, uri_target, wsman_target

__all__ = ["credential_of", "durable_targets_of", "ssh_target", "target_of", "targets_of"]

# What has a meaning in a URL is no part of a name.
_HOST = re.compile(r"(?:(?P<user>[^@/?#]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]/?#\s]+)(?::(?P<port>[0-9]{1,5}))?")
_SSH_OPTIONS = {
    "connecttimeout": "connect_timeout",
    "identityfile": "key_file",
    "proxyjump": "proxy_jump",
    "serveraliveinterval": "keepalive",
    "userknownhostsfile": "known_hosts",
    # Ours: ssh has none of these.
    "configurationfile": "configuration_file",
    "exe": "exe",
    "sudo": "sudo",
    "sudocredential": "sudo_credential",
    "sudoprogram": "sudo_program",
    "sudouser": "sudo_user",
}
# What a target's option can be.
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 3600


def target_of(bound: Bound) -> Target:
    """The target that a set with one host names.

    Raises:
        ArgumentError: the host is none.
        TargetError: a value cannot be part of a target.
    """
    require_one_login(bound)
    target = _target_of(bound)
    name, take_over = bound.get("Name"), bool(bound.get("TakeOver"))
    if "Name" not in bound.values and not take_over:
        return target
    if not target.options.durable or name is None:
        raise ArgumentError(
            "-Name and -TakeOver are for a durable session at the host: give -Durable as well, and its -Name.",
            "AmbiguousParameterSet",
        )
    return replace(target, options=replace(target.options, session=name, take_over=take_over))


def _target_of(bound: Bound) -> Target:
    match bound.set_name:
        case "VMId" | "VMName":
            return _vm_target(bound, bound.get(bound.set_name))
        case "SSHHost":
            return ssh_target(bound, bound.get("HostName"))
        case "ContainerId":
            return _container_target(bound, bound.get("ContainerId"))
        case "ComputerName":
            return wsman_target(bound, bound.get("ComputerName"))
        case "Uri" if bound.get("ConnectionUri"):
            return uri_target(bound, bound.get("ConnectionUri"))
    raise ArgumentError("Say where: -ConnectionUri http(s)://host:port/application.", "MissingMandatoryParameter")


def targets_of(bound: Bound) -> list[Target]:
    """The targets of a command that takes several hosts.

    Raises:
        ArgumentError, TargetError: as :func:`target_of`; no target is returned if one cannot be used.
    """
    require_one_login(bound)
    return [
        *(wsman_target(bound, computer) for computer in bound.get("ComputerName") or []),
        *(uri_target(bound, uri) for uri in bound.get("ConnectionUri") or []),
        *(ssh_target(bound, host) for host in bound.get("HostName") or []),
        *(_container_target(bound, each) for each in bound.get("ContainerId") or []),
        *(_vm_target(bound, each) for name in ("VMId", "VMName") for each in bound.get(name) or []),
    ]


def durable_targets_of(bound: Bound) -> list[Target]:
    """The same, where sessions are durable whether that is said or not. Raises as :func:`targets_of`."""
    return targets_of(Bound(bound.set_name, {**bound.values, "Durable": True}))


def ssh_target(bound: Bound, host: str) -> Target:
    """User and port in the host's name win over -UserName and -Port."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise ArgumentError(
            "One or more computer names are not valid. If you are trying to pass a URI, use the -ConnectionUri "
            "parameter, or pass URI objects instead of strings.",
            "PSSessionInvalidComputerName",
        )
    user = match["user"] or bound.get("UserName")
    port = match["port"] or bound.get("Port")
    if ":" in (user or ""):
        raise ArgumentError(
            "The name of a user has no ':'. A password is never written into a cell: leave it out, and it is asked "
            "for where no key logs in.",
            "PSSessionInvalidComputerName",
        )
    address = f"{match['host']}{f':{port}' if port else ''}"
    require_host(f"ssh://{address}")
    key_file = bound.get("KeyFilePath")
    if key_file and not os.path.exists(os.path.expanduser(key_file)):  # noqa: PTH110, PTH111 - pathlib raises here
        raise ArgumentError(f"Cannot find path '{key_file}' because it does not exist.", "PathNotFound")
    options = dict(_ssh_option(*item) for item in (bound.get("Options") or {}).items())
    for name, option in (("KeyFilePath", "key_file"), ("Subsystem", "subsystem")):
        if bound.get(name):
            options[option] = bound.get(name)
    if bound.get("Durable"):
        options["durable"] = "true"
    timeout = bound.get("ConnectingTimeout", -1)
    if timeout > 0:
        options["connect_timeout"] = f"{min(max(timeout / 1000, _SHORTEST_SECONDS), _LONGEST_SECONDS):g}"
    return Target.parse(f"ssh://{f'{user}@' if user else ''}{address}", options)


def _container_target(bound: Bound, container: str) -> Target:
    """What may stand behind ``container://``."""
    options: dict[str, object] = {"administrator": True} if bound.get("RunAsAdministrator") else {}
    if bound.get("Durable"):
        options["durable"] = True
    configuration = bound.get("ConfigurationName")
    if configuration and not configuration.lower().endswith(".pssc"):
        raise ArgumentError(
            "PowerShell in a container is started as a process, which knows no session configurations by name, and "
            "would go on without one. Give the path of a session configuration file in the container instead, as in "
            "-ConfigurationName /etc/jea.pssc.",
            "NotSupported",
        )
    if configuration:
        options["configuration_file"] = configuration
    return Target.parse(f"container://{container}", options)


def _vm_target(bound: Bound, machine: object) -> Target:
    """A machine of this Hyper-V host, for which PowerShell wants a credential."""
    credential = credential_of(bound, ask=False)
    if credential is None:
        raise ArgumentError(
            "Cannot process command because of one or more missing mandatory parameters: Credential.",
            "MissingMandatoryParameter",
        )
    options = Options(vm_configuration=bound.get("ConfigurationName") or None)
    return Target("vm", user=credential.user, path=str(machine), options=options)


def _ssh_option(name: str, value: object) -> tuple[str, str]:
    """An option of ssh as one of the target's."""
    try:
        # $true is Python's True.
        return _SSH_OPTIONS[name.casefold()], str(value).lower() if isinstance(value, bool) else str(value)
    except KeyError:
        known = ", ".join(sorted(_SSH_OPTIONS))
        raise ArgumentError(
            f"-Options takes {known} here. Put {name[:40]} into ~/.ssh/config, which is read as ssh reads it.",
            "NotSupported",
        ) from None
