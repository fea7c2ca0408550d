"""Servers that are none, are broken, or are hostile: one clear error each, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pskernel.connect import connect
from pskernel.credentials import PSCredential, read_credential
from pskernel.errors import (
    AuthenticationFailed,
    ConnectError,
    NotPowerShell,
    PSKernelError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.questions import Asker, NobodyToAsk
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.fakes.wsman_bridge import Answer, Cut, WsmanBridge
from tests.parts.proxies import Tunnel
from tests.parts.sshd import Answers, free_port
from tests.parts.winrm import PASSWORD, USER

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]
ENVELOPE = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">'
    "<s:Header><a:RelatesTo>{id}</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>"
)
QUOTA = (
    '<s:Fault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"><s:Code><s:Value>s:Receiver</s:Value></s:Code>'
    '<s:Reason><s:Text>x</s:Text></s:Reason><s:Detail><f:WSManFault Code="2150859173" Machine="m"><f:Message>This user '
    "is allowed a maximum number of 5 concurrent shells, which has been exceeded. &#x9b;31m</f:Message></f:WSManFault>"
    "</s:Detail></s:Fault>"
)
READABLE = "no_encryption=true&allow_unencrypted=true"
DOCTYPE_PAGE = b'<!DOCTYPE html><html><head><style>a { b: c }</style></head><body class="x"><h1>Nothing here</h1> & gone</body></html>'
NO_CODE = "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text/></s:Reason></s:Fault>"


async def opened(bridge: WsmanBridge, options: str = "auth=ntlm", asker: Asker | None = None) -> Runspace:
    target = Target("winrm", "127.0.0.1", bridge.port, USER, options=Target.parse(f"winrm://a?{options}").options)
    return await connect(target, asker=asker or NobodyToAsk(), credential=read_credential(PSCredential(USER, PASSWORD)))


def refused(bridge: WsmanBridge, options: str = "auth=ntlm", asker: Asker | None = None) -> PSKernelError:
    async def attempt() -> None:
        async with asyncio.timeout(30), await opened(bridge, options, asker):
            pass

    with pytest.raises(PSKernelError) as caught:
        asyncio.run(attempt())
    assert PASSWORD not in f"{caught.value!r}"
    return caught.value


def soap(body: str) -> bytes:
    return (ENVELOPE % body).encode()


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(403, b"", sealed=False), AuthenticationFailed, "HTTP status 403"),
        (Answer(404, b"", sealed=False), TargetUnreachable, "There is no WinRM service"),
        (Answer(404, DOCTYPE_PAGE), TargetUnreachable, "There is no WinRM service"),
        (Answer(404, b"<html><h1>Not here</h1></html>"), TargetUnreachable, "There is no WinRM service"),
        (Answer(403, DOCTYPE_PAGE), AuthenticationFailed, "(HTTP status 403). It said: Nothing here & gone."),
        (Answer(502, DOCTYPE_PAGE), NotPowerShell, "(HTTP status 502). It said: Nothing here & gone."),
        (Answer(500, b"<!DOCTYPE x>" + soap(QUOTA)), NotPowerShell, "no WinRM service does (HTTP status 500)"),
        (Answer(500, soap(QUOTA).replace(b"<s:Body>", b"<!ENTITY a 'b'><s:Body>")), NotPowerShell, "document type"),
        (Answer(500, b""), ConnectError, "gave no reason"),
        (Answer(503, b"<html><h1>Busy</h1></html>", content_type="text/html"), NotPowerShell, "no WinRM service does"),
        (Answer(200, b"<html><h1>Hi</h1></html>"), NotPowerShell, "related id"),
        (Answer(200, b"not xml at all"), NotPowerShell, "not XML"),
        (Answer(200, soap("<x/>"), sealed=False), NotPowerShell, "readable one"),
        (Answer(500, soap(QUOTA)), ConnectError, "(WSMan fault 2150859173, 0x803381A5) Close sessions of this user"),
        (Answer(500, soap(NO_CODE)), ConnectError, "The server gave no reason. (s:Receiver.)"),
        (Answer(200, b'<!DOCTYPE x [<!ENTITY a "b">]>' + soap("&a;")), NotPowerShell, "declares a document type"),
        (Answer(200, '<?xml version="1.0" encoding="utf-16"?>'.encode("utf-16")), NotPowerShell, "plain XML"),
        (Answer(200, b'<?xml version="1.0" encoding="cp037"?><a/>'), NotPowerShell, "plain XML"),
        (Answer(200, soap("<x>" + "y" * 17_000_000 + "</x>")), NotPowerShell, "is larger than"),
        (
            Answer(200, b"--Other\r\nrubbish", content_type='multipart/encrypted;boundary="Encrypted Boundary"', sealed=False),
            NotPowerShell,
            "is malformed",
        ),
        (
            Answer(
                200,
                b"--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
                b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=4\r\n--Encrypted Boundary\r\n"
                b"\tContent-Type: application/octet-stream\r\n\x10\x00\x00\x00" + bytes(16) + b"abcd--Encrypted Boundary--\r\n",
                content_type='multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"',
                sealed=False,
            ),
            ConnectError,
            "changed on its way",
        ),
    ],
    ids=[
        "403", "404", "404 page", "404 XHTML", "403 page", "502 page", "DOCTYPE fault", "entity fault", "500 empty", "a page with 503", "a page with 200", "no XML", "readable", "quota", "no code",
        "document type", "utf-16", "ebcdic", "huge", "MIME", "MIC",
    ],
)  # fmt: skip
def test_an_answer_that_is_none(bridge_factory: Factory, answer: Answer, kind: type[PSKernelError], said: str) -> None:
    bridge = bridge_factory()
    bridge.next("Create", answer)
    error = refused(bridge)
    assert type(error) is kind, repr(error)
    assert said in str(error)
    assert "failed with the following error message" in str(error)
    assert "\x1b" not in str(error)
    assert bridge.service.shells == {}


@pytest.mark.parametrize(
    ("schemes", "auth", "said"),
    [
        ((), "ntlm", "does not offer a login by ntlm: it offers no way to log in that is known here."),
        (("Basic",), "ntlm", "does not offer a login by ntlm: it offers Basic."),
        (("Basic", "Digest"), "negotiate", "does not offer a login by negotiate: it offers Basic, Digest."),
        (("Kerberos",), "ntlm", "does not offer a login by ntlm: it offers Kerberos."),
        (
            ("Negotiate",),
            f"basic&{READABLE}",
            "refused the login as CORP\\admin by basic. The service may not allow Basic",
        ),
        (("Negotiate",), f"basic&{READABLE}", "It offers Negotiate only."),
    ],
)
def test_a_server_that_knows_no_such_login(
    bridge_factory: Factory, schemes: tuple[str, ...], auth: str, said: str
) -> None:
    error = refused(bridge_factory(schemes=schemes, require_encryption=False), f"auth={auth}")
    assert type(error) is AuthenticationFailed, repr(error)
    assert said in str(error)
    assert auth.startswith("basic") or "Choose another auth (-Authentication)" in str(error)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Cut(), "The connection on port {port} was cut, by the server or by something on the way there."),
        (Cut(after=True), "The connection on port {port} was cut, by the server or by something on the way there."),
        (Answer(413, sealed=False), "The message is larger than the server takes (HTTP status 413)"),
        (Answer(407, sealed=False), "wants a login (HTTP status 407), which is not supported."),
    ],
    ids=["cut", "cut within", "413", "407"],
)
def test_errors_are_sentences_and_no_tuples(bridge_factory: Factory, order: Answer | Cut, said: str) -> None:
    bridge = bridge_factory()
    bridge.next("Create", order)
    error = str(refused(bridge))
    assert said.format(port=bridge.port) in error
    assert "WinRM service" not in error
    assert not set("<>'[]{}") & set(error)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("407 Proxy Authentication Required", "wants a login (HTTP status 407), which is not supported."),
        ("502 Bad Gateway", "does not let us through to 127.0.0.1, port {port} (HTTP status 502)."),
        ("", "cannot be used: nobody listens there."),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "environment"])
def test_proxies_that_do_not_help(monkeypatch: pytest.MonkeyPatch, status: str, said: str, named: bool) -> None:
    async def main() -> tuple[str, str, int]:
        async with Tunnel(status) as proxy:
            where, port = proxy.url, free_port()
            if not status:
                where = f"http://127.0.0.1:{free_port()}"
            monkeypatch.setenv("https_proxy", where)
            options = f"auth=basic&proxy={where if named else 'environment'}"
            target = Target(
                "winrm+https", "127.0.0.1", port, USER, options=Target.parse(f"winrm+https://a?{options}").options
            )
            with pytest.raises(TargetUnreachable) as caught:
                await connect(target, credential=read_credential(PSCredential(USER, PASSWORD)))
            return str(caught.value), where, port

    error, where, port = asyncio.run(asyncio.wait_for(main(), 60))
    who = f"The proxy {where}" if named else "The proxy that the environment names"
    assert error.endswith(f"{who} {said.format(port=port)}")


def test_nobody_there() -> None:
    target = Target.parse(f"winrm://127.0.0.1:{free_port()}")
    credential = read_credential(PSCredential(USER, PASSWORD))
    with pytest.raises(TargetUnreachable, match=r"Nobody listens on port .* For SSH, write ssh:// or -HostName"):
        asyncio.run(connect(Target("winrm", target.host, target.port, USER), credential=credential))
    with pytest.raises(TargetUnreachable, match="cannot be resolved"):
        asyncio.run(connect(Target("winrm", "no.such.host.invalid", None, USER), credential=credential))


def test_a_configuration_and_an_application_that_are_not_there(bridge_factory: Factory) -> None:
    bridge = bridge_factory()
    error = refused(bridge, "auth=ntlm&configuration=Nope")
    assert "Cannot find the Nope session configuration on 127.0.0.1." in str(error)
    assert "The resource URI (http://schemas.microsoft.com/powershell/Nope) was not found" in str(error)
    assert "Get-PSSessionConfiguration" in str(error)
    target = Target("winrm", "127.0.0.1", bridge.port, USER, "nope")
    with pytest.raises(TargetUnreachable, match="application name"):
        asyncio.run(connect(target, credential=read_credential(PSCredential(USER, PASSWORD))))


@pytest.mark.parametrize(
    "options", ["auth=ntlm&max_received_per_command=100000", "auth=ntlm&max_received_object=100000"]
)
def test_more_than_the_user_wants_ends_the_session(bridge_factory: Factory, options: str) -> None:
    async def attempt() -> None:
        async with await opened(bridge_factory(), options) as runspace:
            with pytest.raises(PSKernelError, match="more than 100000 bytes"):
                await runspace.query("'x' * 300000")
            assert runspace.error is not None

    asyncio.run(attempt())


def away(bridge: WsmanBridge, times: int, host: str = "127.0.0.1", path: str = "wsman") -> None:
    headers = {"Location": f"http://{host}:{bridge.port}/{path}"}
    bridge.next("Create", *[Answer(301, headers=headers)] * times)


def test_a_redirection_is_not_followed_unless_it_is_allowed(bridge_factory: Factory) -> None:
    bridge = bridge_factory()
    away(bridge, 1)
    assert "It was not followed: say allow_redirection=true (-AllowRedirection)" in str(refused(bridge))
    away(bridge, 2)
    asyncio.run(_opens(bridge, "auth=ntlm&allow_redirection=true"))
    away(bridge, 9)
    error = refused(bridge, "auth=ntlm&allow_redirection=true")
    assert "5 redirections (max_redirections, MaximumConnectionRedirectionCount) were enough" in str(error)


async def _opens(bridge: WsmanBridge, options: str, asker: Asker | None = None) -> None:
    async with await opened(bridge, options, asker) as runspace:
        assert ["in"] == await runspace.query("'in'")


def test_no_credential_goes_to_another_host_unasked(bridge_factory: Factory) -> None:
    bridge, options = bridge_factory(), "auth=ntlm&allow_redirection=true"
    away(bridge, 1, "localhost")
    assert "nobody confirmed that the credential may go there" in str(refused(bridge, options))
    before = len(bridge.requests)
    away(bridge, 1, "localhost")
    assert "nobody confirmed" in str(refused(bridge, options, Answers("yes")))
    assert len(bridge.requests) == before + 1
    away(bridge, 1, "localhost")
    user = Answers("localhost")
    asyncio.run(_opens(bridge, options, user))
    assert "127.0.0.1 sends this session to localhost" in user.texts[0]


@pytest.mark.parametrize("said", ["", "?delegatedorg=b.example"])
def test_a_query_reaches_the_endpoint_also_by_a_redirection(bridge_factory: Factory, said: str) -> None:
    # A service that is nowhere but where its query is.
    tenant = bridge_factory(path="wsman?delegatedorg=b.example")
    options = "auth=ntlm&allow_redirection=true&uri_query=DelegatedOrg%3Db.example"
    asyncio.run(_opens(tenant, options))
    gate = bridge_factory(path="wsman?delegatedorg=b.example")
    gate.next("Create", Answer(301, headers={"Location": f"http://127.0.0.1:{tenant.port}/wsman{said}"}))
    before = tenant.count("Create")

    asyncio.run(_opens(gate, options))

    assert before + 1 == tenant.count("Create")
    assert "404" in str(refused(tenant, "auth=ntlm"))


@pytest.mark.parametrize("location", ["", "ftp://a/b", "http://user:pw@a/wsman", "//", "http://[bad/wsman"])
def test_a_redirection_to_nowhere(bridge_factory: Factory, location: str) -> None:
    bridge = bridge_factory()
    bridge.next("Create", Answer(302, headers={"Location": location}))
    error = refused(bridge, "auth=ntlm&allow_redirection=true")
    # Without an address, it is an answer like others.
    assert ("which is no WinRM address" if location else "with a readable one") in str(error)


def test_an_answer_to_receive_that_is_none_ends_the_session(bridge_factory: Factory) -> None:
    async def attempt(answer: Answer) -> None:
        bridge = bridge_factory()
        async with await opened(bridge) as runspace:
            bridge.next("Receive", *[answer] * 5)
            with pytest.raises(PSKernelError):
                await runspace.query("1..100")
            await asyncio.wait_for(runspace.wait_ended(), 30)

    for answer in (
        Answer(200, soap("<nothing/>")),
        Answer(500, soap(NO_CODE)),
        Answer(
            200,
            soap(
                '<r:ReceiveResponse xmlns:r="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><r:Stream Name="stdout">!!</r:Stream></r:ReceiveResponse>'
            ),
        ),
    ):
        asyncio.run(attempt(answer))


def test_a_shell_that_the_server_ended(bridge_factory: Factory) -> None:
    async def attempt() -> None:
        bridge = bridge_factory()
        async with await opened(bridge) as runspace:
            bridge.service.close()
            await asyncio.wait_for(runspace.wait_ended(), 30)
            assert isinstance(runspace.error, TransportClosed)
            assert "does not exist any more" in str(runspace.error)

    asyncio.run(attempt())
