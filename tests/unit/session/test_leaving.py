"""A runspace that is left to its server: what counts is what the server does, whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from pskernel.errors import RunspaceStateError, TransportClosed
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.transports.outofproc import OutOfProcTransport
from tests.fakes.server import far_end


class KeepingTransport:
    """Its server keeps pools, and answers when the test says so."""

    def __init__(self, inner: OutOfProcTransport) -> None:
        self.holding = self.leaves = False
        self.requests: list[str] = []
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inner = inner
        self.far_end: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def disconnect(self, **_: object) -> None:
        await self._ask("disconnect")

    async def reconnect(self) -> None:
        await self._ask("reconnect")

    async def attach(self, pool_id: UUID, data: bytes) -> bytes:
        raise NotImplementedError

    async def resume(self, pipeline_id: UUID) -> None:
        raise NotImplementedError

    async def _ask(self, what: str) -> None:
        self.requests.append(what)
        self.asked.set()
        await self.answer


def run(main: Callable[[Runspace, KeepingTransport], Awaitable[None]]) -> None:
    async def opened() -> None:
        async with far_end() as (transport, far), asyncio.timeout(10):
            server = KeepingTransport(transport)
            server.far_end = far
            runspace = await Runspace.open(server, open_timeout=10)
            try:
                await main(runspace, server)
            finally:
                await runspace.abandon("The test is over.")

    asyncio.run(opened())


async def interrupted(work: Awaitable[None], server: KeepingTransport) -> None:
    """Cancel something when the server has been asked."""
    task = asyncio.ensure_future(work)
    await server.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_it_is_left_though_nobody_waits_for_the_answer() -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        await interrupted(runspace.disconnect(), server)
        assert RunspaceState.DISCONNECTED is runspace.state

        # Whoever comes back is behind it.
        coming = asyncio.create_task(runspace.reconnect())
        await settle()
        assert ["disconnect"] == server.requests
        server.answer.set_result(None)
        await coming

        assert ["disconnect", "reconnect"] == server.requests
        assert RunspaceState.OPEN is runspace.state

    run(main)


def test_it_is_open_where_the_server_refuses_though_nobody_waits_for_the_answer() -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        await interrupted(runspace.disconnect(), server)
        server.answer.set_exception(TransportClosed("no"))
        await settle()

        assert RunspaceState.OPEN is runspace.state
        await runspace.reconnect()
        assert ["disconnect"] == server.requests

    run(main)


def test_it_is_come_back_to_though_nobody_waits_for_the_answer() -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        server.answer.set_result(None)
        await runspace.disconnect()
        server.answer = asyncio.get_running_loop().create_future()
        server.asked.clear()
        await interrupted(runspace.reconnect(), server)
        assert RunspaceState.DISCONNECTED is runspace.state

        server.answer.set_result(None)
        await runspace.reconnect()

        assert ["disconnect", "reconnect"] == server.requests
        assert RunspaceState.OPEN is runspace.state

    run(main)


@pytest.mark.parametrize("end", ["aclose", "abandon"])
def test_one_that_ends_while_it_is_come_back_to_has_ended(end: str) -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        server.answer.set_result(None)
        await runspace.disconnect()
        server.answer = asyncio.get_running_loop().create_future()
        server.asked.clear()
        coming = asyncio.create_task(runspace.reconnect())
        await server.asked.wait()
        before = runspace.state

        await (runspace.aclose() if end == "aclose" else runspace.abandon("lost"))

        with pytest.raises(TransportClosed, match="closed on this side"):
            await coming
        assert (before if end == "aclose" else RunspaceState.BROKEN) is runspace.state

    run(main)


def test_one_whose_line_is_cut_while_it_is_come_back_to_is_broken() -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        server.answer.set_result(None)
        await runspace.disconnect()
        server.answer = asyncio.get_running_loop().create_future()
        server.asked.clear()
        coming = asyncio.create_task(runspace.reconnect())
        await server.asked.wait()
        await server.aclose()
        await runspace.wait_ended()

        server.answer.set_result(None)

        with pytest.raises(RunspaceStateError, match="broken"):
            await coming
        assert RunspaceState.BROKEN is runspace.state

    run(main)


@pytest.mark.parametrize("answers", [False, True])
def test_one_that_stays_is_never_ended_whatever_the_server_says(answers: bool) -> None:
    async def main(runspace: Runspace, server: KeepingTransport) -> None:
        if answers:
            server.answer.set_exception(TransportClosed("no"))
        await runspace.leave_for_good(grace=0.05)

        assert server.leaves
        assert ["disconnect"] == server.requests
        assert RunspaceState.BROKEN is runspace.state
        assert server.far_end.log.count("Close") == 0

    run(main)
