"""A runspace pool whose engine a relay keeps: it can be left there, and come to by another client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import TYPE_CHECKING
from uuid import UUID

from pskernel.errors import PSKernelError, RemoteProtocolError, RunspaceStateError
from pskernel.protocol.fragments import pool_init_data, pool_of
from pskernel.protocol.outofproc import AckLedger
from pskernel.records import Notice
from pskernel.transports.base import Payload
from pskernel.transports.outofproc import OutOfProcTransport

if TYPE_CHECKING:
    from pskernel.transports.durable.stream import DurableStream

__all__ = ["DurablePool", "noted_pool"]

# What a pool's server said when it was opened, as the note has it: some 300 bytes.
_MAX_CAPABILITY = 2_048
_FAREWELL_SECONDS = 2.0


class DurablePool(OutOfProcTransport):
    """A :class:`pskernel.transports.base.Transport` that is also :class:`Disconnects` and :class:`KeepsUntaken`.

    An out-of-process server knows nothing of clients that come later: its pool never ends. What one needs to know of
    it, the client that opened it leaves with the relay: the pool's id, and what the server said first.

    Args:
        stream: to the relay.
        idle_timeout: seconds for which the relay keeps the pool when it is left.
    """

    def __init__(self, stream: DurableStream, *, idle_timeout: float) -> None:
        super().__init__(stream)
        self._relay = stream
        self._idle_timeout = idle_timeout
        self.holding = False
        # Pipelines of which nothing is handed on before the pool was left and come back to, and what they have sent.
        self._held: set[UUID] = set()
        self._set_aside: list[Payload] = []
        self._pool_id: UUID | None = None
        self._noted = False
        self.leaves = False

    @property
    def is_anothers(self) -> bool:
        """Whether another client has begun what is kept here."""
        return self._relay.left is not None

    @property
    def found(self) -> tuple[UUID, tuple[UUID, ...]] | None:
        """The id of the pool that another client has left here, and of its pipelines; None if none has."""
        left = self._relay.left
        pool_id = noted_pool(left.note) if left is not None else None
        return (pool_id, left.running) if left is not None and pool_id is not None else None

    async def open(self, data: bytes) -> None:
        """Send the pool's first fragments."""
        if self._pool_id is None:
            self._pool_id = pool_of(data)
        await super().open(data)

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        """Create a pipeline."""
        if self.holding:
            self._held.add(pipeline_id)
        await super().command(pipeline_id, data)

    async def receive(self) -> list[Payload | Notice]:
        """Return what has arrived, but for what was another client's, or waits for one."""
        while True:
            if self._set_aside and not self._held:
                waited, self._set_aside = self._set_aside, []
                return [*waited]
            items = await super().receive()
            wanted = [item for item in items if isinstance(item, Notice) or self._is_wanted(item)]
            if wanted:
                return wanted

    def _is_wanted(self, item: Payload) -> bool:
        if item.pipeline_id is None:
            self._take_note(item.data)
            return True
        left = self._relay.left
        if self._relay.is_replaying and left is not None and item.pipeline_id not in left.running:
            return False
        if item.pipeline_id in self._held:
            self._set_aside.append(item)
            return False
        return True

    def _take_note(self, first: bytes) -> None:
        if self._noted or self._pool_id is None:
            return
        self._noted = True
        if len(first) <= _MAX_CAPABILITY:
            words = {"pool": str(self._pool_id), "said": base64.b64encode(first).decode()}
            self._relay.note(json.dumps(words).encode())

    # ---- leaving it, and coming to it ----

    def taken(self, *, at_once: bool = False) -> None:
        """All that was received was shown, or used. What is set aside is not."""
        if not self._set_aside:
            self._relay.taken(at_once=at_once)

    async def disconnect(self, *, idle_timeout: float | None = None, buffering: str | None = None) -> None:
        """Leave it to the relay, which keeps all that it says, and makes the engine wait when there is too much.

        Raises:
            RunspaceStateError: what is said is not to be kept.
            TransportClosed: the relay cannot be told.
        """
        if buffering == "drop":
            raise RunspaceStateError(
                "A durable session drops no output: when there is no room for more, it waits. Leave out "
                "-OutputBufferingMode Drop."
            )
        try:
            await self._relay.leave(self._idle_timeout if idle_timeout is None else idle_timeout)
        except PSKernelError:
            self._held.clear()
            raise

    async def reconnect(self) -> None:
        """Come back to it. Raises as :meth:`DurableStream.come_back`."""
        await self._relay.come_back()
        self._held.clear()

    async def attach(self, pool_id: UUID, data: bytes) -> bytes:  # noqa: ARG002 - the server is not asked
        """Come to a pool that another client has left; returns what its server would say.

        Raises:
            RemoteProtocolError: nothing was left that says which pool it is.
        """
        left = self._relay.left
        noted = _read_note(left.note) if left is not None else None
        if noted is None or noted[0] != pool_id:
            raise RemoteProtocolError("The relay keeps no session that can be come back to.")
        self._pool_id, said = noted
        self._noted = self.leaves = True
        # What it was told before it acknowledges still.
        self._acks = AckLedger(alone=False)
        return said + pool_init_data(pool_id)

    async def resume(self, pipeline_id: UUID) -> None:
        """What the pipelines of such a pool send comes by itself."""

    async def close_pool(self) -> None:
        """End it."""
        self.leaves = False
        await super().close_pool()

    async def aclose(self) -> None:
        """Drop the connection. What was not closed is ended, or left to the relay, which may not hear that in time."""
        try:
            if self.leaves:
                self._relay.stays = True
                with contextlib.suppress(PSKernelError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        await self._relay.leave(self._idle_timeout)
        finally:
            await super().aclose()


def noted_pool(note: bytes) -> UUID | None:
    """Which pool a client's note says that it opened; None if it says none."""
    noted = _read_note(note)
    return noted[0] if noted else None


def _read_note(note: bytes) -> tuple[UUID, bytes] | None:
    """A pool's id, and the fragment that its server sent first; None if a client has noted nothing of the kind."""
    try:
        words = json.loads(note)
        return UUID(words["pool"]), base64.b64decode(words["said"], validate=True)[:_MAX_CAPABILITY]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
