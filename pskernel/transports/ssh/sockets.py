"""What is said of a relay's socket at an SSH server that was not opened, by either SSH client."""

from __future__ import annotations

from typing import Final

from pskernel.errors import TargetUnreachable
from pskernel.transports.base import PoolGone

__all__ = ["FORWARDS_NONE", "GONE", "lost_meanwhile", "not_opened"]

GONE: Final = "The relay is gone, because the machine was restarted or somebody ended it."
FORWARDS_NONE: Final = (
    "Either the relay is gone already, or the server forwards no sockets: its sshd_config must not say "
    "AllowStreamLocalForwarding no or DisableForwarding yes, nor the key's line in authorized_keys restrict or "
    "no-port-forwarding."
)


def not_opened(host: str, advice: str) -> PoolGone:
    """The server is there, and refused."""
    return PoolGone(f"The SSH server {host} did not open the socket of its relay. {advice}")


def lost_meanwhile(host: str) -> TargetUnreachable:
    """Whether the relay is there is not known."""
    return TargetUnreachable(
        f"The connection to {host} ended, or was too busy, while the socket of the relay was opened."
    )
