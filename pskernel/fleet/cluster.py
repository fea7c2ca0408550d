"""Hosts that the workers of a Dask cluster run. What a lost worker may have sent is not sent again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, Event, KilledWorker, Variable, get_client, get_worker

import pskernel
from pskernel.audit import audit_policy
from pskernel.errors import TargetUnreachable
from pskernel.fleet.host import HostOrder, HostResult, HostRun, HostState
from pskernel.questions import NobodyToAsk
from pskernel.runbook.notebook import NotebookError, write_json
from pskernel.runbook.report import CellDone, Report, RunState, Watcher

__all__ = ["ClusterWorkers", "open_cluster"]

_SCHEMES = {"dask": "tcp", "dask+tls": "tls"}
_CONNECT_SECONDS = 30.0
# Results above that are not kept with the scheduler as well.
_MAX_KEPT = 1024 * 1024
_STOP_SECONDS = 1.0
_CLAIM_SECONDS = 30.0
_FREE, _CONNECTING, _SENT, _DONE = "free", "connecting", "sent", "done"


@contextlib.asynccontextmanager
async def open_cluster(url: str) -> AsyncIterator[ClusterWorkers]:
    """Connect to ``dask://scheduler:8786``, or ``dask+tls://`` with the certificates of Dask's own configuration.

    Raises:
        TargetUnreachable: there is no scheduler, or it is not one.
    """
    scheme, _, place = url.partition("://")
    if scheme not in _SCHEMES or not place:
        raise TargetUnreachable(f"A cluster is named as dask://scheduler:8786 or dask+tls://scheduler:8786, not {url}.")
    try:
        client = await Client(f"{_SCHEMES[scheme]}://{place}", asynchronous=True, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise TargetUnreachable(f"No Dask scheduler answers at {url}: {error}.") from None
    try:
        yield ClusterWorkers(client)
    finally:
        await client.close()


class ClusterWorkers:
    """The workers of a cluster."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._run_id = uuid4().hex

    def host(self, order: HostOrder, watcher: Watcher) -> _WorkersHost:  # noqa: ARG002 - cells are not told of
        """A run on one of the workers."""
        return _WorkersHost(self._client, order, self._run_id)


class _WorkersHost:
    def __init__(self, client: Any, order: HostOrder, run_id: str) -> None:
        self._client = client
        self._order = order
        self._run_id = run_id
        self._future: Any = None
        self._stopping: set[asyncio.Task[Any]] = set()

    async def run(self) -> HostResult:
        order = self._order
        away = replace(order, book=order.text(), out=Path(order.out.name))
        claim = Variable(_claim_name(self._run_id, order.name), client=self._client)
        await claim.set(json.dumps({"stage": _FREE}))
        try:
            return await self._result(away)
        finally:
            claim.delete()

    async def _result(self, away: HostOrder) -> HostResult:
        order = self._order
        self._future = self._client.submit(
            run_on_worker,
            away,
            self._run_id,
            pskernel.__version__,
            key=f"pskernel-{self._run_id}-{order.name}",
            pure=False,
            retries=0,
        )
        try:
            answer: dict[str, Any] = await self._future
            if answer["notebook"]:
                await asyncio.to_thread(write_json, answer["notebook"], order.out)
        except KilledWorker:
            return self._failed(HostState.LOST, "Several workers were lost while this host was their task.")
        except (asyncio.CancelledError, NotebookError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a worker's own Python says
            problem = f"The worker could not do it: {type(error).__name__}: {error}. Is pskernel installed there?"
            return self._failed(HostState.BROKEN, problem[:500])
        return _result(answer["result"], order.out if answer["notebook"] else None)

    def interrupt(self) -> None:
        # Whoever has not begun is taken back; the others are told.
        task = asyncio.ensure_future(Event(_stop_name(self._run_id), client=self._client).set())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def _failed(self, state: str, problem: str) -> HostResult:
        return HostResult(self._order.name, self._order.target.redacted, state, problem=problem)


def run_on_worker(order: HostOrder, run_id: str, version: str) -> dict[str, Any]:
    """What a worker does for a host: the run, once, with secrets that are resolved where the worker is.

    Returns:
        ``result``, a :class:`HostResult` as a table, and ``notebook``, the executed notebook's text or empty.
    """
    if version != pskernel.__version__:
        problem = f"The worker has pskernel {pskernel.__version__}, and this run is of {version}. Install the same."
        return _answer(HostResult(order.name, order.target.redacted, HostState.BROKEN, problem=problem))
    claim = _Claim(_claim_name(run_id, order.name))
    earlier = claim.take()
    if earlier is not None:
        return earlier if earlier["result"] is not None else _answer(_lost(order, earlier["worker"]))
    with tempfile.TemporaryDirectory(prefix="pskernel-") as folder:
        out = Path(folder) / order.out.name
        result = asyncio.run(_run(replace(order, out=out), claim, run_id))
        answer = _answer(result, out.read_text("utf-8") if out.exists() else "")
    claim.done(answer)
    return answer


async def _run(order: HostOrder, claim: _Claim, run_id: str) -> HostResult:
    settings = audit_policy()
    with contextlib.nullcontext() if settings is None else settings.open() as log:
        host = HostRun(order, claim, NobodyToAsk(), contextlib.nullcontext(), log=log)
        return await _until_stopped(host, run_id)


async def _until_stopped(host: HostRun, run_id: str) -> HostResult:
    stop = Event(_stop_name(run_id), client=get_client())

    async def obey() -> None:
        while not await asyncio.to_thread(stop.wait, timeout=_STOP_SECONDS):
            pass
        host.interrupt()

    watching = asyncio.create_task(obey())
    try:
        return await host.run()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Claim:
    """What the scheduler knows of a host: which worker has begun with it, and how far it came.

    Dask gives a lost worker's task to another one. That one goes on only if nothing had been sent: a worker that is
    lost to the scheduler may still be at work, and a command that has been sent is never sent again.
    """

    def __init__(self, name: str) -> None:
        self._client = get_client()
        self._place = Variable(name, client=self._client)
        self._worker = str(get_worker().address)
        self._sent = False

    def take(self) -> dict[str, Any] | None:
        """Take the host. What another worker has left of it if it cannot be taken."""
        found: dict[str, Any] = json.loads(self._place.get(timeout=_CLAIM_SECONDS))
        if found["stage"] != _FREE:
            alive = found["worker"] in self._client.scheduler_info()["workers"]
            if found["stage"] != _CONNECTING or alive:
                return {"result": None, "notebook": "", **found}
        self._note(_CONNECTING)
        return None

    def done(self, answer: dict[str, Any]) -> None:
        """Keep an answer with the scheduler: this worker may be lost before it is fetched."""
        small = len(answer["notebook"]) <= _MAX_KEPT
        self._note(_DONE, **(answer if small else {**answer, "notebook": ""}))

    def begins(self, cell: CellDone) -> None:  # noqa: ARG002 - the first is what matters
        """Note that something is going to be sent, before it is."""
        if not self._sent:
            self._sent = True
            self._note(_SENT)

    def ended(self, cell: CellDone) -> None:
        """Nothing to note."""

    def _note(self, stage: str, **more: Any) -> None:
        self._place.set(json.dumps({"worker": self._worker, "stage": stage, **more}))


def _lost(order: HostOrder, worker: str) -> HostResult:
    return HostResult(
        order.name,
        order.target.redacted,
        HostState.LOST,
        problem=f"The worker {worker} was lost while the notebook ran. Its cells may have run, in part or to the end; "
        "they were not run again.",
    )


def _answer(result: HostResult, notebook: str = "") -> dict[str, Any]:
    # As JSON has it: enumerations are their texts.
    return {"result": json.loads(json.dumps(dataclasses.asdict(result))), "notebook": notebook}


def _result(table: dict[str, Any], out: Path | None) -> HostResult:
    report = table["report"]
    if report is not None:
        report = Report(**{**report, "state": RunState(report["state"])})
    return HostResult(**{**table, "report": report, "out": None if out is None else str(out)})


def _claim_name(run_id: str, host: str) -> str:
    return f"pskernel-{run_id}-{host}"


def _stop_name(run_id: str) -> str:
    return f"pskernel-{run_id}-stop"
