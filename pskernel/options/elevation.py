"""Options of targets whose PowerShell is started by sudo or doas."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from pskernel.errors import TargetError
from pskernel.options.kinds import CREDENTIAL, SWITCH, Kind, choice, option, string

__all__ = ["ElevationOptions", "check_elevation"]

_ELEVATION = ("ssh", "process")


def _read_user(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}", text := string(value)):
        raise ValueError
    return text


@dataclass(frozen=True)
class ElevationOptions:
    """Each at its default unless given."""

    sudo: bool = option(False, SWITCH, "Whether PowerShell is started there by sudo, as root.", *_ELEVATION)
    sudo_user: str = option(
        "root", Kind("the name of a user", _read_user), "Whom sudo starts PowerShell as.", *_ELEVATION
    )
    sudo_program: str = option(
        "sudo",
        choice("sudo", "doas"),
        "Program that does it; doas only where its rule asks for no password.",
        *_ELEVATION,
    )
    sudo_credential: str | None = option(
        None,
        CREDENTIAL,
        "Where the password for sudo is; never the login's. Without it, you are asked if sudo wants one.",
        *_ELEVATION,
    )

    @property
    def elevated_as(self) -> str:
        """Who one is there, for people: `` (sudo root)``; empty without sudo."""
        return f" ({self.sudo_program} {self.sudo_user})" if self.sudo else ""


# Of an SSH server's subsystem, sshd_config says what it starts.
_OF_THE_PROCESS = ("exe", "arguments", "configuration_file")
_OF_SUDO = ("sudo_user", "sudo_program", "sudo_credential")


def check_elevation(changed: Collection[str], options: ElevationOptions, scheme: str) -> None:
    """Refuse what means nothing together.

    Raises:
        TargetError: naming the options.
    """
    if not options.sudo:
        without = [name for name in _OF_SUDO if name in changed]
        if without:
            raise TargetError(f"The option {without[0]} means nothing without sudo=true. Add that, or leave it out.")
        idle = [name for name in _OF_THE_PROCESS if name in changed and scheme == "ssh"]
        if idle:
            raise TargetError(
                f"The option {idle[0]} means nothing to ssh targets without sudo=true: the line Subsystem in the "
                "server's sshd_config says what is started. Change it there, and name it with the option subsystem."
            )
        return
    if "subsystem" in changed:
        raise TargetError(
            f"{options.sudo_program} cannot start an SSH subsystem. Leave the option subsystem out, or have the line "
            "Subsystem in sshd_config start sudo itself, and leave sudo out; see docs/elevation.md."
        )
    if options.sudo_program == "doas" and options.sudo_credential is not None:
        raise TargetError(
            "doas reads a password from a terminal only, and there is none. Leave sudo_credential out, and have its "
            "rule say nopass; or use sudo."
        )
