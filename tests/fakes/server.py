"""A PSRP server over an in-memory line: psrpcore's server side, the out-of-process framing, and a script of the test's.

``serve`` runs it. A test's ``Behaviour`` says what each pipeline does; by default a pipeline writes back its text to the
host, as Out-Default would.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psrpcore
from psrpcore import types as ps

from pskernel.errors import TransportClosed
from pskernel.session.runspace import Runspace
from pskernel.transports.base import ByteStream
from pskernel.transports.outofproc import OutOfProcTransport
from tests.fakes.memory import MemoryStream, memory_pair

_PACKET = re.compile(rb"<(\w+)(?: Stream='(\w+)')? PSGuid='([0-9a-f-]{36})'(?: />|>([^<]*)</Data>)")
NO_PIPELINE = UUID(int=0)
WRITE_LINE = ps.HostMethodIdentifier.WriteLine2


@dataclass
class Call:
    """A running pipeline, as its behaviour sees it."""

    server: Server
    pipeline: psrpcore.ServerPipeline
    text: str
    inputs: list[object] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def line(self, text: str) -> None:
        """Write a line to the client's host."""
        self.pipeline.host_call(WRITE_LINE, [text])
        await self.server.flush()

    async def output(self, value: object) -> None:
        self.pipeline.write_output(value)
        await self.server.flush()

    async def ask(self, method: ps.HostMethodIdentifier, parameters: list[object]) -> Any:
        """Call a host method that returns something, and wait for the answer."""
        self.pipeline.host_call(method, parameters)
        await self.server.flush()
        return await self.answers.get()

    async def tell(self, method: ps.HostMethodIdentifier) -> None:
        """Call a host method that returns nothing."""
        self.pipeline.host_call(method, [])
        await self.server.flush()

    async def fail(self, message: str, error_id: str) -> None:
        error = ps.ErrorRecord(
            Exception=ps.NETException(Message=message),
            CategoryInfo=ps.ErrorCategoryInfo(Category=ps.ErrorCategory.NotSpecified),
            FullyQualifiedErrorId=error_id,
        )
        self.pipeline._change_state(ps.PSInvocationState.Failed, error)
        await self.server.flush()


Behaviour = Callable[[Call], Awaitable[None]]


async def echo(call: Call) -> None:
    """Write the pipeline's text back, as a line."""
    await call.line(call.text)


@dataclass
class Server:
    """The far end. ``log`` holds the packets that came, without Data's content; ``ids`` whose they were.

    ``opens`` and ``acks`` turned off make it silent: to the opening, or altogether. What it then says is the test's.
    """

    stream: MemoryStream
    behaviour: Behaviour = echo
    log: list[str] = field(default_factory=list)
    ids: list[UUID] = field(default_factory=list)
    opens: bool = True
    acks: bool = True
    answers_reset: bool | None = None
    pool: psrpcore.ServerRunspacePool = field(default_factory=psrpcore.ServerRunspacePool)
    calls: dict[UUID, Call] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Answer until the client is gone."""
        with contextlib.suppress(TransportClosed):
            await self._serve()

    async def _serve(self) -> None:
        rest = b""
        while data := await self.stream.receive():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                match = _PACKET.fullmatch(line)
                assert match is not None, line[:200]
                await self._packet(match[1].decode(), UUID(match[3].decode()), match[4] or b"")

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send(data)

    async def ack(self, name: str, guid: UUID) -> None:
        """Acknowledge a packet of that name."""
        await self.raw(f"<{name}Ack PSGuid='{guid}' />\n".encode())

    async def break_pool(self, why: str) -> None:
        """Tell the client that the pool is broken."""
        self.pool.pipeline_table.clear()
        error = ps.ErrorRecord(Exception=ps.NETException(Message=why), CategoryInfo=ps.ErrorCategoryInfo())
        self.pool.set_broken(error)
        await self.flush()

    async def flush(self) -> None:
        while (payload := self.pool.data_to_send(32_768)) is not None:
            guid = payload.pipeline_id or NO_PIPELINE
            await self.raw(
                b"<Data Stream='Default' PSGuid='%s'>%s</Data>\n" % (str(guid).encode(), base64.b64encode(payload.data))
            )

    async def wait_for(self, packet: str) -> None:
        """Wait until the client has sent a packet of that name."""
        while packet not in self.log:
            self.seen.clear()
            await self.seen.wait()

    async def _packet(self, name: str, guid: UUID, data: bytes) -> None:
        self.log.append(name)
        self.ids.append(guid)
        self.seen.set()
        pipeline = None if guid == NO_PIPELINE else guid
        if name == "Command":
            assert pipeline is not None
            psrpcore.ServerPipeline(self.pool, pipeline)
        if self.acks:
            await self.ack(name, guid)
        if name == "Data":
            self.pool.receive_data(psrpcore.PSRPPayload(base64.b64decode(data), psrpcore.StreamType.default, pipeline))
            await self._events()
        elif name == "Signal" and pipeline in self.calls:
            self.calls[pipeline].stopped.set()
        elif name == "Close" and pipeline is not None and pipeline in self.pool.pipeline_table:
            self.pool.pipeline_table[pipeline].close()

    async def _events(self) -> None:
        while (event := self.pool.next_event()) is not None:
            if isinstance(event, psrpcore.CreatePipelineEvent):
                self._start(event)
            elif isinstance(event, psrpcore.PipelineInputEvent):
                self.calls[event.pipeline_id].inputs.append(event.data)
            elif isinstance(event, psrpcore.ResetRunspaceStateEvent) and self.answers_reset is not None:
                self.pool.runspace_availability_response(event.ci, self.answers_reset)
            elif isinstance(event, psrpcore.PipelineHostResponseEvent):
                self.calls[event.pipeline_id].answers.put_nowait(event)
        if self.opens:
            await self.flush()

    def _start(self, event: psrpcore.CreatePipelineEvent) -> None:
        text = event.pipeline.commands[0].command_text
        call = Call(self, self.pool.pipeline_table[event.pipeline_id], text)
        self.calls[event.pipeline_id] = call
        self.texts.append(text)
        task = asyncio.create_task(self._run(call))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, call: Call) -> None:
        call.pipeline.start()
        try:
            await self.behaviour(call)
            if call.pipeline.state is ps.PSInvocationState.Running:
                if call.stopped.is_set():
                    call.pipeline.stop()
                else:
                    call.pipeline.complete()
                await self.flush()
        except TransportClosed:
            return


@asynccontextmanager
async def far_end(
    behaviour: Behaviour = echo,
    *,
    limit: int = 65_536,
    wrap: Callable[[ByteStream], ByteStream] = lambda stream: stream,
) -> AsyncIterator[tuple[OutOfProcTransport, Server]]:
    """A client's transport, over its end of the line or what ``wrap`` makes of it, and the server at the other end."""
    near, far = memory_pair(limit)
    server = Server(far, behaviour)
    serving = asyncio.create_task(server.serve())
    transport = OutOfProcTransport(wrap(near))
    try:
        yield transport, server
    finally:
        await transport.aclose()
        await far.aclose()
        for task in (serving, *server.tasks):
            task.cancel()
        results = await asyncio.gather(serving, *server.tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def opened(behaviour: Behaviour = echo, *, limit: int = 65_536) -> AsyncIterator[tuple[Runspace, Server]]:
    """An open runspace and its server."""
    async with far_end(behaviour, limit=limit) as (transport, server):
        runspace = await Runspace.open(transport, open_timeout=10)
        try:
            yield runspace, server
        finally:
            await runspace.abandon("The test is over.")
