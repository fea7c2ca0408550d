"""One cell: sent, its output shown as it comes, its end reported."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pskernel.errors import LocalProtocolError, PSKernelError, RunspaceStateError
from pskernel.records import ErrorRecord, HostCall, HostText, Notice, PipelineEnd, PipelineState, Record
from pskernel.render.ansi import neutralise, strip
from pskernel.render.text import StreamText, error_traceback, render
from pskernel.session.host import Host, HostRefusal

if TYPE_CHECKING:
    from pskernel.kernel.output import CellOutput
    from pskernel.questions import Asker
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["Cell", "CellError", "Outcome", "own_error"]

_SET_SHOULD_EXIT, _POP_RUNSPACE = "SetShouldExit", "PopRunspace"
_ERROR_DISPLAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CellError:
    """What becomes the Jupyter error: ``name`` is PowerShell's FullyQualifiedErrorId, or our own id.

    ``own`` says which: an error of pskernel's (no connection, a refused cell) is never the one that a script announces.
    """

    name: str
    message: str
    traceback: list[str]
    own: bool = False


@dataclass(slots=True)
class Outcome:
    """How a cell ended. ``exit_code`` is set when the script called ``exit``."""

    error: CellError | None = None
    exit_code: int | None = None
    sent: bool = True


class Cell:
    """Runs one cell in an interactive session.

    Args:
        session: where.
        output: takes the text.
        stop_timeout: seconds an interrupted command may take to stop before the session is given up.
    """

    def __init__(self, session: InteractiveSession, output: CellOutput, stop_timeout: float) -> None:
        self._session = session
        self._output = output
        self._stop_timeout = stop_timeout
        self._opening: asyncio.Task[Runspace] | None = None
        self._sending: asyncio.Task[Pipeline] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[str | None] | None = None
        self._interrupted = False
        self._given_up = False
        self._exit: tuple[str, int] | None = None
        self._host: Host | None = None

    async def run(self, text: str, asker: Asker, *, by_user: bool = True) -> Outcome:
        """Run the cell to its end. Every outcome is returned; nothing is raised for what the remote does.

        Args:
            text: the cell.
            asker: answers what connecting asks.
            by_user: as :meth:`InteractiveSession.ready` has it.
        """
        self._host = Host(asker, self._session.label.rpartition("@")[2], self._show)
        self._opening = asyncio.ensure_future(self._session.ready(asker, by_user=by_user))
        try:
            runspace = await self._opening
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            return _interrupted()
        except PSKernelError as error:
            return Outcome(own_error(type(error).__name__, str(error)), sent=False)
        finally:
            self._opening = None
        if self._interrupted:
            return _interrupted()
        try:
            return await self._send(runspace, text, by_user=by_user)
        finally:
            if self._stopping is not None and not self._given_up:
                self._stopping.cancel()
                await asyncio.gather(self._stopping, return_exceptions=True)

    def interrupt(self) -> None:
        """Stop the cell: before it is sent, or on the remote. Must be called on the session's loop."""
        self._interrupted = True
        self._output.spill("interrupted")
        if self._opening is not None:
            self._opening.cancel()
        elif self._checking is not None:
            self._checking.cancel()
        elif self._sending is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._sending))

    async def _send(self, runspace: Runspace, text: str, *, by_user: bool) -> Outcome:
        for piece in _written_between(runspace.take_idle_records()):
            await self._output.write(piece)
        if self._interrupted:
            return _interrupted()
        # An interrupt does not cut this short: half a command on the line would cost the session.
        self._sending = asyncio.create_task(runspace.run_cell(text))
        try:
            pipeline = await self._sending
        except RunspaceStateError as error:
            # Lost in the moment between; this is the cell that is refused for it.
            refusal = self._session.refusal(keep=not by_user) or error
            return Outcome(own_error(type(refusal).__name__, str(refusal)), sent=False)
        except PSKernelError as error:
            return Outcome(await self._cut(error))
        outcome = Outcome(await self._watch(pipeline))
        if pipeline.dropped_records:
            await self._say(f"{pipeline.dropped_records:,} records that came after the interrupt were dropped.")
        if self._exit is not None:
            how, outcome.exit_code = self._exit
            try:
                await self._session.leave(how)
            except PSKernelError as error:
                await self._say(str(error))
        else:
            moved = await self._check_host(text)
            if moved is not None:
                outcome.error = _with_second_hop(outcome.error, moved)
        return outcome

    async def _say(self, text: str) -> None:
        piece = render(Notice(text))
        if piece is not None:
            await self._output.write(piece)

    async def _check_host(self, text: str) -> str | None:
        self._checking = asyncio.create_task(self._session.after_cell(text))
        try:
            return await self._checking
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            why = (
                "The question which host the session is on now was interrupted, so the session on "
                f"{self._session.label} was abandoned: its variables, functions and location are gone."
            )
            await self._session.abandon(why)
            return why
        finally:
            self._checking = None

    async def _stop(self, sending: asyncio.Task[Pipeline]) -> None:
        """Stop the command and its output; after the time allowed, give the session up, which ends the waiting."""
        try:
            async with asyncio.timeout(self._stop_timeout):
                pipeline = await asyncio.shield(sending)
                await pipeline.stop()
                await pipeline.wait_ended()
        except TimeoutError:
            self._given_up = True
            await self._session.abandon(
                f"The last command on {self._session.label} could not be stopped, so its session was abandoned; "
                "that command may still be running there. Its variables, functions and location are gone."
            )
        except PSKernelError:
            return  # whoever waits for the command learns it too

    async def _watch(self, pipeline: Pipeline) -> CellError | None:
        try:
            return await self._follow(pipeline)
        except PSKernelError as error:
            if self._session.is_open:
                # Not a loss: the remote goes on, and without its records this side cannot know how.
                await self._session.abandon(
                    f"The last command on {self._session.label} could not be followed to its end."
                )
            return await self._cut(error)

    async def _follow(self, pipeline: Pipeline) -> CellError | None:
        async for batch in pipeline.batches():
            for record in batch:
                if isinstance(record, HostCall):
                    await self._host_call(pipeline, record)
                    continue
                piece = render(record)
                if piece is not None:
                    await self._output.write(piece)
        return await self._ended(pipeline.end)

    async def _ended(self, end: PipelineEnd | None) -> CellError | None:
        if end is None or end.state is PipelineState.COMPLETED:
            return None
        error = end.error or ErrorRecord("The pipeline has been stopped.", "PipelineStopped")
        if end.state is PipelineState.STOPPED:
            return _plain(error.fully_qualified_error_id or "PipelineStopped", error.message, own=False)
        runspace = self._session.runspace
        shown = []
        if runspace is not None:
            # The cell has failed either way; an endpoint that cannot render it costs only the remote's own layout.
            with contextlib.suppress(PSKernelError, TimeoutError):
                async with asyncio.timeout(_ERROR_DISPLAY_SECONDS):
                    shown = await runspace.display_error(error)
        name = error.fully_qualified_error_id or error.exception_type or "RemoteException"
        return CellError(_clean(name), _clean(error.message), error_traceback(error, shown))

    async def _host_call(self, pipeline: Pipeline, call: HostCall) -> None:
        if call.method == _SET_SHOULD_EXIT:
            code = call.parameters[0] if call.parameters and isinstance(call.parameters[0], int) else 0
            self._exit = "exit", code
        elif call.method == _POP_RUNSPACE:
            self._exit = self._exit or ("Exit-PSSession", 0)
        elif call.expects_reply:
            await self._answer(pipeline, call)

    async def _answer(self, pipeline: Pipeline, call: HostCall) -> None:
        """Put a host call to the user; an end of the pipeline (an interrupt, a loss) withdraws the question."""
        assert self._host is not None  # noqa: S101 - made before the cell is sent
        await self._output.flush()
        # The reply belongs to it: the first secret waits for keys, which a remote may never send.
        answering = asyncio.create_task(_answered(self._host, pipeline, call))
        ended = asyncio.create_task(pipeline.wait_ended())
        try:
            await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, ended):
                task.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)

    async def _show(self, text: HostText) -> None:
        piece = render(text)
        if piece is not None:
            await self._output.write(piece)
            await self._output.flush()

    async def _cut(self, error: PSKernelError) -> CellError:
        if self._given_up and self._stopping is not None:
            await self._stopping
            return own_error(
                "SessionAbandoned",
                f"The command did not stop within {self._stop_timeout:g} seconds of the interrupt (a call that cannot "
                f"be interrupted, most likely). The session on {self._session.label} was abandoned, and the command "
                "may still be running there.",
            )
        return own_error(
            "ConnectionLost",
            f"The connection to {self._session.label} was lost while this cell was running. What is shown above had "
            f"arrived; the command may have completed, may have stopped half-way, or may still be running. {error}",
        )


async def _answered(host: Host, pipeline: Pipeline, call: HostCall) -> None:
    try:
        await pipeline.reply(call, await host.answer(call))
    except (HostRefusal, LocalProtocolError) as error:
        await pipeline.refuse(call, str(error))


def _written_between(records: list[Record]) -> list[StreamText]:
    """What the remote wrote since the last cell: banners while connecting, event handlers."""
    pieces = [piece for record in records if (piece := render(record)) is not None]
    if any(not isinstance(record, Notice) for record in records) and pieces:
        return [StreamText("stderr", "While no cell was running, the remote wrote:\n"), *pieces]
    return pieces


def own_error(name: str, message: str) -> CellError:
    """An error of pskernel's own, to be shown as PowerShell shows its errors."""
    return _plain(name, message, own=True)


def _with_second_hop(error: CellError | None, text: str) -> CellError:
    """A hop must be told even where the cell failed on its own: its user believes to be on the other host."""
    hop = own_error("SecondHop", text)
    return hop if error is None else CellError(error.name, error.message, [*error.traceback, *hop.traceback], own=True)


def _interrupted() -> Outcome:
    return Outcome(own_error("Interrupted", "The cell was interrupted before it was sent."), sent=False)


def _plain(name: str, message: str, *, own: bool) -> CellError:
    shown = neutralise(message)
    return CellError(_clean(name), strip(shown), [f"\x1b[31;1m{shown}\x1b[0m"], own)


def _clean(text: str) -> str:
    # `throw` makes any text both the id and the message, and headless runs write them to terminals.
    return strip(neutralise(text))
