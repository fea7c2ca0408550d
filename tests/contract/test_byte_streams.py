"""Every byte stream keeps the contract in check_byte_stream.py."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pskernel.errors import TransportClosed
from pskernel.questions import NobodyToAsk
from pskernel.transports.base import ByteStream
from pskernel.transports.container import ContainerEndpoint, open_container
from pskernel.transports.durable.stream import Patience
from pskernel.transports.elevation import Elevation, Handover
from pskernel.transports.hyperv import HyperVStream
from pskernel.transports.process import open_process
from pskernel.transports.ssh.openssh import open_openssh
from pskernel.transports.ssh.opensshrelay import open_socket_by_openssh
from pskernel.transports.ssh.subsystem import SSHEndpoint, open_ssh
from pskernel.transports.unix import open_unix
from tests.contract import check_byte_stream
from tests.contract.check_byte_stream import MEGABYTE, Opener, Subject
from tests.fakes.memory import MemoryStream, memory_pair
from tests.parts.accounts import Account, sudo_rules
from tests.parts.container import Container, podman
from tests.parts.relays import ReadStream, Relay
from tests.parts.sshd import Answers, Sshd

PEER = str(Path(__file__).with_name("peer.py"))
TOTAL = str(16 * MEGABYTE)
SUBSYSTEMS = {"echo": "", "flood": TOTAL, "sink": "", "close": "", "cut": "", "complain": "", "deaf": ""}


class Reports:
    """What a far side reports, by kind of report."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Queue[int]] = {}

    def _queue(self, what: str) -> asyncio.Queue[int]:
        return self._waiting.setdefault(what, asyncio.Queue())

    def report(self, what: str, value: int) -> None:
        self._queue(what).put_nowait(value)

    async def hear(self, what: str) -> int:
        return await asyncio.wait_for(self._queue(what).get(), 60)


class PeerFar(Reports):
    """The far side is peer.py, somewhere, connected to our control socket."""

    def __init__(self) -> None:
        super().__init__()
        self._orders: asyncio.StreamWriter | None = None
        self.pid = 0
        # The process to kill for a cut: the peer itself, or the sshd between it and us.
        self.line_is_sshd = False
        # Where the process id counts, if not here.
        self.container = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._orders = writer
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.report(*json.loads(line))
        writer.close()

    async def tell(self, order: str) -> None:
        assert self._orders is not None
        self._orders.write(f"{order}\n".encode())
        await self._orders.drain()

    async def cut(self) -> None:
        if self.container:
            await asyncio.to_thread(podman, "exec", self.container, "/bin/sh", "-c", f"kill -KILL {self.pid}")
            return
        victim = psutil.Process(self.pid)
        if self.line_is_sshd:
            victim = next(parent for parent in victim.parents() if parent.name() == "sshd")
        victim.kill()


class MemoryFar(Reports):
    """The far side is the other end of a pair in memory; the behaviours are those of peer.py."""

    def __init__(self, end: MemoryStream) -> None:
        super().__init__()
        self._end = end
        self._orders: asyncio.Queue[str] = asyncio.Queue()

    async def tell(self, order: str) -> None:
        self._orders.put_nowait(order)

    async def cut(self) -> None:
        self._end.cut()

    async def echo(self) -> None:
        while data := await self._end.receive():
            await self._end.send(data)

    async def flood(self, total: str) -> None:
        writing = asyncio.create_task(self._end.send(b"x" * int(total)))
        before = -1
        while self._end.sent != before:
            before = self._end.sent
            await asyncio.wait({writing}, timeout=0.2)
        self.report("stalled", before)
        await writing
        self.report("wrote", self._end.sent)
        await self._end.aclose()

    async def sink(self) -> None:
        wanted, count = int(await self._orders.get()), 0
        while count < wanted:
            count += len(await self._end.receive())
        self.report("read", count)

    async def close(self) -> None:
        await self._end.send(b"goodbye")
        await self._end.aclose()

    async def cut_(self) -> None:
        await self._end.send(b"x" * 100_000)
        self.report("ready", 0)

    async def deaf(self) -> None:
        await self._end.send(b"deaf")


@contextlib.asynccontextmanager
async def memory_subject(behaviour: str, *arguments: str) -> AsyncIterator[Subject]:
    near, end = memory_pair()
    far = MemoryFar(end)
    acting = asyncio.create_task(getattr(far, {"cut": "cut_"}.get(behaviour, behaviour))(*arguments))
    try:
        yield Subject(near, far, most_buffered=65_536)
    finally:
        await near.aclose()
        acting.cancel()
        with contextlib.suppress(asyncio.CancelledError, TransportClosed):
            await acting


@contextlib.asynccontextmanager
async def peer_control(path: str) -> AsyncIterator[PeerFar]:
    far = PeerFar()
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread(os.remove, path)
    server = await asyncio.start_unix_server(far.serve, path)
    try:
        yield far
    finally:
        server.close()
        if far._orders is not None:
            far._orders.close()


def peer_opener(folder: Path, open_stream: Callable[..., Awaitable[ByteStream]], **traits: object) -> Opener:
    """Make an opener whose far side is peer.py; ``open_stream(far, behaviour, *arguments)`` connects to it."""

    @contextlib.asynccontextmanager
    async def open_with(behaviour: str, *arguments: str) -> AsyncIterator[Subject]:
        async with peer_control(str(folder / "control")) as far:
            stream = await open_stream(far, behaviour, *arguments)
            try:
                far.pid = await far.hear("pid")
                far.line_is_sshd = bool(traits.get("sshd"))
                far.container = str(traits.get("container", ""))
                child = getattr(stream, "pid", None)
                yield Subject(
                    stream,
                    far,
                    child=child,
                    most_buffered=int(str(traits.get("most_buffered", MEGABYTE))),
                    cut_shows=traits.get("cut_shows", True) is True,
                    # sshd throws away what a subsystem writes to standard error.
                    stderr_arrives=not far.line_is_sshd or "sudo" in traits,
                )
            finally:
                await stream.aclose()

    return open_with


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def peer_sshd(sshd_factory: Callable[..., Sshd]) -> Iterator[tuple[Sshd, Path]]:
    """An sshd with each behaviour of peer.py as a subsystem, and the folder of their control socket."""
    control = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    commands = {
        name: f"{sys.executable} {PEER} {name} {control}/control {argument}" for name, argument in SUBSYSTEMS.items()
    }
    server = sshd_factory(commands)
    # An account of another user logs in by the same key, which its sshd reads as that user.
    server.folder.chmod(0o711)
    yield server, control
    shutil.rmtree(control)


@pytest.fixture(scope="session")
def sudoer(account: Account) -> Iterator[Account]:
    """An account that may do everything by sudo, with its password, in all the ways in which sudo may pass bytes on."""
    rules = ("{name} ALL=(ALL) ALL", "Defaults:{name} lecture=always, use_pty, timestamp_timeout=0")
    with sudo_rules(account, *rules):
        yield account


def endpoint(server: Sshd, subsystem: str) -> SSHEndpoint:
    return SSHEndpoint(
        server.host, server.port, server.user, str(server.key), subsystem=subsystem, ssh_config=str(server.config)
    )


def open_forwarded(server: Sshd, path: str) -> Awaitable[ByteStream]:
    return open_socket_by_openssh(
        endpoint(server, "echo"), path, asker=NobodyToAsk(), secret=None, advice="It is not there."
    )


def sudo_opener(open_it: Callable[..., Awaitable[ByteStream]], request: pytest.FixtureRequest) -> Opener:
    """With a password, on the way to peer.py as root over SSH."""
    server, control = request.getfixturevalue("peer_sshd")
    sudoer: Account = request.getfixturevalue("sudoer")

    def open_with(_far: PeerFar, behaviour: str, *_: str) -> Awaitable[ByteStream]:
        # Python takes the first argument, -s, too.
        words = (PEER, behaviour, f"{control}/control", *filter(None, (SUBSYSTEMS[behaviour],)))
        elevation = Elevation("there", exe=sys.executable, arguments=words)
        handover = Handover(elevation, asker=Answers(sudoer.password))
        to = dataclasses.replace(endpoint(server, behaviour), user=sudoer.name)
        return open_it(to, asker=NobodyToAsk(), handover=handover)

    return peer_opener(control, open_with, most_buffered=5 * MEGABYTE, sshd=True, sudo=True)


def durable_opener(folder: Path, pwsh: str) -> Opener:
    """Make an opener whose far side is peer.py as the engine of a relay."""

    @contextlib.asynccontextmanager
    async def open_with(behaviour: str, *arguments: str) -> AsyncIterator[Subject]:
        async with contextlib.AsyncExitStack() as relays:

            async def open_stream(_far: PeerFar, *words: str) -> ByteStream:
                program = (sys.executable, (PEER, words[0], f"{folder}/control", *words[1:]))
                relay = await relays.enter_async_context(Relay(pwsh, *program))
                stream = ReadStream(relay.client(), lambda: open_unix(relay.path), "here", Patience(0))
                await stream.begin(await open_unix(relay.path))
                return stream

            # What the relay keeps, and what two sockets, two pipes and we do.
            opener = peer_opener(folder, open_stream, most_buffered=4 * MEGABYTE, cut_shows=False)
            async with opener(behaviour, *arguments) as subject:
                yield subject

    return open_with


def make_opener(kind: str, folder: Path, request: pytest.FixtureRequest) -> Opener:
    if kind == "memory":
        return memory_subject
    if kind in {"ssh", "openssh"}:
        server, control = request.getfixturevalue("peer_sshd")
        opener = open_ssh if kind == "ssh" else open_openssh
        return peer_opener(
            control,
            lambda _far, behaviour, *_: opener(endpoint(server, behaviour), asker=NobodyToAsk()),
            # The window of an SSH channel is 2 MiB; add what sshd, the pipes and we hold.
            most_buffered=5 * MEGABYTE,
            sshd=True,
        )
    if kind in {"sudo-ssh", "sudo-openssh"}:
        return sudo_opener(open_ssh if kind == "sudo-ssh" else open_openssh, request)
    if kind == "durable":
        return durable_opener(folder, request.getfixturevalue("pwsh"))
    if kind == "process":
        return peer_opener(
            folder,
            lambda _far, behaviour, *arguments: open_process(
                [sys.executable, PEER, behaviour, f"{folder}/control", *arguments]
            ),
        )

    if kind == "container":
        container: Container = request.getfixturevalue("container")
        return peer_opener(
            folder,
            lambda _far, behaviour, *arguments: open_container(
                ContainerEndpoint(
                    container.name,
                    "podman",
                    exe=sys.executable,
                    # The first is -s, which Python has too.
                    arguments=(PEER, behaviour, f"{folder}/control", *arguments),
                )
            ),
            # Pipes and sockets of podman and its monitor on the way.
            most_buffered=3 * MEGABYTE,
            container=container.name,
        )

    async def open_at(path: str) -> ByteStream:
        if kind == "unix":
            return await open_unix(path)
        if kind == "openssh-socket":
            server, _ = request.getfixturevalue("peer_sshd")
            return await open_forwarded(server, path)
        line = socket.socket(socket.AF_UNIX)
        line.connect(path)
        return HyperVStream(line)

    async def open_socket(far: PeerFar, behaviour: str, *arguments: str) -> ByteStream:
        command = [PEER, behaviour, f"{folder}/control", *arguments, "--listen", f"{folder}/peer"]
        peer = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=asyncio.subprocess.DEVNULL)
        peers.append(peer)
        await far.hear("listening")
        return await open_at(f"{folder}/peer")

    peers: list[asyncio.subprocess.Process] = []
    # An SSH channel has a window of 2 MiB on the way.
    most_buffered = (5 if "ssh" in kind else 1) * MEGABYTE
    opener_of_sockets = peer_opener(folder, open_socket, cut_shows=False, most_buffered=most_buffered)

    @contextlib.asynccontextmanager
    async def open_and_reap(behaviour: str, *arguments: str) -> AsyncIterator[Subject]:
        async with opener_of_sockets(behaviour, *arguments) as subject:
            yield subject
        for peer in peers:
            with contextlib.suppress(ProcessLookupError):
                peer.kill()
            await peer.wait()

    return open_and_reap


def cases() -> Iterator[object]:
    """Every check for every kind of stream. A pair in memory and a socket have no diagnostics to check."""
    without = {"memory", "unix", "openssh-socket", "hyperv"}
    kinds = (
        "memory",
        "process",
        "unix",
        "ssh",
        "openssh",
        "openssh-socket",
        "container",
        "hyperv",
        "sudo-ssh",
        "sudo-openssh",
        "durable",
    )
    for kind in kinds:
        for name, check in vars(check_byte_stream).items():
            if name.startswith("check_") and not (name == "check_diagnostics" and kind in without):
                marks = [pytest.mark.sshd] if "ssh" in kind else []
                yield pytest.param(kind, check, id=f"{kind}-{name.removeprefix('check_')}", marks=marks)


@pytest.mark.parametrize(("kind", "check"), list(cases()))
def test_contract(
    kind: str, check: Callable[[Opener], Awaitable[None]], folder: Path, request: pytest.FixtureRequest
) -> None:
    opener = make_opener(kind, folder, request)

    async def main() -> None:
        await check(opener)

    asyncio.run(main())


@pytest.mark.parametrize(
    "kind",
    [
        "process",
        "container",
        pytest.param("ssh", marks=pytest.mark.sshd),
        pytest.param("openssh", marks=pytest.mark.sshd),
        pytest.param("openssh-socket", marks=pytest.mark.sshd),
    ],
)
def test_cancelled_opening_leaves_nothing(
    kind: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled after any number of steps, opening leaves no child process, no connection and no file."""
    if kind == "process":

        def opening() -> Awaitable[ByteStream]:
            return open_process([sys.executable, "-c", "import sys; sys.stdin.read()"])
    elif kind == "container":
        container = request.getfixturevalue("container")

        def opening() -> Awaitable[ByteStream]:
            return open_container(ContainerEndpoint(container.name, "podman", exe="cat", arguments=()))
    elif kind == "openssh-socket":
        server, _ = request.getfixturevalue("peer_sshd")
        listener = socket.socket(socket.AF_UNIX)
        request.addfinalizer(listener.close)
        listener.bind(f"{folder}/there")
        listener.listen(100)

        def opening() -> Awaitable[ByteStream]:
            return open_forwarded(server, f"{folder}/there")
    else:
        server, _ = request.getfixturevalue("peer_sshd")

        def opening() -> Awaitable[ByteStream]:
            opener = open_ssh if kind == "ssh" else open_openssh
            return opener(endpoint(server, "echo"), asker=NobodyToAsk())

    ours = psutil.Process(os.getpid())

    async def main() -> None:
        before = {child.pid for child in ours.children()}
        for steps in [*range(12), 20, 30, 40, 60, 90]:
            task = asyncio.ensure_future(opening())
            for _ in range(steps):
                # A step of the loop that waits for something to happen, so that the opening gets on.
                await asyncio.wait({task}, timeout=0.004)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).aclose()
            assert {child.pid for child in ours.children()} <= before
            assert not list(folder.glob("pskernel-*"))
            # Their children may take a moment to go.
            named = [
                each for each in psutil.process_iter(["cmdline"]) if f"{folder}" in "".join(each.info["cmdline"] or ())
            ]
            assert not psutil.wait_procs(named, 10)[1]
            assert not [c for c in ours.net_connections("inet") if c.status == psutil.CONN_ESTABLISHED and is_ours(c)]

    def is_ours(connection: object) -> bool:
        remote = getattr(connection, "raddr", None)
        return "ssh" in kind and bool(remote) and remote.port == server.port

    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    asyncio.run(main())
