"""Many hosts at a time: who comes when, and when no further one is begun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pskernel.audit import AuditLog
from pskernel.fleet.host import HostOrder, HostResult, HostRun, HostState
from pskernel.fleet.ledger import Ledger
from pskernel.questions import NobodyToAsk
from pskernel.runbook.report import CellDone, Watcher, tell

__all__ = ["FleetRules", "FleetRun", "FleetWatcher", "LocalWorkers", "RunningHost", "Workers"]


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetRules:
    """How many, how fast, and when to stop.

    Attributes:
        throttle: hosts at a time.
        canary: hosts that go first; the others only follow if all went well there.
        max_failures: how many hosts may fail before no further one is begun; None: all may.
    """

    throttle: int = 32
    canary: int = 0
    max_failures: int | None = None


class FleetWatcher(Protocol):
    """Whoever is told of the progress of a fleet's run."""

    def host_begins(self, name: str) -> None:
        """A host's turn has come."""

    def cell_begins(self, name: str, cell: CellDone) -> None:
        """A host is being sent a cell."""

    def host_ended(self, result: HostResult) -> None:
        """A host is over, or will not be begun."""


class RunningHost(Protocol):
    """One host at work."""

    async def run(self) -> HostResult:
        """Run the notebook there. What goes wrong is in the result."""

    def interrupt(self) -> None:
        """Stop it; a second time gives up at once."""


class Workers(Protocol):
    """Whoever does the work for a host: this process, or a cluster's workers."""

    def host(self, order: HostOrder, watcher: Watcher) -> RunningHost:
        """What runs an order, and tells the watcher of its cells, where it can."""


class LocalWorkers:
    """This process: one loop, one session a host, no kernels.

    Args:
        openings: connections that are being made at a time.
        log: the audit log for all of them.
    """

    def __init__(self, openings: int = 8, log: AuditLog | None = None) -> None:
        self._openings = asyncio.Semaphore(openings)
        self._log = log

    def host(self, order: HostOrder, watcher: Watcher) -> RunningHost:
        """A run in this process."""
        return HostRun(order, watcher, NobodyToAsk(), self._openings, log=self._log)


class FleetRun:
    """Runs orders, each on its host.

    Args:
        orders: what, one for each host.
        rules: see :class:`FleetRules`.
        watcher: is told how it goes.
        workers: who does the work.
        ledger: where it is put down on disk how each host stands.
    """

    def __init__(
        self,
        orders: Sequence[HostOrder],
        rules: FleetRules,
        watcher: FleetWatcher,
        workers: Workers,
        ledger: Ledger | None = None,
    ) -> None:
        self._orders = orders
        self._rules = rules
        self._watcher = watcher
        self._ledger = ledger
        self._workers = workers
        self._turns = asyncio.Semaphore(rules.throttle)
        self._running: set[RunningHost] = set()
        self._asked = 0
        self._failed = 0
        self._why_no_more = ""

    async def run(self) -> list[HostResult]:
        """Run all. The results are in the orders' order; what goes wrong on one host does not disturb the others."""
        canaries, others = self._orders[: self._rules.canary], self._orders[self._rules.canary :]
        results = list(await asyncio.gather(*map(self._in_turn, canaries)))
        bad = [result.name for result in results if not result.is_good]
        if bad and not self._why_no_more:
            self._why_no_more = f"It did not go well on the first hosts ({', '.join(bad)})."
        return [*results, *await asyncio.gather(*map(self._in_turn, others))]

    def interrupt(self) -> None:
        """Begin no further host, and stop what runs; a second time gives up at once."""
        self._asked += 1
        self._why_no_more = self._why_no_more or "The run was interrupted."
        for host in list(self._running):
            host.interrupt()

    async def _in_turn(self, order: HostOrder) -> HostResult:
        async with self._turns:
            if self._why_no_more:
                result = HostResult(order.name, order.target.redacted, HostState.NOT_STARTED, problem=self._why_no_more)
            else:
                result = await self._run_host(order)
        if self._ledger is not None:
            tell(self._ledger.host_ended, result)
        tell(self._watcher.host_ended, result)
        return result

    async def _run_host(self, order: HostOrder) -> HostResult:
        if self._ledger is not None:
            tell(self._ledger.host_begins, order.name)
        tell(self._watcher.host_begins, order.name)
        host = self._workers.host(order, _Named(order.name, self._watcher.cell_begins))
        self._running.add(host)
        try:
            result = await host.run()
        except Exception as error:  # noqa: BLE001 - one host's failure of ours must not take the others with it
            _LOG.exception("A host came to an end that nobody thought of")
            problem = f"pskernel failed on this host ({type(error).__name__}); cells may have run there."
            result = HostResult(order.name, order.target.redacted, HostState.BROKEN, problem=problem)
        finally:
            self._running.discard(host)
        if not result.is_good:
            self._failed += 1
            limit = self._rules.max_failures
            if limit is not None and self._failed > limit and not self._why_no_more:
                self._why_no_more = f"More than {limit} hosts have failed."
        return result


class _Named(Watcher):
    """A host's watcher: tells the fleet's."""

    def __init__(self, name: str, begins: Callable[[str, CellDone], None]) -> None:
        self._name = name
        self._begins = begins

    def begins(self, cell: CellDone) -> None:
        tell(self._begins, self._name, cell)

    def ended(self, cell: CellDone) -> None:
        """The next beginning says it."""
