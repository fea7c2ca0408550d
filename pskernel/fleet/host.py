"""One host of a fleet: what is to be run there, the run with its retries, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from pskernel.audit import AuditLog
from pskernel.cells.place import Place
from pskernel.connect import opener
from pskernel.masking import Masker
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

__all__ = ["HostOrder", "HostResult", "HostRun", "HostState"]

# Errors of connecting that another attempt may not meet. A login that was refused is none: it may lock an account.
_PASSING = {"TargetUnreachable", "ConnectError", "TransportClosed"}
_FIRST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HostOrder:
    """What is to be run on one host. Holds no secret: ``target`` names places of them.

    Attributes:
        name: the host's name in the inventory.
        target: where.
        book: the notebook as JSON, with this host's parameters in it.
        out: the path of the executed notebook.
        notebook: the path of the notebook, for the record.
        rules: what holds for its cells.
        retries: how often connecting is tried again.
    """

    name: str
    target: Target
    book: str
    out: Path
    notebook: str = ""
    rules: CellRules = field(default_factory=CellRules)
    retries: int = 0


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


class HostState:
    """States of a host that has no report of a run. LOST: whether anything ran there is not known."""

    NOT_STARTED = "not started"
    LOST = "lost"
    BROKEN = "broken"


class HostRun:
    """Runs one order.

    Args:
        order: what.
        watcher: is told of each cell.
        asker: whom connecting may ask.
        opening: taken while a connection is being made.
        log: the audit log; without it, the run is on no record.
        masker: what knows the secrets of all hosts that the log is for.
    """

    def __init__(
        self,
        order: HostOrder,
        watcher: Watcher,
        asker: Asker,
        opening: contextlib.AbstractAsyncContextManager[Any],
        *,
        log: AuditLog | None = None,
        masker: Masker | None = None,
    ) -> None:
        self.order = order
        self._watcher = watcher
        self._asker = asker
        self._opening = opening
        self._log = log
        self._heard = Heard() if masker is None else Heard(masker)
        self._run: NotebookRun | None = None
        self._stop = asyncio.Event()

    async def run(self) -> HostResult:
        """Run it; what goes wrong is in the result. Connecting is tried again, and what was sent never."""
        order, attempts = self.order, 0
        while True:
            attempts += 1
            try:
                report = await self._once()
            except NotebookError as error:
                return self._result(HostState.BROKEN, None, attempts, str(error))
            passing = report.state is RunState.NOT_RUN and report.error_id in _PASSING
            if not passing or attempts > order.retries or not await self._waited(attempts):
                return self._result(str(report.state), report, attempts, report.problem)

    def interrupt(self) -> None:
        """Stop the running cell, then the run; a second time gives up at once."""
        self._stop.set()
        if self._run is not None:
            self._run.interrupt()

    async def _once(self) -> Report:
        order = self.order
        place = Place(order.target, {}, opening=self._opener)
        self._run = NotebookRun(
            nbformat.reads(order.book, as_version=4),
            place,
            order.out,
            self._watcher,
            rules=order.rules,
            asker=self._asker,
            report=Report(notebook=order.notebook),
            heard=self._heard,
            on_record=None if self._log is None else OnRecord(self._log, order.notebook, _digest(order.book)),
        )
        if self._stop.is_set():
            self._run.interrupt()
        return await self._run.run()

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

    def _result(self, state: str, report: Report | None, attempts: int, problem: str) -> HostResult:
        order = self.order
        out = str(order.out) if report is not None else None
        return HostResult(order.name, order.target.redacted, state, report, attempts, out, problem)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
