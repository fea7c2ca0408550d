"""One host of a fleet: what is to be run there, the run with its retries, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat

from pskernel.audit import AuditLog
from pskernel.cells.place import Place
from pskernel.connect import opener
from pskernel.questions import Asker
from pskernel.runbook.cellrun import CellRules
from pskernel.runbook.heard import Heard, hearing
from pskernel.runbook.notebook import NotebookError
from pskernel.runbook.onrecord import OnRecord
from pskernel.runbook.report import Report, RunState, Watcher
from pskernel.runbook.run import NotebookRun
from pskernel.session.interactive import Opener
from pskernel.session.runspace import Runspace
from pskernel.target import Target

__all__ = ["HostOrder", "HostResult", "HostRun", "HostState", "file_stem"]

# Errors of connecting that another attempt may not meet. A login that was refused is none: it may lock an account.
_PASSING = {"TargetUnreachable", "ConnectError", "TransportClosed"}
_FIRST_WAIT_SECONDS = 1.0
# File systems take 255 bytes, of which a file's suffixes while it is written want some.
_MAX_STEM = 200


@dataclass(frozen=True, slots=True)
class HostOrder:
    """What is to be run on one host. Holds no secret: ``target`` names places of them.

    Attributes:
        name: the host's name in the inventory.
        target: where.
        book: the notebook as JSON, with this host's parameters in it; or what makes it when the host's turn comes.
        out: the path of the executed notebook.
        notebook: the path of the notebook, for the record.
        rules: what holds for its cells.
        retries: how often connecting is tried again.
    """

    name: str
    target: Target
    book: str | Callable[[], str]
    out: Path
    notebook: str = ""
    rules: CellRules = field(default_factory=CellRules)
    retries: int = 0

    def text(self) -> str:
        """The notebook as JSON."""
        return self.book if isinstance(self.book, str) else self.book()


@dataclass(frozen=True, slots=True)
class HostResult:
    """What came of a host.

    Attributes:
        name: the host's name in the inventory.
        target: its target's URL.
        state: a :class:`RunState`, or what :class:`HostState` has besides.
        report: the run's; None where there was none.
        attempts: how often connecting was tried.
        out: the executed notebook, where there is one.
        problem: what went wrong, for people.
    """

    name: str
    target: str
    state: str
    report: Report | None = None
    attempts: int = 0
    out: str | None = None
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all went well."""
        return self.report is not None and self.report.exit_status == 0

    @property
    def ran_nothing(self) -> bool:
        """Whether it is certain that no cell was sent."""
        return self.state in {RunState.NOT_RUN, HostState.NOT_STARTED}


class HostState:
    """States of a host that has no report of a run. LOST: whether anything ran there is not known. BROKEN: likewise,
    because this side failed.
    """

    NOT_STARTED = "not started"
    LOST = "lost"
    BROKEN = "broken"


def file_stem(name: str) -> str:
    """What a host's files are called: its name, as far as files can be called that."""
    quoted = quote(name, safe="")
    if len(quoted) <= _MAX_STEM:
        return quoted
    return f"{quoted[: _MAX_STEM - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


class HostRun:
    """Runs one order.

    Args:
        order: what.
        watcher: is told of each cell.
        asker: whom connecting may ask.
        opening: taken while a connection is being made.
        log: the audit log; without it, the run is on no record.
        permit: as :class:`NotebookRun` has it.
    """

    def __init__(
        self,
        order: HostOrder,
        watcher: Watcher,
        asker: Asker,
        opening: contextlib.AbstractAsyncContextManager[Any],
        *,
        log: AuditLog | None = None,
        permit: Callable[[], str] | None = None,
    ) -> None:
        self.order = order
        self._watcher = watcher
        self._asker = asker
        self._opening = opening
        self._log = log
        self._permit = permit
        # Its secrets alone: each that is known makes each line of output dearer.
        self._heard = Heard()
        self._run: NotebookRun | None = None
        self._stop = asyncio.Event()

    async def run(self) -> HostResult:
        """Run it; what goes wrong is in the result. Connecting is tried again, and what was sent never."""
        order, attempts = self.order, 0
        text = order.text()
        while True:
            attempts += 1
            try:
                report = await self._once(text)
            except NotebookError as error:
                return self._unwritten(attempts, str(error))
            passing = report.state is RunState.NOT_RUN and report.error_id in _PASSING
            if not passing or attempts > order.retries or not await self._waited(attempts):
                return self._result(str(report.state), report, attempts, report.problem)

    def interrupt(self) -> None:
        """Stop the running cell, then the run; a second time gives up at once."""
        self._stop.set()
        if self._run is not None:
            self._run.interrupt()

    async def _once(self, text: str) -> Report:
        order = self.order
        place = Place(order.target, {}, opening=self._opener)
        self._run = NotebookRun(
            nbformat.reads(text, as_version=4),
            place,
            order.out,
            self._watcher,
            rules=order.rules,
            asker=self._asker,
            report=Report(notebook=order.notebook),
            heard=self._heard,
            on_record=self._on_record(text),
            permit=self._permit,
        )
        if self._stop.is_set():
            self._run.interrupt()
        return await self._run.run()

    def _on_record(self, text: str) -> OnRecord | None:
        if self._log is None:
            return None
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        return OnRecord(self._log, self.order.notebook, sha256, self._heard.masker)

    def _opener(self, target: Target) -> Opener:
        inner = hearing(target, opener(target), self._heard)

        async def open_in_turn(asker: Asker) -> Runspace:
            # A hundred handshakes at a time would leave each too little of this machine to end in time.
            async with self._opening:
                return await inner(asker)

        return open_in_turn

    async def _waited(self, attempts: int) -> bool:
        """Wait before the next attempt, longer each time and never as long as another host; False if told to stop."""
        seconds = _FIRST_WAIT_SECONDS * 2 ** (attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return not self._stop.is_set()

    def _unwritten(self, attempts: int, problem: str) -> HostResult:
        """The executed notebook cannot be written. If that showed at once, nothing was run."""
        report = self._run.report if self._run is not None else None
        if report is None or report.state is RunState.RUNNING:
            return self._result(HostState.NOT_STARTED, None, attempts, problem)
        result = self._result(str(report.state), report, attempts, f"{report.problem} {problem}".strip())
        return replace(result, out=None)

    def _result(self, state: str, report: Report | None, attempts: int, problem: str) -> HostResult:
        order = self.order
        out = str(order.out) if report is not None else None
        return HostResult(order.name, order.target.redacted, state, report, attempts, out, problem)
