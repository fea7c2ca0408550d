"""Servers that answer what nobody expects, or hardly ever: an error, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from pskernel.connect import connect, find_shells
from pskernel.credentials import PSCredential, read_credential
from pskernel.errors import ConnectError, NotPowerShell, PSKernelError, TargetUnreachable, TransportClosed
from pskernel.questions import NobodyToAsk
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.base import KeptPool
from pskernel.transports.winrm import channels, messages, shells
from tests.fakes.wsman_bridge import Answer, Hold, WsmanBridge, redirect
from tests.parts.proxies import Dripper
from tests.parts.winrm import PASSWORD, USER

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]
CREDENTIAL = read_credential(PSCredential(USER, PASSWORD))
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
ENVELOPE = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">'
    "<s:Header><a:RelatesTo>{id}</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>"
)
SEALED = 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="%s"'
ELSEWHERE = redirect("http://elsewhere.example/wsman", 302)


def target(port: int, options: str = "auth=ntlm") -> Target:
    return Target("winrm", "127.0.0.1", port, USER, options=Target.parse(f"winrm://a?{options}").options)


async def opened(bridge: WsmanBridge, options: str = "auth=ntlm") -> Runspace:
    return await connect(target(bridge.port, options), asker=NobodyToAsk(), credential=CREDENTIAL)


def soap(body: str) -> bytes:
    return (ENVELOPE % body).encode()


def test_a_redirection_in_the_middle_of_a_session_is_an_error(bridge_factory: Factory) -> None:
    async def main() -> None:
        bridge = bridge_factory()
        bridge.next("Get", ELSEWHERE)
        async with await opened(bridge, "auth=ntlm&allow_redirection=true") as runspace:
            bridge.next("Command", ELSEWHERE)
            with pytest.raises(TransportClosed, match=r"redirects to http://elsewhere\.example/wsman"):
                await runspace.query("1")
        async with await opened(bridge) as runspace:
            bridge.always("Receive", ELSEWHERE)
            with pytest.raises(PSKernelError, match=r"redirects to http://elsewhere\.example/wsman"):
                await runspace.query("1..100")
            await runspace.wait_ended()
        bridge.forget_orders()
        bridge.next("Enumerate", ELSEWHERE)
        with pytest.raises(ConnectError, match=r"redirects to .* where a session begins"):
            await find_shells(target(bridge.port), NobodyToAsk(), credential=CREDENTIAL)

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        # pypsrp makes a regular expression of it: one that is none, and one that takes longer than the universe has.
        (SEALED % "(", "is malformed"),
        (SEALED % "(a+)+", "is malformed"),
        (SEALED % ("a" * 71), "is malformed"),
        ("multipart/encrypted;protocol=x", "is malformed"),
        # pypsrp unseals none of these.
        ("multipart/mixed", "with a readable one"),
        ("multipart/mixed;" + SEALED.partition(";")[2] % "Encrypted Boundary", "with a readable one"),
        ("multipart/encrypted", "with a readable one"),
        (SEALED.replace("multipart", "Multipart") % "Encrypted Boundary", "with a readable one"),
        ("application/soap+xml;charset=UTF-8", "with a readable one"),
    ],
    ids=["no expression", "backtracking", "long", "none", "mixed", "mixed, in disguise", "bare", "capital", "readable"],
)
@pytest.mark.parametrize("operation", ["Create", "Receive"])
def test_what_is_not_sealed_is_not_believed(bridge_factory: Factory, operation: str, kind: str, said: str) -> None:
    bridge = bridge_factory()
    body = b"--(a+)+\r\nLength=0--(a+)+\r\n\x00\x00\x00\x00--" + b"a" * 64 + b"!" if "a+" in kind else soap("<x/>")
    answer = Answer(200, body, content_type=kind, sealed=False)

    async def main() -> None:
        if operation == "Create":
            bridge.next("Create", answer)
            with pytest.raises(NotPowerShell, match=said):
                await opened(bridge)
            return
        async with await opened(bridge) as runspace:
            bridge.always("Receive", answer)
            with pytest.raises(PSKernelError, match=said):
                await runspace.query("1..100")

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("size", ["9" * 5_000, "-1", "1e3", "\N{SUPERSCRIPT TWO}", ""])
def test_a_largest_envelope_that_is_no_number(bridge_factory: Factory, size: str) -> None:
    bridge = bridge_factory()
    told = f'<c:Config xmlns:c="{CONFIG}"><c:MaxEnvelopeSizekb>{size}</c:MaxEnvelopeSizekb></c:Config>'
    bridge.next("Get", Answer(200, soap(told)))

    async def main() -> None:
        async with await opened(bridge) as runspace:
            assert ["in"] == await runspace.query("'in'")

    asyncio.run(asyncio.wait_for(main(), 60))
    assert bridge.count("Get") == 1


@pytest.mark.parametrize("error", [KeyError("Pa55"), OSError("Pa55"), RecursionError("Pa55")])
def test_what_nobody_thought_of_ends_a_session(
    bridge_factory: Factory, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> messages.Received:
        raise error

    async def main() -> None:
        async with await opened(bridge_factory()) as runspace:
            monkeypatch.setattr(messages, "read_received", fail)
            with pytest.raises(PSKernelError, match=type(error).__name__) as caught:
                await runspace.query("1")
            assert "Pa55" not in str(caught.value)
            await runspace.wait_ended()

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("scheme", "start"),
    [
        ("winrm", b"HTTP/1.1 200 OK\r\nX: "),
        ("winrm", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
        ("winrm", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("winrm+https", b"\x16\x03\x03\x40\x00"),
        ("proxy", b"HTTP/1.1 200 OK\r\nX: "),
    ],
    ids=["header", "body", "body without an end", "handshake", "proxy"],
)
def test_a_server_that_never_comes_to_an_end(monkeypatch: pytest.MonkeyPatch, scheme: str, start: bytes) -> None:
    monkeypatch.setattr(channels, "_SLACK_SECONDS", 0.5)
    monkeypatch.setattr(channels, "_LAST_RESORT_SECONDS", 60.0)
    began = time.monotonic()

    async def main() -> None:
        async with Dripper(start) as server:
            options = "auth=basic&operation_timeout=1&connect_timeout=1"
            if scheme == "proxy":
                options += f"&proxy=http://127.0.0.1:{server.port}"
            where = Target(
                "winrm" if scheme == "winrm" else "winrm+https", "127.0.0.1", server.port, USER,
                options=Target.parse(f"winrm+https://a?{options}").options,
            )  # fmt: skip
            if scheme == "winrm":
                options = options.replace("basic", "ntlm")
                where = target(server.port, options)
            with pytest.raises(TargetUnreachable, match="did not answer in time"):
                await find_shells(where, NobodyToAsk(), credential=CREDENTIAL)
            # Nor does a thread wait for it any longer.
            await server.left.wait()

    asyncio.run(asyncio.wait_for(main(), 60))
    assert time.monotonic() - began < 15


def test_many_shells_are_asked_for_their_commands_side_by_side_and_not_for_ever(
    bridge_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shells, "_MOST_ASKED", 6)
    bridge = bridge_factory()
    one = (
        "<r:Shell><r:ShellId>%s</r:ShellId><r:ResourceUri>http://schemas.microsoft.com/powershell/x</r:ResourceUri>"
        "<r:State>Disconnected</r:State></r:Shell>"
    )
    ids = [uuid4() for _ in range(8)]
    items = "".join(one % each for each in ids)
    bridge.next("Enumerate", Answer(200, soap(f'<r:x xmlns:r="{SHELL}">{items}</r:x>')))
    held = [Hold(), Hold(), Hold(), Hold()]
    bridge.next("Enumerate", *held)

    async def main() -> list[KeptPool]:
        finding = asyncio.create_task(
            find_shells(target(bridge.port, "auth=ntlm&operation_timeout=3"), NobodyToAsk(), credential=CREDENTIAL)
        )
        for each in held:
            await asyncio.to_thread(each.held.wait, 10)
        # One is answered, and another is asked; the others are not waited for.
        held[0].release()
        return await finding

    found = asyncio.run(asyncio.wait_for(main(), 60))
    assert [each.pool_id for each in found] == ids
    assert bridge.count("Enumerate") == 1 + 6
