"""Durable sessions, over a line to a real SSH server that is cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from pskernel import new_pssession
from pskernel.connect import connect
from pskernel.copying.copy import receive_items, send_items
from pskernel.errors import ConnectError, TransportClosed
from pskernel.records import HostCall, HostText, Notice, PipelineEnd, PipelineState, Record
from pskernel.remoting.loop import LOOP
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.target import Target
from pskernel.transports.durable.stream import Patience
from tests.parts.container import Container, podman
from tests.parts.cuts import Line
from tests.parts.netns import Cable, far_host
from tests.parts.sshd import Sshd, restricted, running_sshd

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


def lines(records: list[Record]) -> list[str]:
    return [record.text.rstrip("\n") for record in records if isinstance(record, HostText)]


def notices(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Notice)]


def impatience(seconds: float) -> Patience:
    """The way back as it is, but for its pauses, which are short."""
    return Patience(seconds, sleep=lambda pause: asyncio.sleep(min(pause, 0.1)))


@contextlib.asynccontextmanager
async def session_over(server: Sshd, tmp_path: Path) -> AsyncIterator[Session]:
    async with Line(server.port) as line:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
        url = (
            f"ssh://{server.user}@127.0.0.1:{line.port}?durable=1&key_file={server.key}&known_hosts={known}"
            f"&ssh_config=none"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_module("pskernel.connect.durable"), "Patience", impatience)
            runspace = await connect(Target.parse(url))
        async with runspace:
            (engine,) = await runspace.query("$PID")
            relay = psutil.Process(engine).parent()
            assert relay is not None
            yield Session(runspace, line, relay, Path(relay.cmdline()[-1]))


def check(server: Sshd, tmp_path: Path, test: Callable[[Session], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), session_over(server, tmp_path) as session:
            await test(session)

    asyncio.run(main())


Lasting = Callable[[Callable[[Session], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def lasting(durable_sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lasting]:
    """Runs a test on one session for all that leave it as it was."""
    with asyncio.Runner() as runner:
        opened = contextlib.AsyncExitStack()
        over = session_over(durable_sshd, tmp_path_factory.mktemp("lasting"))
        session = runner.run(opened.enter_async_context(over))

        async def bounded(test: Callable[[Session], Awaitable[None]]) -> None:
            session.line.cuts = 0
            session.line.cut_after(None)
            session.runspace.idle.take()
            async with asyncio.timeout(SECONDS):
                await test(session)

        yield lambda test: runner.run(bounded(test))
        runner.run(opened.aclose())


async def first_line(pipeline: Pipeline) -> str:
    async for record in pipeline:
        if isinstance(record, HostText):
            return record.text
    raise AssertionError


async def rest(pipeline: Pipeline) -> list[Record]:
    return [record async for record in pipeline]


def test_output_goes_on_through_five_cuts(lasting: Lasting) -> None:
    async def test(session: Session) -> None:
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
        assert PipelineEnd(PipelineState.COMPLETED) == records[-1]
        # What comes faster than it is read is here before its cut. A last one, and what is told of it, may come behind.
        behind = await session.run("''")
        assert 3 <= session.line.cuts <= 5
        assert 2 * session.line.cuts == len(notices([*records, *session.runspace.idle.take(), *behind]))

    lasting(test)


def test_a_cut_while_nothing_runs(lasting: Lasting) -> None:
    async def test(session: Session) -> None:
        await session.run("$x = 'still here'; Set-Location /usr")
        seen: list[Record] = []
        for _ in range(3):
            session.line.cut()
            seen += await session.run('"$x in $PWD"')
        seen += session.runspace.idle.take()
        assert ["still here in /usr"] * 3 == lines(seen)
        assert 6 == len(notices(seen))

    lasting(test)


def test_a_cut_while_a_cell_asks(lasting: Lasting) -> None:
    async def test(session: Session) -> None:
        pipeline = await session.runspace.run_cell('$a, $b = $Host.UI.ReadLine(), $Host.UI.ReadLine(); "$a and $b"')
        seen: list[Record] = []
        async for record in pipeline:
            seen.append(record)
            if isinstance(record, HostCall) and record.expects_reply:
                session.line.cut()
                await pipeline.reply(record, "an answer")
        assert "an answer and an answer" == lines(seen)[-1]
        assert 4 == len(notices(seen))

    lasting(test)


def test_a_cell_is_stopped_after_a_cut(lasting: Lasting) -> None:
    async def test(session: Session) -> None:
        pipeline = await session.runspace.run_cell("'begun'; Start-Sleep 600")
        assert "begun\n" == await first_line(pipeline)
        session.line.cut()
        await pipeline.stop()
        (*_, end) = await rest(pipeline)
        assert isinstance(end, PipelineEnd)
        assert PipelineState.STOPPED is end.state
        assert ["1"] == await session.show("1")

    lasting(test)


def test_a_cell_that_ended_while_the_network_was_away(lasting: Lasting, tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        gate = tmp_path / "gate"
        cell = f"'begun'; while (-not (Test-Path '{gate}')) {{ Start-Sleep -Milliseconds 20 }}; 'ended'; $x = 7"
        pipeline = await session.runspace.run_cell(cell)
        assert "begun\n" == await first_line(pipeline)
        session.line.is_up = False
        session.line.cut()
        await session.line.refused()
        gate.touch()
        await session.line.refused()
        session.line.is_up = True
        assert ["ended"] == lines(await rest(pipeline))
        assert ["7"] == await session.show("$x")

    lasting(test)


def test_files_are_copied_through_cuts(lasting: Lasting, tmp_path: Path) -> None:
    data = os.urandom(6_000_000)

    async def test(session: Session) -> None:
        (tmp_path / "here").write_bytes(data)
        session.line.cut_after(6_000)
        sent = await send_items(session.runspace, f"{tmp_path}/here", f"{tmp_path}/there")
        session.line.cut_after(3_000_000)
        received = await receive_items(session.runspace, f"{tmp_path}/there", f"{tmp_path}/back")
        assert (["SFTP", "SFTP"], []) == ([sent.way, received.way], sent.notices + received.notices)
        assert data == (tmp_path / "there").read_bytes() == (tmp_path / "back").read_bytes()
        assert 2 == session.line.cuts

    lasting(test)


def test_a_relay_that_was_killed_is_no_session(durable_sshd: Sshd, tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        engine = session.relay.children()[0]
        session.relay.kill()
        await session.runspace.wait_ended()
        assert RunspaceState.BROKEN is session.runspace.state
        assert "could not be resumed" in str(session.runspace.error)
        assert "relay is gone" in str(session.runspace.error)
        # Without its relay, the engine's input has ended.
        await asyncio.to_thread(psutil.wait_procs, [engine], 10)
        assert not engine.is_running()
        shutil.rmtree(session.folder)

    check(durable_sshd, tmp_path, test)


def test_an_engine_that_was_killed_is_no_session(durable_sshd: Sshd, tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        with pytest.raises(TransportClosed, match="exited with status 137"):
            await session.run("[Diagnostics.Process]::GetCurrentProcess().Kill()")
        await asyncio.to_thread(psutil.wait_procs, [session.relay], 10)
        assert not session.folder.exists()

    check(durable_sshd, tmp_path, test)


def test_nothing_remains_after_a_session(durable_sshd: Sshd, tmp_path: Path) -> None:
    seen: list[Session] = []

    async def test(session: Session) -> None:
        seen.append(session)
        assert 0o700 == stat.S_IMODE(session.folder.stat().st_mode)
        assert {"s": 0o600} == {each.name: stat.S_IMODE(each.stat().st_mode) for each in session.folder.iterdir()}

    check(durable_sshd, tmp_path, test)
    psutil.wait_procs([seen[0].relay], 10)
    assert not seen[0].relay.is_running()
    assert not seen[0].folder.exists()


def test_another_host_key_on_the_way_back_ends_the_session(
    durable_sshd: Sshd, sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path: Path
) -> None:
    other = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})

    async def test(session: Session) -> None:
        session.line.far = other.port
        session.line.cut()
        await session.runspace.wait_ended()
        assert "could not be resumed" in str(session.runspace.error)
        assert "is not the one known by that name" in str(session.runspace.error)
        session.relay.kill()
        shutil.rmtree(session.folder)

    check(durable_sshd, tmp_path, test)


def test_what_is_not_answered_while_the_network_is_away_is_waited_for(lasting: Lasting) -> None:
    async def test(session: Session) -> None:
        session.line.is_up = False
        session.line.cut()
        await session.line.refused()
        away: list[bool] = []

        async def ask() -> None:
            away.append(session.runspace.is_reconnecting)
            if len(away) == 1:
                await asyncio.Event().wait()

        asking = asyncio.create_task(session.runspace.in_time(0.01, ask))
        await session.line.refused()
        session.line.is_up = True
        await asking
        assert [True, False] == away
        with pytest.raises(TimeoutError):
            await session.runspace.in_time(0.01, asyncio.Event().wait)

    lasting(test)


def test_closing_while_the_network_is_away_does_not_wait_for_it(durable_sshd: Sshd, tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        session.line.is_up = False
        session.line.cut()
        await session.line.refused()
        async with asyncio.timeout(10):
            await session.runspace.aclose()
        assert session.relay.is_running()
        session.relay.kill()
        shutil.rmtree(session.folder)

    check(durable_sshd, tmp_path, test)


def test_a_server_that_forwards_no_sockets_is_told_of(sshd_factory: Callable[..., Sshd], pwsh: str) -> None:
    subsystems = {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}
    server = sshd_factory(subsystems, options=["AllowStreamLocalForwarding no"])
    url = f"ssh://{server.user}@127.0.0.1:{server.port}?durable=1&ssh_config={server.config}&key_file={server.key}"

    async def main() -> None:
        with pytest.raises(ConnectError, match="AllowStreamLocalForwarding"):
            await connect(Target.parse(url))

    asyncio.run(main())


def test_a_restricted_endpoint_starts_no_relay(sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path: Path) -> None:
    server = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile -ConfigurationFile {restricted(tmp_path)}"})
    url = f"ssh://{server.user}@127.0.0.1:{server.port}?durable=1&ssh_config={server.config}&key_file={server.key}"

    async def main() -> None:
        with pytest.raises(ConnectError, match="a restricted endpoint allows none"):
            await connect(Target.parse(url))

    asyncio.run(main())


def test_a_cable_that_is_pulled_while_a_cell_talks(pwsh: str) -> None:
    """Nobody is told of it: both sides find out by their keepalives, and the old link is still there for sshd."""

    async def main(server: Sshd, cable: Cable) -> None:
        url = (
            f"ssh://{server.user}@{server.host}:{server.port}?durable=1&key_file={server.key}"
            f"&known_hosts={server.known_hosts}&ssh_config=none&keepalive=0.2&connect_timeout=1"
        )
        async with asyncio.timeout(SECONDS), await connect(Target.parse(url)) as runspace:
            cell = '1..3000 | ForEach-Object { "line $_"; if (-not ($_ % 100)) { Start-Sleep -Milliseconds 50 } }'
            records: list[Record] = []
            async for record in await runspace.run_cell(cell):
                records.append(record)
                if len(records) == 300:
                    await cable.pull()
                if isinstance(record, Notice) and "interrupted" in record.text:
                    await cable.plug_in()
            assert [f"line {n}" for n in range(1, 3001)] == lines(records)
            # What is told of the link comes when there is no data to be taken: behind the cell, it may be.
            behind = [record async for record in await runspace.run_cell("''")]
            assert 2 == len(notices([*records, *runspace.idle.take(), *behind]))

    subsystems = {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}
    with far_host() as cable, running_sshd(subsystems, address=cable.address, within=cable.within) as server:
        asyncio.run(main(server, cable))


def test_a_container_whose_engine_lets_go(container: Container) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), await connect(Target.parse(f"{container.url}?durable=1")) as runspace:
            # The container has this machine's folder /tmp: there may be others.
            (command,) = await runspace.query("$x = 7; (Get-Process -Id (Get-Process -Id $PID).Parent.Id).CommandLine")
            relay = command.split()[-1]
            assert relay.startswith("/tmp/pskernel-session-")
            bridges = [each for each in psutil.Process().children() if "$path = " in " ".join(each.cmdline())]
            assert 1 == len(bridges)
            bridges[0].kill()
            records = [record async for record in await runspace.run_cell("$x")]
            assert ["7"] == lines(records)
            assert 2 == len(notices([*records, *runspace.idle.take()]))
        left = await asyncio.to_thread(podman, "exec", container.name, "/bin/sh", "-c", f"ls -d {relay} || true")
        assert "" == left

    asyncio.run(main())


def test_a_session_of_the_list_says_that_it_is_away(pwsh: str) -> None:
    subsystems = {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}
    with running_sshd(subsystems) as server:
        session = new_pssession(f"ssh://{server.user}@127.0.0.1:{server.port}?durable=1&ssh_config={server.config}")
        relay = psutil.Process(int(session.invoke("$PID")[0])).parent()
        assert relay is not None
        folder = Path(relay.cmdline()[-1])
        assert ("Opened", "Available") == (session.state, session.availability)
        serving = psutil.Process(server.process.pid).children(recursive=True)
        server.process.terminate()
        server.process.wait()
        for each in serving:
            each.kill()
        LOOP.run(session.session.runspace._transport._stream._lost.wait())
        assert ("Connecting", "None") == (session.state, session.availability)
        session.close()
    relay.kill()
    shutil.rmtree(folder)
