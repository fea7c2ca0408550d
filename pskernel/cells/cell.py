"""One cell: sent, its output shown as it comes, its end reported."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from pskernel.cells.debugging import DEBUGGER_LEFT, declined, stop_message, stop_text
from pskernel.cells.failure import shown_error
from pskernel.cells.meanwhile import told_meanwhile
from pskernel.cells.moving import Moving
from pskernel.cells.outcome import (
    ERROR_SEEN,
    CellError,
    Outcome,
    connection_lost,
    interrupted,
    own_error,
    script_error,
    session_abandoned,
)
from pskernel.cells.output import Output, write_between
from pskernel.cells.progress import ProgressDisplay
from pskernel.directives import Directives
from pskernel.errors import LocalProtocolError, PSKernelError, RunspaceStateError
from pskernel.protocol.noting import noted, noted_error
from pskernel.protocol.pipelines import Command
from pskernel.questions import is_watched
from pskernel.records import (
    DebuggerStop,
    ErrorRecord,
    HostCall,
    HostText,
    Notice,
    PipelineEnd,
    PipelineState,
    ProgressRecord,
    Record,
    TextKind,
)
from pskernel.render.text import render
from pskernel.session import debugger
from pskernel.session.commandline import simple_statements
from pskernel.session.host import Host, clears_screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pskernel.questions import Asker
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["Cell"]

_SET_SHOULD_EXIT, _POP_RUNSPACE, _STOPPED = "SetShouldExit", "PopRunspace", "PipelineStopped"
_END_SECONDS = 1.0
_MAX_ERROR = 500


class Cell:
    """Runs one cell in an interactive session.

    Args:
        session: where.
        output: takes the text, and decides how it is shown.
        stop_timeout: seconds an interrupted command may take to stop before the session is given up.
        progress: shows progress records.
        directives: what the cell asks of this side.
        opened: called with the open session before anything is sent; an error it returns is why nothing is.
    """

    # Whether what stops in the debugger can be gone on with by the cells that follow.
    debugs = True
    # Whether the session stays on the host to which Enter-PSSession takes it.
    follows = True

    def __init__(
        self,
        session: InteractiveSession,
        output: Output,
        stop_timeout: float,
        *,
        progress: ProgressDisplay | None = None,
        directives: Directives | None = None,
        opened: Callable[[], Awaitable[CellError | None]] | None = None,
    ) -> None:
        self._session = session
        self._output = output
        self._stop_timeout = stop_timeout
        self._progress = progress or ProgressDisplay(None)
        self._directives = directives or Directives()
        self._opened = opened
        self._timed_out = False
        self._error_record = ""
        self._opening: asyncio.Task[tuple[Runspace, CellError | None]] | None = None
        self._sending: asyncio.Task[Pipeline] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ran_on = ""
        self._moving = Moving(session, follows=self.follows)
        self._interrupted = False
        self._given_up = self._unreached = False
        self._exit: tuple[str, int] | None = None
        self._host: Host | None = None
        # The pipeline in whose debugger this cell runs, and how it goes on.
        self._stopped: Pipeline | None = None
        self._action: str | None = None

    async def run(self, text: str, asker: Asker, *, by_user: bool = True) -> Outcome:
        """Run the cell to its end. Every outcome is returned; nothing is raised for what the remote does.

        Args:
            text: the cell.
            asker: answers what connecting asks.
            by_user: as :meth:`InteractiveSession.ready` has it.
        """
        self._host = Host(asker, self._session.computer, self._show)
        self._opening = asyncio.ensure_future(self._open(text, asker, by_user=by_user))
        try:
            runspace, refused = await self._opening
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            return interrupted()
        except PSKernelError as error:
            return Outcome(own_error(type(error).__name__, str(error)), sent=False)
        finally:
            self._opening = None
        if self._interrupted or refused is not None:
            return interrupted() if self._interrupted else Outcome(refused, sent=False)
        try:
            return await self._send(runspace, text, by_user=by_user)
        finally:
            await self._progress.finish()
            if self._stopping is not None and not self._given_up:
                self._stopping.cancel()
                await asyncio.gather(self._stopping, return_exceptions=True)

    def interrupt(self) -> None:
        """Stop the cell: before it is sent, or on the remote. Must be called on the session's loop."""
        self._interrupted = True
        self._output.spill("interrupted")
        if self._opening is not None:
            self._opening.cancel()
        elif not self._moving.interrupt() and self._sending is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._sending))

    async def _open(self, text: str, asker: Asker, *, by_user: bool) -> tuple[Runspace, CellError | None]:
        ready = self._session.ready(asker, by_user=by_user)
        runspace = await told_meanwhile(ready, self._session.runspace, self._output if by_user else None)
        refused = await self._opened() if self._opened is not None else None
        refused = refused or await self._moving.refusal(runspace, text)
        if refused is None and self._session.is_behind:
            # Questions, to the user too, have come in between.
            runspace = await self._session.ready(asker, by_user=by_user)
        return runspace, refused

    def _time_out(self) -> None:
        self._timed_out = True
        self.interrupt()

    async def _send(self, runspace: Runspace, text: str, *, by_user: bool) -> Outcome:
        if self._debugger_left(by_user=by_user):
            return Outcome(own_error("DebuggerLeft", DEBUGGER_LEFT), sent=False)
        if by_user:
            await write_between(self._output, runspace.idle.take())
        if self._interrupted:
            return interrupted()
        self._ran_on = self._session.place
        # An interrupt does not cut this short: half a command on the line would cost the session.
        self._sending = asyncio.create_task(self._start(runspace, text))
        try:
            pipeline = await self._sent(self._sending, runspace, by_user=by_user)
        except RunspaceStateError as error:
            # Lost in the moment between; this is the cell that is refused for it.
            refusal = self._session.refusal(keep=not by_user) or error
            return Outcome(own_error(type(refusal).__name__, str(refusal)), sent=False)
        except LocalProtocolError as error:
            return Outcome(own_error("ArgumentNotSerializable", str(error)), sent=False)
        except PSKernelError as error:
            return Outcome(await self._cut(error))
        outcome = Outcome(await self._watch_in_time(pipeline), error_records=bool(self._error_record))
        if pipeline.dropped_records:
            await self._say(f"{pipeline.dropped_records:,} records that came after the interrupt were dropped.")
        if self._exit is not None:
            await self._leave(outcome, *self._exit)
        wrote = outcome.error_records
        told = await self._moving.settle(outcome, text, wrote_error=wrote, stopped_here=self._interrupted)
        if told:
            await self._say(told)
        return outcome

    async def _sent(self, sending: asyncio.Task[Pipeline], runspace: Runspace, *, by_user: bool) -> Pipeline:
        if not by_user:
            return await sending
        pipeline = await told_meanwhile(sending, runspace, self._output)
        await write_between(self._output, runspace.idle.take_notices())
        return pipeline

    async def _leave(self, outcome: Outcome, how: str, code: int) -> None:
        outcome.exit_code = code
        try:
            await self._session.leave(how)
        except PSKernelError as error:
            await self._say(str(error))

    def _debugger_left(self, *, by_user: bool) -> bool:
        """Whether the command that had stopped is over, and nobody was told; a front end's own cells do not count."""
        self._stopped = self._session.stopped
        left = self._stopped is not None and self._stopped.ended
        if left and by_user:
            self._session.stopped = None
        return left

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:
        if self._stopped is not None:
            shown = not debugger.is_debugger_command(text)
            return await runspace.run_nested(debugger.debugger_script(text), shown=shown)
        text = self._moving.as_sent(text)
        cell = text if self._session.facts.takes_script else simple_statements(text) or text
        if self._directives.stop_on_error_record and self._session.facts.takes_ours:
            cell = noted(Command(text, is_script=True))
        return await runspace.run_cell(cell, width=self._directives.width)

    async def _say(self, text: str) -> None:
        await self._show(Notice(text))

    async def _stop(self, sending: asyncio.Task[Pipeline]) -> None:
        """Stop the command and its output; after the time allowed, give the session up, which ends the waiting."""
        try:
            async with asyncio.timeout(self._stop_timeout):
                pipeline = await asyncio.shield(sending)
                await pipeline.stop()
                await pipeline.wait_ended()
        except TimeoutError:
            self._given_up = True
            self._unreached = self._session.connection == "reconnecting"
            await self._session.abandon(
                f"The last command on {self._session.place} could not be stopped, so its session was abandoned; "
                "that command may still be running there. Its variables, functions and location are gone."
            )
        except PSKernelError:
            return  # whoever waits for the command learns it too

    async def _watch_in_time(self, pipeline: Pipeline) -> CellError | None:
        seconds = self._directives.timeout
        if seconds is None:
            error = await self._watch(pipeline)
        else:
            timer = asyncio.get_running_loop().call_later(seconds, self._time_out)
            try:
                error = await self._watch(pipeline)
            finally:
                timer.cancel()
            # An error of ours says more: the session was given up, or lost, and the command may still be running.
            if self._timed_out and error is not None and not error.own:
                return own_error("CellTimeout", f"The cell was stopped after {seconds:g} s, its timeout.")
        if error is None and self._error_record and self._directives.stop_on_error_record:
            return script_error(ERROR_SEEN, self._error_record, own=False)
        return error

    async def _watch(self, pipeline: Pipeline) -> CellError | None:
        try:
            return await self._follow(pipeline)
        except PSKernelError as error:
            if self._session.is_open:
                # Not a loss: the remote goes on, and without its records this side cannot know how.
                await self._session.abandon(
                    f"The last command on {self._session.place} could not be followed to its end."
                )
            return await self._cut(error)

    async def _follow(self, pipeline: Pipeline) -> CellError | None:
        async for batch in pipeline.batches():
            for record in batch:
                if isinstance(record, DebuggerStop):
                    error = await self._stop_in_debugger(pipeline, record)
                    if self._session.stopped is not None:
                        return error
                else:
                    await self._record(pipeline, record)
        error = await self._ended(pipeline.end)
        if self._stopped is None:
            return error
        if self._action is None:
            await self._note_end_in_debugger(self._stopped)
            return error
        return await self._go_on(self._stopped, self._action)

    async def _record(self, pipeline: Pipeline, record: Record) -> None:
        if isinstance(record, HostCall):
            await self._host_call(pipeline, record)
            return
        if isinstance(record, ProgressRecord):
            self._progress.update(record)
            return
        if (told := noted_error(record)) is not None:
            self._note_error(told)
            return
        if isinstance(record, HostText) and record.kind is TextKind.ERROR:
            self._note_error(record.text)
        if self._stopped is not None:
            self._action = debugger.resume_action(record) or self._action
            text = debugger.output_text(record)
            record = HostText(text) if text is not None else record
        piece = render(record)
        if piece is not None:
            await self._output.write(piece)

    def _note_error(self, text: str) -> None:
        """Keep the beginning of what was written as errors: the remote writes one in several lines."""
        if len(self._error_record) < _MAX_ERROR:
            self._error_record = f"{self._error_record}\n{text.strip()}".strip()

    async def _stop_in_debugger(self, pipeline: Pipeline, stop: DebuggerStop) -> CellError | None:
        """Keep the pipeline for the cells that follow, or go on at once where nobody can use the debugger."""
        assert self._host is not None  # noqa: S101 - made before the cell is sent
        runspace = self._session.runspace
        if not self.debugs or not is_watched(self._host.asker):
            await self._show(declined(stop))
            if runspace is not None:
                await debugger.resume(runspace, debugger.CONTINUE)
            return None
        await self._show(stop_text(stop, entering=self._action is None))
        self._session.stopped = pipeline
        return None if self._action in debugger.STEPS else own_error("DebuggerStop", stop_message(stop))

    async def _note_end_in_debugger(self, stopped: Pipeline) -> None:
        """An engine that stops what runs in its debugger may stop the command that had stopped there, too."""
        if self._interrupted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await stopped.wait_ended()
        if stopped.ended:
            self._session.stopped = None
            await self._say("The command in the debugger has been stopped too. Cells run in the session again.")

    async def _go_on(self, stopped: Pipeline, action: str) -> CellError | None:
        """Follow the stopped pipeline to its next stop or its end."""
        runspace = self._session.runspace
        self._session.stopped, self._stopped = None, None
        self._sending = asyncio.create_task(asyncio.sleep(0, stopped))
        if self._stopping is not None:
            # The interrupt met the debugger's own command, which is over; the user means the one that goes on.
            await asyncio.gather(self._stopping, return_exceptions=True)
            self._stopping, action = None, debugger.STOP
        if runspace is not None:
            await debugger.resume(runspace, action)
        error = await self._follow(stopped)
        if error is None and action == debugger.STOP and self._interrupted:
            return script_error(_STOPPED, "The pipeline has been stopped.", own=False)
        return error

    async def _ended(self, end: PipelineEnd | None) -> CellError | None:
        if end is None or end.state is PipelineState.COMPLETED:
            return None
        error = end.error or ErrorRecord("The pipeline has been stopped.", _STOPPED)
        if end.state is PipelineState.STOPPED:
            return script_error(error.fully_qualified_error_id or _STOPPED, error.message, own=False)
        # In the debugger, what is stopped there would hold up the question how the remote shows it.
        return await shown_error(error, self._session.runspace if self._session.stopped is None else None)

    async def _host_call(self, pipeline: Pipeline, call: HostCall) -> None:
        if call.method == _SET_SHOULD_EXIT:
            code = call.parameters[0] if call.parameters and isinstance(call.parameters[0], int) else 0
            self._exit = "exit", code
        elif call.method == _POP_RUNSPACE:
            self._exit = self._exit or ("Exit-PSSession", 0)
        elif call.expects_reply:
            assert self._host is not None  # noqa: S101 - made before the cell is sent
            await self._output.flush()
            await self._host.reply(pipeline, call)
        elif clears_screen(call):
            await self._output.clear()

    async def _show(self, text: HostText | Notice) -> None:
        piece = render(text)
        if piece is not None:
            await self._output.write(piece)
            await self._output.flush()

    async def _cut(self, error: PSKernelError) -> CellError:
        if self._given_up and self._stopping is not None:
            await self._stopping
            return session_abandoned(self._ran_on, self._stop_timeout, unreached=self._unreached)
        return connection_lost(self._ran_on, error)
