"""Kerberos over WinRM: with a password, with a ticket, with the wrong names, and what is said then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pskernel.connect import connect
from pskernel.credentials import PSCredential, read_credential
from pskernel.errors import AuthenticationFailed, PSKernelError
from pskernel.target import Target
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.certificates import Authority
from tests.parts.kdc import Kdc

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]


async def answer(bridge: WsmanBridge, options: str, *, user: str = "", password: str = "") -> str:
    scheme = "winrm+https" if bridge.tls else "winrm"
    target = Target(
        scheme, "localhost", bridge.port, user or None, options=Target.parse(f"{scheme}://a?{options}").options
    )
    credential = read_credential(PSCredential(user, password)) if password else None
    async with await connect(target, credential=credential) as runspace:
        (value,) = await runspace.query("'in'")
    return str(value)


def refused(bridge: WsmanBridge, options: str, **login: str) -> PSKernelError:
    with pytest.raises(PSKernelError) as caught:
        asyncio.run(answer(bridge, options, **login))
    assert "ecila" not in f"{caught.value!r}"
    return caught.value


@pytest.fixture(params=["http", "https", "https, bound"])
def served(
    request: pytest.FixtureRequest, bridge_factory: Factory, authority: Authority, kerberos_realm: Kdc
) -> tuple[WsmanBridge, str]:
    """A service of the realm, and the options that it needs."""
    schemes = ("Negotiate", "Kerberos")
    if request.param == "http":
        return bridge_factory(schemes=schemes), ""
    pair = authority.server()
    bridge = bridge_factory(
        certificate=(pair.certificate, pair.key, None), schemes=schemes, require_cbt=request.param.endswith("bound")
    )
    return bridge, f"&ca_file={authority.file}"


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
def test_with_a_password_and_with_a_ticket(served: tuple[WsmanBridge, str], kerberos_realm: Kdc, auth: str) -> None:
    (bridge, more), alice = served, f"alice@{kerberos_realm.realm}"
    assert "in" == asyncio.run(answer(bridge, f"auth={auth}{more}", user=alice, password="ecila"))
    error = refused(bridge, f"auth={auth}{more}", user=alice, password="wrong")
    assert isinstance(error, AuthenticationFailed), repr(error)
    assert auth == "negotiate" or "The password is wrong" in str(error), str(error)
    kerberos_realm.log_in("alice", "ecila")
    try:
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}{more}"))
        if auth == "kerberos":
            assert "in" == asyncio.run(answer(bridge, f"auth=kerberos{more}", user=alice))
    finally:
        kerberos_realm.log_out()


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
def test_a_ticket_bound_to_another_channel_is_refused(
    bridge_factory: Factory, authority: Authority, kerberos_realm: Kdc, auth: str
) -> None:
    pair = authority.server()
    schemes = ("Negotiate", "Kerberos")
    bridge = bridge_factory(certificate=(pair.certificate, pair.key, None), schemes=schemes, require_cbt=True)
    bridge.rules.certificate = authority.server().certificate.read_bytes()  # as if somebody were in between
    options, alice = f"auth={auth}&ca_file={authority.file}", f"alice@{kerberos_realm.realm}"
    error = refused(bridge, options, user=alice, password="ecila")
    assert isinstance(error, AuthenticationFailed), repr(error)


def test_without_a_ticket(bridge_factory: Factory, kerberos_realm: Kdc) -> None:
    error = refused(bridge_factory(schemes=("Negotiate", "Kerberos")), "auth=kerberos")
    assert isinstance(error, AuthenticationFailed), repr(error)
    assert "kinit" in str(error)


def test_a_service_by_another_name(bridge_factory: Factory, kerberos_realm: Kdc) -> None:
    bridge = bridge_factory(schemes=("Negotiate", "Kerberos"))
    kerberos_realm.log_in("alice", "ecila")
    try:
        assert "in" == asyncio.run(answer(bridge, "auth=kerberos&spn=HTTP/localhost"))
        error = refused(bridge, "auth=kerberos&spn=HTTP/other.example")
    finally:
        kerberos_realm.log_out()
    assert isinstance(error, AuthenticationFailed), repr(error)
    assert "No service of that name is registered for localhost" in str(error), str(error)


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
def test_a_ticket_is_given_to_the_server_only_where_the_user_says_so(
    served: tuple[WsmanBridge, str], kerberos_realm: Kdc, auth: str
) -> None:
    (bridge, more), alice = served, f"alice@{kerberos_realm.realm}"
    try:
        # With a password, a ticket that can be passed on is asked for then.
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}{more}", user=alice, password="ecila"))
        assert set() == bridge.rules.delegated
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}&delegate=true{more}", user=alice, password="ecila"))
        assert {alice} == bridge.rules.delegated
        bridge.rules.delegated.clear()
        kerberos_realm.log_in("alice", "ecila", forwardable=True)
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}{more}"))
        assert set() == bridge.rules.delegated
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}&delegate=true{more}"))
        assert {alice} == bridge.rules.delegated
        bridge.rules.delegated.clear()
        # A ticket that cannot be passed on logs in, and no more.
        kerberos_realm.log_in("alice", "ecila")
        assert "in" == asyncio.run(answer(bridge, f"auth={auth}&delegate=true{more}"))
        assert set() == bridge.rules.delegated
    finally:
        kerberos_realm.log_out()
