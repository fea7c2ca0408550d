"""Outages of the network of a durable session, whatever it is doing: a cable to a real SSH server is pulled.

Nobody is told of it: this side finds out by its keepalives, and for sshd the old connection is still there. One second
passes as it is; longer ones pass by the clock of the way back, which the test moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from pskernel.connect import connect, opener
from pskernel.copying.copy import receive_items, send_items
from pskernel.questions import NobodyToAsk
from pskernel.records import HostCall, HostText, Notice, PipelineEnd, PipelineState, ProgressRecord, Record
from pskernel.session.interactive import InteractiveSession, SessionLost
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.target import Target
from pskernel.transports.durable.stream import DurableStream, Patience
from tests.parts.kernels import Gate, wait_gone
from tests.parts.netns import Cable, far_host
from tests.parts.sshd import running_sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

SECONDS = 60.0
REAL_SECONDS = 1
INTERRUPTED = Notice("(taken by the test)")


class Clock:
    """The clock of the way back. It stands still until an outage may pass; at the end of it the cable is there again."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self._time = self._left = 0.0
        self._is_real = False
        self.may_pass = asyncio.Event()

    def begin(self, seconds: float) -> None:
        """An outage begins that lasts so long, an hour after the last one."""
        self._time += 3_600
        self._left, self._is_real = seconds, seconds <= REAL_SECONDS
        self.may_pass.clear()

    def now(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        await self.may_pass.wait()
        passing = min(seconds, self._left)
        if not passing or self._is_real:
            # The cable is there, and the network not yet; or it is a real second.
            await asyncio.sleep(passing or seconds)
        self._time += passing
        self._left -= passing
        if passing and not self._left:
            await self._cable.plug_in()

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, self.now, self.sleep)


class Session:
    """A durable session, and its network."""

    def __init__(self, runspace: Runspace, cable: Cable, clock: Clock) -> None:
        self.runspace, self.cable, self.clock = runspace, cable, clock
        self.seen: list[Record] = []

    @contextlib.asynccontextmanager
    async def outage(self, seconds: float, *, pulled: bool = False) -> AsyncIterator[None]:
        """The network is away, and this side knows; so many seconds pass after the block."""
        self.clock.begin(seconds)
        if not pulled:
            await self.cable.pull()
        stream = stream_of(self.runspace)
        await stream._lost.wait()
        assert self.runspace.is_reconnecting
        yield
        assert self.runspace.is_reconnecting
        self.clock.may_pass.set()
        await stream.back()
        assert RunspaceState.OPEN is self.runspace.state
        assert not self.runspace.is_reconnecting

    async def run(self, cell: str) -> list[Record]:
        return [record async for record in await self.runspace.run_cell(cell)]

    async def told(self, records: list[Record]) -> list[str]:
        """What was told of outages: within these records, or before and behind them."""
        behind = await self.run("''")
        found = [*self.runspace.idle.take(), *records, *behind]
        return [record.text for record in found if isinstance(record, Notice)]


def stream_of(runspace: Runspace) -> DurableStream:
    transport: Any = runspace._transport
    stream: DurableStream = transport._stream
    return stream


def lines(records: list[Record]) -> list[str]:
    return [record.text.rstrip("\n") for record in records if isinstance(record, HostText)]


class Host:
    """A host behind a cable."""

    def __init__(self, url: str, cable: Cable) -> None:
        self.url, self.cable = url, cable

    def target(self, **options: object) -> Target:
        return Target.parse(self.url, options)


@pytest.fixture(scope="module")
def host(pwsh: str) -> Iterator[Host]:
    subsystems = {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "internal-sftp"}
    with far_host() as cable, running_sshd(subsystems, address=cable.address, within=cable.within) as server:
        url = (
            f"ssh://{server.user}@{server.host}:{server.port}?durable=1&key_file={server.key}"
            f"&known_hosts={server.known_hosts}&ssh_config=none&keepalive=0.2&connect_timeout=2"
        )
        yield Host(url, cable)


@contextlib.contextmanager
def moved_by(clock: Clock) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("pskernel.connect.durable"), "Patience", clock.patience)
        yield


Check = Callable[[Callable[[Session], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def check(host: Host) -> Iterator[Check]:
    """Runs a test on one session for all that leave it as it was."""
    clock = Clock(host.cable)
    with asyncio.Runner() as runner, moved_by(clock):
        runspace = runner.run(connect(host.target()))

        async def bounded(test: Callable[[Session], Awaitable[None]]) -> None:
            async with asyncio.timeout(SECONDS):
                await test(Session(runspace, host.cable, clock))

        yield lambda test: runner.run(bounded(test))
        runner.run(runspace.aclose())


async def during_output(session: Session, seconds: float, folder: Path) -> list[Record]:
    gate = Gate(folder / "gate")
    cell = f'1..3000 | ForEach-Object {{ "line $_"; if ($_ -eq 1500) {{ {gate.wait} }} }}'
    seen: list[Record] = []
    async for record in await session.runspace.run_cell(cell):
        seen.append(record)
        if len(seen) == 300:
            async with session.outage(seconds):
                gate.open()
    assert [f"line {number}" for number in range(1, 3001)] == lines(seen)
    assert PipelineEnd(PipelineState.COMPLETED) in seen
    return seen


async def during_a_prompt(session: Session, seconds: float, folder: Path) -> list[Record]:
    pipeline = await session.runspace.run_cell('$a, $b = $Host.UI.ReadLine(), $Host.UI.ReadLine(); "$a and $b"')
    answers, seen = ["one", "two"], []
    async for record in pipeline:
        seen.append(record)
        if isinstance(record, HostCall) and record.expects_reply:
            async with session.outage(seconds) if len(answers) == 2 else contextlib.nullcontext():
                await pipeline.reply(record, answers.pop(0))
    assert "one and two" == lines(seen)[-1]
    return seen


async def while_idle(session: Session, seconds: float, folder: Path) -> list[Record]:
    await session.run("$x = 0; Set-Location /usr")
    async with session.outage(seconds):
        # A cell that does not wait for the network to be back is sent once.
        running = asyncio.create_task(session.run('$x++; "$x in $PWD"'))
    seen = await running
    assert ["1 in /usr"] == lines(seen)
    return seen


async def while_nobody_has_noticed(session: Session, seconds: float, folder: Path) -> list[Record]:
    await session.run("$x = 0")
    await session.cable.pull()
    running = asyncio.create_task(session.run("$x++; $x"))
    async with session.outage(seconds, pulled=True):
        # The cell waits, and whoever waits for it can be told why.
        await session.runspace.idle.told.wait()
        assert ["has been interrupted" in notice.text for notice in session.runspace.idle.take_notices()] == [True]
    seen = await running
    assert ["1"] == lines(seen)
    return [INTERRUPTED, *seen]


async def during_a_copy(session: Session, seconds: float, folder: Path) -> list[Record]:
    data = os.urandom(3_000_000)
    (folder / "here").write_bytes(data)
    for copy, source, copied in (
        (send_items, f"{folder}/here", folder / "there"),
        (receive_items, f"{folder}/there", folder / "back"),
    ):
        begun = asyncio.Event()

        def pull(progress: ProgressRecord, begun: asyncio.Event = begun) -> None:
            if not begun.is_set():
                assert not progress.completed
                session.cable.pull_now()
                begun.set()

        copying = asyncio.create_task(copy(session.runspace, source, str(copied), tell=pull))
        await begun.wait()
        async with session.outage(seconds, pulled=True):
            assert not copied.exists()
        result = await copying
        assert ("SFTP", [], 3_000_000) == (result.way, result.notices, result.bytes)
        assert data == copied.read_bytes()
    return []


@pytest.mark.parametrize("seconds", [REAL_SECONDS, 10, 60])
@pytest.mark.parametrize("doing", [during_output, during_a_prompt, while_idle, while_nobody_has_noticed, during_a_copy])
def test_nothing_is_lost_or_doubled_by_an_outage(
    check: Check,
    doing: Callable[[Session, float, Path], Awaitable[list[Record]]],
    seconds: int,
    tmp_path: Path,
) -> None:
    async def test(session: Session) -> None:
        told = await session.told(await doing(session, seconds, tmp_path))
        assert any(f"restored after {seconds} s. Nothing was lost." in text for text in told)
        assert 1 / 2 == sum("restored after" in text for text in told) / len(told)

    check(test)


def test_a_session_whose_outage_outlasts_patience_is_never_shown_as_alive(host: Host) -> None:
    async def main() -> None:
        clock = Clock(host.cable)
        target = host.target(reconnect_timeout=90)
        session = InteractiveSession(opener(target), target.label)
        with moved_by(clock):
            runspace = await session.ready(NobodyToAsk())
            (engine,) = await runspace.query("$x = 7; $PID")
            relay = psutil.Process(engine).parent()
            assert relay is not None
            folder = Path(relay.cmdline()[-1])
            assert "connected" == session.connection
            clock.begin(math.inf)
            began = clock.now()
            await host.cable.pull()
            await stream_of(runspace)._lost.wait()
            assert "reconnecting" == session.connection
            clock.may_pass.set()
            await runspace.wait_ended()
            assert (RunspaceState.BROKEN, "none", False) == (runspace.state, session.connection, session.is_open)
            assert 90 == clock.now() - began
            # The network is back, and the relay there: it is too late, and the cell is for the session that is lost.
            await host.cable.plug_in()
            with pytest.raises(SessionLost, match=r"could not be resumed.* This cell was not run"):
                await session.ready(NobodyToAsk())
            assert [None] == await (await session.ready(NobodyToAsk())).query("$x")
            await session.aclose()
        relay.kill()
        await asyncio.to_thread(wait_gone, engine)
        shutil.rmtree(folder)

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await main()

    asyncio.run(bounded())
