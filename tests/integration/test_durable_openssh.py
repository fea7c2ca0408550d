"""Durable sessions by the system's own ssh, over a line to a real SSH server that is cut."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from pskernel.connect import connect, find_shells
from pskernel.copying.copy import receive_items, send_items
from pskernel.errors import ConnectError, TransportClosed
from pskernel.questions import Asker, NobodyToAsk
from pskernel.records import HostText, Notice, Record
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.durable.stream import Patience
from tests.parts.accounts import Account, another_password
from tests.parts.cuts import Clock, Line
from tests.parts.kernels import wait_gone
from tests.parts.sshd import Answers, Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

SECONDS = 60.0


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    started: Sshd = sshd_factory(
        {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}, options=["PasswordAuthentication yes"]
    )
    return started


@pytest.fixture(scope="module")
def other(sshd_factory: Callable[..., Sshd]) -> Sshd:
    """A server with another host key."""
    started: Sshd = sshd_factory({}, options=["PasswordAuthentication yes"])
    return started


@pytest.fixture(scope="module")
def forwards_none(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    subsystems = {"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}
    started: Sshd = sshd_factory(subsystems, options=["AllowStreamLocalForwarding no"])
    return started


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This machine's folder for temporary files, short enough for sockets: no file and no ssh of ours is left."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    assert [] == [each.name for each in path.iterdir() if each.name.startswith("pskernel-")]
    named = [each for each in psutil.process_iter(["cmdline"]) if str(path) in " ".join(each.info["cmdline"] or ())]
    assert [] == psutil.wait_procs(named, 10)[1]
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    way_back = lambda seconds: Patience(seconds, clock.now, clock.sleep)  # noqa: E731
    monkeypatch.setattr(import_module("pskernel.connect.durable"), "Patience", way_back)


@contextlib.asynccontextmanager
async def line_to(server: Sshd, config: Path, *words: str) -> AsyncIterator[Line]:
    """A line, and a configuration that knows what is at its end."""
    async with asyncio.timeout(SECONDS), Line(server.port) as line:
        known = config.with_name("known_hosts")
        known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
        lines = [f"UserKnownHostsFile {known}", "GlobalKnownHostsFile /dev/null", "IdentityAgent none", *words]
        config.write_text("\n".join(lines) + "\n")
        yield line


def target(line: Line, config: Path, user: str, **options: object) -> Target:
    return Target.parse(
        f"ssh://{user}@127.0.0.1:{line.port}?durable=1&backend=openssh&ssh_config={config}", dict(options)
    )


@contextlib.asynccontextmanager
async def session(server: Sshd, folder: Path) -> AsyncIterator[tuple[Runspace, Line]]:
    async with (
        line_to(server, folder / "config", f"IdentityFile {server.key}") as line,
        await connect(target(line, folder / "config", server.user)) as runspace,
    ):
        yield runspace, line


async def relay_of(runspace: Runspace) -> tuple[psutil.Process, Path]:
    """The relay, and its folder."""
    (engine,) = await runspace.query("$PID")
    relay = psutil.Process(engine).parent()
    assert relay is not None
    return relay, Path(relay.cmdline()[-1])


def lines(records: list[Record]) -> list[str]:
    return [record.text.rstrip("\n") for record in records if isinstance(record, HostText)]


def test_a_session_goes_on_through_cuts(server: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with session(server, folder) as (runspace, line):
            relay, relay_folder = await relay_of(runspace)
            assert "publickey" == runspace.peer.auth
            await runspace.query("$x = 7")
            seen: list[Record] = []
            async for record in await runspace.run_cell('1..8000 | ForEach-Object { "line $_" }'):
                seen.append(record)
                if len(seen) in (500, 4_000):
                    line.cut_after(7_919)
            assert [f"line {n}" for n in range(1, 8_001)] == lines(seen)
            line.cut()
            seen += [record async for record in await runspace.run_cell("$x")]
            assert "7" == lines(seen)[-1]
            seen += runspace.idle.take()
            said = [record.text for record in seen if isinstance(record, Notice)]
            assert 3 == line.cuts == len([text for text in said if text.endswith("Nothing was lost.")])
            await copied_through_a_cut(runspace, line, folder)
            # By the plain way, which is ssh too. Others may have sessions here.
            shells = await find_shells(target(line, folder / "config", server.user), NobodyToAsk())
            assert [True] == [each.connected for each in shells if each.pool_id == runspace.instance_id]
            await runspace.aclose()
            await asyncio.to_thread(wait_gone, relay.pid)
            assert not relay_folder.exists()

    asyncio.run(main())


async def copied_through_a_cut(runspace: Runspace, line: Line, folder: Path) -> None:
    """Through PowerShell, as with this client always."""
    data = b"some words\n" * 20_000
    (folder / "here").write_bytes(data)
    before = line.cuts
    sent = await send_items(runspace, f"{folder}/here", f"{folder}/there")
    line.cut_after(50_000)
    received = await receive_items(runspace, f"{folder}/there", f"{folder}/back")
    assert ["PSRP"] * 2 == [sent.way, received.way]
    assert data == (folder / "there").read_bytes() == (folder / "back").read_bytes()
    assert before + 1 == line.cuts


async def ended(runspace: Runspace) -> str:
    await runspace.wait_ended()
    assert isinstance(runspace.error, TransportClosed)
    return str(runspace.error)


async def end(relay: psutil.Process, relay_folder: Path) -> None:
    """End what nobody can come back to."""
    relay.kill()
    await asyncio.to_thread(psutil.wait_procs, [relay], 10)
    shutil.rmtree(relay_folder)


def test_a_relay_that_was_killed_is_no_session(server: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with session(server, folder) as (runspace, _):
            await end(*await relay_of(runspace))
            why = await ended(runspace)
            assert why.endswith(
                "could not be resumed. The SSH server 127.0.0.1 did not open the socket of its relay. The relay "
                "is gone, because the machine was restarted or somebody ended it."
            )

    asyncio.run(main())


def test_another_host_key_on_the_way_back_ends_the_session(server: Sshd, other: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with session(server, folder) as (runspace, line):
            relay = await relay_of(runspace)
            line.far = other.port
            line.cut()
            why = await ended(runspace)
            assert "could not be resumed" in why
            assert "is not the one known by that name" in why
            await end(*relay)

    asyncio.run(main())


def test_a_server_that_forwards_no_sockets_is_told_of(forwards_none: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with line_to(forwards_none, folder / "config", f"IdentityFile {forwards_none.key}") as line:
            with pytest.raises(ConnectError, match=r"could not be opened\. .* AllowStreamLocalForwarding no"):
                await connect(target(line, folder / "config", forwards_none.user))

    asyncio.run(main())


def test_typed_passwords_serve_again_and_are_asked_for_once(
    server: Sshd, other: Sshd, account: Account, folder: Path
) -> None:
    """That of a jump host, and that of the target."""
    asker = Answers(account.password, account.password, "never asked for")

    async def main(asker: Asker) -> None:
        words = (
            "PubkeyAuthentication no",
            "Host jump",
            "HostName 127.0.0.1",
            "HostKeyAlias jump",
            f"Port {other.port}",
        )
        async with line_to(server, folder / "config", *words) as line:
            with (folder / "known_hosts").open("a") as known:
                known.write(f"jump {other.host_key}\n")
            there = target(line, folder / "config", account.name, proxy_jump=f"{account.name}@jump")
            runspace = await connect(there, asker=asker)
            relay = await relay_of(runspace)
            assert (account.name, "password") == (relay[0].username(), runspace.peer.auth)
            await runspace.query("$x = 7")
            line.cut()
            assert [7] == await runspace.query("$x", timeout=SECONDS)
            # For PowerShell, for the socket, and on the way back.
            for each in (server, other):
                assert 3 == each.log.count(f"Accepted password for {account.name} ")
            # Nobody is asked for the new one.
            with another_password(account):
                line.cut()
                assert "could not be resumed" in await ended(runspace)
            await end(*relay)
            await runspace.aclose()

    asyncio.run(main(asker))
    assert [f"{account.name}@{host}'s password: " for host in ("jump", "127.0.0.1")] == asker.texts
