"""The two connections to a virtual machine, over sockets of this system, to a peer that speaks the published protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from dataclasses import replace
from uuid import UUID

import pytest

from pskernel.credentials import Secret
from pskernel.errors import AuthenticationFailed, ConnectError
from pskernel.protocol.powershelldirect import CredentialRefused, HandshakeFailed
from pskernel.transports import hyperv
from pskernel.transports.hyperv import BROKER, SERVER, VMEndpoint, VMUnreachable, open_vm
from tests.fakes.hyperv import VirtualMachine

ECHO = [sys.executable, "-c", "import os\nwhile data := os.read(0, 100): os.write(1, data)"]


def endpoint(machine: VirtualMachine, **changes: object) -> VMEndpoint:
    made = VMEndpoint(machine.id, "web", "admin", Secret("pässword"))
    return replace(made, **changes)  # type: ignore[arg-type]


def echoed(machine: VirtualMachine, **changes: object) -> bytes:
    async def main() -> bytes:
        stream = await open_vm(endpoint(machine, **changes), connect=machine.connect)
        try:
            await stream.send(b"hello")
            return await stream.receive()
        finally:
            await stream.aclose()

    return asyncio.run(main())


def wide(*texts: str) -> list[bytes]:
    return [text.encode("utf-16-le") for text in texts]


@pytest.mark.parametrize("asks", [True, False])
def test_version_2(asks: bool) -> None:
    with VirtualMachine(ECHO, asks_configuration=asks) as machine:
        assert b"hello" == echoed(machine)
    (heard,) = machine.heard
    domain, user, password = wide("localhost", "admin", "pässword")
    last = b"EMPTYCF" if asks else b"PASS"
    assert [b"VERSION", b"VERSION_2", domain, user, b"NONEMPTYPW", password, last, b"PASS"] == heard


def test_a_machine_of_version_1_is_called_again() -> None:
    with VirtualMachine(ECHO, version=1) as machine:
        assert b"hello" == echoed(machine, configuration="jea")
    probe, heard = machine.heard
    assert [b"VERSION", *wide("?<PSDirectVMLegacy>"), b"EMPTYPW", b"FAIL"] == probe
    domain, user, password, configuration = wide("localhost", "admin", "pässword", "jea")
    assert [domain, user, b"NONEMPTYPW", password, b"NONEMPTYCF", configuration] == heard
    assert "jea" == machine.configuration


def test_a_policy_refuses_version_1() -> None:
    refused = pytest.raises(HandshakeFailed, match=r"^Negotiating a secure connection to Hyper-V failed\.")
    with VirtualMachine(ECHO, version=1) as machine, refused:
        echoed(machine, refuse_old=True)
    assert 1 == len(machine.heard)


def test_users_of_a_domain_and_empty_passwords() -> None:
    with VirtualMachine(ECHO, users={"CORP\\me": ""}) as machine:
        assert b"hello" == echoed(machine, user="me@CORP", password=Secret(""))


@pytest.mark.parametrize("version", [1, 2])
def test_a_wrong_password(version: int) -> None:
    refused = pytest.raises(AuthenticationFailed, match=r"^The credential is invalid\. ")
    with VirtualMachine(ECHO, version=version) as machine, refused as caught:
        echoed(machine, password=Secret("wrong-one"))
    assert b"FAIL" == machine.heard[-1][-1]
    assert "wrong-one" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_a_token_that_is_refused() -> None:
    with VirtualMachine(ECHO) as machine:
        machine.forgets_token = True
        with pytest.raises(CredentialRefused, match="refused the token"):
            echoed(machine)


def test_a_machine_that_does_not_answer() -> None:
    with VirtualMachine(ECHO) as machine:
        machine.silent = True
        with pytest.raises(VMUnreachable, match=r"web did not answer within 0\.3 seconds"):
            echoed(machine, timeout=0.3)


@pytest.mark.parametrize(
    ("service", "what"), [(BROKER, "PowerShell Direct broker"), (SERVER, "and PowerShell does not answer")]
)
def test_a_service_that_is_not_there(service: UUID, what: str) -> None:
    with VirtualMachine(ECHO) as machine:
        machine.stop(service)
        with pytest.raises(VMUnreachable, match=what):
            echoed(machine)


def opened_to(*answers: bytes) -> None:
    """Open a machine whose broker says all this at once, and is gone."""

    def connect(*_: object) -> socket.socket:
        near, far = socket.socketpair()
        with far:
            threads.append(threading.Thread(target=serve, args=(far.dup(),)))
        threads[-1].start()
        return near

    def serve(far: socket.socket) -> None:
        with far:
            for answer in answers:
                far.recv(100)
                far.sendall(answer)

    threads: list[threading.Thread] = []
    try:
        asyncio.run(open_vm(VMEndpoint(UUID(int=1), "web", "admin", Secret("x")), connect=connect))
    finally:
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("answers", [(), (b"VERSION_2",), (b"VERSION_2", b"PASS", b"PA")])
def test_a_connection_that_is_cut_in_the_handshake(answers: tuple[bytes, ...]) -> None:
    with pytest.raises(HandshakeFailed, match=r"It ended the connection before its \w+ response"):
        opened_to(*answers)


def test_a_broker_that_refuses_and_is_gone() -> None:
    with pytest.raises(CredentialRefused, match="The credential is invalid"):
        opened_to(b"VERSION_2", b"PASS", b"PASS", b"PASS", b"PASS", b"FAIL")


def test_a_token_without_an_end_is_over_when_the_line_is_silent() -> None:
    answers = [b"VERSION_2", b"PASS", b"PASS", b"PASS", b"PASS", b"PASS", b"TOKEN ab"]

    def serve(far: socket.socket) -> None:
        with far:
            for answer in answers:
                far.recv(100)
                far.sendall(answer)
            said.append(far.recv(100))

    said: list[bytes] = []
    threads: list[threading.Thread] = []

    def connect(_machine: UUID, service: UUID, _seconds: float) -> socket.socket:
        if service == SERVER:
            raise ConnectionRefusedError
        near, far = socket.socketpair()
        threads.append(threading.Thread(target=serve, args=(far,)))
        threads[-1].start()
        return near

    async def main() -> None:
        with pytest.raises(VMUnreachable):
            await open_vm(VMEndpoint(UUID(int=1), "web", "admin", Secret("x")), connect=connect)

    asyncio.run(main())
    threads[0].join()
    assert [b"PASS"] == said


def test_given_up_while_connecting_leaves_no_socket() -> None:
    near, far = socket.socketpair()
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def connect(*_: object) -> socket.socket:
        begun.set()
        go_on.wait()
        return near

    def watch() -> None:
        far.recv(1)
        closed.set()

    threading.Thread(target=watch, daemon=True).start()

    async def main() -> None:
        opening = asyncio.create_task(open_vm(VMEndpoint(UUID(int=1), "web", "admin", Secret("x")), connect=connect))
        await asyncio.to_thread(begun.wait)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(main())
    far.close()


def test_without_hyperv_it_says_what_is_needed() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match=r"need Python 3\.12 or newer, on Windows"):
            await open_vm(VMEndpoint(UUID(int=1), "web", "admin", Secret("x")))

    asyncio.run(main())
    assert not hyperv.is_old_refused()
