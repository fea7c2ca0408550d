"""One runspace on a remote: opened, used by one pipeline at a time, closed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Coroutine, Sequence
from typing import Any
from uuid import UUID

from pskernel.errors import (
    NotPowerShell,
    ProtocolError,
    PSKernelError,
    RemoteProtocolError,
    RunspaceStateError,
    TransportClosed,
)
from pskernel.protocol.pipelines import PipelineShape, Screen, Statements
from pskernel.protocol.runspace import (
    KeyExchanged,
    Outgoing,
    PoolEvent,
    PoolOpened,
    PoolReset,
    PoolSettings,
    PoolStopped,
    RunspaceProtocol,
)
from pskernel.records import HostCall, Notice, PipelineEnd, Record
from pskernel.session.beside import Beside
from pskernel.session.leaving import LeavesPool, keeper
from pskernel.session.pipeline import Pipeline, take_back
from pskernel.session.replies import Replies
from pskernel.session.running import RunningPipelines
from pskernel.session.state import RunspaceState, opening_error
from pskernel.session.taking import Taking
from pskernel.transports.base import Gone, Payload, Transport

__all__ = ["Runspace", "RunspaceState"]

_LAST_WORDS_SECONDS = 2.0
# PowerShell's own client gives a server that long to confirm that a pipeline is closed (IPCCloseTimedOut).
_CLOSE_SECONDS = 60.0
# What ends with the connection has ended by then.
_CHORES_SECONDS = 0.5
_CLOSED = "The runspace was closed."


class Runspace(LeavesPool, Beside):
    """The client's end of a remote runspace. Owns the transport and the one task that reads from it.

    Use :meth:`open` to make one; close it with :meth:`aclose` or ``async with``.
    """

    # Whether a session that was asked for by its name was there already, and not opened then.
    was_there: bool | None = None

    def __init__(self, transport: Transport, protocol: RunspaceProtocol) -> None:
        super().__init__()
        self._transport = transport
        self._protocol = protocol
        self._state = RunspaceState.OPENING
        self._opened, self._ended = asyncio.Event(), asyncio.Event()
        self._error: PSKernelError | None = None
        self._turn, self._nested_turn = asyncio.Lock(), asyncio.Lock()
        self._running = RunningPipelines()
        self._received = 0
        self._reset_answer: asyncio.Future[bool] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._taking = Taking(transport, protocol, self._running, self.idle)
        self._replies = Replies(transport, self._protocol, self._send, self._chore, self._taking)
        self._reader = asyncio.create_task(self._read(), name="pskernel-reader")

    @classmethod
    async def open(
        cls, transport: Transport, *, settings: PoolSettings | None = None, open_timeout: float = 60.0
    ) -> Runspace:
        """Open a runspace pool of one runspace over a connected transport, which it takes over.

        Args:
            transport: a connected transport; closed here if opening fails.
            settings: of the pool.
            open_timeout: seconds until the server must have opened the pool.

        Raises:
            NotPowerShell: whoever is there does not answer as PowerShell does.
            ConnectError: the server refused to open the pool, or the line was cut meanwhile.
        """
        runspace = cls(transport, RunspaceProtocol(settings or PoolSettings(), transport.max_payload))
        await runspace._open(runspace._send(runspace._protocol.open()), open_timeout)
        return runspace

    @classmethod
    async def attach(
        cls,
        transport: Transport,
        pool_id: UUID,
        running: Sequence[UUID] = (),
        *,
        settings: PoolSettings | None = None,
        open_timeout: float = 60.0,
    ) -> Runspace:
        """Come to a runspace pool that another client has left at its server.

        Args:
            transport: reaches the server; closed here if it fails.
            pool_id: the pool.
            running: its pipelines; they are :attr:`left`.
            settings: what is taken of it; the rest of them its first client has chosen.
            open_timeout: seconds until the server must have answered.

        Raises:
            ConnectError: there is no such pool, somebody is connected to it, or the server keeps none.
        """
        runspace = cls(transport, RunspaceProtocol(settings or PoolSettings(), transport.max_payload, pool_id))
        runspace.is_taken_over = True
        await runspace._open(runspace._attach(pool_id, running), open_timeout)
        return runspace

    async def _open(self, first: Coroutine[Any, Any, None], open_timeout: float) -> None:
        opened = False
        try:
            async with asyncio.timeout(open_timeout):
                await first
                await self._opened.wait()
            opened = self._state is RunspaceState.OPEN
        except TimeoutError:
            text = f"No PowerShell answered within {open_timeout:g} seconds. {self._transport.diagnostics()}"
            raise NotPowerShell(text.strip()) from None
        except TransportClosed:
            # Whoever writes only learns that the line is gone; the reader hears what the far side said at its end.
            await asyncio.wait({self._reader}, timeout=_LAST_WORDS_SECONDS)
        finally:
            # It may have opened in the moment in which the time was up, or the caller gone.
            if not opened:
                await self.abandon("The runspace could not be opened.")
        if not opened:
            raise opening_error(self._error)

    @property
    def state(self) -> RunspaceState:
        """Where it is in its life."""
        return self._state

    @property
    def error(self) -> PSKernelError | None:
        """Why the runspace broke."""
        return self._error

    @property
    def instance_id(self) -> UUID:
        """The runspace pool's id, as ``(Get-PSSession).InstanceId`` shows it."""
        return self._protocol.runspace_id

    @property
    def is_busy(self) -> bool:
        """Whether a pipeline is running."""
        return self._running.innermost is not None

    async def wait_ended(self) -> None:
        """Wait until the runspace is closed or broken."""
        await self._ended.wait()

    async def exchange_key(self) -> None:
        """Wait until secrets can be sent as arguments, or the line is lost; LocalProtocolError if they never can."""
        await self._replies.exchange_key()

    async def reset(self) -> None:
        """Set the runspace's variables back, as a new session would have them, without a new connection.

        Raises:
            RunspaceStateError: a pipeline is running, or the server cannot.
        """
        if self._running.innermost is not None:
            raise RunspaceStateError("The runspace cannot be reset while a pipeline is running.")
        async with self._turn:
            self._require_open()
            self._reset_answer = asyncio.get_running_loop().create_future()
            await self._send(self._protocol.reset())
            if not await self._reset_answer:
                self._require_open()
                raise RunspaceStateError("The server refused to reset the runspace.")

    async def _attach(self, pool_id: UUID, running: Sequence[UUID]) -> None:
        hello = b"".join(fragment for message in self._protocol.connect() for fragment in message.fragments)
        for record in self._protocol.receive(await keeper(self._transport).attach(pool_id, hello)):
            self._take_pool_event(record[1])  # type: ignore[arg-type] # nothing else is in an answer to connect
        for pipeline_id in running:
            # One at a time; whatever else there is has ended.
            turn = asyncio.Lock() if self._turn.locked() else self._turn
            await turn.acquire()
            pipeline = Pipeline(self._replies, pipeline_id)
            pipeline.is_sent = True
            self._running.add(pipeline)
            self.left.append(pipeline)
            self._chore(self._see_off(pipeline, turn))
            await keeper(self._transport).resume(pipeline_id)

    async def aclose(self, *, grace: float = 2.0) -> None:
        """Close the runspace on the remote, waiting at most ``grace`` seconds for its answer, then the connection."""
        try:
            if self._state is RunspaceState.OPEN:
                self._state = RunspaceState.CLOSED
                with contextlib.suppress(TimeoutError, TransportClosed):
                    async with asyncio.timeout(grace):
                        # The last pipeline may just be being seen off; what runs, or is not read, is not waited for.
                        async with self._turn if self._running.all_read else contextlib.nullcontext():
                            await self._transport.close_pool()
        finally:
            await self._shut(_CLOSED)

    async def give_up(self, why: str) -> None:
        """Drop the connection, and with it what a relay keeps there: it does not obey."""
        if self._taking.matters:
            keeper(self._transport).leaves = False
        await self.abandon(why)

    async def abandon(self, why: str) -> None:
        """Drop the connection. What runs there may go on running, unless a server that keeps pools ends it."""
        if self._state in (RunspaceState.OPEN, RunspaceState.OPENING, RunspaceState.DISCONNECTED):
            self._break(self._error or TransportClosed(why))
        await self._shut(why)

    async def _start(
        self,
        shape: PipelineShape,
        what: str | Statements = "",
        screen: Screen | None = None,
        *,
        input_clixml: bytes | None = None,
        ours: bool = False,
    ) -> Pipeline:
        turn = self._nested_turn if shape in {PipelineShape.NESTED, PipelineShape.DEBUGGER} else self._turn
        await turn.acquire()
        try:
            self._require_open()
            pipeline_id, create = self._protocol.start(shape, what, screen)
            pipeline = Pipeline(self._replies, pipeline_id, ours=ours)
            self._chore(self._see_off(pipeline, turn))
        except BaseException:
            turn.release()
            raise
        self._running.add(pipeline)
        sending = self._chore(self._replies.begin(pipeline, create, input_clixml))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # Half a command on the line would cost the session: it goes out, and is stopped.
            self._chore(take_back(pipeline, sending))
            raise
        except (TransportClosed, NotPowerShell) as error:
            await asyncio.wait({self._reader}, timeout=_LAST_WORDS_SECONDS)
            await self.abandon(str(error))
            raise TransportClosed(str(self._error or error)) from None
        return pipeline

    async def _see_off(self, pipeline: Pipeline, turn: asyncio.Lock) -> None:
        """Wait for the pipeline's end, tell the server we are done with it, and let the next one go."""
        try:
            await pipeline.wait_ended()
            if pipeline in self.left or (self._taking.matters and not pipeline.ours):
                # Another client may come for what this one has not shown; what is closed is nothing to come for.
                await pipeline.wait_read()
            if pipeline.end is not None:
                with contextlib.suppress(TransportClosed, NotPowerShell, TimeoutError):
                    closing = functools.partial(self._transport.close_pipeline, pipeline.pipeline_id)
                    await self.in_time(_CLOSE_SECONDS, closing)
        finally:
            self._running.remove(pipeline)
            self._taking.ended(pipeline.pipeline_id)
            turn.release()

    async def _send(self, messages: list[Outgoing]) -> None:
        for message in messages:
            for fragment in message.fragments:
                if message.pipeline_id is None and self._state is RunspaceState.OPENING:
                    await self._transport.open(fragment)
                    continue
                await self._transport.send(message.pipeline_id, fragment, prompt_response=message.prompt_response)

    def _require_open(self) -> None:
        if self._state is not RunspaceState.OPEN:
            why = f" {self._error}" if self._error else ""
            raise RunspaceStateError(f"The runspace is {self._state.value}.{why}")

    async def _read(self) -> None:
        try:
            while self._state is not RunspaceState.BROKEN:
                for item in await self._transport.receive():
                    self._take(item)
                self._taking.note()
                await self._running.wait_drained()
                # A stream with data ready never yields by itself, and this loop belongs to the kernel too.
                await asyncio.sleep(0)
        except (TransportClosed, NotPowerShell, ProtocolError) as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - whatever the remote sent, waiters must wake up
            self._break(RemoteProtocolError(f"The remote's messages could not be read ({type(error).__name__})."))
        # Nobody reads any more: whoever waits for an acknowledgement must hear it, and the connection is of no use.
        try:
            await self._transport.aclose()
        except PSKernelError as error:
            self._show(Notice(str(error)))

    def _take(self, item: Payload | Gone | Notice) -> None:
        if isinstance(item, Notice):
            self._show(item)
        elif isinstance(item, Gone):
            self._running.gone(item.pipeline_id, self._why(TransportClosed(item.why)))
        else:
            self._take_data(item)

    def _take_data(self, item: Payload) -> None:
        self._received += len(item.data)
        for pipeline_id, record in self._protocol.receive(item.data):
            received, self._received = self._received, 0
            if isinstance(record, HostCall) and record.expects_reply:
                self._taking.asked(pipeline_id, record)
            if isinstance(record, PoolEvent):
                self._take_pool_event(record)
            elif not self._running.deliver(pipeline_id, record, received) and not isinstance(record, PipelineEnd):
                self._outside(record, received)

    def _take_pool_event(self, event: PoolEvent) -> None:
        match event:
            case PoolOpened():
                if self._state is RunspaceState.OPENING:
                    self._state = RunspaceState.OPEN
                    self._protocol.max_payload = self._transport.max_payload
                self._opened.set()
            case PoolStopped(reason):
                self._break(TransportClosed(reason or "The remote closed the runspace."))
            case KeyExchanged(problem):
                if self._replies.key.has_begun or not self.is_taken_over:  # otherwise it was for another client
                    self._replies.key.end(problem)
            case PoolReset(success) if self._reset_answer is not None and not self._reset_answer.done():
                self._reset_answer.set_result(success)

    def _outside(self, record: Record, received: int) -> None:
        """A record that belongs to no running pipeline."""
        if isinstance(record, HostCall) and record.expects_reply:
            self._replies.refuse_unasked(record)
        else:
            self._show(record, received)

    def _show(self, record: Record, received: int = 0) -> None:
        innermost = self._running.innermost
        # Whoever sends a pipeline over a connection that is away does not wait for its records yet.
        if innermost is not None and (innermost.is_sent or not isinstance(record, Notice)):
            innermost.deliver(record, received)
        else:
            self.idle.add(record, received)

    def _break(self, error: PSKernelError) -> None:
        if self._state in (RunspaceState.OPEN, RunspaceState.OPENING, RunspaceState.DISCONNECTED):
            self._state = RunspaceState.BROKEN
            self._error = error
        self._release(self._why(error))

    def _why(self, error: PSKernelError) -> PSKernelError:
        """Why a pipeline will be heard of no more. What a server says to being closed is no news."""
        return TransportClosed(_CLOSED) if self._state is RunspaceState.CLOSED else error

    def _release(self, error: PSKernelError) -> None:
        """Wake up whoever waits for what will not come any more."""
        self._running.fail(error)
        if self._reset_answer is not None and not self._reset_answer.done():
            self._reset_answer.set_result(False)
        self._replies.key.end()
        self._opened.set()
        self._ended.set()

    async def _shut(self, why: str) -> None:
        if self._state is RunspaceState.OPEN:
            self._state = RunspaceState.CLOSED
        try:
            await self._transport.aclose()
        finally:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._release(self._error or TransportClosed(why))
            await self._end_chores()

    async def _end_chores(self) -> None:
        """The connection is gone: whoever still waits for a server's answer over WinRM, waits for nothing."""
        if self._chores:
            _, waiting = await asyncio.wait(self._chores, timeout=_CHORES_SECONDS)
            for chore in waiting:
                chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    def _chore(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task
