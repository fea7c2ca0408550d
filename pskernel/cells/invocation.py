"""A script that runs beside the user's cells, as Invoke-Command runs one: with arguments, and objects as its result."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from pskernel.cells.cell import Cell
from pskernel.cells.outcome import ERROR_SEEN, own_error, script_error
from pskernel.directives import Directives
from pskernel.errors import PipelineFailed, PSKernelError
from pskernel.protocol.noting import noted
from pskernel.records import ErrorRecord, HostText, Output, Record, TextKind
from pskernel.session.pipeline import weigh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pskernel.cells.outcome import CellError, Outcome
    from pskernel.cells.output import Output as TextOutput
    from pskernel.protocol.pipelines import Statements
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["ErrorAction", "Invocation"]

# What the objects of one invocation may weigh in memory.
_MAX_BYTES = 2 * 1024 * 1024 * 1024


class ErrorAction(Enum):
    """What becomes of error records. As with Invoke-Command's -ErrorAction, the script goes on behind each."""

    CONTINUE = "Continue"
    STOP = "Stop"
    SILENTLY_CONTINUE = "SilentlyContinue"
    IGNORE = "Ignore"

    @property
    def hides(self) -> bool:
        """Whether they are not shown."""
        return self in {ErrorAction.SILENTLY_CONTINUE, ErrorAction.IGNORE}


class Invocation(Cell):
    """Runs one script in a session.

    Args:
        session, output, stop_timeout: as for a :class:`Cell`.
        statements: makes what is sent, once the session is open; an error it raises is why nothing is.
        collect: takes each object; None lets the remote format them, as for a cell.
        error_action: what becomes of error records.
    """

    debugs = False
    follows = False

    def __init__(
        self,
        session: InteractiveSession,
        output: TextOutput,
        stop_timeout: float,
        statements: Callable[[Runspace], Awaitable[Statements]],
        collect: Callable[[Any], object] | None = None,
        *,
        error_action: ErrorAction = ErrorAction.CONTINUE,
    ) -> None:
        directives = Directives(stop_on_error_record=error_action is ErrorAction.STOP)
        super().__init__(session, output, stop_timeout, directives=directives, opened=self._prepare)
        self._error_action = error_action
        self._make = statements
        self._statements: Statements = []
        self._collect = collect
        self._room = _MAX_BYTES

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:  # noqa: ARG002 - what is sent is known
        if self._collect:
            return await runspace.invoke(self._statements)
        ((script,),) = self._statements
        notes = self._error_action is ErrorAction.STOP and self._session.facts.takes_ours
        return await runspace.show(noted(script) if notes else self._statements)

    async def _prepare(self) -> CellError | None:
        runspace = self._session.runspace
        if runspace is not None:
            try:
                self._statements = await self._make(runspace)
            except PipelineFailed as failure:
                return script_error(failure.record.fully_qualified_error_id, failure.record.message, own=False)
            except TimeoutError:
                return own_error("InvocationFailed", "The remote did not answer a question about the script in time.")
            except PSKernelError as error:
                return own_error(getattr(error, "error_id", type(error).__name__), str(error))
        return None

    async def _record(self, pipeline: Pipeline, record: Record) -> None:
        if isinstance(record, ErrorRecord):
            self._note_error(record.message.strip() or "an error without a text")
        if self._error_action.hides and _is_error(record):
            return
        if self._collect is None or not isinstance(record, Output):
            await super()._record(pipeline, record)
        elif self._room > 0:
            self._collect(record.value)
            self._room -= weigh(record, 0)
            if self._room <= 0:
                self.interrupt()

    async def _watch(self, pipeline: Pipeline) -> CellError | None:
        error = await super()._watch(pipeline)
        if self._room > 0:
            return error
        return own_error(
            "ResultTooLarge",
            f"The script was stopped: what it returned takes more than {_MAX_BYTES >> 20} MB here. Let the remote "
            "select or summarise.",
        )

    async def _leave(self, outcome: Outcome, how: str, code: int) -> None:  # noqa: ARG002 - the cell's signature
        """A script that exits ends itself, not the session; with a number that is not 0, it has failed."""
        if code and (outcome.error is None or outcome.error.name == ERROR_SEEN):
            message = f"The script on {self._session.computer} ended with exit {code}."
            outcome.error = script_error("ScriptExited", message, own=False)


def _is_error(record: Record) -> bool:
    """Whether it is an error record, or its text where the remote has formatted it."""
    return isinstance(record, ErrorRecord) or (isinstance(record, HostText) and record.kind is TextKind.ERROR)
