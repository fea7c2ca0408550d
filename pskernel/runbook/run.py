"""A notebook run from beginning to end with nobody watching, in this process: one session, one cell after the other.

The executed notebook is written before the first cell, before and after each one, and at the end: what is on disk
after a crash is what had happened by then, and which cell was being run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from pskernel.cells.place import Place
from pskernel.errors import AuditError, PSKernelError
from pskernel.questions import Asker, NobodyToAsk
from pskernel.runbook.cellrun import CellRules, CellRun, Judged
from pskernel.runbook.heard import Heard
from pskernel.runbook.notebook import NotebookError, counts, digest, parameters_digest, plain, runs, title_of
from pskernel.runbook.onrecord import OnRecord
from pskernel.runbook.report import AFTER_CELL, CellDone, CellState, Report, RunState, Watcher, tell
from pskernel.runbook.saving import Saving, alone
from pskernel.session.interactive import InteractiveSession

__all__ = ["NotebookRun"]

# A recording is written while the session closes.
_CLOSE_SECONDS = 30.0
_GIVEN_UP = "The run was given up while the cell ran; its command may still be running on the remote."
_LANGUAGE = {
    "name": "powershell",
    "mimetype": "application/x-powershell",
    "file_extension": ".ps1",
    "codemirror_mode": "powershell",
    "pygments_lexer": "powershell",
}


class NotebookRun:
    """One run of one notebook. ``notebook`` is changed: its outputs are those of this run.

    Args:
        notebook: as :func:`read_notebook` returns it.
        place: where its cells run. Its session is closed at the end.
        out: where to write the executed notebook.
        watcher: is told of each cell.
        rules: what holds for cells that do not say otherwise.
        asker: answers what cells and connecting ask.
        keep: the indices of cells that an earlier run has done: they are not run, and keep their outputs.
        report: what is known before it begins: the notebook's path, earlier runs.
        heard: where secrets are noted, which are then in nothing that is written.
        on_record: an audit log, without which nothing is run.
        permit: asked before anything is sent, when the session is open; why it must not be, or nothing.

    Attributes:
        notebook: the notebook, with the outputs so far.
        report: what it has come to so far.
        last_words: why the end of the session did not go well, once the run is over; or empty.
        written: where the executed notebook is by now: ``out``, or if that could not be written in the end, a file
            of that name in a temporary directory, or None.
    """

    def __init__(
        self,
        notebook: Any,
        place: Place,
        out: Path,
        watcher: Watcher,
        *,
        rules: CellRules | None = None,
        asker: Asker | None = None,
        keep: Collection[int] = (),
        report: Report | None = None,
        heard: Heard | None = None,
        on_record: OnRecord | None = None,
        permit: Callable[[], str] | None = None,
    ) -> None:
        self.notebook = notebook
        self._place = place
        self._out = out
        self._watcher = watcher
        self._rules = rules or CellRules()
        self._keep = frozenset(keep)
        self._asker = asker or NobodyToAsk()
        self._heard = heard or Heard()
        self._on_record = on_record
        self._permit = permit
        self.report = report or Report()
        self.report.book, self.report.parameters = digest(notebook), parameters_digest(notebook)
        self.report.dry = self._rules.dry
        self.last_words = ""
        self._cell: CellRun | None = None
        # Where the next cell is to run, as far as cells of an earlier run say: behind a host, or empty.
        self._expected = ""
        self._asked = 0
        self._sent = False
        self._working: asyncio.Task[None] | None = None
        self._file = Saving(notebook, self.report, out, self._heard.masker)

    @property
    def written(self) -> Path | None:
        return self._file.written

    async def run(self) -> Report:
        """Run the notebook. Must be called once. Cancelling it ends the session, and leaves the notebook written.

        Raises:
            NotebookError: the executed notebook cannot be written. Nothing was run.
        """
        with alone(self._out):
            return await self._run()

    async def _run(self) -> Report:
        self.report.started = datetime.now(UTC).isoformat(timespec="seconds")
        if self._place.target is not None:
            self.report.target = self._place.target.redacted
        # A run that goes on leaves what earlier ones have found, until a cell is sent again.
        for cell in self.notebook.cells if not self.report.earlier else ():
            if runs(cell):
                cell.update(outputs=[], execution_count=None)
                for name in ("execution", "pskernel"):
                    cell.metadata.pop(name, None)
        await self._file.save()
        try:
            self._working = asyncio.create_task(self._work())
            if self._asked:
                self._working.cancel()
            try:
                await asyncio.shield(self._working)
            except asyncio.CancelledError:
                if not self._working.cancelled():
                    self._working.cancel()
                    await asyncio.gather(self._working, return_exceptions=True)
                    raise
            finally:
                await self._close()
        finally:
            if self.report.state is RunState.RUNNING:
                self.report.state = RunState.INTERRUPTED
            await self._file.end()
        return self.report

    def interrupt(self) -> None:
        """Stop the running cell on the remote, then the run. A second time: give up without waiting."""
        self._asked += 1
        if self._asked > 1 and self._working is not None:
            self._working.cancel()
        elif self._cell is not None:
            self._cell.interrupt()

    async def _work(self) -> None:
        record = self._on_record
        try:
            if record is not None:
                await record.began(self._place)
            try:
                await self._run_cells()
            except asyncio.CancelledError:
                self.report.state = RunState.INTERRUPTED
                if record is not None:
                    await _to_its_end(record.ended(self._place, self.report))
                raise
            if record is not None:
                await record.ended(self._place, self.report)
        except AuditError as error:
            # What cannot be put on record is not run.
            self._stopped_by(error)

    def _stopped_by(self, error: PSKernelError, why: str = "") -> None:
        report = self.report
        report.state = RunState.FAILED if self._sent else RunState.NOT_RUN
        report.problem, report.error_id = f"{why}{error}", type(error).__name__

    async def _run_cells(self) -> None:
        cells = [(index, cell) for index, cell in enumerate(self.notebook.cells) if counts(cell)]
        for number, (index, cell) in enumerate(cells, 1):
            if self.report.state is not RunState.RUNNING:
                return
            if self._asked:
                self.report.state = RunState.INTERRUPTED
                return
            done = CellDone(index, number, len(cells), title_of(cell.source), CellState.SKIPPED)
            began = time.monotonic()
            if index in self._keep:
                done = replace(done, state=CellState.KEPT)
                self._expected = _place_after(cell.metadata.get("pskernel"))
            elif runs(cell):
                tell(self._watcher.begins, done)
                try:
                    judged = await self._run_cell(cell, done)
                except NotebookError as error:
                    self._stopped_by(error, "The run was ended before this cell, which could not be noted. ")
                    self.report.failed_cell = index
                    judged = Judged(CellState.UNSENT, sent=False)
                else:
                    self._note(judged, index)
                done = replace(done, state=judged.state, message=judged.message, seconds=time.monotonic() - began)
            tell(self._watcher.ended, done)
            # If this fails for good, no further cell is sent, and the last attempt says so.
            with contextlib.suppress(NotebookError):
                await self._file.save()
        if self.report.state is RunState.RUNNING:
            self.report.state = RunState.COMPLETED

    async def _run_cell(self, cell: Any, done: CellDone) -> Judged:
        """Note that the cell is begun, run it, and note how it ended.

        Raises:
            NotebookError: it was not sent, because the file cannot say that it was.
            AuditError: likewise; or what it has done is not on record.
        """
        before = list(cell.outputs), cell.execution_count, cell.metadata.get("pskernel")
        record = cell.metadata["pskernel"] = nbformat.from_dict(
            {"state": str(CellState.RUNNING), "started": datetime.now(UTC).isoformat()}
        )
        began = time.monotonic()
        try:
            await self._file.save()
            if self._on_record is not None:
                await self._on_record.sent(self._place, done.index, cell)
        except PSKernelError:
            _put_back(cell, before)
            raise
        self._cell = CellRun(cell, self._place, self._rules, self._asker, self._heard, permit=self._refusal)
        if self._asked:
            # While the file was written.
            self._cell.interrupt()
        try:
            judged = await self._cell.run(done.number)
        except asyncio.CancelledError:
            record["state"] = str(CellState.INTERRUPTED)
            self.report.failed_cell, self.report.problem = done.index, _GIVEN_UP
            tell(self._watcher.ended, replace(done, state=CellState.INTERRUPTED))
            if self._on_record is not None:
                given_up = Judged(CellState.INTERRUPTED, _GIVEN_UP)
                seconds = time.monotonic() - began
                await _to_its_end(self._on_record.ran(self._place, done.index, cell, given_up, seconds))
            raise
        finally:
            self._cell = None
        place = self._behind()
        # A cell that was done before, and is run again, has to lead where it led.
        self._expected = _place_after(before[2]) if self._keep and _was_done(before[2]) else place
        known = {"error_id": judged.error_id, "error_records": judged.error_records, "place": place}
        record.update(state=str(judged.state), seconds=round(time.monotonic() - began, 3))
        record.update({name: value for name, value in known.items() if value})
        if not judged.sent and judged.state is not CellState.WITHHELD and before[2] is not None:
            _put_back(cell, before)
        self._sent = self._sent or judged.sent
        if self._on_record is not None:
            await self._on_record.ran(self._place, done.index, cell, judged, time.monotonic() - began)
        return judged

    def _behind(self) -> str:
        """The place of the session where it is behind the target's own host; else empty."""
        session = self._place.session
        return plain(session.place) if session is not None and session.is_away else ""

    def _refusal(self) -> str:
        """Why nothing may be sent, asked when the session is open; or empty."""
        refusal = self._permit() if self._permit is not None else ""
        here = self._behind()
        if refusal or not self._keep or here == self._expected:
            return refusal
        return (
            f"In the earlier run this cell was to run on {plain(self._expected) or 'the target itself'}, and the "
            f"session is on {here or 'the target itself'}. Tag the cell with Enter-PSSession or Exit-PSSession "
            "`always`, so that it is run again where a run goes on. Nothing was sent."
        )

    def _note(self, judged: Judged, index: int) -> None:
        """What a cell's end means for the run, and what is known of the remote by then."""
        report, session = self.report, self._place.session
        report.unanswered = self._heard.unanswered
        report.withheld += judged.state is CellState.WITHHELD
        report.had_errors = report.had_errors or judged.error_records or judged.state is CellState.FAILED
        if judged.exit_code is not None:
            report.exit_code = judged.exit_code
        if self._place.target is not None:
            report.target = self._place.target.redacted
        if session is not None:
            self._note_origin(session)
        if session is not None and session.facts.version:
            report.version, report.user = session.facts.version, session.facts.user
            report.computer = session.facts.computer
            peer = session.runspace.peer if session.runspace is not None else None
            if peer is not None and (peer.key or peer.auth):
                report.identity = {"key": peer.key, "auth": peer.auth}
            self.notebook.metadata["language_info"] = nbformat.from_dict({**_LANGUAGE, "version": report.version})
        if judged.state in AFTER_CELL:
            never_sent = judged.state is CellState.UNSENT and not self._sent
            report.state = RunState.NOT_RUN if never_sent else AFTER_CELL[judged.state]
            report.failed_cell = None if judged.state is CellState.EXITED else index
            report.problem, report.error_id = judged.message, judged.error_id

    def _note_origin(self, session: InteractiveSession) -> None:
        if self.report.came_back is None:
            self.report.came_back = session.was_there

    async def _close(self) -> None:
        session = self._place.session
        if session is None:
            return
        self._note_origin(session)
        if self._asked > 1:
            await session.abandon("The run was given up.")
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await session.aclose()
        except TimeoutError:
            self.last_words = f"The session did not close within {_CLOSE_SECONDS:g} seconds."
        except PSKernelError as error:
            self.last_words = str(error)


def _place_after(record: Any) -> str:
    """Where the session was after a cell, as its record says, if that was behind a host; else empty."""
    return str(record.get("place", "")) if isinstance(record, Mapping) else ""


def _was_done(record: Any) -> bool:
    return isinstance(record, Mapping) and record.get("state") in (CellState.OK, CellState.EXPECTED)


def _put_back(cell: Any, before: tuple[list[Any], int | None, Any]) -> None:
    """A cell that was not sent after all is as an earlier run has left it."""
    cell.outputs, cell.execution_count, record = before
    if record is None:
        del cell.metadata["pskernel"]
    else:
        cell.metadata["pskernel"] = record


async def _to_its_end(recording: Coroutine[Any, Any, None]) -> None:
    """Put on record how what is given up has ended, also if that is asked for once more."""
    with contextlib.suppress(AuditError, asyncio.CancelledError):
        await asyncio.shield(asyncio.create_task(recording))
