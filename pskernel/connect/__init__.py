"""From a target to an open runspace."""

from pskernel.connect.opening import connect, open_stream, open_transport, opener

__all__ = ["connect", "open_stream", "open_transport", "opener"]
