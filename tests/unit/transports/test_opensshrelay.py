"""The socket of a relay by the system's ssh. That it is a byte stream is checked in tests/contract."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pskernel.errors import ConnectError, HostKeyRejected, TargetUnreachable
from pskernel.questions import NobodyToAsk
from pskernel.transports.base import PoolGone
from pskernel.transports.ssh.login import SSHEndpoint
from pskernel.transports.ssh.opensshrelay import ForwardedStream, open_socket_by_openssh
from tests.parts.cuts import Line
from tests.parts.sshd import Sshd, make_key

pytestmark = pytest.mark.sshd

# How many of a login's last bytes do not arrive: of the answer about the socket, and of what comes before it.
OF_THE_ANSWER, BEFORE_IT = (1, 30), (100, 300, 1_000)


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({"powershell": "/bin/cat"})


@pytest.fixture(scope="module")
def forwards_none(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({}, options=["DisableForwarding yes"])


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, short enough for sockets; nothing of ours and no ssh is left at the end."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    assert [] == [each.name for each in path.iterdir() if each.name.startswith("pskernel-")]
    named = [each for each in psutil.process_iter(["cmdline"]) if str(path) in " ".join(each.info["cmdline"] or ())]
    assert [] == psutil.wait_procs(named, 10)[1]
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def echo_at(path: Path) -> AsyncIterator[None]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_unix_server(echo, path):
        yield


def at(server: Sshd) -> SSHEndpoint:
    return SSHEndpoint(server.host, server.port, server.user, str(server.key), ssh_config=str(server.config))


async def open_it(endpoint: SSHEndpoint, path: Path) -> ForwardedStream:
    return await open_socket_by_openssh(endpoint, str(path), asker=NobodyToAsk(), secret=None, advice="Look there.")


async def echoes(endpoint: SSHEndpoint, folder: Path) -> None:
    async with echo_at(folder / "there"):
        stream = await open_it(endpoint, folder / "there")
        # Nobody else can connect to it.
        assert ["there"] == [each.name for each in folder.iterdir()]
        await stream.send(b"hello")
        assert b"hello" == await stream.receive()
        await stream.aclose()
        assert "" == stream.diagnostics()


def test_a_socket_there(server: Sshd, folder: Path) -> None:
    asyncio.run(echoes(at(server), folder))


def test_options_of_the_configuration_that_are_in_the_way(server: Sshd, folder: Path) -> None:
    """Another socket is forwarded too, and somebody knocks at it; a shared connection is not used."""
    lines = [
        f"LocalForward {folder}/other {folder}/none",
        f"ControlPath {folder}/never",
        "ControlMaster yes",
        "StreamLocalBindMask 0000",
        "RemoteCommand echo no",
        "RequestTTY force",
        "LogLevel QUIET",
    ]
    config = folder / "config"
    config.write_text(server.config.read_text() + "\n".join(lines) + "\n")

    async def main() -> None:
        async with echo_at(folder / "there"):
            stream = await open_it(replace(at(server), ssh_config=str(config)), folder / "there")
            reader, writer = await asyncio.open_unix_connection(folder / "other")
            assert b"" == await reader.read()
            writer.close()
            await stream.send(b"hello")
            assert b"hello" == await stream.receive()
            await stream.aclose()
            assert "open failed: connect failed" in stream.diagnostics()

    asyncio.run(main())
    assert not (folder / "never").exists()


def test_a_socket_that_is_not_there(server: Sshd, folder: Path) -> None:
    with pytest.raises(
        PoolGone, match=r"^The SSH server 127\.0\.0\.1 did not open the socket of its relay\. Look there\.$"
    ):
        asyncio.run(open_it(at(server), folder / "none"))


def test_a_server_that_forwards_none(forwards_none: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with echo_at(folder / "there"):
            with pytest.raises(PoolGone, match="Look there"):
                await open_it(at(forwards_none), folder / "there")

    asyncio.run(main())


def test_a_login_that_is_cut_is_no_relay_that_is_gone(server: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with Line(server.port) as line:
            known = folder / "known_hosts"
            known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
            endpoint = replace(at(server), port=line.port, known_hosts=str(known))
            before = line.sent
            stream = await open_it(endpoint, folder / "there")
            length = line.sent - before
            await stream.aclose()
            for missing in OF_THE_ANSWER:
                line.cut_after(length - missing)
                with pytest.raises(TargetUnreachable, match=r"ended.* while the socket of the relay was opened"):
                    await open_it(endpoint, folder / "there")
            for missing in BEFORE_IT:
                line.cut_after(length - missing)
                with pytest.raises(ConnectError):
                    await open_it(endpoint, folder / "there")
            assert len((*OF_THE_ANSWER, *BEFORE_IT)) == line.cuts

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/there")
        listener.listen()
        asyncio.run(main())


def test_a_line_that_is_lost_says_so_in_its_diagnostics(server: Sshd, folder: Path) -> None:
    async def main() -> None:
        async with echo_at(folder / "there"), Line(server.port) as line:
            known = folder / "known_hosts"
            known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
            stream = await open_it(replace(at(server), port=line.port, known_hosts=str(known)), folder / "there")
            line.cut()
            assert b"" == await stream.receive()
            await stream.aclose()
            # "Connection to 127.0.0.1 closed by remote host.", or that it was reset.
            assert "127.0.0.1" in stream.diagnostics()

    asyncio.run(main())


def test_another_host_key(server: Sshd, folder: Path) -> None:
    make_key(folder / "other")
    known = folder / "known_hosts"
    key = " ".join((folder / "other.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{server.port} {key}\n")
    with pytest.raises(HostKeyRejected, match="is not the one known by that name"):
        asyncio.run(open_it(replace(at(server), known_hosts=str(known)), folder / "there"))


@pytest.mark.parametrize("name", ["with:colon", "with %h", "x" * 80])
def test_a_folder_for_temporary_files_that_ssh_cannot_use(
    server: Sshd, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", f"{folder}/{name}")
    with pytest.raises(ConnectError, match=r"^ssh cannot make a socket in the folder .* Set TMPDIR"):
        asyncio.run(open_it(at(server), folder / "there"))
    assert [] == list((folder / name).iterdir())
