"""What a server does of itself, over WinRM: it drops connections that are idle, and buffers for who is not there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from pskernel.connect import connect
from pskernel.records import HostCall, HostText, Notice, PipelineEnd, PipelineState
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.base import Gone, Payload
from pskernel.transports.winrm import transport
from pskernel.transports.winrm.transport import WinRMTransport
from tests.fakes.wsman_bridge import WsmanBridge
from tests.fakes.wsman_bridge.server import Server
from tests.parts.certificates import Authority
from tests.parts.winrm import url_of

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]
LINES = "1..300 | ForEach-Object { \"$_ \" + 'x' * 300 }"
Arrived = dict[UUID | None, bytes]


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Arrived:
    """What sessions were given, by pipeline."""
    found: Arrived = defaultdict(bytes)
    original = WinRMTransport.receive

    async def receive(self: WinRMTransport) -> Sequence[Payload | Gone | Notice]:
        items = await original(self)
        for item in items:
            if isinstance(item, Payload):
                found[item.pipeline_id] += item.data
        return items

    monkeypatch.setattr(WinRMTransport, "receive", receive)
    return found


def sent(bridge: WsmanBridge) -> Arrived:
    """What the service handed out, likewise."""
    return {UUID(command_id) if command_id is not None else None: data for (_, command_id), data in bridge.sent.items()}


async def said(pipeline: Pipeline) -> list[str]:
    found = []
    async for record in pipeline:
        found.append(record)
        if isinstance(record, HostCall) and record.expects_reply:
            await pipeline.reply(record, "told")
    assert isinstance(found[-1], PipelineEnd)
    assert found[-1].state is PipelineState.COMPLETED
    return [record.text for record in found if isinstance(record, HostText)]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cell_that_is_silent_for_longer_than_idle_connections_live(
    bridge_factory: Factory,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrived: Arrived,
    scheme: str,
) -> None:
    monkeypatch.setattr(transport, "RECEIVE_SECONDS", 1)
    pair = authority.server()
    files = {"certificate": (pair.certificate, pair.key, None)} if scheme == "https" else {}
    bridge = bridge_factory(**files)
    bridge.idle_connection_seconds = 0.2
    connections: list[object] = []
    accept = Server.get_request
    monkeypatch.setattr(Server, "get_request", lambda server: connections.append(server) or accept(server))
    options = "auth=ntlm" + (f"&ca_file={authority.file}" if scheme == "https" else "")

    async def main() -> None:
        async with await connect(Target.parse(url_of(bridge, tmp_path, options))) as runspace:
            for number in range(3):
                # The answer goes over a connection that nobody needs until the next.
                cell = f"'a{number}'; $Host.UI.ReadLine(); Start-Sleep -Milliseconds 1500; {LINES}"
                lines = [f"{each} {'x' * 300}\n" for each in range(1, 301)]
                assert [f"a{number}\n", "told\n", *lines] == await said(await runspace.run_cell(cell))
            assert runspace.idle.take() == []

    asyncio.run(asyncio.wait_for(main(), 100))
    # To the byte; and a connection had gone with each cell.
    assert sent(bridge) == arrived
    assert len(arrived) == 1 + 3
    assert len(connections) >= 2 + 3, len(connections)


async def _left(bridge: WsmanBridge, runspace: Runspace, gate: Path, buffering: str) -> tuple[Pipeline, bool]:
    """Leave a session whose cell says 3 MB when nobody is there; whether it could say them all."""
    wait = f"while (-not (Test-Path '{gate}')) {{ Start-Sleep -Milliseconds 10 }}"
    pipeline = await runspace.run_cell(f"'begun'; {wait}; 1..3000 | ForEach-Object {{ \"$_ \" + 'x' * 1000 }}")
    async for record in pipeline:
        if isinstance(record, HostText):
            break
    await runspace.disconnect(buffering=buffering)
    (shell,) = bridge.service.shells.values()
    gate.touch()
    command_id = str(pipeline.pipeline_id).upper()
    finished = await asyncio.to_thread(shell.wait_finished, command_id, 20 if buffering == "drop" else 1)
    assert shell.waiting_bytes(command_id) < 150_000
    return pipeline, finished


@pytest.mark.parametrize("buffering", ["block", "drop"])
def test_a_buffer_that_is_full(bridge_factory: Factory, tmp_path: Path, arrived: Arrived, buffering: str) -> None:
    bridge = bridge_factory()
    bridge.service.buffer_limit = 100_000

    async def main() -> tuple[bool, list[int]]:
        async with await connect(Target.parse(url_of(bridge, tmp_path, "auth=ntlm"))) as runspace:
            pipeline, finished = await _left(bridge, runspace, tmp_path / "gate", buffering)
            await runspace.reconnect()
            numbers = [int(line.split()[0]) for line in await said(pipeline)]
            assert ["after\n"] == await said(await runspace.run_cell("'after'"))
            return finished, numbers

    finished, numbers = asyncio.run(asyncio.wait_for(main(), 100))
    assert sent(bridge) == arrived
    if buffering == "block":
        # The engine had to wait, and nothing is missing.
        assert not finished
        assert numbers == list(range(1, 3001))
    else:
        # It did not, and what came last is there.
        assert finished
        assert 50 < len(numbers) < 3000
        assert numbers == sorted(set(numbers))
        assert numbers[-50:] == list(range(2951, 3001))
