"""Two hundred hosts at a time: a real engine on a few, its recording behind an SSH server on the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import nbformat
import pytest
from distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_notebook

from pskernel.cells.place import Place
from pskernel.connect import opener
from pskernel.fleet.cluster import open_cluster
from pskernel.fleet.host import HostOrder, HostResult
from pskernel.fleet.ledger import read_former
from pskernel.fleet.run import FleetRules, FleetRun, LocalWorkers, Workers
from pskernel.fleet.summary import compare, suites, write_json, write_page
from pskernel.runbook.junit import write_junit
from pskernel.runbook.report import CellDone
from pskernel.runbook.run import NotebookRun
from pskernel.target import Target
from tests.parts.recorded_hosts import RecordedHosts, recorded_hosts
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd, pytest.mark.timeout(300)]

CELLS = ("$x = 1", "1..20", '"x is $x"', "[pscustomobject]@{ Name = 'web'; Free = 3 }", "Write-Warning 'late'", "'end'")
BROKEN = ("denied", "garbage", "silent", "cut", "unknown", "refused", "denied", "cut", "unknown", "garbage")


class Watching:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.ended: list[HostResult] = []
        self.begun: list[str] = []
        self.cells: Counter[str] = Counter()
        self.after = threading.Event()
        self.after_hosts = 0

    def begins(self, cell: CellDone) -> None:
        """One host's."""

    def host_begins(self, name: str) -> None:
        self.begun.append(name)

    def cell_begins(self, name: str, cell: CellDone) -> None:
        self.cells[name] += 1

    def host_ended(self, result: HostResult) -> None:
        self.ended.append(result)
        if self.after_hosts and len(self.ended) >= self.after_hosts:
            self.after.set()


def book() -> Any:
    return new_notebook(cells=[new_code_cell(cell) for cell in CELLS])


@pytest.fixture(scope="module")
def hosts(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedHosts]:
    folder = tmp_path_factory.mktemp("hosts")
    tape = folder / "tape.jsonl"
    place = Place(Target.parse(f"process:{pwsh}"), {}, opening=lambda target: opener(target, record_to=str(tape)))

    class Nobody:
        def begins(self, cell: CellDone) -> None: ...

        def ended(self, cell: CellDone) -> None: ...

    async def record() -> None:
        await NotebookRun(book(), place, folder / "made.ipynb", Nobody()).run()

    asyncio.run(record())
    with recorded_hosts(tape, folder) as server:
        yield server


def order(name: str, url: str, folder: Path, **more: Any) -> HostOrder:
    return HostOrder(name, Target.parse(url), nbformat.writes(book()), folder / f"{name}.ipynb", "book.ipynb", **more)


def broken(hosts: RecordedHosts, number: int, how: str) -> str:
    if how == "unknown":
        return hosts.url(number % 5 + 1, known=False)
    if how == "refused":
        return hosts.url(number).replace(f":{hosts.port}?", ":1?")
    return hosts.url(number, how, open_timeout=2)


def fleet(hosts: RecordedHosts, folder: Path, count: int = 200) -> list[HostOrder]:
    bad = {index * (count // len(BROKEN)) + 7: how for index, how in enumerate(BROKEN)}
    return [
        order(f"host{number}", broken(hosts, number, bad[number]) if number in bad else hosts.url(number), folder)
        for number in range(1, count + 1)
    ]


def run(
    orders: list[HostOrder], workers: Workers | None = None, watching: Watching | None = None, **rules: Any
) -> list[HostResult]:
    async def main() -> list[HostResult]:
        return await FleetRun(orders, FleetRules(**rules), watching or Watching(), workers or LocalWorkers()).run()

    return asyncio.run(main())


def test_two_hundred_hosts_of_which_ten_are_broken(
    hosts: RecordedHosts, engine_sshd: Sshd, pwsh: str, tmp_path: Path
) -> None:
    real = (
        f"ssh://{engine_sshd.user}@127.0.0.1:{engine_sshd.port}?ssh_config=none&key_file={engine_sshd.key}"
        f"&known_hosts={engine_sshd.known_hosts}"
    )
    orders = [order("real1", real, tmp_path), order("real2", f"process:{pwsh}", tmp_path), *fleet(hosts, tmp_path)]
    watching = Watching()

    results = run(orders, watching=watching)

    assert [each.name for each in results] == [each.name for each in orders]
    bad = {each.name: each for each in results if not each.is_good}
    assert Counter(each.state for each in bad.values()) == {"not run": 8, "failed": 2}
    assert {each.report.error_id for each in bad.values() if each.report} == {
        "AuthenticationFailed", "NotPowerShell", "ConnectionLost", "HostKeyRejected", "TargetUnreachable",
    }  # fmt: skip
    assert all(each.problem for each in bad.values())
    assert {each.name for each in watching.ended} == {each.name for each in orders}
    assert all(watching.cells[each.name] == len(CELLS) for each in results if each.is_good)
    for result in results[:3]:
        notebook = nbformat.read(result.out, as_version=4)
        assert "x is 1\n" == notebook.cells[2].outputs[0].text
    _check_summary(results, tmp_path)


def _check_summary(results: list[HostResult], folder: Path) -> None:
    groups = compare(results)
    # The two that were cut had done a part by then.
    counts = [len(cell.groups[0].hosts) for cell in groups]
    assert (counts[0], counts[-1]) == (194, 192)
    assert {group.state for group in groups[0].groups} == {"ok", "not sent"}
    assert {"ok", "failed"} in [{group.state for group in cell.groups} for cell in groups]
    write_json(results, {"notebook": "book.ipynb", "book": "", "dry": False}, folder / "results.json")
    assert len(read_former(folder).bad) == 10
    write_page(results, {"notebook": "<book>"}, folder / "summary.html")
    page = (folder / "summary.html").read_text()
    assert "&lt;book&gt;: 192 of 202 hosts went well" in page
    # One output for all, and at most one for each of the two that were cut.
    assert 1 <= page.count("x is 1") <= 3
    write_junit(suites(results), folder / "junit.xml")
    root = ET.parse(folder / "junit.xml").getroot()
    assert (len(root), root.get("tests"), root.get("failures")) == (202, str(202 * 6), "10")


def test_connecting_is_tried_again_and_cells_never(hosts: RecordedHosts, tmp_path: Path) -> None:
    orders = [
        order("unreachable", broken(hosts, 1, "refused"), tmp_path, retries=1),
        order("denied", broken(hosts, 2, "denied"), tmp_path, retries=1),
        order("cut", broken(hosts, 3, "cut"), tmp_path, retries=1),
    ]

    results = run(orders)

    # A login that was refused may lock an account; what was sent is sent.
    assert [(each.name, each.attempts) for each in results] == [("unreachable", 2), ("denied", 1), ("cut", 1)]


def test_the_canary_goes_first_and_failures_end_it(hosts: RecordedHosts, tmp_path: Path) -> None:
    good = [order(f"good{number}", hosts.url(number), tmp_path) for number in range(1, 6)]
    bad = order("bad", broken(hosts, 9, "refused"), tmp_path)

    results = run([bad, *good], canary=1)
    assert [each.state for each in results] == ["not run", *["not started"] * 5]
    assert "It did not go well on the first hosts (bad)" in results[-1].problem

    results = run([good[0], bad, *good[1:]], throttle=1, max_failures=0)
    assert [each.state for each in results] == ["completed", "not run", *["not started"] * 4]
    assert not (tmp_path / "good5.ipynb").exists()


def test_an_interrupted_fleet_begins_no_further_host(hosts: RecordedHosts, tmp_path: Path) -> None:
    orders = [order(f"host{number}", hosts.url(number, "silent", open_timeout=60), tmp_path) for number in range(1, 9)]

    async def main() -> list[HostResult]:
        watching = Watching()
        fleet_run = FleetRun(orders, FleetRules(throttle=4), watching, LocalWorkers())
        running = asyncio.create_task(fleet_run.run())
        async with asyncio.timeout(30):
            while len(watching.begun) < 4:
                await asyncio.sleep(0)
        fleet_run.interrupt()
        return await asyncio.wait_for(running, 30)

    results = asyncio.run(main())
    assert Counter(each.state for each in results) == {"interrupted": 4, "not started": 4}


@pytest.fixture
def spawning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes be spawned: pytest-xdist's main module says nothing of how it could be imported again."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)


@pytest.fixture
def cluster(spawning: None) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=8, dashboard_address=":0", silence_logs=50) as started:
        yield started


# Dask's own, when a worker is killed.
@pytest.mark.filterwarnings("default")
def test_the_same_through_dask_with_a_worker_killed(
    hosts: RecordedHosts, cluster: LocalCluster, tmp_path: Path
) -> None:
    orders = fleet(hosts, tmp_path)
    watching = Watching()
    watching.after_hosts = 60
    victim = next(iter(cluster.workers.values())).pid

    def kill() -> None:
        # Nobody else has that number: a worker that ended by itself would be waited for by Dask alone.
        if watching.after.wait(120):
            os.kill(victim, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()

    async def main() -> list[HostResult]:
        async with open_cluster(cluster.scheduler_address.replace("tcp://", "dask://")) as workers:
            return await FleetRun(orders, FleetRules(throttle=64), watching, workers).run()

    results = asyncio.run(main())
    killing.join()

    states = Counter(each.state for each in results)
    # What had begun on it is lost and said to be; what had not is done by the other one.
    assert 0 < states["lost"] <= 8
    assert states["completed"] + states["lost"] >= 190
    assert sum(states.values()) == 200
    assert all("were not run again" in each.problem for each in results if each.state == "lost")
    good = [each for each in results if each.is_good]
    assert all(Path(str(each.out)).is_file() for each in good)
    write_json(results, {"book": "", "dry": False}, tmp_path / "results.json")
    former = read_former(tmp_path)
    assert set(former.bad) == {each.name for each in results} - {each.name for each in good}
    assert set(former.unknown) == {each.name for each in results if each.state == "lost"}


@pytest.mark.usefixtures("spawning")
def test_secrets_are_resolved_by_the_worker_and_are_not_in_what_it_is_sent(
    hosts: RecordedHosts, tmp_path: Path
) -> None:
    one = order("one", hosts.url(1, credential="env:NO_SUCH_SECRET"), tmp_path)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=50,
        env={"NO_SUCH_SECRET": "on the worker"},
    ) as started:

        async def main() -> list[HostResult]:
            async with open_cluster(started.scheduler_address.replace("tcp://", "dask://")) as workers:
                return await FleetRun([one], FleetRules(), Watching(), workers).run()

        (result,) = asyncio.run(main())

    assert result.is_good, result
    assert "on the worker" not in json.dumps(nbformat.read(result.out, as_version=4))
