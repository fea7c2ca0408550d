"""The option of sessions that outlive their connection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pskernel.errors import TargetError
from pskernel.options.kinds import SWITCH, option

__all__ = ["DURABLE", "DurableOptions"]

# Those whose sessions a relay can keep.
DURABLE: Final = ("ssh", "process", "container")


@dataclass(frozen=True)
class DurableOptions:
    """At its default unless given."""

    durable: bool = option(
        False,
        SWITCH,
        "Whether the session outlives its connection: a relay keeps it there, and a lost connection is made again.",
        *DURABLE,
    )

    def check_durable(self, given: Collection[str], *, attaches: bool, backend: str) -> None:
        """Refuse what a relay cannot keep, and what is said of none; ``given`` are the options that are.

        Raises:
            TargetError: other options do not go with it.
        """
        if not self.durable and {"idle_timeout", "reconnect_timeout"} & set(given):
            raise TargetError(
                "The options idle_timeout and reconnect_timeout are for sessions that outlive their connection: give "
                "durable=true as well."
            )
        if self.durable and attaches:
            raise TargetError("A process that runs already outlives its connection by itself. Leave durable out.")
        if self.durable and backend == "openssh":
            raise TargetError(
                "A durable session is reached by a socket of the server, which the ssh program opens only by way of "
                "another one on this machine. Leave out backend=openssh."
            )
