"""A run on many hosts, from the command line to its results."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pskernel.audit import AuditSettings
from pskernel.cli.auditing import audit_settings, open_log
from pskernel.cli.choosing import refuse_other_language
from pskernel.cli.console import CommandError, output
from pskernel.cli.fleetprogress import FleetProgress
from pskernel.cli.parameters import given_parameters
from pskernel.cli.signals import on_signals
from pskernel.fleet.host import HostOrder, HostResult
from pskernel.fleet.inventory import Host, read_inventory
from pskernel.fleet.run import FleetRules, FleetRun, LocalWorkers, Workers
from pskernel.fleet.summary import read_results, suites, write_json, write_page
from pskernel.masking import Masker
from pskernel.runbook.cellrun import CellRules
from pskernel.runbook.junit import write_junit
from pskernel.runbook.notebook import read_notebook, runs, to_json
from pskernel.target import Target

__all__ = ["FleetOrder", "execute_fleet"]

RESULTS, PAGE = "results.json", "summary.html"


@dataclass(frozen=True, slots=True)
class FleetOrder:
    """What is asked of a run on many hosts.

    Attributes:
        notebook: the notebook.
        inventory: where the hosts are named; ``limit`` chooses among them.
        only_failed: the folder of an earlier run, whose hosts that went well are left out.
        options: of all targets; what the inventory says of a host counts more.
        parameters: likewise of the notebook: ``name=value``; ``parameter_files``, YAML files of them.
        max_failures: a number, and whether it is percent.
        out: the folder for results; None: beside the notebook.
    """

    notebook: Path
    inventory: str
    limit: str | None = None
    only_failed: Path | None = None
    options: dict[str, str] = field(default_factory=dict)
    parameters: Sequence[str] | None = None
    parameter_files: Sequence[Path] | None = None
    rules: FleetRules = field(default_factory=FleetRules)
    max_failures: tuple[float, bool] | None = None
    openings: int = 8
    retries: int = 0
    cells: CellRules = field(default_factory=CellRules)
    cluster: str | None = None
    out: Path | None = None
    junit: Path | None = None
    audit: AuditSettings | None = None


def execute_fleet(order: FleetOrder) -> int:
    """Run it, show how it goes, write what came of it. Returns what the process exits with.

    Raises:
        PSKernelError: it could not begin, or a result could not be written.
    """
    book = read_notebook(order.notebook)
    refuse_other_language(book)
    if not any(map(runs, book.cells)):
        raise CommandError(f"There is nothing to run in {order.notebook}: it has no code cell with text.")
    hosts = _hosts(order)
    started = datetime.now(UTC)
    folder = order.out or order.notebook.with_name(f"{order.notebook.stem}.fleet-{started:%Y%m%d-%H%M%S}")
    # Before there is a folder: a wrong parameter leaves nothing behind.
    orders = [_for_host(order, host, book, folder) for host in hosts]
    _make_folder(folder)
    rules = replace(order.rules, max_failures=_number(order.max_failures, len(orders)))
    masker = Masker()
    with open_log(_settings(order), masker) as log, FleetProgress(output(), len(orders)) as progress:
        local = LocalWorkers(order.openings, log, masker)
        results, interrupted = asyncio.run(_run(order, orders, rules, progress, local))
    facts = {
        "notebook": str(order.notebook.absolute()),
        "inventory": order.inventory,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
    }
    write_json(results, facts, folder / RESULTS)
    write_page(results, facts, folder / PAGE)
    if order.junit is not None:
        write_junit(suites(results), order.junit)
    return _end(results, folder, interrupted=interrupted)


async def _run(
    order: FleetOrder, orders: Sequence[HostOrder], rules: FleetRules, progress: FleetProgress, local: Workers
) -> tuple[list[HostResult], bool]:
    async with _workers(order, local) as workers:
        run = FleetRun(orders, rules, progress, workers)
        signals = on_signals(run.interrupt, "Stopping the cells on their hosts. Once more to give up at once.")
        return await run.run(), bool(signals)


@contextlib.asynccontextmanager
async def _workers(order: FleetOrder, local: Workers) -> AsyncIterator[Workers]:
    if order.cluster is None:
        yield local
        return
    try:
        from pskernel.fleet.cluster import open_cluster  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CommandError(
            f"A cluster needs a library that is not installed ({error.name}): pip install 'pskernel[dask]'"
        ) from None
    async with open_cluster(order.cluster) as workers:
        yield workers


def _settings(order: FleetOrder) -> AuditSettings | None:
    if order.cluster is None:
        return order.audit or audit_settings(None, None)
    if order.audit is not None:
        raise CommandError("--audit is for runs of this machine. Workers go by the policy of theirs (docs/audit.md).")
    return None


def _hosts(order: FleetOrder) -> list[Host]:
    inventory = read_inventory(order.inventory)
    hosts = list((inventory if order.limit is None else inventory.select(order.limit)).hosts)
    if order.only_failed is not None:
        good = {name for name, was_good in read_results(order.only_failed / RESULTS) if was_good}
        hosts = [host for host in hosts if host.name not in good]
        if not hosts:
            raise CommandError(f"There is nothing to do: all went well on every host of {order.only_failed}.")
    return hosts


def _for_host(order: FleetOrder, host: Host, book: Any, folder: Path) -> HostOrder:
    mine = host.target.options.changed()
    target = Target.parse(str(host.target), {k: v for k, v in order.options.items() if k not in mine})
    mine_alone = copy.deepcopy(book)
    given_parameters(mine_alone, order.parameters, order.parameter_files, host.parameters)
    return HostOrder(
        host.name,
        target,
        to_json(mine_alone),
        folder / f"{quote(host.name, safe='')}.ipynb",
        str(order.notebook.absolute()),
        order.cells,
        order.retries,
    )


def _number(limit: tuple[float, bool] | None, hosts: int) -> int | None:
    if limit is None:
        return None
    number, is_part = limit
    return int(number * hosts / 100) if is_part else int(number)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CommandError(f"The folder {folder} is not empty. Results go into a new one: name it with --output.")
    except OSError as error:
        raise CommandError(f"The folder {folder} cannot be used: {error.strerror or error}.") from None


def _end(results: Sequence[HostResult], folder: Path, *, interrupted: bool) -> int:
    good = sum(result.is_good for result in results)
    output().print(f"{good} of {len(results)} hosts went well. Written to {folder}: {PAGE}, {RESULTS}, the notebooks.")
    if interrupted:
        return 130
    if good == len(results):
        return 0
    return 1 if any(result.report is not None for result in results) else 2
