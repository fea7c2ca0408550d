"""The pipelines that run in one runspace: one, and above it those that its debugger runs while it is stopped."""

from __future__ import annotations

from uuid import UUID

from pskernel.errors import PSKernelError
from pskernel.records import DebuggerStop, Record
from pskernel.session.pipeline import Pipeline

__all__ = ["RunningPipelines"]


class RunningPipelines:
    """A stack. What arrives goes to the pipeline that it is for, or to the innermost."""

    def __init__(self) -> None:
        self._stack: list[Pipeline] = []

    @property
    def innermost(self) -> Pipeline | None:
        """The pipeline that runs now; None if there is none, or it has ended and is being closed."""
        return next((pipeline for pipeline in reversed(self._stack) if not pipeline.ended), None)

    @property
    def all_read(self) -> bool:
        """Whether all have ended, and somebody has read them to their end."""
        return all(pipeline.ended and pipeline.is_read for pipeline in self._stack)

    @property
    def all_taken(self) -> bool:
        """Whether all that has arrived was read, and the server knows of those that have ended that this side does."""
        return all(pipeline.is_read and not pipeline.ended for pipeline in self._stack)

    @property
    def is_unread(self) -> bool:
        """Whether one that has ended stays until somebody has read it. Ours do not: who asked may be gone."""
        return any(pipeline.ended and not pipeline.is_read and not pipeline.ours for pipeline in self._stack)

    def add(self, pipeline: Pipeline) -> None:
        """Note that a pipeline starts."""
        self._stack.append(pipeline)

    def remove(self, pipeline: Pipeline) -> None:
        """Note that a pipeline has been seen off."""
        self._stack.remove(pipeline)

    def deliver(self, pipeline_id: UUID | None, record: Record, received: int) -> bool:
        """Give a record to the pipeline it is for. Returns whether that one is running."""
        for pipeline in self._stack:
            # The debugger stops for the whole pool, and means the pipeline at the bottom.
            if (pipeline.pipeline_id == pipeline_id or isinstance(record, DebuggerStop)) and not pipeline.ended:
                pipeline.deliver(record, received)
                return True
        return False

    def gone(self, pipeline_id: UUID, error: PSKernelError) -> None:
        """A pipeline will not be heard of any more: tell it, if it has not ended."""
        for pipeline in self._stack:
            if pipeline.pipeline_id == pipeline_id:
                pipeline.fail(error)

    def fail(self, error: PSKernelError) -> None:
        """The connection is lost: tell all of them."""
        for pipeline in self._stack:
            pipeline.fail(error)

    async def wait_drained(self) -> None:
        """Wait while the innermost has more to be read than it should."""
        pipeline = self.innermost
        if pipeline is not None:
            await pipeline.wait_drained()
