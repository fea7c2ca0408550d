"""A run on many hosts, from the command line to its results."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pskernel.audit import AuditSettings, audit_policy
from pskernel.cli.auditing import audit_settings, open_log
from pskernel.cli.choosing import refuse_other_language
from pskernel.cli.console import CommandError, check_writable, output
from pskernel.cli.fleetprogress import FleetProgress
from pskernel.cli.parameters import bound_parameters
from pskernel.cli.signals import on_signals
from pskernel.fleet.host import HostOrder, HostResult, file_stem
from pskernel.fleet.inventory import Host, read_inventory
from pskernel.fleet.ledger import RESULTS, Ledger, read_former
from pskernel.fleet.run import FleetRules, FleetRun, LocalWorkers, Workers
from pskernel.fleet.summary import suites, write_json, write_page
from pskernel.runbook.cellrun import CellRules
from pskernel.runbook.junit import write_junit
from pskernel.runbook.notebook import digest, read_notebook, runs, to_json
from pskernel.target import Target

__all__ = ["FleetOrder", "execute_fleet"]

PAGE = "summary.html"
_MAX_NAMES = 20


@dataclass(frozen=True, slots=True)
class FleetOrder:
    """What is asked of a run on many hosts.

    Attributes:
        notebook: the notebook.
        inventory: where the hosts are named; ``limit`` chooses among them.
        only_failed: the folder of an earlier run: only its hosts that did not go well are run.
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
    settings = _settings(order)
    book = read_notebook(order.notebook)
    refuse_other_language(book)
    if not any(map(runs, book.cells)):
        raise CommandError(f"There is nothing to run in {order.notebook}: it has no code cell with text.")
    hosts = _hosts(order, digest(book))
    started = datetime.now(UTC)
    folder = order.out or order.notebook.with_name(f"{order.notebook.stem}.fleet-{started:%Y%m%d-%H%M%S}")
    # Before there is a folder: a wrong parameter leaves nothing behind.
    orders = _orders(order, hosts, book, folder)
    _make_folder(folder)
    if order.junit is not None:
        # It may be in that folder.
        check_writable(order.junit, "JUnit file")
    rules = replace(order.rules, max_failures=_number(order.max_failures, len(orders)))
    facts = {
        "notebook": str(order.notebook.absolute()),
        "book": digest(book),
        "inventory": order.inventory,
        "dry": order.cells.dry,
        "started": started.isoformat(timespec="seconds"),
    }
    with open_log(settings, None) as log, Ledger(folder, facts, [host.name for host in hosts]) as ledger:
        with FleetProgress(output(), len(orders)) as progress:
            beginning = partial(FleetRun, orders, rules, progress, ledger=ledger)
            results, signals = asyncio.run(_run(order.cluster, LocalWorkers(order.openings, log), beginning))
        facts["seconds"] = round((datetime.now(UTC) - started).total_seconds(), 3)
        # What programs read, and is quick to make, comes first.
        write_json(results, facts, folder / RESULTS)
        ledger.remove()
        write_page(results, facts, folder / PAGE)
        if order.junit is not None:
            write_junit(suites(results), order.junit)
    return _end(order, results, folder, signals)


async def _run(
    cluster: str | None, local: Workers, beginning: Callable[[Workers], FleetRun]
) -> tuple[list[HostResult], list[int]]:
    async with _workers(cluster, local) as workers:
        run = beginning(workers)
        signals = on_signals(run.interrupt, "Stopping the cells on their hosts. Once more to give up at once.")
        return await run.run(), signals


@contextlib.asynccontextmanager
async def _workers(cluster: str | None, local: Workers) -> AsyncIterator[Workers]:
    if cluster is None:
        yield local
        return
    try:
        from pskernel.fleet.cluster import open_cluster  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CommandError(
            f"A cluster needs a library that is not installed ({error.name}): pip install 'pskernel[dask]'"
        ) from None
    async with open_cluster(cluster) as workers:
        yield workers


def _settings(order: FleetOrder) -> AuditSettings | None:
    if order.cluster is None:
        return order.audit or audit_settings(None, None)
    if audit_policy() is not None:
        raise CommandError(
            "This machine's policy puts runs on record here, and what the workers of a cluster run would not be. Run "
            "it without --cluster, or from a machine without that policy; workers go by the policy of theirs "
            "(docs/audit.md)."
        )
    if order.audit is not None:
        raise CommandError("--audit is for runs of this machine. Workers go by the policy of theirs (docs/audit.md).")
    return None


def _hosts(order: FleetOrder, book: str) -> list[Host]:
    inventory = read_inventory(order.inventory)
    if order.limit is not None and not order.limit.strip():
        # A shell's variable that is not set must not mean everywhere.
        raise CommandError("--limit is empty. Leave it out to run on all hosts.")
    hosts = list((inventory if order.limit is None else inventory.select(order.limit)).hosts)
    if order.only_failed is None:
        return hosts
    folder = order.only_failed
    former = read_former(folder)
    if former.book != book:
        raise CommandError(
            f"The run in {folder} was of another notebook than {order.notebook}, or its cells have changed since: what "
            "went well there says nothing of this one. Leave --only-failed out."
        )
    if former.dry and not order.cells.dry:
        raise CommandError(
            f"The run in {folder} was a dry run, which did nothing on any host. Leave --only-failed out."
        )
    # Hosts that were not part of that run are none of this one.
    left = [host for host in hosts if host.name in former.bad]
    if not left:
        whose = f"every host of {folder}" if not former.bad else f"those hosts of {folder} that are asked for"
        raise CommandError(f"There is nothing to do: all went well on {whose}.")
    unknown = [host.name for host in left if host.name in former.unknown]
    if unknown:
        more = f" and {len(unknown) - _MAX_NAMES} more" if len(unknown) > _MAX_NAMES else ""
        output(error=True).print(
            f"What ran there in the run before is not known, and is run again: {', '.join(unknown[:_MAX_NAMES])}{more}."
        )
    return left


def _orders(order: FleetOrder, hosts: Sequence[Host], book: Any, folder: Path) -> list[HostOrder]:
    """What is to be run on each host. Texts are only made when the host's turn comes, but for the one of all others."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    made: dict[str, str | Callable[[], str]] = {}
    orders = []
    for host in hosts:
        key = json.dumps(dict(host.parameters), sort_keys=True, default=repr)
        if key not in made:
            make = partial(
                _text, book, bound_parameters(book, order.parameters, order.parameter_files, host.parameters)
            )
            # Also where it is not kept: a value that cannot be written shows before anything is run.
            text = make()
            made[key] = make if host.parameters else text
        mine = host.target.options.changed()
        target = Target.parse(str(host.target), {k: v for k, v in order.options.items() if k not in mine})
        out = folder / f"{file_stem(host.name)}.ipynb"
        notebook = str(order.notebook.absolute())
        orders.append(HostOrder(host.name, target, made[key], out, notebook, order.cells, order.retries))
    return orders


def _text(book: Any, put_in: Callable[[Any], None] | None) -> str:
    if put_in is None:
        return to_json(book)
    own = copy.deepcopy(book)
    put_in(own)
    return to_json(own)


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


def _end(order: FleetOrder, results: Sequence[HostResult], folder: Path, signals: Sequence[int]) -> int:
    good = sum(result.is_good for result in results)
    # Whoever has closed the pipe has had enough; the run has gone as it has.
    with contextlib.suppress(OSError, SystemExit):
        if order.cells.dry:
            output().print("This was a dry run: nothing was changed.")
        output().print(
            f"{good} of {len(results)} hosts went well. Written to {folder}: {PAGE}, {RESULTS}, the notebooks."
        )
    if signals:
        return 128 + signals[0]
    if good == len(results):
        return 0
    return 2 if all(result.ran_nothing for result in results) else 1
