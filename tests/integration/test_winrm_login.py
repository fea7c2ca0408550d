"""Who is let in over WinRM, whom we believe, and what is said where not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from pskernel.connect import connect
from pskernel.credentials import PSCredential, read_credential
from pskernel.errors import AuthenticationFailed, CertificateRejected, PSKernelError, TargetError
from pskernel.target import Target
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.certificates import Authority, Pair
from tests.parts.winrm import PASSWORD, USER

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]
READABLE = "no_encryption=true&allow_unencrypted=true"


async def answer(
    bridge: WsmanBridge, options: str, *, user: str = USER, password: str = PASSWORD, host: str = ""
) -> str:
    """Log in and run something."""
    scheme = "winrm+https" if bridge.tls else "winrm"
    target = Target.parse(f"{scheme}://{host or '127.0.0.1'}:{bridge.port}?{options}")
    if user:
        target = Target(target.scheme, target.host, target.port, user, None, target.options)
    credential = read_credential(PSCredential(user, password)) if user else None
    async with await connect(target, credential=credential) as runspace:
        (value,) = await runspace.query("'in'")
    return str(value)


def refused(bridge: WsmanBridge, options: str, **login: str) -> PSKernelError:
    with pytest.raises(PSKernelError) as caught:
        asyncio.run(answer(bridge, options, **login))
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert PASSWORD not in shown
    return caught.value


def https(factory: Factory, pair: Pair, authority: Authority, **rules: object) -> WsmanBridge:
    return factory(certificate=(pair.certificate, pair.key, authority.file), **rules)


@pytest.mark.parametrize("auth", ["default", "negotiate", "ntlm"])
def test_over_http_with_sealed_messages(winrm: WsmanBridge, auth: str) -> None:
    assert "in" == asyncio.run(answer(winrm, f"auth={auth}"))
    error = refused(winrm, f"auth={auth}", password="wrong")
    assert isinstance(error, AuthenticationFailed)
    assert "Access is denied" in str(error)
    assert isinstance(refused(winrm, f"auth={auth}", user="nobody"), AuthenticationFailed)


def test_readable_http_needs_two_words_and_a_server_that_allows_it(winrm: WsmanBridge, bridge_factory: Factory) -> None:
    assert "sends the password readable" in str(refused(winrm, "auth=basic"))
    assert "allow_unencrypted" in str(refused(winrm, "auth=basic&no_encryption=true"))
    assert "It may not allow unencrypted" in str(refused(winrm, f"auth=basic&{READABLE}"))
    allowing = bridge_factory(require_encryption=False)
    assert "in" == asyncio.run(answer(allowing, f"auth=basic&{READABLE}", user="local"))
    assert isinstance(refused(allowing, f"auth=basic&{READABLE}", user="local", password="x"), AuthenticationFailed)


@pytest.mark.parametrize("auth", ["negotiate", "ntlm", "basic"])
@pytest.mark.parametrize("cbt", [False, True], ids=["", "bound"])
def test_over_https(bridge_factory: Factory, authority: Authority, auth: str, cbt: bool) -> None:
    bridge = https(bridge_factory, authority.server(), authority, require_cbt=cbt)
    options = f"auth={auth}&ca_file={authority.file}"
    assert "in" == asyncio.run(answer(bridge, options, user="local"))
    assert isinstance(refused(bridge, options, user="local", password="wrong"), AuthenticationFailed)


@pytest.mark.parametrize("auth", ["negotiate", "ntlm"])
def test_a_login_bound_to_another_channel_is_refused(bridge_factory: Factory, authority: Authority, auth: str) -> None:
    bridge = https(bridge_factory, authority.server(), authority, require_cbt=True)
    bridge.rules.certificate = authority.server().certificate.read_bytes()  # as if somebody were in between
    error = refused(bridge, f"auth={auth}&ca_file={authority.file}", user="local")
    assert isinstance(error, AuthenticationFailed)


@pytest.mark.parametrize("kind", ["pem", "sealed", "pfx"])
def test_a_client_certificate(bridge_factory: Factory, authority: Authority, tmp_path: Path, kind: str) -> None:
    bridge, own = https(bridge_factory, authority.server(), authority), authority.client()
    file = {
        "pem": lambda: authority.joined(own),
        "sealed": lambda: authority.joined(own, "opensesame"),
        "pfx": lambda: authority.pfx(own, "opensesame"),
    }[kind]()
    word = tmp_path / "word"
    word.touch(mode=0o600)
    word.write_text("opensesame")
    options = f"certificate={file}&ca_file={authority.file}"
    more = "" if kind == "pem" else f"&credential=file:{word}"
    assert "in" == asyncio.run(answer(bridge, options + more, user=""))
    if kind != "pem":
        word.write_text("wrong")
        error = refused(bridge, options + more, user="")
        assert isinstance(error, TargetError)
        assert "passphrase" in str(error)


def test_a_client_certificate_needs_https(winrm: WsmanBridge, authority: Authority) -> None:
    with pytest.raises(TargetError, match="certificate is for winrm\\+https targets"):
        Target.parse(f"winrm://127.0.0.1:{winrm.port}?certificate={authority.joined(authority.client())}")
    with pytest.raises(TargetError, match="needs HTTPS"):
        WinRMEndpoint("a", login=WinRMLogin("certificate", certificate="own.pem"))


def test_a_client_certificate_of_nobodys_is_refused(
    bridge_factory: Factory, authority: Authority, tmp_path: Path
) -> None:
    bridge = https(bridge_factory, authority.server(), authority)
    stranger = Authority(tmp_path)
    error = refused(bridge, f"certificate={stranger.joined(stranger.client())}&ca_file={authority.file}", user="")
    # OpenSSL lets the handshake fail, which a client may see as a refused certificate or as a broken connection.
    assert "failed" in str(error)
    assert bridge.count("Create") == 0


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ({}, "", "An authority that is not trusted here"),
        ({"self_signed": True}, "", "is self-signed"),
        ({"expired": True}, "ca", "has expired"),
        ({"names": ("other.example",), "addresses": ()}, "ca", "not one for 127.0.0.1"),
        ({}, "accept_certificate=" + "ab" * 32, "not the one that accept_certificate vouches for"),
    ],
    ids=["stranger", "self-signed", "expired", "another name", "another fingerprint"],
)
def test_a_server_that_is_not_believed_learns_nothing(
    bridge_factory: Factory, authority: Authority, made: dict[str, object], options: str, said: str
) -> None:
    names = made.pop("names", ()) if "names" in made else ()
    bridge = https(bridge_factory, authority.server(*names, **made), authority)
    options = f"ca_file={authority.file}" if options == "ca" else options or "width=100"
    error = refused(bridge, f"auth=basic&{options}", user="local")
    assert isinstance(error, CertificateRejected), error
    assert said in str(error)
    assert bridge.requests == []


def test_what_makes_a_server_believed(bridge_factory: Factory, authority: Authority) -> None:
    pair = authority.server("other.example", expired=True, self_signed=True, addresses=())
    bridge = https(bridge_factory, pair, authority)
    assert "in" == asyncio.run(answer(bridge, f"auth=ntlm&accept_certificate={pair.fingerprint}", user="local"))
    assert "in" == asyncio.run(answer(bridge, "auth=ntlm&skip_ca_check=true&skip_cn_check=true", user="local"))
    assert "give skip_cn_check too" in str(refused(bridge, "auth=ntlm&skip_ca_check=true", user="local"))
    named = https(bridge_factory, authority.server("other.example", addresses=()), authority)
    options = f"auth=ntlm&ca_file={authority.file}"
    assert "in" == asyncio.run(answer(named, f"{options}&skip_cn_check=true", user="local"))
    assert isinstance(refused(named, options, user="local"), CertificateRejected)


def test_http_where_https_is_and_the_other_way_round(
    winrm: WsmanBridge, bridge_factory: Factory, authority: Authority
) -> None:
    over_tls = https(bridge_factory, authority.server(), authority)
    with pytest.raises(CertificateRejected, match="does not speak HTTPS"):
        asyncio.run(
            connect(
                Target.parse(f"winrm+https://a@127.0.0.1:{winrm.port}"),
                credential=read_credential(PSCredential("a", "b")),
            )
        )
    with pytest.raises(PSKernelError, match="failed"):
        asyncio.run(
            connect(
                Target.parse(f"winrm://a@127.0.0.1:{over_tls.port}"), credential=read_credential(PSCredential("a", "b"))
            )
        )


class Tunnel:
    """An HTTP proxy that knows CONNECT alone."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.splitlines()[0])
        host, port = head.split()[1].rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._writers += [writer, far_writer]
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer), return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def test_through_a_proxy_that_was_named(
    bridge_factory: Factory, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = https(bridge_factory, authority.server(), authority)

    async def test() -> list[str]:
        async with Tunnel() as tunnel:
            url = f"http://127.0.0.1:{tunnel.port}"
            common = f"auth=ntlm&ca_file={authority.file}"
            assert "in" == await answer(bridge, f"{common}&proxy={url}", user="local")
            named = len(tunnel.asked)
            # What the environment says counts where it is asked for alone.
            monkeypatch.setenv("HTTPS_PROXY", url)
            monkeypatch.setenv("https_proxy", url)
            assert "in" == await answer(bridge, common, user="local")
            assert named == len(tunnel.asked)
            assert "in" == await answer(bridge, f"{common}&proxy=environment", user="local")
            assert named < len(tunnel.asked)
            return tunnel.asked

    assert {f"CONNECT 127.0.0.1:{bridge.port} HTTP/1.0", f"CONNECT 127.0.0.1:{bridge.port} HTTP/1.1"} >= set(
        asyncio.run(test())
    )
