"""From a target to an open runspace."""

from pskernel.connect.opening import (
    arrive,
    connect,
    find_processes,
    find_shells,
    open_stream,
    open_transport,
    opener,
    recorded_cells,
    reopen,
)

__all__ = [
    "arrive",
    "connect",
    "find_processes",
    "find_shells",
    "open_stream",
    "open_transport",
    "opener",
    "recorded_cells",
    "reopen",
]
