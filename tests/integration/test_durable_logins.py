"""Logins of durable sessions: cut in their middle, to a socket that is not there, and repeated with a typed password."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from pskernel.connect import connect
from pskernel.errors import TargetUnreachable, TransportClosed
from pskernel.questions import Asker, NobodyToAsk
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.base import PoolGone
from pskernel.transports.durable.stream import Patience
from pskernel.transports.ssh.login import SSHEndpoint
from pskernel.transports.ssh.relay import open_socket_by_ssh
from pskernel.transports.ssh.stream import SSHStream
from tests.parts.accounts import Account, another_password
from tests.parts.cuts import Clock, Line
from tests.parts.kernels import wait_gone
from tests.parts.sshd import Answers, Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

SECONDS = 60.0
# How many of a login's last bytes do not arrive: of the answer about the socket, and of what comes before it.
OF_THE_ANSWER, BEFORE_IT = (1, 30), (100, 300, 1_000)


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    options = ["PasswordAuthentication yes"]
    started: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}, options=options)
    return started


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    way_back = lambda seconds: Patience(seconds, clock.now, clock.sleep)  # noqa: E731
    monkeypatch.setattr(import_module("pskernel.connect.durable"), "Patience", way_back)


@contextlib.asynccontextmanager
async def line_to(server: Sshd, folder: Path) -> AsyncIterator[tuple[Line, Path]]:
    """A line, and the file that knows what is at its end."""
    async with asyncio.timeout(SECONDS), Line(server.port) as line:
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
        yield line, known


@contextlib.contextmanager
def silent_socket(folder: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()
        yield f"{folder}/s"


async def open_socket(endpoint: SSHEndpoint, path: str) -> SSHStream:
    return await open_socket_by_ssh(endpoint, path, asker=NobodyToAsk(), secret=None)


async def length_of_a_login(line: Line, endpoint: SSHEndpoint, path: str) -> int:
    """How much the server says until a socket is open."""
    before = line.sent
    stream = await open_socket(endpoint, path)
    length = line.sent - before
    await stream.aclose()
    return length


def test_a_login_that_is_cut_is_no_relay_that_is_gone(server: Sshd, tmp_path: Path) -> None:
    async def main(path: str) -> None:
        async with line_to(server, tmp_path) as (line, known):
            endpoint = SSHEndpoint(
                "127.0.0.1", line.port, server.user, str(server.key), ssh_config="none", known_hosts=str(known)
            )
            length = await length_of_a_login(line, endpoint, path)
            with pytest.raises(PoolGone, match=r"did not open the socket of its relay\. The relay is gone"):
                await open_socket(endpoint, f"{tmp_path}/none")
            for missing in OF_THE_ANSWER:
                line.cut_after(length - missing)
                with pytest.raises(TargetUnreachable, match=r"ended.* while the socket of the relay was opened"):
                    await open_socket(endpoint, path)
            for missing in BEFORE_IT:
                line.cut_after(length - missing)
                with pytest.raises(TargetUnreachable):
                    await open_socket(endpoint, path)

    with silent_socket(tmp_path) as path:
        asyncio.run(main(path))


def url(server: Sshd, line: Line, known: Path, user: str, **options: object) -> Target:
    named = f"ssh://{user}@127.0.0.1:{line.port}?durable=1&known_hosts={known}&ssh_config=none"
    return Target.parse(named, options)


def test_a_way_back_that_is_cut_in_its_login_is_tried_again(server: Sshd, tmp_path: Path) -> None:
    async def main(path: str) -> None:
        async with line_to(server, tmp_path) as (line, known):
            target = url(server, line, known, server.user, key_file=str(server.key))
            endpoint = SSHEndpoint(
                "127.0.0.1", line.port, server.user, str(server.key), ssh_config="none", known_hosts=str(known)
            )
            length = await length_of_a_login(line, endpoint, path)
            async with await connect(target) as runspace:
                await runspace.query("$x = 7")
                line.cuts = 0
                for missing in (*OF_THE_ANSWER, *BEFORE_IT):
                    line.cut_after(length - missing)
                    line.cut()
                    assert [7] == await runspace.query("$x", timeout=SECONDS)
                assert 2 * len((*OF_THE_ANSWER, *BEFORE_IT)) == line.cuts

    with silent_socket(tmp_path) as path:
        asyncio.run(main(path))


async def ended(runspace: Runspace) -> str:
    await runspace.wait_ended()
    assert isinstance(runspace.error, TransportClosed)
    return str(runspace.error)


def test_a_typed_password_serves_on_the_way_back_and_is_asked_for_once(
    server: Sshd, account: Account, tmp_path: Path
) -> None:
    asker = Answers(account.password, "never asked for")

    async def main(asker: Asker) -> None:
        async with line_to(server, tmp_path) as (line, known):
            runspace = await connect(url(server, line, known, account.name), asker=asker)
            (engine,) = await runspace.query("$x = 7; $PID")
            relay = psutil.Process(engine).parent()
            assert relay is not None
            assert (account.name, "password") == (relay.username(), runspace.peer.auth)
            folder = Path(relay.cmdline()[-1])
            for _ in range(2):
                line.cut()
                assert [7] == await runspace.query("$x", timeout=SECONDS)
            assert 3 == server.log.count(f"Accepted password for {account.name} ")
            # It is tried a few times, and is not guessed at for ever; nobody is asked for the new one.
            with another_password(account):
                line.cut()
                assert "could not be resumed" in await ended(runspace)
            relay.kill()
            await asyncio.to_thread(wait_gone, engine)
            shutil.rmtree(folder)
            await runspace.aclose()

    asyncio.run(main(asker))
    assert [f"{account.name}@127.0.0.1's password: "] == asker.texts
