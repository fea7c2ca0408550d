"""One pipeline: the records it sends, and what can be said back to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pskernel.errors import PSKernelError, RemoteProtocolError
from pskernel.records import DebuggerStop, HostCall, HostText, Notice, Output, PipelineEnd, Record

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["NO_HOST_NOW", "Pipeline", "PipelineOwner", "collect", "take_back", "weigh"]

_T = TypeVar("_T")

NO_HOST_NOW = "A command that prompts the user failed because no cell is running."

# What may wait for a slow consumer before the remote is made to wait too.
_HIGH_WATER_BYTES = 4 * 1024 * 1024
# While a stop is under way the state message must get through, so reading goes on beyond the high water mark; what a
# remote that ignores the stop sends beyond this is dropped and counted.
_STOPPING_BYTES = 64 * 1024 * 1024
# The Python objects around a short text weigh more than the text.
_RECORD_BYTES = 200
# What an engine on a busy machine needs to start a pipeline, and a person does not notice.
_START_SECONDS = 0.3
# Answers to short scripts are held in memory as a whole.
_MAX_COLLECTED_BYTES = 64 * 1024 * 1024
# An object in memory against its CLIXML.
_OBJECT_GROWTH = 4


class PipelineOwner(Protocol):
    """What a pipeline asks of its runspace."""

    async def signal(self, pipeline: Pipeline) -> None:
        """Ask the remote to stop the pipeline."""

    async def answer(self, call: HostCall, value: Any) -> None:
        """Answer a host call."""

    async def refuse(self, call: HostCall, message: str) -> None:
        """Answer a host call with an error."""

    def was_read(self) -> None:
        """Note that all records of the pipeline that have arrived were read."""


class Pipeline:
    """An invocation on the remote. Iterate over it, or over :meth:`batches`, until it ends.

    The last record is a :class:`pskernel.records.PipelineEnd`. Iteration raises
    :class:`pskernel.errors.TransportClosed` if the connection goes away first: then nothing is known about whether the
    remote finished the work.
    """

    def __init__(self, owner: PipelineOwner, pipeline_id: UUID, *, ours: bool = False) -> None:
        self.pipeline_id = pipeline_id
        # Whether it is a question of our own, and nothing that a user has started.
        self.ours = ours
        # Before that nobody reads what is delivered to it.
        self.is_sent = False
        self.sent_at = asyncio.get_running_loop().time()
        self._owner = owner
        self._queue: list[Record] = []
        self._queued_bytes = 0
        # Whether a reader has a batch, and has not come back for the next.
        self._handed_out = False
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._end: PipelineEnd | None = None
        self._failure: PSKernelError | None = None
        self._stop_sent = False
        self._dropped = 0
        self._finished, self._read = asyncio.Event(), asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the remote has reported the end, or the connection is lost."""
        return self._finished.is_set()

    @property
    def end(self) -> PipelineEnd | None:
        """How the remote said it ended; None while it runs, and after a loss."""
        return self._end

    @property
    def is_read(self) -> bool:
        """Whether all that has arrived was read."""
        return not self._queue and not self._handed_out

    @property
    def dropped_records(self) -> int:
        """Records dropped because the remote kept sending after it was told to stop."""
        return self._dropped

    async def wait_ended(self) -> None:
        """Wait until the remote reports the end, or the connection is lost. Does not consume records."""
        await self._finished.wait()

    async def wait_read(self) -> None:
        """Wait until somebody has read it, or it is certain that nobody will, or the connection is lost."""
        await self._read.wait()

    async def batches(self) -> AsyncIterator[list[Record]]:
        """Yield what has arrived since the last batch, at least one record at a time, in order.

        Raises:
            TransportClosed: the connection was lost before the end.
        """
        # A cell that goes on behind a stop in the debugger reads again.
        self._read.clear()
        try:
            while True:
                self._handed_out = False
                if not self._queue:
                    self._owner.was_read()
                    if self._failure is not None:
                        raise self._failure
                    if self._end is not None:
                        return
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                batch, self._queue = self._queue, []
                self._queued_bytes = 0
                self._drained.set()
                self._handed_out = True
                yield batch
        finally:
            self._read.set()

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Yield the records one by one; see :meth:`batches`."""
        async for batch in self.batches():
            for record in batch:
                yield record

    async def stop(self) -> None:
        """Ask the remote to stop, once its engine has had the time to start the pipeline.

        The end still arrives as a record; a call that cannot be stopped delays it. A stop that meets a pipeline still
        being started would be reported as done, and the pipeline run for ever.
        """
        if self._stop_sent or self.ended:
            return
        self._stop_sent = True
        self._drained.set()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self.sent_at + _START_SECONDS):
                    await self.wait_ended()
            if not self.ended:
                await self._owner.signal(self)
        except asyncio.CancelledError:
            self._stop_sent = False  # it may not have gone out: the next call tries again
            raise

    async def reply(self, call: HostCall, value: Any) -> None:
        """Answer a host call that expects a reply, with the value its method returns."""
        await self._owner.answer(call, value)

    async def refuse(self, call: HostCall, message: str) -> None:
        """Answer a host call with an exception whose message is ``message``."""
        await self._owner.refuse(call, message)

    def nobody_reads(self) -> None:
        """Whoever has started it does not want it any more."""
        self._read.set()

    # Below: for the runspace's reader only.

    def deliver(self, record: Record, received: int = 0) -> None:
        """Queue a record, for which ``received`` bytes came over the line."""
        if self._stop_sent and self._queued_bytes > _STOPPING_BYTES and not isinstance(record, PipelineEnd):
            self._dropped += 1
            return
        self._queue.append(record)
        self._queued_bytes += weigh(record, received)
        if self._queued_bytes > _HIGH_WATER_BYTES and not self._stop_sent:
            self._drained.clear()
        if isinstance(record, PipelineEnd):
            self._end = record
            self._finished.set()
        self._changed.set()

    def fail(self, error: PSKernelError) -> None:
        """Note that the connection is lost. What had arrived can still be read."""
        if self._end is None and self._failure is None:
            self._failure = error
        self._finished.set()
        self._read.set()
        self._drained.set()
        self._changed.set()

    async def wait_drained(self) -> None:
        """Wait while a slow consumer has too much to read already."""
        await self._drained.wait()


def weigh(record: Record, received: int) -> int:
    """About how many bytes a record holds, if ``received`` bytes came over the line for it."""
    if isinstance(record, HostText):
        return _RECORD_BYTES + len(record.text)
    if isinstance(record, Output) and isinstance(record.value, str | bytes):
        return _RECORD_BYTES + len(record.value)
    return _RECORD_BYTES * 10 + _OBJECT_GROWTH * received


async def collect(pipeline: Pipeline, kind: type[_T], others: Callable[[Record], object]) -> list[_T]:
    """All records of one kind, to the end. Nobody can be asked; cut short, the pipeline is stopped.

    What else is meant for a screen (PowerShell runs event handlers within whatever pipeline there is) goes to
    ``others``.

    Raises:
        RemoteProtocolError: they are too much to be held.
        TransportClosed: the connection was lost before the end.
    """
    found: list[_T] = []
    size = 0
    try:
        async for record in pipeline:
            if isinstance(record, HostCall):
                await pipeline.refuse(record, NO_HOST_NOW)
            if isinstance(record, DebuggerStop):
                await pipeline.stop()  # a breakpoint of the user's on something that we ask too
            if isinstance(record, kind):
                found.append(record)
                size += weigh(record, 0)
                if size > _MAX_COLLECTED_BYTES:
                    raise RemoteProtocolError("The remote answers a short question without end.")
            elif isinstance(record, HostText | Notice):
                others(record)
    finally:
        await pipeline.stop()
    return found


async def take_back(pipeline: Pipeline, sending: asyncio.Task[None]) -> None:
    """Stop a pipeline that nobody waits for any more, as soon as it is out."""
    pipeline.nobody_reads()
    with contextlib.suppress(PSKernelError):
        await sending
        await pipeline.stop()
