"""From a target to an open runspace."""

from pskernel.connect.opening import (
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
    "connect",
    "find_processes",
    "find_shells",
    "open_stream",
    "open_transport",
    "opener",
    "recorded_cells",
    "reopen",
]
