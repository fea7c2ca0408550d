"""Options of ``container://`` targets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pskernel.options.kinds import SWITCH, Kind, choice, option, string

__all__ = ["ENGINES", "ContainerOptions"]

ENGINES = ("docker", "podman", "nerdctl", "kubectl")


def _read_name(value: object) -> str:
    """Contexts may be URLs or addresses; none is an option."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,252}", text := string(value)):
        raise ValueError
    return text


def _read_user(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@ \\-]{0,127}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?", string(value)):
        raise ValueError
    return string(value)


def _read_program(value: object) -> str:
    if (text := string(value)).startswith("-"):
        raise ValueError
    return text


_NAME = Kind("a name", _read_name)


@dataclass(frozen=True)
class ContainerOptions:
    """Each at its default unless given."""

    engine: str | None = option(
        None,
        choice(*ENGINES),
        "Program that reaches the container; otherwise the first of docker, podman and nerdctl that is installed.",
        "container",
    )
    context: str | None = option(
        None, _NAME, "The context of docker or kubectl, or the connection of podman, instead of its own.", "container"
    )
    namespace: str | None = option(
        None, _NAME, "Namespace of the pod (kubectl), or of containerd (nerdctl).", "container"
    )
    container: str | None = option(
        None, _NAME, "The container in the pod, where it has several (kubectl).", "container"
    )
    user: str | None = option(
        None,
        Kind("a user's name or number, and :group if need be", _read_user),
        "User in the container, instead of the image's; not for kubectl.",
        "container",
    )
    administrator: bool = option(
        False,
        SWITCH,
        "Whether PowerShell is root there, or ContainerAdministrator on Windows (RunAsAdministrator).",
        "container",
    )
    exe: str = option(
        "pwsh",
        Kind("a program's name or path", _read_program),
        "PowerShell's program in the container, or the one that sudo starts on an SSH server.",
        "container",
        "ssh",
    )
    configuration_file: str | None = option(
        None,
        Kind("the path of a .pssc file", _read_program),
        "Session configuration file, in the container or where sudo is, that restricts the session.",
        "container",
        "process",
        "ssh",
    )
