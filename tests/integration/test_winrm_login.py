"""Who is let in over WinRM, whom we believe, and what is said where not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pskernel.connect import connect
from pskernel.credentials import PSCredential, read_credential
from pskernel.errors import AuthenticationFailed, CertificateRejected, PSKernelError, TargetError, TargetUnreachable
from pskernel.target import Target
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.certificates import Authority, Pair
from tests.parts.proxies import Tunnel
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


def test_a_client_certificate_needs_https(winrm: WsmanBridge, authority: Authority) -> None:
    with pytest.raises(TargetError, match="certificate is for winrm\\+https targets"):
        Target.parse(f"winrm://127.0.0.1:{winrm.port}?certificate={authority.joined(authority.client())}")
    with pytest.raises(TargetError, match="needs HTTPS"):
        WinRMEndpoint("a", login=WinRMLogin("certificate", certificate="own.pem"))


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
    with pytest.raises(TargetUnreachable, match=f"The connection on port {over_tls.port} was cut"):
        asyncio.run(
            connect(
                Target.parse(f"winrm://a@127.0.0.1:{over_tls.port}"), credential=read_credential(PSCredential("a", "b"))
            )
        )


def test_through_a_proxy_that_was_named(
    bridge_factory: Factory, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = https(bridge_factory, authority.server(), authority)

    async def test() -> list[str]:
        async with Tunnel() as tunnel:
            url = tunnel.url
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
