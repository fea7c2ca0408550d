"""What goes to the remote for a pipeline: its beginning, the stop signal, and answers to its host calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pskernel.errors import NotPowerShell, RemoteProtocolError, TransportClosed
from pskernel.protocol.hostvalues import has_secret
from pskernel.session.pipeline import NO_HOST_NOW
from pskernel.session.state import KeyExchange

if TYPE_CHECKING:
    from pskernel.protocol.runspace import Outgoing, RunspaceProtocol
    from pskernel.records import HostCall
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.taking import Taking
    from pskernel.transports.base import Transport

__all__ = ["Replies"]

# Calls of a remote that ask for an answer while nobody is there to give one.
_MAX_REFUSALS = 100


class Replies:
    """A :class:`pskernel.session.pipeline.PipelineOwner` for the pipelines of one runspace.

    Args:
        transport: carries the signal.
        protocol: encodes answers.
        send: sends messages.
        chore: runs work to its end, whether or not anybody waits for it.
        taking: hears what is read and answered.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: RunspaceProtocol,
        send: Callable[[list[Outgoing]], Awaitable[None]],
        chore: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        taking: Taking,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._send = send
        self._chore = chore
        self._taking = taking
        self.key = KeyExchange()
        self._refusing = 0

    async def begin(self, pipeline: Pipeline, create: Outgoing, input_clixml: bytes | None) -> None:
        """Send a pipeline, and its input."""
        await self._transport.command(pipeline.pipeline_id, create.fragments[0])
        for fragment in create.fragments[1:]:
            await self._transport.send(pipeline.pipeline_id, fragment)
        if input_clixml is not None:
            await self._send(self._protocol.input_error(pipeline.pipeline_id, input_clixml))
        pipeline.is_sent = True
        pipeline.sent_at = asyncio.get_running_loop().time()

    def was_read(self) -> None:
        """All that has arrived for a pipeline was read."""
        self._taking.note()

    async def signal(self, pipeline: Pipeline) -> None:
        """Send the stop signal."""
        with contextlib.suppress(TransportClosed, NotPowerShell):
            await self._transport.signal(pipeline.pipeline_id)

    async def answer(self, call: HostCall, value: Any) -> None:
        """Send a host call's return value: cancelled, nothing or all. The first secret waits for a key."""
        if has_secret(value):
            await self.exchange_key()
        if call.call_id is not None:
            await asyncio.shield(self._chore(self._reply(call, self._protocol.answer(call.call_id, value))))

    async def exchange_key(self) -> None:
        """Wait until secrets can be sent; the first one begins the exchange."""
        if self.key.begins():
            self._chore(self._say(self._protocol.exchange_key()))
        await self.key.wait()

    async def refuse(self, call: HostCall, message: str) -> None:
        """Send a host call's exception."""
        if call.call_id is not None:
            await self._reply(call, self._protocol.refuse(call.call_id, message))

    def refuse_unasked(self, call: HostCall) -> None:
        """Refuse a call that comes while nobody is there to answer."""
        if self._refusing > _MAX_REFUSALS:
            raise RemoteProtocolError("The remote asks on and on, and does not wait for an answer.")
        self._refusing += 1
        self._chore(self._refuse_unasked(call))

    async def _refuse_unasked(self, call: HostCall) -> None:
        try:
            await self.refuse(call, NO_HOST_NOW)
        finally:
            self._refusing -= 1

    async def _reply(self, call: HostCall, messages: list[Outgoing]) -> None:
        await self._say(messages)
        self._taking.answered(call)

    async def _say(self, messages: list[Outgoing]) -> None:
        """Send what nobody waits for: that the line is gone is the reader's news."""
        with contextlib.suppress(TransportClosed, NotPowerShell):
            await self._send(messages)
