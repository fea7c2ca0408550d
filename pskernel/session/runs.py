"""What can be run in a runspace: cells, scripts, questions of our own."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Self

from pskernel.errors import PipelineFailed
from pskernel.protocol.pipelines import PipelineShape, Screen, Statements
from pskernel.records import ErrorRecord, HostText, Output
from pskernel.session.idle import IdleRecords
from pskernel.session.pipeline import Pipeline, collect

__all__ = ["RunsPipelines"]


class RunsPipelines(ABC):
    """What a :class:`pskernel.session.runspace.Runspace` is to who runs something in it."""

    def __init__(self) -> None:
        # What the remote said while no pipeline was running, for whoever runs the next one.
        self.idle = IdleRecords()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Close it."""

    async def run_cell(self, cell: str | Statements, *, width: int | None = None) -> Pipeline:
        """Run a cell as Enter-PSSession runs a typed line: verbatim, as script, formatted by the remote's Out-Default.

        Args:
            cell: the text, unchanged, or the commands it consists of, for an endpoint that takes no script.
            width: the columns to format for, if not the runspace's own.

        Raises:
            RunspaceStateError: the runspace is closed or broken; nothing was sent.
            TransportClosed: the connection broke while the cell was being sent.
        """
        return await self._start(PipelineShape.CELL, cell, Screen(width) if width else None)

    async def show(self, statements: Statements) -> Pipeline:
        """Run a script with arguments, formatted as a cell's, but not in the remote's history. Raises as above."""
        return await self._start(PipelineShape.SHOWN, statements)

    async def invoke(self, script: str | Statements, *, ours: bool = False) -> Pipeline:
        """Run a script, or one statement of commands; it yields :class:`pskernel.records.Output`, errors as records.

        Args:
            script: what.
            ours: whether it is a question of our own, which nobody must receive who comes back to the session.

        Raises:
            RunspaceStateError: the runspace is closed or broken; nothing was sent.
            TransportClosed: the connection broke while the script was being sent.
        """
        return await self._start(PipelineShape.QUERY, script, ours=ours)

    async def run_nested(self, what: str | Statements, *, shown: bool = False) -> Pipeline:
        """Run something while the pipeline that runs is stopped in the debugger.

        Args:
            what: a script, or one statement of commands.
            shown: whether it is formatted by the remote's Out-Default, as a cell's; otherwise it yields objects.

        Raises:
            RunspaceStateError: the runspace is closed or broken; nothing was sent.
            TransportClosed: the connection broke while it was being sent.
        """
        return await self._start(PipelineShape.NESTED if shown else PipelineShape.DEBUGGER, what)

    async def query(self, script: str | Statements, *, timeout: float = 10.0) -> list[Any]:  # noqa: ASYNC109
        """Run a short script of our own, or one statement of commands, and return its objects.

        Raises:
            PipelineFailed: it ended with an error.
            TimeoutError: it took longer than ``timeout`` seconds, waiting for its turn included; it was told to stop.
            TransportClosed: the connection was lost.
            RemoteProtocolError: it returned more than a short script can mean.
        """
        async with asyncio.timeout(timeout):
            pipeline = await self.invoke(script, ours=True)
            found = await collect(pipeline, Output, self.idle.add)
        if pipeline.end is not None and pipeline.end.error is not None:
            raise PipelineFailed(pipeline.end.error)
        return [output.value for output in found]

    async def display_error(self, error: ErrorRecord) -> list[HostText]:
        """Let the remote render a terminating error as its console would (its ``$ErrorView``, its ``$PSStyle``).

        Returns:
            the lines written, or none where the remote will not (a restricted endpoint).
        """
        if not error.clixml:
            return []
        pipeline = await self._start(PipelineShape.DISPLAY, input_clixml=error.clixml, ours=True)
        return await collect(pipeline, HostText, self.idle.add)

    @abstractmethod
    async def _start(
        self,
        shape: PipelineShape,
        what: str | Statements = "",
        screen: Screen | None = None,
        *,
        input_clixml: bytes | None = None,
        ours: bool = False,
    ) -> Pipeline:
        """Send a pipeline, when its turn has come."""
