"""A notebook on many hosts at a time against only connecting to them, in one run.

    python benchmarks/fleet.py [--pwsh PATH] [--hosts N] [--throttle N]

The hosts play a recording of the engine behind one SSH server, in a process of its own on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pskernel.cells.place import Place
from pskernel.connect import connect, opener
from pskernel.fleet.host import HostOrder, HostResult
from pskernel.fleet.run import FleetRules, FleetRun, LocalWorkers
from pskernel.runbook.report import CellDone
from pskernel.runbook.run import NotebookRun
from pskernel.target import Target
from tests.parts.recorded_hosts import RecordedHosts, recorded_hosts

CELLS = ("$x = 1", "1..50", '"x is $x"', "Get-Item / | Select-Object Name", "Write-Warning 'late'", "'end'")


class Nobody:
    """Watches nothing."""

    def begins(self, cell: CellDone) -> None: ...

    def ended(self, cell: CellDone) -> None: ...

    def host_begins(self, name: str) -> None: ...

    def cell_begins(self, name: str, cell: CellDone) -> None: ...

    def host_ended(self, result: HostResult) -> None: ...


def used() -> tuple[float, float, float]:
    """Wall clock, CPU seconds and peak megabytes of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


async def only_connect(hosts: RecordedHosts, count: int, throttle: int) -> None:
    turns = asyncio.Semaphore(min(throttle, 8))

    async def one(number: int) -> None:
        async with turns, await connect(Target.parse(hosts.url(number))):
            pass

    await asyncio.gather(*map(one, range(1, count + 1)))


async def run(hosts: RecordedHosts, folder: Path, count: int, throttle: int) -> list[HostResult]:
    book = nbformat.writes(new_notebook(cells=[new_code_cell(cell) for cell in CELLS]))
    orders = [
        HostOrder(f"host{n}", Target.parse(hosts.url(n)), book, folder / f"host{n}.ipynb") for n in range(1, count + 1)
    ]
    return await FleetRun(orders, FleetRules(throttle), Nobody(), LocalWorkers()).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pwsh", default=os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh"))
    parser.add_argument("--hosts", type=int, default=200, help="at most 250")
    parser.add_argument("--throttle", type=int, default=32)
    arguments = parser.parse_args()
    if not arguments.pwsh:
        parser.error("no PowerShell: name one with --pwsh, or put pwsh on PATH")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tape = folder / "tape.jsonl"
        target = Target.parse(f"process:{arguments.pwsh}")
        place = Place(target, {}, opening=lambda it: opener(it, record_to=str(tape)))
        book = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
        asyncio.run(NotebookRun(book, place, folder / "made.ipynb", Nobody()).run())
        with recorded_hosts(tape, folder) as hosts:
            asyncio.run(only_connect(hosts, 8, 8))
            begin = used()
            asyncio.run(only_connect(hosts, arguments.hosts, arguments.throttle))
            connected = used()
            results = asyncio.run(run(hosts, folder, arguments.hosts, arguments.throttle))
            ended = used()
    assert all(result.is_good for result in results)
    wall, floor = ended[0] - connected[0], connected[0] - begin[0]
    cpu, floor_cpu = ended[1] - connected[1], connected[1] - begin[1]
    print(
        f"{arguments.hosts} hosts, {len(CELLS)} cells each, {arguments.throttle} at a time; load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"only connecting: {floor:.1f} s, {floor_cpu:.1f} s of CPU, {1000 * floor_cpu / arguments.hosts:.0f} ms a host"
    )
    print(f"the notebook: {wall:.1f} s, {cpu:.1f} s of CPU, {1000 * cpu / arguments.hosts:.0f} ms a host")
    print(f"ratio: {wall / floor:.2f} of the time, {cpu / floor_cpu:.2f} of the CPU; peak {ended[2]:.0f} MB")


if __name__ == "__main__":
    main()
