"""From a target to an open runspace."""

from pskernel.connect.arriving import arrive
from pskernel.connect.connecting import connect, opener
from pskernel.connect.kept import find_relays, find_shells, reopen
from pskernel.connect.opening import find_processes, open_stream, open_transport, recorded_cells
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
