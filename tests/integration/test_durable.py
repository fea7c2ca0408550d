"""Durable sessions, over a line to a real SSH server that is cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from pskernel.connect import connect
from pskernel.copying.copy import receive_items, send_items
from pskernel.errors import ConnectError, TransportClosed
from pskernel.records import HostCall, HostText, Notice, PipelineEnd, PipelineState, Record
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.target import Target
from tests.parts.cuts import Line
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

SECONDS = 60.0


@pytest.fixture(scope="module")
def durable_sshd(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    server: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "internal-sftp"})
    return server


class Session:
    """A durable session, and the line that it goes over."""

    def __init__(self, runspace: Runspace, line: Line, relay: psutil.Process, folder: Path) -> None:
        self.runspace, self.line, self.relay, self.folder = runspace, line, relay, folder

    async def run(self, cell: str) -> list[Record]:
        pipeline = await self.runspace.run_cell(cell)
        return [record async for record in pipeline]

    async def show(self, cell: str) -> list[str]:
        return lines(await self.run(cell))

    async def begin(self, cell: str) -> Pipeline:
        """Start a cell, and wait for its first line."""
        pipeline = await self.runspace.run_cell(cell)
        await anext(record for record in [await anext(aiter(pipeline))] if isinstance(record, HostText))
        return pipeline


def lines(records: list[Record]) -> list[str]:
    return [record.text.rstrip("\n") for record in records if isinstance(record, HostText)]


def notices(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Notice)]


@contextlib.asynccontextmanager
async def session_over(server: Sshd, tmp_path: Path, more: str = "") -> AsyncIterator[Session]:
    async with Line(server.port) as line:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
        url = (
            f"ssh://{server.user}@127.0.0.1:{line.port}?durable=1&key_file={server.key}&known_hosts={known}"
            f"&ssh_config=none{more}"
        )
        async with asyncio.timeout(SECONDS), await connect(Target.parse(url)) as runspace:
            (engine,) = await runspace.query("$PID")
            relay = psutil.Process(engine).parent()
            assert relay is not None
            yield Session(runspace, line, relay, Path(relay.cmdline()[-1]))


def test_output_goes_on_through_five_cuts(durable_sshd: Sshd, tmp_path: Path) -> None:
    async def main() -> None:
        async with session_over(durable_sshd, tmp_path) as session:
            pipeline = await session.runspace.run_cell('1..20000 | ForEach-Object { "line $_" }')
            records: list[Record] = []
            cut_at = 0
            async for record in pipeline:
                records.append(record)
                if len(records) >= cut_at and session.line.cuts < 5:
                    # In the middle of a line, of a frame, of an SSH packet.
                    session.line.cut_after(1 + 7919 * session.line.cuts)
                    cut_at = len(records) + 3000
            assert [f"line {n}" for n in range(1, 20_001)] == lines(records)
            assert 5 == session.line.cuts
            assert 10 == len(notices(records))
            assert PipelineEnd(PipelineState.COMPLETED) == records[-1]

    asyncio.run(main())
