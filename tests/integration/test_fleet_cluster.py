"""Workers of a Dask cluster that are killed, stall, or lose their scheduler: no host is run twice, and none is lost sight of."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_notebook

from pskernel.fleet import claims
from pskernel.fleet.cluster import open_cluster
from pskernel.fleet.host import HostOrder, HostResult
from pskernel.fleet.run import FleetRules, FleetRun
from pskernel.runbook.report import CellDone
from pskernel.target import Target

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(120),
    # Dask's own, when a worker is killed.
    pytest.mark.filterwarnings("default"),
]


class Nobody:
    def host_begins(self, name: str) -> None: ...

    def cell_begins(self, name: str, cell: CellDone) -> None: ...

    def host_ended(self, result: HostResult) -> None: ...


class Slow:
    """An engine that says in a pipe when it is started, waits for another, and says in a third that it has ended.

    Its notebook adds a line to the file ``ran``.
    """

    def __init__(self, folder: Path, pwsh: str) -> None:
        self.folder = folder
        self.pipes = {}
        for name in ("there", "on", "ended"):
            os.mkfifo(folder / name)
            self.pipes[name] = os.open(folder / name, os.O_RDWR)
        self.engine = folder / "engine"
        # The first time alone.
        self.engine.write_text(
            f"#!/bin/sh\ncd '{folder}'\nmkdir first 2>/dev/null || exec '{pwsh}' \"$@\"\n"
            f"echo x > there\nread x < on\n'{pwsh}' \"$@\"\necho x 1<> ended\n"
        )
        self.engine.chmod(0o700)

    def order(self, *cells: str, engine: str = "", out: str = "one.ipynb") -> HostOrder:
        note = f"[IO.File]::AppendAllText('{self.folder}/ran', \"x`n\")"
        book = new_notebook(cells=[new_code_cell(cell) for cell in (note, *cells)])
        target = Target.parse(f"process:{engine or self.engine}")
        return HostOrder("one", target, nbformat.writes(book), self.folder / out, "book.ipynb")

    async def wait(self, name: str) -> None:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.pipes[name], heard.set)
        try:
            async with asyncio.timeout(90):
                await heard.wait()
        finally:
            loop.remove_reader(self.pipes[name])
        os.read(self.pipes[name], 100)

    def go_on(self) -> None:
        os.write(self.pipes["on"], b"on\n")

    @property
    def ran(self) -> int:
        path = self.folder / "ran"
        return len(path.read_text().split()) if path.exists() else 0


@pytest.fixture
def slow(tmp_path: Path, pwsh: str) -> Iterator[Slow]:
    made = Slow(tmp_path, pwsh)
    yield made
    made.go_on()
    for pipe in made.pipes.values():
        os.close(pipe)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    # pytest-xdist's main module says nothing of how it could be imported again.
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0", silence_logs=50) as started:
        yield started


def run(address: str, order: HostOrder, meanwhile: Callable[[FleetRun], Awaitable[None]]) -> HostResult:
    async def main() -> HostResult:
        async with open_cluster(address.replace("tcp://", "dask://")) as workers:
            fleet = FleetRun([order], FleetRules(), Nobody(), workers)
            running = asyncio.create_task(fleet.run())
            await meanwhile(fleet)
            (result,) = await running
            return result

    return asyncio.run(main())


def its_worker(cluster: LocalCluster) -> Any:
    """The worker that has the only claim there is. The scheduler is in this process."""
    (claim,) = claims._claims.values()
    return next(nanny for nanny in cluster.workers.values() if nanny.worker_address == claim["worker"])


def test_a_worker_killed_while_it_connects_is_replaced(cluster: LocalCluster, slow: Slow) -> None:
    async def kill(_: FleetRun) -> None:
        await slow.wait("there")
        os.kill(its_worker(cluster).pid, signal.SIGKILL)

    result = run(cluster.scheduler_address, slow.order(), kill)

    assert result.state == "completed", result
    assert slow.ran == 1


def test_a_worker_killed_after_it_has_sent_is_not(cluster: LocalCluster, slow: Slow, pwsh: str) -> None:
    order = slow.order(f"[IO.File]::AppendAllText('{slow.folder}/there', 'x'); Start-Sleep 600", engine=pwsh)

    async def kill(_: FleetRun) -> None:
        await slow.wait("there")
        os.kill(its_worker(cluster).pid, signal.SIGKILL)

    result = run(cluster.scheduler_address, order, kill)

    assert (result.state, slow.ran) == ("lost", 1)
    assert "were not run again" in result.problem


def test_a_stalled_worker_does_not_send_what_another_has_done(cluster: LocalCluster, slow: Slow) -> None:
    async def main() -> HostResult:
        async with open_cluster(cluster.scheduler_address.replace("tcp://", "dask://")) as workers:
            running = asyncio.create_task(FleetRun([slow.order()], FleetRules(), Nobody(), workers).run())
            await slow.wait("there")
            stalled = its_worker(cluster)
            os.kill(stalled.pid, signal.SIGSTOP)
            try:
                # As its own time limit would.
                cluster.sync(
                    cluster.scheduler.remove_worker, address=stalled.worker_address, stimulus_id="test", close=False
                )
                (result,) = await running
            finally:
                os.kill(stalled.pid, signal.SIGCONT)
            slow.go_on()
            await slow.wait("ended")
            return result

    result = asyncio.run(main())

    assert result.state == "completed", result
    assert slow.ran == 1


def test_giving_up_waits_for_nobody(cluster: LocalCluster, slow: Slow, pwsh: str) -> None:
    order = slow.order(f"[IO.File]::AppendAllText('{slow.folder}/there', 'x'); Start-Sleep 600", engine=pwsh)

    async def twice(fleet: FleetRun) -> None:
        await slow.wait("there")
        fleet.interrupt()
        fleet.interrupt()

    result = run(cluster.scheduler_address, order, twice)

    assert result.state == "lost"
    assert "given up" in result.problem


def test_giving_up_while_it_connects_sends_nothing(cluster: LocalCluster, slow: Slow) -> None:
    async def twice(fleet: FleetRun) -> None:
        await slow.wait("there")
        fleet.interrupt()
        fleet.interrupt()
        slow.go_on()
        await slow.wait("ended")

    result = run(cluster.scheduler_address, slow.order(), twice)

    assert (result.state, slow.ran) == ("not started", 0)


def test_a_result_that_cannot_be_written_here_is_a_result(cluster: LocalCluster, slow: Slow, pwsh: str) -> None:
    async def nothing(_: FleetRun) -> None: ...

    result = run(cluster.scheduler_address, slow.order("throw 'why'", engine=pwsh, out="no/where.ipynb"), nothing)

    assert (result.state, result.out) == ("failed", None)
    assert result.report is not None
    assert result.report.failed_cell == 1
    assert "why" in result.problem
    assert "cannot be written" in result.problem


def test_a_lost_scheduler_loses_what_runs(slow: Slow, pwsh: str) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    port = address.rpartition(":")[2]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port]
    work = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    order = slow.order(f"[IO.File]::AppendAllText('{slow.folder}/there', 'x'); Start-Sleep 600", engine=pwsh)
    with (
        subprocess.Popen([*dask, "--no-dashboard"], **quiet) as scheduler,
        subprocess.Popen([*work, "--local-directory", str(slow.folder)], **quiet) as worker,
    ):

        async def kill(_: FleetRun) -> None:
            await slow.wait("there")
            scheduler.kill()

        try:
            result = run(address, order, kill)
        finally:
            scheduler.kill()
            worker.kill()

    assert result.state == "lost", result
    assert "Cells may have run" in result.problem


def test_claims() -> None:
    """Only the latest taker may send, and nobody takes what has been sent."""
    claims.offer("h")
    assert claims.take("h", "1", "A") is None
    assert claims.take("h", "2", "B") is None
    assert not claims.send("h", "1")
    assert claims.send("h", "2")
    assert (claims.take("h", "3", "C") or {})["worker"] == "B"
    assert not claims.send("h", "3")
    claims.finish("h", "3", {"result": 3})
    claims.finish("h", "2", {"result": 2})
    assert (claims.take("h", "4", "D") or {})["answer"] == {"result": 2}
    assert (claims.withdraw("h") or {})["stage"] == claims.Stage.DONE
    assert claims.withdraw("h") is None
    # What is withdrawn is taken by nobody.
    assert (claims.take("h", "5", "E") or {})["stage"] == claims.Stage.SENT
    assert not claims.send("h", "5")
