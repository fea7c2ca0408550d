"""The WSMan bridge, driven by pypsrp's own client: logins and operations."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from pypsrp.complex_objects import PSInvocationState
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.host import PSHost, PSHostUserInterface
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import SignalCode
from pypsrp.wsman import NAMESPACES, WSMan

from tests.fakes.wsman_bridge import Hold, WsmanBridge
from tests.parts.certificates import Authority, Pair
from tests.parts.kdc import Kdc
from tests.parts.wsman_client import (
    DOMAIN_USER,
    DONE,
    PASSWORD,
    SHELL,
    USERS,
    Start,
    Waiting,
    Wire,
    answer,
    client,
    engine,
    fault_of,
    is_running,
    pool,
    selector,
    shell_of,
    started,
)

pytestmark = pytest.mark.live

CONFIGURATION = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
NO_SHELL, TIMED_OUT, ABORTED = 2150858843, 2150858793, 995


# ---- logins ----


@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_logins_over_http_seal_their_messages(start_bridge: Start, auth: str) -> None:
    bridge = start_bridge(require_encryption=True)
    with client(bridge, auth) as wsman:
        assert [2] == answer(wsman)
    assert {DOMAIN_USER} == {each.user for each in bridge.requests}


def test_basic_over_http(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge, "basic") as wsman:
        assert [2] == answer(wsman)
    assert {"local"} == {each.user for each in bridge.requests}


@pytest.mark.parametrize("auth", ["basic", "ntlm", "negotiate"])
def test_logins_over_https(start_https_bridge: Start, authority: Authority, auth: str) -> None:
    with client(start_https_bridge(), auth, cert_validation=str(authority.file)) as wsman:
        assert [2] == answer(wsman)


@pytest.mark.parametrize("auth", ["basic", "ntlm", "negotiate"])
def test_a_wrong_password(start_bridge: Start, auth: str) -> None:
    bridge = start_bridge()
    with client(bridge, auth, password="wrong") as wsman, pytest.raises(AuthenticationError):
        RunspacePool(wsman).open()
    with client(bridge, auth, username="nobody") as wsman, pytest.raises(AuthenticationError):
        RunspacePool(wsman).open()
    assert [] == bridge.requests


def test_a_scheme_that_is_not_offered(start_bridge: Start) -> None:
    bridge = start_bridge(schemes=("Negotiate",))
    with client(bridge, "basic") as wsman, pytest.raises(AuthenticationError):
        RunspacePool(wsman).open()
    offered = requests.post(bridge.url, timeout=10)
    assert (401, "Negotiate") == (offered.status_code, offered.headers["WWW-Authenticate"])


@pytest.mark.parametrize(
    "header", ["Basic ???", "Negotiate ???", "Negotiate AAAA", "NTLM TlRMTVNTUAA=", "Digest x", "Nonsense", "Basic"]
)
def test_nonsense_lets_nobody_in(start_bridge: Start, header: str) -> None:
    bridge = start_bridge()
    assert 401 == requests.post(bridge.url, b"<x/>", headers={"Authorization": header}, timeout=10).status_code


def test_readable_messages_are_refused_where_they_must_be_sealed(start_bridge: Start) -> None:
    bridge = start_bridge(require_encryption=True)
    for auth in ("basic", "ntlm"):
        with client(bridge, auth, encryption="never") as wsman, pytest.raises(WinRMTransportError) as caught:
            RunspacePool(wsman).open()
        assert (500, "") == (caught.value.code, caught.value.response_text)
    assert [] == bridge.requests


def test_what_was_sealed_for_another_connection_cannot_be_read(start_bridge: Start) -> None:
    bridge = start_bridge(require_encryption=True)
    with client(bridge, "ntlm") as wsman:
        wsman.get_server_config()
        bridge.drop_connections()
        with pytest.raises(WinRMTransportError) as caught:
            wsman.get_server_config()
    assert 400 == caught.value.code
    assert 1 == bridge.count("Get")


def test_bridges_do_not_share_their_accounts(start_bridge: Start, pwsh: str) -> None:
    one = start_bridge()
    with WsmanBridge(engine(pwsh), {DOMAIN_USER: "another"}, require_encryption=False) as other:
        with client(one, "ntlm") as wsman:
            wsman.get_server_config()
        with client(other, "ntlm", password="another") as wsman:
            wsman.get_server_config()
        with client(other, "ntlm") as wsman, pytest.raises(AuthenticationError):
            wsman.get_server_config()
    # Outside of a login, nobody finds a password there.
    assert "" == Path(os.environ["NTLM_USER_FILE"]).read_text()


@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_logins_that_must_be_bound_to_the_channel(start_https_bridge: Start, authority: Authority, auth: str) -> None:
    bridge = start_https_bridge(require_cbt=True)
    trusting = {"cert_validation": str(authority.file)}
    with client(bridge, auth, **trusting) as wsman:
        wsman.get_server_config()
    with client(bridge, auth, negotiate_send_cbt=False, **trusting) as wsman, pytest.raises(AuthenticationError):
        wsman.get_server_config()
    # As if the client had talked to somebody in between, who has another certificate.
    bridge.rules.certificate = authority.server().certificate.read_bytes()
    with client(bridge, auth, **trusting) as wsman, pytest.raises(AuthenticationError):
        wsman.get_server_config()
    bridge.rules.require_cbt = False
    with client(bridge, auth, **trusting) as wsman:
        wsman.get_server_config()


def test_a_client_certificate(start_https_bridge: Start, authority: Authority, tmp_path: Path) -> None:
    bridge, own, stranger = (
        start_https_bridge(mapped=["admin"]),
        authority.client("admin"),
        Authority(tmp_path).client("admin"),
    )
    trusting = {"cert_validation": str(authority.file), "username": None, "password": None}

    def files(pair: Pair) -> dict[str, str | None]:
        return {"certificate_pem": str(pair.certificate), "certificate_key_pem": str(pair.key), **trusting}

    with client(bridge, "certificate", **files(own)) as wsman:
        assert [2] == answer(wsman)
    assert {"admin"} == {each.user for each in bridge.requests}
    nobody = files(authority.client("nobody"))
    with client(bridge, "certificate", **nobody) as wsman, pytest.raises(AuthenticationError):
        wsman.get_server_config()
    with client(bridge, "certificate", **files(stranger)) as wsman, pytest.raises(requests.ConnectionError):
        wsman.get_server_config()


def test_https_begins_for_everybody_at_a_time(start_https_bridge: Start, authority: Authority) -> None:
    """Who opens a connection and says nothing keeps nobody waiting."""
    bridge = start_https_bridge()
    silent = socket.create_connection(("127.0.0.1", bridge.port))
    with silent, client(bridge, "basic", cert_validation=str(authority.file)) as wsman:
        wsman.get_server_config()


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_kerberos(
    start_bridge: Start, start_https_bridge: Start, authority: Authority, kerberos_realm: Kdc, auth: str, secure: bool
) -> None:
    bridge = start_https_bridge(require_cbt=True) if secure else start_bridge(require_encryption=True)
    alice = {"username": f"alice@{kerberos_realm.realm}", "cert_validation": str(authority.file) if secure else True}
    with client(bridge, auth, password="ecila", **alice) as wsman:
        assert [2] == answer(wsman)
    assert {f"alice@{kerberos_realm.realm}"} == {each.user for each in bridge.requests}
    if secure:
        bridge.rules.certificate = authority.server().certificate.read_bytes()
        with client(bridge, auth, password="ecila", **alice) as wsman, pytest.raises(AuthenticationError):
            wsman.get_server_config()


def test_kerberos_with_a_ticket(start_bridge: Start, kerberos_realm: Kdc) -> None:
    bridge = start_bridge()
    nobody = {"username": None, "password": None}
    kerberos_realm.log_in("alice", "ecila")
    try:
        with client(bridge, "kerberos", **nobody) as wsman:
            wsman.get_server_config()
    finally:
        kerberos_realm.log_out()
    with client(bridge, "kerberos", **nobody) as wsman, pytest.raises(Exception, match=r"(?i)credential|cache"):
        wsman.get_server_config()
    assert 1 == bridge.count("Get")


def test_identify(start_bridge: Start) -> None:
    bridge = start_bridge(require_encryption=True)
    body = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><i:Identify '
        'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"/></s:Body></s:Envelope>'
    )
    assert 401 == requests.post(bridge.url, body, timeout=10).status_code
    told = requests.post(bridge.url, body, headers={"WSMANIDENTIFY": "unauthenticated"}, timeout=10)
    assert (200, True) == (told.status_code, "OS: 0.0.0 SP: 0.0 Stack: 3.0" in told.text)
    bridge.rules.require_encryption = False
    word = base64.b64encode(f"local:{PASSWORD}".encode()).decode()
    told = requests.post(bridge.url, body, headers={"Authorization": f"Basic {word}"}, timeout=10)
    assert (200, True) == (told.status_code, "OS: 10." in told.text)
    assert ["Identify"] == [each.operation for each in bridge.requests]


# ---- operations ----


def test_large_output_in_small_envelopes(start_bridge: Start) -> None:
    bridge = start_bridge()
    for size in (512_000, 16_384):
        with client(bridge, max_envelope_size=size) as wsman, pool(wsman) as runspaces:
            bridge.service.envelope_kb = size // 1024
            wsman.update_max_payload_size(size)
            wire = Wire(wsman)
            shell = started(runspaces, "'x' * 2000000; 1..300")
            assert ["x" * 2_000_000, *range(1, 301)] == shell.end_invoke()
            assert all(len(each) <= size for each in wire.answers)
            assert len(wire.answers) >= 2_000_000 // size


def test_what_was_handed_out_is_on_record(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = started(runspaces, "1..500")
        state, received = "", b""
        while state != DONE:
            state, _, streams = runspaces.shell.receive("stdout", command_id=shell.id)
            received += streams["stdout"]
        shell_id = shell_of(bridge).shell_id
        assert received == bridge.sent[shell_id, shell.id]
        assert b'RunspaceState">2<' in bridge.sent[shell_id, None]
        bridge.wait_for("Receive", bridge.count("Receive"))
        with pytest.raises(TimeoutError, match="0 Delete came, not 1"):
            bridge.wait_for("Delete", timeout=0.01)
    # The reason to look at it: who, what, when. And no secrets.
    kinds = ["Create", "Command", "Delete"]
    assert kinds == [each.operation for each in bridge.requests if each.operation in kinds]
    (command,) = [each for each in bridge.requests if each.operation == "Command"]
    assert (shell_id, shell.id, "local") == (command.shell_id, command.command_id, command.user)
    assert [each.at for each in bridge.requests] == sorted(each.at for each in bridge.requests)
    assert PASSWORD not in repr((bridge.requests, bridge.log))


def test_nothing_to_receive(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge, operation_timeout=1) as wsman, pool(wsman) as runspaces:
        assert [] == list(started(runspaces, "").end_invoke())
        while True:
            # What the pool still has to say comes first.
            try:
                runspaces.shell.receive("stdout")
            except WSManFaultError as fault:
                assert TIMED_OUT == fault.code
                break
        bridge.service.idle_seconds = 0.01
        assert TIMED_OUT == fault_of(lambda: runspaces.shell.receive("stdout"))
        # A command may be silent for longer than a Receive is held.
        assert ["b"] == started(runspaces, "Start-Sleep -Milliseconds 300; 'b'").end_invoke()


def test_a_prompt_is_answered_on_its_own_stream(start_bridge: Start) -> None:
    class Interface(PSHostUserInterface):
        def ReadLine(self, runspace: Any, pipeline: Any) -> str:  # noqa: N802 - .NET's name
            return "typed"

    bridge = start_bridge()
    with (
        client(bridge) as wsman,
        pool(wsman, host=PSHost(None, None, False, None, None, Interface(), "1.0")) as runspaces,
    ):
        assert ["typed!"] == started(runspaces, "$Host.UI.ReadLine() + '!'").end_invoke()
    assert bridge.count("Send") == 1


def test_input_is_sent_to_a_command(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = PowerShell(runspaces)
        shell.add_script("$input | ForEach-Object { $_ * 2 }")
        assert [2, 4, 6] == shell.invoke([1, 2, 3])  # type: ignore[arg-type] # a list is what it takes


def test_the_misspelt_signal_stops(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        shell = started(runspaces, "'go'; while ($true) { }")
        while not shell.output:
            shell.poll_invoke()
        _signal(other, runspaces, shell.id, "powershell/signal/crtl_c")
        shell.end_invoke()
        assert (["go"], PSInvocationState.STOPPED) == (shell.output, shell.state)
        # The command is still there, until it is closed.
        assert [shell.id] == shell_of(bridge).commands
        _signal(other, runspaces, shell.id, SignalCode.TERMINATE)
        assert [] == shell_of(bridge).commands


@pytest.mark.parametrize("code", [SignalCode.TERMINATE, "powershell/signal/ctrl_c"])
def test_any_other_signal_closes_the_command(start_bridge: Start, code: str) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        shell = started(runspaces, "'go'; while ($true) { }")
        while not shell.output:
            shell.poll_invoke()
        waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        _signal(other, runspaces, shell.id, code)
        state, _, streams = waiting.result()
        assert (DONE, b"") == (state, streams["stdout"])
        assert NO_SHELL == fault_of(lambda: _signal(other, runspaces, shell.id, code))
        assert NO_SHELL == fault_of(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        # The runspace is free again.
        assert [3] == started(runspaces, "3").end_invoke()


def _signal(wsman: WSMan, runspaces: RunspacePool, command_id: str, code: str) -> None:
    body = ET.Element(f"{{{NAMESPACES['rsp']}}}Signal", CommandId=command_id)
    ET.SubElement(body, f"{{{NAMESPACES['rsp']}}}Code").text = code
    wsman.signal(CONFIGURATION, body, selector_set=selector(runspaces.id))


def test_the_newer_of_two_receives_wins(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        shell = started(runspaces, "while ($true) { Start-Sleep -Milliseconds 10 }")
        older = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        runspaces.shell.wsman = other
        newer = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert ABORTED == fault_of(older.result)
        _signal(wsman, runspaces, shell.id, "powershell/signal/crtl_c")
        _, _, streams = newer.result()
        assert b'PipelineState">3<' in streams["stdout"]


def test_a_deleted_shell_is_gone(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        shell = started(runspaces, "'go'; while ($true) { }")
        while not shell.output:
            shell.poll_invoke()
        pid = shell_of(bridge).engine_pid
        waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        other.delete(CONFIGURATION, selector_set=selector(runspaces.id))
        assert ABORTED == fault_of(waiting.result)
        assert not any("was killed" in line for line in bridge.log)
        assert not is_running(pid)
        for work in (
            lambda: other.delete(CONFIGURATION, selector_set=selector(runspaces.id)),
            lambda: runspaces.shell.receive("stdout"),
            lambda: runspaces.shell.send("stdin", b"x"),
            lambda: other.get(SHELL, selector_set=selector(runspaces.id)),
            lambda: started(runspaces, "1"),
        ):
            assert NO_SHELL == fault_of(work)


def test_an_engine_that_dies_takes_its_shell_along(start_bridge: Start, tmp_path: Path) -> None:
    bridge, gate = start_bridge(), tmp_path / "gate"
    with client(bridge) as wsman, pool(wsman) as runspaces:
        script = f"while (-not (Test-Path '{gate}')) {{ Start-Sleep -Milliseconds 10 }}; [Environment]::Exit(3)"
        shell = started(runspaces, script)
        waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        gate.touch()
        assert 2150859117 == fault_of(waiting.result)
        assert NO_SHELL == fault_of(lambda: runspaces.shell.receive("stdout"))
    assert {} == bridge.service.shells


def test_closing_ends_everything(pwsh: str) -> None:
    before = set(threading.enumerate())
    with WsmanBridge(engine(pwsh), USERS, require_encryption=False) as bridge, client(bridge) as wsman:
        runspaces = RunspacePool(wsman)
        runspaces.open()
        pid, gone = shell_of(bridge).engine_pid, shell_of(bridge).gone
        shell = started(runspaces, "while ($true) { Start-Sleep -Milliseconds 10 }")
        waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        hold = Hold()
        bridge.next("Get", hold)
        with client(bridge) as other:
            held = Waiting(other.get_server_config)
            assert hold.held.wait(10)
            bridge.close()
            with contextlib.suppress(requests.ConnectionError):
                held.result()
        assert gone.is_set()
        assert not is_running(pid)
        with pytest.raises((WSManFaultError, requests.ConnectionError)):
            waiting.result()
        with pytest.raises(requests.ConnectionError):
            requests.post(bridge.url, timeout=10)
        assert set(threading.enumerate()) <= before
        bridge.close()


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (b"nonsense", 2150858763),
        (
            b'<!DOCTYPE x><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>',
            2150858763,
        ),
        (b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"/>', 2150858763),
    ],
    ids=["no XML", "document type", "no Body"],
)
def test_messages_that_are_none(start_bridge: Start, made: bytes, code: int) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        assert code == _raw_fault(lambda: wire.again(made))
    assert [] == bridge.requests


def test_requests_that_lack_something(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        wire = Wire(wsman)
        wsman.get_server_config()
        runspaces.shell.wsman.get(SHELL, selector_set=selector(runspaces.id))
        config, shell = wire.requests
        assert 2150858753 == _raw_fault(lambda: wire.again(config.replace(b"transfer/Get", b"transfer/Put")))
        receive = shell.replace(b"http://schemas.xmlsoap.org/ws/2004/09/transfer/Get", f"{SHELL}/Receive".encode())
        assert 2150858763 == _raw_fault(lambda: wire.again(receive))
        body = f'<rsp:Receive xmlns:rsp="{SHELL}"><rsp:DesiredStream>stdout</rsp:DesiredStream></rsp:Receive>'
        receive = receive.replace(b"<s:Body />", f"<s:Body>{body}</s:Body>".encode())
        assert 2150858767 == _raw_fault(lambda: wire.again(receive.replace(b"PT20S", b"PT-1S")))
        many = re.sub(rb">\d+</wsman:MaxEnvelopeSize>", b">many</wsman:MaxEnvelopeSize>", receive)
        assert 2150858767 == _raw_fault(lambda: wire.again(many))
        again = shell.replace(b"transfer/Get", b"transfer/Create")
        assert 2150858763 == _raw_fault(lambda: wire.again(again))


def _raw_fault(work: Callable[[], object]) -> int:
    """The code of a fault, where pypsrp's transport only sees an HTTP status."""
    with pytest.raises(WinRMTransportError) as caught:
        work()
    found = re.search(r'WSManFault Code="(\d+)"', str(caught.value.response_text))
    assert found is not None, caught.value.response_text
    return int(found[1])


def test_configuration_and_enumeration(start_bridge: Start) -> None:
    bridge = start_bridge(envelope_kb=300)
    with client(bridge) as wsman, pool(wsman) as runspaces:
        wsman.update_max_payload_size()
        assert 300 * 1024 == wsman.max_envelope_size
        bridge.service.envelope_kb = 0
        assert 5 == fault_of(wsman.get_server_config)
        answered = wsman.get(SHELL, selector_set=selector(runspaces.id))
        found = {each.tag.rpartition("}")[2]: each.text for each in answered.find("rsp:Shell", NAMESPACES) or ()}
        expected = {
            "ShellId": runspaces.id,
            "ResourceUri": CONFIGURATION,
            "Owner": "local",
            "State": "Connected",
            "IdleTimeOut": "PT7200.000S",
            "ProcessId": str(shell_of(bridge).engine_pid),
        }
        assert expected == {name: found.get(name) for name in expected}
        (listed,) = RunspacePool.get_runspace_pools(wsman)
        assert (runspaces.id, {}) == (listed.id, listed.pipelines)
        shell = started(runspaces, "while ($true) { }")
        (listed,) = RunspacePool.get_runspace_pools(wsman)
        assert [shell.id] == list(listed.pipelines)


def test_a_name_and_an_idle_timeout_of_ones_own(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        runspaces = RunspacePool(wsman)
        runspaces.shell.name, runspaces.shell.idle_time_out = "mine <&>", 90
        runspaces.open()
        terms = shell_of(bridge).terms
        assert ("mine <&>", 90.0) == (terms.name, terms.idle_timeout)
        body = wsman.enumerate(SHELL, ET.Element(f"{{{NAMESPACES['wsen']}}}Enumerate"))
        assert "mine <&>" == body.findtext(".//rsp:Name", None, NAMESPACES)
        runspaces.close()


def test_an_id_is_taken_only_once(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        with pool(wsman):
            pid = shell_of(bridge).engine_pid
            assert 2150859223 == _raw_fault(lambda: wire.again(wire.requests[0]))
            assert pid == shell_of(bridge).engine_pid
        assert not is_running(pid)


def test_requests_have_a_limit_too(start_bridge: Start) -> None:
    bridge = start_bridge(envelope_kb=100)
    with client(bridge) as wsman, pool(wsman) as runspaces:
        with pytest.raises(WinRMTransportError) as caught:
            runspaces.shell.send("stdin", bytes(100_000))
        assert 413 == caught.value.code
        assert [2] == started(runspaces, "1 + 1").end_invoke()


def test_unknown_configurations_and_too_many_shells(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        for name in ("Nope", ""):
            assert 2150858811 == fault_of(RunspacePool(wsman, configuration_name=name).open)
        assert {} == bridge.service.shells
        bridge.service.max_shells = 1
        with pool(wsman, configuration_name="powershell.7"):
            assert 2150859173 == fault_of(RunspacePool(wsman).open)
