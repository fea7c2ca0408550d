"""Leaving a pool to its server: which servers keep one, what must be over before, and how it turns out."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pskernel.errors import PSKernelError, RunspaceStateError, TransportClosed
from pskernel.session.runs import RunsPipelines
from pskernel.session.state import RunspaceState
from pskernel.transports.base import Disconnects

if TYPE_CHECKING:
    from pskernel.protocol.pipelines import Statements
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.running import RunningPipelines
    from pskernel.transports.base import Transport

__all__ = ["LeavesPool", "keeper"]

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
        "The disconnection operation is not supported on the remote computer. Sessions over WinRM, and durable ones, "
        "can be left."
    )


class LeavesPool(RunsPipelines):
    """A part of :class:`pskernel.session.runspace.Runspace`: it, and what runs in it, can be left to the server.

    A request to the server goes on when nobody waits for it any more (Ctrl+C), and its outcome counts: otherwise this
    side would take a session that is left for an open one, or the other way round.
    """

    _transport: Transport
    _state: RunspaceState
    _running: RunningPipelines
    _turn: asyncio.Lock

    def __init__(self) -> None:
        super().__init__()
        # Pipelines of another client, or that were left, for whoever wants what they send.
        self.left: list[Pipeline] = []
        self._one_at_a_time = asyncio.Lock()

    async def leave(self, what: str | Statements) -> None:
        """Start something and leave it to the server, with all that it sends. Raises as :meth:`disconnect`."""
        server = keeper(self._transport)
        server.holding = True
        try:
            self.left.append(await self.invoke(what))
        finally:
            server.holding = False

    async def disconnect(self, *, idle_timeout: float | None = None, buffering: str | None = None) -> None:
        """Leave it, and what runs in it, to the server; :meth:`reconnect` comes back. See :class:`Disconnects`.

        Raises:
            RunspaceStateError: it is not open, or this kind of connection cannot.
            TransportClosed: the connection was lost meanwhile.
        """
        self._require_open()
        server = keeper(self._transport)
        # From here on nothing begins any more.
        self._state = RunspaceState.DISCONNECTED
        try:
            await settle(self._running, self._turn)
        except (PSKernelError, asyncio.CancelledError):
            self._change(RunspaceState.DISCONNECTED, RunspaceState.OPEN)
            raise
        await self._move(self._disconnect(server, idle_timeout, buffering))

    async def reconnect(self) -> None:
        """Come back to it. Raises as :meth:`disconnect`."""
        await self._move(self._reconnect(keeper(self._transport)))

    async def leave_for_good(self, *, grace: float) -> None:
        """Leave it to the server, as it is, for another client. Whatever hinders that, it is not ended."""
        keeper(self._transport).leaves = True
        with contextlib.suppress(PSKernelError, TimeoutError):
            async with asyncio.timeout(grace):
                await self.disconnect()
        await self.abandon("The session was left.")

    async def _disconnect(self, server: Disconnects, idle_timeout: float | None, buffering: str | None) -> None:
        async with self._one_at_a_time:
            try:
                await server.disconnect(idle_timeout=idle_timeout, buffering=buffering)
            except PSKernelError:
                self._change(RunspaceState.DISCONNECTED, RunspaceState.OPEN)
                raise

    async def _reconnect(self, server: Disconnects) -> None:
        async with self._one_at_a_time:
            if self._state is RunspaceState.DISCONNECTED:
                await server.reconnect()
                self._change(RunspaceState.DISCONNECTED, RunspaceState.OPEN)
            # It may have been lost or closed meanwhile.
            self._require_open()

    def _change(self, before: RunspaceState, after: RunspaceState) -> None:
        if self._state is before:
            self._state = after

    async def _move(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._chore(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise TransportClosed("The connection was closed on this side.") from None
            raise

    @abstractmethod
    async def abandon(self, why: str) -> None:
        """Drop the connection."""

    @abstractmethod
    def _require_open(self) -> None:
        """Raise RunspaceStateError if it is not open."""

    @abstractmethod
    def _chore(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that is over before the runspace is."""


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
        if running.is_unread if innermost is None else not innermost.ours:
            return
        try:
            async with asyncio.timeout(_SETTLE_SECONDS), turn:
                return
        except TimeoutError:
            if innermost is not None:
                await innermost.stop()
    raise RunspaceStateError("A short question of pskernel's own has not ended there. Try again in a moment.")
