"""The option of sessions that outlive their connection."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from pskernel.errors import TargetError
from pskernel.options.kinds import SWITCH, Kind, option
from pskernel.options.schemes import DURABLE, WINRM

__all__ = ["DurableOptions"]


_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,58}[A-Za-z0-9_])?")


def _read_name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError
    return value


@dataclass(frozen=True)
class DurableOptions:
    """At its default unless given."""

    durable: bool = option(
        False,
        SWITCH,
        "Whether the session outlives its connection: a relay keeps it there, and a lost connection is made again.",
        *DURABLE,
    )

    session: str | None = option(
        None,
        Kind("a name of at most 60 letters, digits, '_', '.' and '-'", _read_name),
        "The session's name: one of that name that is there already is come back to, else one is opened.",
        *DURABLE,
        *WINRM,
    )
    take_over: bool = option(
        False,
        SWITCH,
        "Whether the session that is come back to is taken from another client that has it.",
        *DURABLE,
    )
    keep: bool = option(
        False,
        SWITCH,
        "Whether the session stays when the kernel is shut down, or the run ends, for whoever comes back to it.",
        *DURABLE,
        *WINRM,
    )

    def check_durable(self, changed: Collection[str], *, is_winrm: bool, attaches: bool) -> None:
        """Refuse what nobody can keep, and what is said of none; ``changed`` are the options that are given.

        Raises:
            TargetError: other options do not go with it.
        """
        given = () if is_winrm else changed
        if "vm" in changed and {"session", "keep"} & set(changed):
            raise TargetError(
                "A session in a virtual machine ends with that on its host, and cannot be left. Leave out session and "
                "keep."
            )
        if self.durable and {"sudo", "vm", "configuration_file"} & set(changed):
            raise TargetError(
                "The options sudo, vm and configuration_file do not go with durable. Leave one of them out."
            )
        if not self.durable and {"idle_timeout", "reconnect_timeout"} & set(given):
            raise TargetError(
                "The options idle_timeout and reconnect_timeout are for sessions that outlive their connection: give "
                "durable=true as well."
            )
        if not self.durable and {"session", "take_over", "keep"} & set(given):
            raise TargetError(
                "The options session, take_over and keep are for sessions that can be left: give durable=true as well."
            )
        if self.take_over and self.session is None:
            raise TargetError("The option take_over needs the option session, which says what to take over.")
        if self.keep and self.session is None:
            raise TargetError("The option keep needs the option session, by whose name the session is come back to.")
        if self.durable and attaches:
            raise TargetError("A process that runs already outlives its connection by itself. Leave durable out.")
