"""One cell of a run: sent, its outputs collected as a notebook keeps them, its end judged."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbformat import from_dict
from nbformat.v4 import new_output
from platformdirs import user_log_path

from pskernel.answers import FileAsker
from pskernel.cells.assertion import Assertion
from pskernel.cells.cell import Cell
from pskernel.cells.left import finish_left
from pskernel.cells.outcome import CellError, Outcome, own_error
from pskernel.cells.paced import CellOutput, Limits
from pskernel.cells.place import Place
from pskernel.directives import read_directives
from pskernel.errors import PSKernelError
from pskernel.questions import Asker, NobodyToAsk
from pskernel.runbook.heard import Heard, Listening, Masked
from pskernel.runbook.notebook import join_streams, plain, shortened
from pskernel.runbook.report import CellState
from pskernel.runbook.tags import ASSERT_TAG, EXPECTED_TAG, tags_of
from pskernel.session.interactive import InteractiveSession
from pskernel.session.whatif import Examination, examine, what_if

__all__ = ["CellRules", "CellRun", "Judged"]

_LOG = logging.getLogger(__name__)
_WITHHELD = "WithheldFromDryRun"
_IS_AT_WORK = "A command that was left in this session has not ended. A dry run waits for none, and shows none."
_NO_LANGUAGE = (
    "The endpoint takes commands alone, and no script that could read a cell: what cells would change is not known, "
    "and none is run."
)
# Of errors, in characters: in the record of the run, and in the cell's own output. `throw` takes megabytes.
_MAX_RECORDED = 4_000
_MAX_SHOWN = 64 * 1024
_FAILED = "pskernel failed ({}). The command may have run on the remote. The log has the details; please report them."


@dataclass(frozen=True, slots=True)
class CellRules:
    """What holds for every cell that does not say otherwise.

    Attributes:
        timeout: seconds after which a cell is stopped, or None.
        stop_on_error_record: whether an error record fails a cell.
        dry: whether only cells are run that are known to change nothing, under ``$WhatIfPreference``.
        vouched: modules whose commands the user vouches for in a dry run.
    """

    timeout: float | None = None
    stop_on_error_record: bool = False
    dry: bool = False
    vouched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """How a cell of a run ended. ``sent`` is whether anything of it was; ``error_records`` whether it wrote any."""

    state: CellState
    message: str = ""
    error_id: str = ""
    exit_code: int | None = None
    sent: bool = True
    error_records: bool = False


class CellRun:
    """Runs one cell of a notebook, once.

    Args:
        cell: the notebook's cell. Its outputs are replaced as soon as it is sent.
        place: where.
        rules: what holds where the cell says nothing.
        asker: answers what the cell asks, where no file of answers does.
        heard: where secrets are noted, which are then in no output.
        permit: asked when the session is open, right before anything is sent; why it must not be, or nothing.
    """

    def __init__(
        self,
        cell: Any,
        place: Place,
        rules: CellRules,
        asker: Asker,
        heard: Heard,
        *,
        permit: Callable[[], str] | None = None,
    ) -> None:
        self._cell = cell
        self._place = place
        self._rules = rules
        self._asker = asker
        self._heard = heard
        self._permit = permit
        self._running: Cell | None = None
        self._interrupted = False
        self._clear_first = True

    async def run(self, number: int) -> Judged:
        """Run it to its end; ``number`` becomes its execution count."""
        began = datetime.now(UTC).isoformat()
        output = CellOutput(self._add, self._limits(), self._clear)
        masked = Masked(output, self._heard.masker)
        try:
            outcome = await self._outcome(masked)
        except Exception as error:  # noqa: BLE001 - and it is logged
            # One cell's failure of ours must not take the run's record with it. Its text may hold anything, secrets
            # too, so only where it happened is logged.
            name, places = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
            _LOG.error("A cell came to an end that nobody thought of: %s\n%s", name, places)
            outcome = Outcome(own_error("InternalError", _FAILED.format(name)))
            if self._place.session is not None:
                await self._place.session.abandon("The last cell ended with a failure of pskernel itself.")
        finally:
            await masked.flush()
            await output.finish()
            self._cell.outputs = join_streams(self._cell.outputs)
        if outcome.error is not None and outcome.error.name == _WITHHELD:
            self._add("stderr", f"Not run, because in a dry run nothing may change:\n{outcome.error.message}\n")
        elif outcome.error is not None:
            self._add_error(outcome.error)
        # Again: what was only heard later, or came in pieces.
        self._cell.outputs = from_dict(self._heard.masker.mask_all(self._cell.outputs))
        self._cell.execution_count = number
        self._cell.metadata["execution"] = {
            "iopub.execute_input": began,
            "shell.execute_reply": datetime.now(UTC).isoformat(),
        }
        return self._judge(outcome)

    def interrupt(self) -> None:
        """Stop the cell on the remote."""
        self._interrupted = True
        if self._running is not None:
            self._running.interrupt()

    async def _outcome(self, output: Masked) -> Outcome:
        text = self._cell.source
        try:
            directives = read_directives(text)
            session = self._place.for_cell(text)
            files = self._place.answers(directives.answers)
        except PSKernelError as error:
            return Outcome(own_error(type(error).__name__, str(error)), sent=False)
        target, gate = self._place.target, self._place.gate
        assert target is not None  # noqa: S101 - a session has one
        assert gate is not None  # noqa: S101

        async def opened() -> CellError | None:
            # Nobody is there to confirm a production target, and a file may have come with the notebook.
            refusal = await gate.refusal(session, NobodyToAsk(), text)
            if refusal is not None:
                return own_error("ProductionNotConfirmed", refusal)
            self._begin_anew()
            user = Listening(self._asker, self._heard)
            unfinished = await finish_left(session, output, target.options.stop_timeout, user, limit=directives.timeout)
            if unfinished is not None:
                return unfinished
            line = gate.line(session)
            if line is not None:
                await output.write(line)
            refusal = self._permit() if self._permit is not None else None
            return own_error("NotPermitted", refusal) if refusal else None

        directives = dataclasses.replace(
            directives,
            timeout=directives.timeout or self._rules.timeout,
            stop_on_error_record=directives.stop_on_error_record or self._rules.stop_on_error_record,
        )
        kind = Assertion if directives.asserts or ASSERT_TAG in tags_of(self._cell) else Cell
        cell = self._running = kind(session, output, target.options.stop_timeout, directives=directives, opened=opened)
        if self._interrupted:
            cell.interrupt()
        try:
            asker = Listening(FileAsker(files, self._asker) if files else self._asker, self._heard)
            return await (self._run_dry(cell, session, asker) if self._rules.dry else cell.run(text, asker))
        finally:
            self._running = None

    async def _run_dry(self, cell: Cell, session: InteractiveSession, asker: Asker) -> Outcome:
        """Run a cell of a dry run, or withhold it."""
        text = self._cell.source
        try:
            runspace = await session.ready(asker)
            if runspace.left:
                return Outcome(own_error("LeftCommandFailed", _IS_AT_WORK), sent=False)
            if not session.facts.takes_script:
                return Outcome(own_error("NoLanguage", _NO_LANGUAGE), sent=False)
            found = await examine(runspace, text, vouched=self._rules.vouched)
            if isinstance(cell, Assertion):
                found = Examination(runs=False, reasons=("it is an assertion, about what a dry run does not do",))
            if not found.runs:
                return Outcome(own_error(_WITHHELD, "\n".join(found.reasons)), sent=False)
            async with what_if(runspace):
                return await cell.run(text, asker)
        except PSKernelError as error:
            return Outcome(own_error(type(error).__name__, str(error)), sent=False)

    def _limits(self) -> Limits:
        target = self._place.target
        folder = Path(user_log_path("pskernel", appauthor=False)) / "cells"
        # Nobody watches: nothing has to be paced.
        return Limits(0, target.options.output_limit if target is not None else 0, folder)

    def _add(self, stream: str, text: str) -> None:
        self._begin_anew()
        self._cell.outputs.append(new_output("stream", name=stream, text=text))

    def _add_error(self, error: CellError) -> None:
        self._begin_anew()
        # Masked before it is cut, which could leave a part of a secret.
        name, message, lines = map(self._heard.masker.mask, (error.name, error.message, "\n".join(error.traceback)))
        self._cell.outputs.append(
            new_output(
                "error",
                ename=shortened(name, _MAX_RECORDED),
                evalue=shortened(message, _MAX_SHOWN),
                traceback=shortened(lines, _MAX_SHOWN).split("\n"),
            )
        )

    def _clear(self) -> None:
        self._clear_first = True

    def _begin_anew(self) -> None:
        if self._clear_first:
            self._cell.outputs.clear()
            self._clear_first = False

    def _judge(self, outcome: Outcome) -> Judged:
        error = outcome.error
        if error is None:
            state = CellState.EXITED if outcome.exit_code is not None else CellState.OK
            if state is CellState.OK and self._interrupted:
                state = CellState.INTERRUPTED
            return Judged(state, exit_code=outcome.exit_code, error_records=outcome.error_records)
        name, message = (
            shortened(self._heard.masker.mask(plain(text)), _MAX_RECORDED) for text in (error.name, error.message)
        )
        if self._interrupted:
            state = CellState.INTERRUPTED
        elif name == _WITHHELD and error.own:
            return Judged(CellState.WITHHELD, message, sent=False)
        # Also where the cell is tagged: what it announces is an error of PowerShell's. To go on after one of ours would
        # be another login for each cell, or cells in a new session without what the cells before have done.
        elif not outcome.sent:
            state = CellState.UNSENT
        elif EXPECTED_TAG in tags_of(self._cell) and not error.own:
            state = CellState.EXPECTED
        else:
            state = CellState.FAILED
            # `throw "text"` makes the text its own id.
            message = message if name == message else shortened(f"{name}: {message}", _MAX_RECORDED)
        return Judged(state, message, name, outcome.exit_code, sent=outcome.sent, error_records=outcome.error_records)
