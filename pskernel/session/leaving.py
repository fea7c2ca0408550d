"""Leaving a pool to its server: which servers keep one, and what must be over before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pskernel.errors import RunspaceStateError
from pskernel.transports.base import Disconnects

if TYPE_CHECKING:
    from pskernel.session.running import RunningPipelines
    from pskernel.transports.base import Transport

__all__ = ["keeper", "settle"]

# A question of ours takes that long only where an event handler of the user's runs within it.
_SETTLE_SECONDS = 5.0


def keeper(transport: Transport) -> Disconnects:
    """The transport, if its server keeps pools.

    Raises:
        RunspaceStateError: it does not.
    """
    if isinstance(transport, Disconnects):
        return transport
    raise RunspaceStateError(
        "The disconnection operation is not supported on the remote computer. Sessions over WinRM can be left."
    )


async def settle(running: RunningPipelines, turn: asyncio.Lock) -> None:
    """Wait until no question of ours, and nothing that has ended, is still to be closed at the server.

    Whoever comes to the pool next would take it for what the user has left there. That itself goes on.

    Args:
        running: what runs in the pool.
        turn: is free when the pipeline at the bottom has been closed.

    Raises:
        RunspaceStateError: a question does not end.
    """
    for _ in range(2):
        innermost = running.innermost
        if innermost is not None and not innermost.ours:
            return
        try:
            async with asyncio.timeout(_SETTLE_SECONDS), turn:
                return
        except TimeoutError:
            if innermost is not None:
                await innermost.stop()
    raise RunspaceStateError("A short question of pskernel's own has not ended there. Try again in a moment.")
