"""From a target to an open runspace."""

from pskernel.connect.kept import find_relays, find_shells, reopen
from pskernel.connect.opening import (
    arrive,
    connect,
    find_processes,
    open_stream,
    open_transport,
    opener,
    recorded_cells,
)
from pskernel.transports.base import KeptPool

__all__ = [
    "KeptPool",
    "arrive",
    "connect",
    "find_processes",
    "find_relays",
    "find_shells",
    "open_stream",
    "open_transport",
    "opener",
    "recorded_cells",
    "reopen",
]
