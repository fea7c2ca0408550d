"""Every transport keeps the contract in check_transport.py, with the real engine behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pskernel.connect import open_transport
from pskernel.credentials import Secret
from pskernel.questions import NobodyToAsk
from pskernel.target import Target
from pskernel.transports.container import ContainerEndpoint, open_container
from pskernel.transports.durable.stream import Patience
from pskernel.transports.hyperv import VMEndpoint, open_vm
from pskernel.transports.outofproc import OutOfProcTransport
from pskernel.transports.process import open_process
from pskernel.transports.ssh.subsystem import SSHEndpoint, open_ssh
from pskernel.transports.unix import open_unix
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.transport import WinRMTransport
from tests.contract import check_transport
from tests.contract.check_transport import Opener, Subject
from tests.fakes.hyperv import VirtualMachine
from tests.fakes.wsman_bridge import Cut, WsmanBridge
from tests.parts.container import Container, podman
from tests.parts.host_process import HostProcess
from tests.parts.relays import ReadStream, Relay
from tests.parts.sshd import Sshd
from tests.parts.winrm import PASSWORD, USER

pytestmark = pytest.mark.live

SERVER = ["-s", "-NoLogo", "-NoProfile"]


def over_a_process(pwsh: str) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        stream = await open_process([pwsh, *SERVER])

        async def cut() -> None:
            psutil.Process(stream.pid).kill()

        try:
            yield Subject(OutOfProcTransport(stream), cut)
        finally:
            await stream.aclose()

    return open_with


def over_a_socket(pwsh: str) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        with (
            tempfile.TemporaryDirectory(prefix="psk-", dir="/tmp") as folder,
            socket.socket(socket.AF_UNIX) as listener,
        ):
            path = str(Path(folder) / "socket")
            listener.bind(path)
            listener.listen()
            listener.setblocking(False)
            accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(listener))
            stream = await open_unix(path)
            connection, _ = await accepting
            with connection:
                connection.setblocking(True)
                engine = await asyncio.create_subprocess_exec(pwsh, *SERVER, stdin=connection, stdout=connection)

            async def cut() -> None:
                engine.kill()

            try:
                yield Subject(OutOfProcTransport(stream), cut)
            finally:
                await stream.aclose()
                with contextlib.suppress(ProcessLookupError):
                    engine.kill()
                await engine.wait()

    return open_with


def over_ssh(server: Sshd) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        endpoint = SSHEndpoint(server.host, server.port, server.user, str(server.key), ssh_config=str(server.config))
        stream = await open_ssh(endpoint, asker=NobodyToAsk())

        async def cut() -> None:
            for each in psutil.Process(server.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()

        try:
            yield Subject(OutOfProcTransport(stream), cut)
        finally:
            await stream.aclose()

    return open_with


def over_a_running_process(pwsh: str, server: Sshd | None = None) -> Opener:
    """By its pipe here, or by its socket forwarded from a server."""

    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        process = await asyncio.to_thread(HostProcess, pwsh)
        options = {"pid": process.pid, "key_file": str(server.key), "ssh_config": str(server.config)} if server else {}
        url = f"ssh://{server.user}@{server.host}:{server.port}" if server else process.url
        transport = await open_transport(Target.parse(url, options), NobodyToAsk())

        async def cut() -> None:
            process.kill()

        try:
            yield Subject(transport, cut)
        finally:
            await transport.aclose()
            await asyncio.to_thread(process.remove)

    return open_with


def over_winrm(pwsh: str) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        with WsmanBridge([pwsh, *SERVER], {USER: PASSWORD}) as bridge:
            login = WinRMLogin("ntlm", USER, Secret(PASSWORD))
            # A connection that is cut is tried again for a while.
            endpoint = WinRMEndpoint("127.0.0.1", bridge.port, login=login, reconnect_timeout=1)
            transport = WinRMTransport(endpoint, asker=NobodyToAsk())

            async def cut() -> None:
                bridge.always("HTTP", Cut())
                bridge.drop_connections()

            try:
                yield Subject(transport, cut)
            finally:
                await transport.aclose()

    return open_with


def over_a_container(container: Container) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        stream = await open_container(ContainerEndpoint(container.name, "podman"))

        async def cut() -> None:
            await asyncio.to_thread(podman, "exec", container.name, "/bin/sh", "-c", "pkill -KILL pwsh")

        try:
            yield Subject(OutOfProcTransport(stream), cut)
        finally:
            await stream.aclose()

    return open_with


def over_hyperv(pwsh: str, version: int) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        with VirtualMachine([pwsh, *SERVER], version=version) as machine:
            endpoint = VMEndpoint(machine.id, "web", "admin", Secret("pässword"))
            stream = await open_vm(endpoint, connect=machine.connect)

            async def cut() -> None:
                machine.children[0].kill()

            try:
                yield Subject(OutOfProcTransport(stream), cut)
            finally:
                await stream.aclose()

    return open_with


def over_a_relay(pwsh: str) -> Opener:
    @contextlib.asynccontextmanager
    async def open_with() -> AsyncIterator[Subject]:
        async with Relay(pwsh, pwsh, tuple(SERVER)) as relay:
            stream = ReadStream(relay.client(), lambda: open_unix(relay.path), "here", Patience(0))
            await stream.begin(await open_unix(relay.path))

            async def cut() -> None:
                relay.process.kill()

            try:
                yield Subject(OutOfProcTransport(stream), cut)
            finally:
                await stream.aclose()

    return open_with


@pytest.fixture(scope="module")
def engine_sshd(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    server: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "internal-sftp"})
    return server


def cases() -> Iterator[object]:
    kinds = ("process", "unix", "ssh", "winrm", "container", "hyperv-1", "hyperv-2", "pid", "ssh-pid", "durable")
    for kind in kinds:
        for name, check in vars(check_transport).items():
            if name.startswith("check_"):
                marks = [pytest.mark.sshd] if kind.startswith("ssh") else []
                yield pytest.param(kind, check, id=f"{kind}-{name.removeprefix('check_')}", marks=marks)


@pytest.mark.parametrize(("kind", "check"), list(cases()))
def test_contract(
    kind: str, check: Callable[[Opener], Awaitable[None]], pwsh: str, request: pytest.FixtureRequest
) -> None:
    opener = {
        "process": lambda: over_a_process(pwsh),
        "unix": lambda: over_a_socket(pwsh),
        "ssh": lambda: over_ssh(request.getfixturevalue("engine_sshd")),
        "winrm": lambda: over_winrm(pwsh),
        "container": lambda: over_a_container(request.getfixturevalue("container")),
        "hyperv-1": lambda: over_hyperv(pwsh, 1),
        "hyperv-2": lambda: over_hyperv(pwsh, 2),
        "durable": lambda: over_a_relay(pwsh),
        "pid": lambda: over_a_running_process(pwsh),
        "ssh-pid": lambda: over_a_running_process(pwsh, request.getfixturevalue("engine_sshd")),
    }[kind]()

    async def main() -> None:
        await check(opener)

    asyncio.run(main())
