"""Hosts that the workers of a Dask cluster run. What a lost worker may have sent is not sent again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, Event, KilledWorker, get_client, get_worker

import pskernel
from pskernel.audit import audit_policy
from pskernel.errors import PSKernelError, TargetUnreachable
from pskernel.fleet.claims import Stage, finish, offer, send, take, withdraw
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
_WITHDRAW_SECONDS = 10.0
_INSTALL = "Scheduler and workers need the same pskernel as this machine."


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
        await client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError:
        await client.close()
        raise TargetUnreachable(
            f"The Dask scheduler at {url} has no workers. Start some (dask worker) first."
        ) from None
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
        self._claim = _claim_name(run_id, order.name)
        self._given_up = asyncio.Event()
        self._asked = 0
        self._stopping: set[asyncio.Task[Any]] = set()

    async def run(self) -> HostResult:
        away = replace(self._order, book=self._order.text(), out=Path(self._order.out.name))
        try:
            await self._ask(offer)
        except Exception as error:  # noqa: BLE001 - whatever the scheduler's Python says
            return self._failed(HostState.NOT_STARTED, f"The scheduler could not take it: {_said(error)}. {_INSTALL}")
        problem = "The run was given up."
        try:
            answer = await self._answer(away)
        except KilledWorker:
            answer, problem = None, "Several workers were lost while this host was their task."
        except Exception as error:  # noqa: BLE001 - whatever a worker's Python says, or the way there
            answer, problem = None, f"What the worker did did not come back: {_said(error)}."
        # From here on nobody sends anything any more who has not sent already.
        claim = await self._withdrawn()
        if answer is None and claim is not None:
            answer = claim["answer"]
        if answer is not None:
            return await self._written(answer)
        if claim is not None and claim["stage"] == Stage.FREE:
            hint = "" if self._given_up.is_set() else _INSTALL
            return self._failed(HostState.NOT_STARTED, f"{problem} Nothing was sent. {hint}")
        if claim is not None and claim["stage"] == Stage.CONNECTING:
            return self._failed(HostState.NOT_STARTED, f"{problem} Nothing was sent.")
        return self._failed(HostState.LOST, f"{problem} Cells may have run, and may be running; look before you go on.")

    def interrupt(self) -> None:
        """Tell the worker, which stops its cell; a second time waits for nobody."""
        self._asked += 1
        if self._asked > 1:
            self._given_up.set()
            return
        task = asyncio.ensure_future(Event(_stop_name(self._run_id), client=self._client).set())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _answer(self, away: HostOrder) -> dict[str, Any] | None:
        """What the worker has to say; None if told to wait no more."""
        future = self._client.submit(
            run_on_worker, away, self._run_id, pskernel.__version__, key=self._claim, pure=False, retries=0
        )
        result = asyncio.ensure_future(_result_of(future))
        giving_up = asyncio.create_task(self._given_up.wait())
        try:
            await asyncio.wait({result, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            return await result if result.done() else None
        finally:
            for task in (result, giving_up):
                task.cancel()
            await asyncio.gather(result, giving_up, return_exceptions=True)
            # Dask lets go of a task that nobody wants.
            future.release()

    async def _withdrawn(self) -> dict[str, Any] | None:
        """How far it came by now; None if the scheduler cannot say."""
        try:
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                claim: dict[str, Any] | None = await self._ask(withdraw)
                return claim
        except Exception:  # noqa: BLE001 - lost is lost
            return None

    async def _ask(self, function: Callable[[str], object]) -> Any:
        return await self._client.run_on_scheduler(function, self._claim)

    async def _written(self, answer: dict[str, Any]) -> HostResult:
        result = _result(answer["result"])
        if not answer["notebook"]:
            return result
        try:
            await asyncio.to_thread(write_json, answer["notebook"], self._order.out)
        except NotebookError as error:
            return replace(result, problem=f"{result.problem} {error}".strip())
        return replace(result, out=str(self._order.out))

    def _failed(self, state: str, problem: str) -> HostResult:
        return HostResult(self._order.name, self._order.target.redacted, state, problem=problem.strip())


async def _result_of(future: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await future
    return answer


def run_on_worker(order: HostOrder, run_id: str, version: str) -> dict[str, Any]:
    """What a worker does for a host: the run, once, with secrets that are resolved where the worker is.

    Returns:
        ``result``, a :class:`HostResult` as a table, and ``notebook``, the executed notebook's text or empty.
    """
    if version != pskernel.__version__:
        problem = f"The worker has pskernel {pskernel.__version__}, and this run is of {version}. Install the same."
        return _answer(HostResult(order.name, order.target.redacted, HostState.NOT_STARTED, problem=problem))
    claim = _Claim(_claim_name(run_id, order.name))
    earlier = claim.take()
    if earlier is not None:
        return earlier["answer"] or _answer(_lost(order, earlier["worker"]))
    with tempfile.TemporaryDirectory(prefix="pskernel-") as folder:
        out = Path(folder) / order.out.name
        try:
            result = asyncio.run(_run(replace(order, out=out), claim, run_id))
        except PSKernelError as error:
            # The audit log could not be opened.
            result = HostResult(order.name, order.target.redacted, HostState.NOT_STARTED, problem=str(error))
        answer = _answer(result, out.read_text("utf-8") if out.exists() else "")
    claim.done(answer)
    return answer


async def _run(order: HostOrder, claim: _Claim, run_id: str) -> HostResult:
    settings = audit_policy()
    with contextlib.nullcontext() if settings is None else settings.open() as log:
        host = HostRun(order, _Nobody(), NobodyToAsk(), contextlib.nullcontext(), log=log, permit=claim.refusal)
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


class _Nobody(Watcher):
    """A worker's run is watched by nobody."""

    def begins(self, cell: CellDone) -> None:
        pass

    def ended(self, cell: CellDone) -> None:
        pass


class _Claim:
    """A worker's own claim to a host; see :mod:`pskernel.fleet.claims`."""

    def __init__(self, name: str) -> None:
        self._client = get_client()
        self._name = name
        self._token = uuid4().hex
        self._may_send = False

    def take(self) -> dict[str, Any] | None:
        """Take the host. How it stands if it cannot be taken."""
        found: dict[str, Any] | None = self._ask(take, str(get_worker().address))
        return found

    def refusal(self) -> str:
        """Why nothing may be sent; or nothing, and the scheduler knows that something is going to be."""
        if not self._may_send:
            try:
                self._may_send = self._ask(send)
            except Exception as error:  # noqa: BLE001 - what is not known must not be risked
                return f"Whether this worker still has the host cannot be asked: {_said(error)}. Nothing was sent."
        return "" if self._may_send else "Another worker has taken the host over, or it is wanted no more."

    def done(self, answer: dict[str, Any]) -> None:
        """Keep an answer with the scheduler, where there is one."""
        small = len(answer["notebook"]) <= _MAX_KEPT
        # The answer goes back as the task's result anyway.
        with contextlib.suppress(Exception):
            self._ask(finish, answer if small else {**answer, "notebook": ""})

    def _ask(self, function: Callable[..., object], *more: object) -> Any:
        ask = self._client.run_on_scheduler
        return ask(function, self._name, self._token, *more)


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


def _result(table: dict[str, Any]) -> HostResult:
    """A result as it came; where its notebook is, whoever writes it knows."""
    report = table["report"]
    if report is not None:
        report = Report(**{**report, "state": RunState(report["state"])})
    return HostResult(**{**table, "report": report, "out": None})


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400].rstrip(". ")


def _claim_name(run_id: str, host: str) -> str:
    return f"pskernel-{run_id}-{host}"


def _stop_name(run_id: str) -> str:
    return f"pskernel-{run_id}-stop"
