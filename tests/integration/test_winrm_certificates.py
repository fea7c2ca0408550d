"""Certificates over WinRM, of servers and of ours: the same by a proxy as without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from pskernel.connect import connect
from pskernel.credentials import PSCredential, Secret, read_credential
from pskernel.errors import CertificateRejected, PSKernelError, TargetError
from pskernel.target import Target
from pskernel.transports.winrm.endpoint import Trust, WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.shells import list_shells
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.certificates import Authority, Pair
from tests.parts.proxies import Tunnel
from tests.parts.winrm import PASSWORD

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]


class Way:
    """How the server is reached."""

    def __init__(self, *, proxy: bool) -> None:
        self.proxy = proxy

    def answer(self, bridge: WsmanBridge, options: str, *, user: str = "local") -> str:
        """Log in and run something."""

        async def main() -> str:
            if not self.proxy:
                return await _answer(bridge, options, user)
            async with Tunnel() as tunnel:
                found = await _answer(bridge, f"{options}&proxy={tunnel.url}", user)
                assert tunnel.asked
                return found

        return asyncio.run(main())

    def refused(self, bridge: WsmanBridge, options: str, *, user: str = "local") -> PSKernelError:
        """Do not get in."""
        with pytest.raises(PSKernelError) as caught:
            self.answer(bridge, options, user=user)
        assert PASSWORD not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
        return caught.value


async def _answer(bridge: WsmanBridge, options: str, user: str) -> str:
    target = Target.parse(f"winrm+https://127.0.0.1:{bridge.port}?{options}")
    if user:
        target = Target(target.scheme, target.host, target.port, user, None, target.options)
    credential = read_credential(PSCredential(user, PASSWORD)) if user else None
    async with await connect(target, credential=credential) as runspace:
        (value,) = await runspace.query("'in'")
    return str(value)


@pytest.fixture(params=["direct", "proxy"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(proxy=request.param == "proxy")


def https(factory: Factory, pair: Pair, authority: Authority) -> WsmanBridge:
    return factory(certificate=(pair.certificate, pair.key, authority.file))


@pytest.mark.parametrize("kind", ["pem", "sealed", "pfx"])
def test_a_client_certificate(
    way: Way, bridge_factory: Factory, authority: Authority, tmp_path: Path, kind: str
) -> None:
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
    assert "in" == way.answer(bridge, options + more, user="")
    if kind != "pem":
        word.write_text("wrong")
        error = way.refused(bridge, options + more, user="")
        assert isinstance(error, TargetError)
        assert "passphrase" in str(error)


def test_a_client_certificate_of_nobodys_is_refused(
    way: Way, bridge_factory: Factory, authority: Authority, tmp_path: Path
) -> None:
    bridge = https(bridge_factory, authority.server(), authority)
    stranger = Authority(tmp_path)
    error = way.refused(bridge, f"certificate={stranger.joined(stranger.client())}&ca_file={authority.file}", user="")
    # OpenSSL lets the handshake fail, which a client sees as a refusal, or, if it is faster, as a broken connection.
    if isinstance(error, CertificateRejected):
        assert "does not accept the certificate that this side shows" in str(error)
    else:
        assert f"The connection on port {bridge.port} was cut" in str(error)
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
    way: Way, bridge_factory: Factory, authority: Authority, made: dict[str, Any], options: str, said: str
) -> None:
    others = {name: value for name, value in made.items() if name != "names"}
    bridge = https(bridge_factory, authority.server(*made.get("names", ()), **others), authority)
    options = f"ca_file={authority.file}" if options == "ca" else options or "width=100"
    error = way.refused(bridge, f"auth=basic&{options}")
    assert isinstance(error, CertificateRejected), error
    assert said in str(error)
    assert bridge.requests == []


def test_what_makes_a_server_believed(way: Way, bridge_factory: Factory, authority: Authority) -> None:
    pair = authority.server("other.example", expired=True, self_signed=True, addresses=())
    bridge = https(bridge_factory, pair, authority)
    assert "in" == way.answer(bridge, f"auth=ntlm&accept_certificate={pair.fingerprint}")
    assert "in" == way.answer(bridge, "auth=ntlm&skip_ca_check=true&skip_cn_check=true")
    assert "give skip_cn_check too" in str(way.refused(bridge, "auth=ntlm&skip_ca_check=true"))
    named = https(bridge_factory, authority.server("other.example", addresses=()), authority)
    options = f"auth=ntlm&ca_file={authority.file}"
    assert "in" == way.answer(named, f"{options}&skip_cn_check=true")
    assert isinstance(way.refused(named, options), CertificateRejected)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_of_other_programs_makes_nobody_believed(
    way: Way, bridge_factory: Factory, authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    bridge = https(bridge_factory, authority.server(), authority)
    monkeypatch.setenv(variable, str(authority.file))
    # What requests ships, for those who ask it to verify.
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority.file))
    error = way.refused(bridge, "auth=basic&width=100")
    assert isinstance(error, CertificateRejected), error
    assert "An authority that is not trusted here" in str(error)
    assert bridge.requests == []
    # Nor does it matter where that is not there.
    monkeypatch.setenv(variable, "/no/such/file")
    assert "in" == way.answer(bridge, f"auth=basic&ca_file={authority.file}")


def test_files_that_are_no_certificates(bridge_factory: Factory, authority: Authority, tmp_path: Path) -> None:
    bridge, way = https(bridge_factory, authority.server(), authority), Way(proxy=False)
    junk, large = tmp_path / "junk.pem", tmp_path / "large.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
    with large.open("wb") as file:
        file.truncate(1 << 40)
    for option, path, said in (
        ("ca_file", junk, "(ca_file) cannot be used: it holds no certificates in PEM form."),
        ("ca_file", tmp_path, "(ca_file) cannot be used: Is a directory."),
        ("certificate", junk, "cannot be used: it is no PEM file with a certificate and its key"),
        ("certificate", tmp_path, "cannot be read: Is a directory."),
        ("certificate", tmp_path / "none", "cannot be read: No such file or directory."),
        # As large as a disk: it is not read to find that out.
        ("certificate", large, "is too large for a certificate."),
    ):
        error = way.refused(bridge, f"{option}={path}", user="" if option == "certificate" else "local")
        assert isinstance(error, TargetError)
        assert said in str(error)


def test_a_passphrase_is_asked_for_beside_the_loop(bridge_factory: Factory, authority: Authority) -> None:
    bridge = https(bridge_factory, authority.server(), authority)
    pfx = authority.pfx(authority.client(), "opensesame")
    revealed: list[threading.Thread] = []

    class Slow(Secret):
        def reveal(self) -> str:
            revealed.append(threading.current_thread())
            return "opensesame"

    async def main() -> None:
        endpoint = WinRMEndpoint(
            "127.0.0.1", bridge.port, tls=True, trust=Trust(str(authority.file)),
            login=WinRMLogin("certificate", None, Slow("x"), str(pfx)),
        )  # fmt: skip
        assert await list_shells(endpoint) == []

    asyncio.run(main())
    assert revealed
    assert threading.main_thread() not in revealed
