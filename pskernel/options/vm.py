"""Options for virtual machines: of ``vm://`` targets, and of the Hyper-V host that one is reached through."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pskernel.credentials import check_user
from pskernel.options.kinds import CREDENTIAL, Kind, option, string
from pskernel.options.schemes import WINRM

__all__ = ["VMOptions", "read_machine"]

_HOSTS: Final = ("ssh", *WINRM)
_ID = re.compile(r"\{?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}?")
_MAX_NAME: Final = 256


def read_machine(value: object) -> str:
    """The name of a virtual machine, of any characters that can be seen, or its id; ValueError for what is neither."""
    text = string(value)
    if len(text) > _MAX_NAME or text != text.strip():
        raise ValueError
    match = _ID.fullmatch(text)
    return text if match is None else match[1].lower()


def _read_user(value: object) -> str:
    return check_user(string(value))


def _read_configuration(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", text := string(value)):
        raise ValueError
    return text


@dataclass(frozen=True)
class VMOptions:
    """Each at its default unless given."""

    vm: str | None = option(
        None,
        Kind("the name or id of a virtual machine", read_machine),
        "Virtual machine of this Hyper-V host that cells run in, reached through the host (-VMName, -VMId).",
        *_HOSTS,
    )
    vm_user: str | None = option(
        None,
        Kind("the name of a user", _read_user),
        "User in that virtual machine, who is not the one of the host.",
        *_HOSTS,
    )
    vm_credential: str | None = option(
        None, CREDENTIAL, "Where that user's password is. Without it, you are asked.", *_HOSTS
    )
    vm_configuration: str | None = option(
        None,
        Kind("the name of a session configuration", _read_configuration),
        "Session configuration in the virtual machine, instead of its own default.",
        *_HOSTS,
        "vm",
    )
