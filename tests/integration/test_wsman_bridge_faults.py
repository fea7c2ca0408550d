"""The WSMan bridge, driven by pypsrp's own client: what tests can order, and the ways of other servers."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
import requests
from pypsrp.exceptions import AuthenticationError, WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from spnego.exceptions import BadMICError

from tests.fakes.wsman_bridge import (
    Answer,
    Cut,
    Garbled,
    Hold,
    Order,
    WsmanBridge,
    entities,
    huge,
    page,
    redirect,
    unauthorized,
)
from tests.fakes.wsman_bridge.faults import quota_exceeded
from tests.fakes.wsman_bridge.output import split_fragments
from tests.parts.wsman_client import (
    DONE,
    PASSWORD,
    Start,
    Waiting,
    Wire,
    client,
    fault_of,
    pool,
    selector,
    shell_of,
    started,
)

pytestmark = pytest.mark.live

WORDS = [str(number) for number in range(1, 201)]
TALK = '1..200 | ForEach-Object { "$_" }'
# So small that what TALK says needs several answers.
SMALL = 16_384


def strings(data: bytes) -> list[str]:
    """The strings that messages carry as output."""
    return re.findall(r"<S>(\d+)</S>", data.decode(errors="ignore"))


@contextlib.contextmanager
def talked(bridge: WsmanBridge, auth: str = "basic") -> Iterator[tuple[WSMan, RunspacePool, PowerShell]]:
    """A command that has said all, and of whose words the client has received none."""
    with client(bridge, auth) as wsman, pool(wsman) as runspaces:
        bridge.service.envelope_kb = SMALL // 1024
        shell = started(runspaces, TALK)
        assert shell_of(bridge).wait_finished(shell.id, 20)
        yield wsman, runspaces, shell


def received(runspaces: RunspacePool, shell: PowerShell) -> tuple[bytes, int]:
    """What a command has to say, and how often the line broke meanwhile."""
    state, data, breaks = "", b"", 0
    while state != DONE:
        try:
            state, _, streams = runspaces.shell.receive("stdout", command_id=shell.id)
        except requests.RequestException:
            breaks += 1
        else:
            data += streams["stdout"]
    return data, breaks


def status_of(work: Callable[[], object]) -> tuple[int, str]:
    """The HTTP status, and what came with it, that a call ends with."""
    with pytest.raises(WinRMTransportError) as caught:
        work()
    return caught.value.code, str(caught.value.response_text)


# ---- answers ----


def test_answers_that_are_none(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        orders = [Answer(403), Answer(404), Answer(500), page(503), page(500, "Proxy error")]
        bridge.next("Get", *orders, None)
        found = [status_of(wsman.get_server_config) for _ in orders]
        assert [403, 404, 500, 503, 500] == [status for status, _ in found]
        assert ["", "", ""] == [text for _, text in found[:3]]
        assert "<h1>Service unavailable</h1>" in found[3][1]
        assert "<h1>Proxy error</h1>" in found[4][1]
        wsman.get_server_config()
        bridge.next("Get", unauthorized("Negotiate", "Kerberos"))
        with pytest.raises(AuthenticationError):
            wsman.get_server_config()
    assert 7 == bridge.count("Get")
    assert ["Answer"] * 6 == [line.rpartition(" ")[2] for line in bridge.log if line.startswith("Get ")]


def test_orders_are_for_their_operation(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        bridge.next("Delete", Answer(404))
        wsman.get_server_config()
        bridge.next("*", Answer(403))
        assert 403 == status_of(wsman.get_server_config)[0]
        bridge.always("Get", Answer(404))
        assert [404, 404, 404] == [status_of(wsman.get_server_config)[0] for _ in range(3)]
        bridge.forget_orders()
        wsman.get_server_config()


def test_orders_for_what_comes_before_the_login(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.next("HTTP", page(502), Cut())
    assert 502 == requests.post(bridge.url, timeout=10).status_code
    with pytest.raises(requests.ConnectionError):
        requests.post(bridge.url, timeout=10)
    assert 401 == requests.post(bridge.url, timeout=10).status_code
    assert 404 == requests.post(bridge.url + "/elsewhere", timeout=10).status_code
    assert 405 == requests.get(bridge.url, timeout=10).status_code
    assert [] == bridge.requests


@pytest.mark.parametrize("status", [301, 307])
def test_redirections(start_bridge: Start, status: int) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        bridge.always("Get" if status == 307 else "HTTP", redirect(bridge.url, status))
        answered = requests.post(bridge.url, timeout=10, allow_redirects=False)
        if status == 301:
            assert (301, bridge.url) == (answered.status_code, answered.headers["Location"])
        with pytest.raises(requests.TooManyRedirects):
            wsman.get_server_config()


@pytest.mark.parametrize("auth", ["basic", "ntlm"])
def test_envelopes_that_harm(start_bridge: Start, auth: str) -> None:
    bridge = start_bridge()
    with client(bridge, auth) as wsman:
        bridge.next("Get", entities(), huge(3_000_000))
        assert "a" * 100 == wsman.get_server_config().findtext("x")
        assert "x" * 3_000_000 == wsman.get_server_config().findtext("x")


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (Garbled("mic"), BadMICError),
        # pypsrp takes it for granted that there are parts.
        (Garbled("boundary"), IndexError),
        # It reads what is not sealed, which has no RelatesTo.
        (Answer(200, b"<x/>", sealed=False), WinRMError),
    ],
    ids=["mic", "boundary", "readable"],
)
def test_seals_that_are_broken(start_bridge: Start, order: Order, kind: type[Exception]) -> None:
    bridge = start_bridge(require_encryption=True)
    with client(bridge, "ntlm") as wsman:
        wsman.get_server_config()
        bridge.next("Get", order)
        with pytest.raises(kind):
            wsman.get_server_config()


def test_faults_by_order(start_bridge: Start) -> None:
    bridge = start_bridge(require_encryption=True)
    with client(bridge, "ntlm") as wsman:
        bridge.next("Create", quota_exceeded(7))
        runspaces = RunspacePool(wsman)
        with pytest.raises(WSManFaultError, match="maximum number of 7 concurrent shells") as caught:
            runspaces.open()
    assert 2150859173 == caught.value.code
    assert {} == bridge.service.shells


# ---- lines ----


@pytest.mark.parametrize("auth", ["basic", "ntlm"])
def test_what_is_kept_when_the_line_breaks(start_bridge: Start, auth: str) -> None:
    bridge = start_bridge()
    # Sealed messages need a new login, which pypsrp does not make.
    repeated = 3 if auth == "basic" else 0
    with talked(bridge, auth) as (wsman, runspaces, shell):
        if repeated:
            bridge.next("Receive", None, Cut(), Cut(after=True, keeps=True), None, Cut(after=True, keeps=True))
            data, breaks = received(runspaces, shell)
            assert (WORDS, 3) == (strings(data), breaks)
            assert data == bridge.sent[runspaces.id, shell.id]
            return
        bridge.next("Receive", Cut(after=True, keeps=True))
        with pytest.raises(requests.RequestException):
            runspaces.shell.receive("stdout", command_id=shell.id)
        with client(bridge, auth) as other:
            runspaces.shell.wsman = other
            data, _ = received(runspaces, shell)
            runspaces.shell.wsman = wsman
        assert WORDS == strings(data)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_lost_when_the_line_breaks(start_bridge: Start, at: int) -> None:
    bridge = start_bridge()
    with talked(bridge) as (_, runspaces, shell):
        bridge.next("Receive", *[None] * at, Cut(after=True))
        data, breaks = received(runspaces, shell)
        assert 1 == breaks
        sent = bridge.sent[runspaces.id, shell.id]
        assert WORDS == strings(sent)
        # One answer is missing, in one piece.
        there, all_of_it = list(split_fragments(data)), list(split_fragments(sent))
        missing = [number for number, piece in enumerate(all_of_it) if piece not in there]
        assert list(range(missing[0], missing[-1] + 1)) == missing
        assert (at == 0) == (missing[0] == 0)


def test_a_lost_answer_is_told_again_to_who_asks_again(start_bridge: Start) -> None:
    bridge = start_bridge()
    with talked(bridge) as (wsman, runspaces, shell):
        wire = Wire(wsman)
        bridge.next("Receive", Cut(after=True))
        with pytest.raises(requests.RequestException):
            runspaces.shell.receive("stdout", command_id=shell.id)
        lost = bridge.sent[runspaces.id, shell.id]
        again, once_more = wire.again(wire.requests[0]), wire.again(wire.requests[0])
        assert b'<rsp:Stream Name="stdout"' in again
        assert _streams(again) == _streams(once_more)
        assert lost == bridge.sent[runspaces.id, shell.id]
        bridge.service.forgets = True
        assert _streams(again) != _streams(wire.again(wire.requests[0]))
        assert len(lost) < len(bridge.sent[runspaces.id, shell.id])


def _streams(envelope: bytes) -> list[bytes]:
    return re.findall(rb'<rsp:Stream Name="stdout"[^>]*>([^<]*)<', envelope)


def test_who_has_hung_up_gets_nothing_and_loses_nothing(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = started(runspaces, "while (-not $go) { Start-Sleep -Milliseconds 10 }")
        wire = Wire(wsman)
        waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
        assert shell_of(bridge).wait_until_asked(shell.id)
        # The newer Receive is one whose sender goes away without taking leave.
        again = _post(bridge, wire.requests[0].replace(b"uuid:", b"uuid:0"))
        assert 995 == fault_of(waiting.result)
        again.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        again.close()
        with client(bridge) as other:
            runspaces.shell.wsman = other
            runspaces.shell.signal("powershell/signal/crtl_c", shell.id)
            assert bridge.record.wait_until(lambda: any("ended:" in line for line in bridge.record.log), 10)
            data, _ = received(runspaces, shell)
            runspaces.shell.wsman = wsman
        assert b'PipelineState">3<' in data


def _post(bridge: WsmanBridge, body: bytes) -> socket.socket:
    """Send a request and do not wait for the answer."""
    word = requests.auth._basic_auth_str("local", PASSWORD)
    connection = socket.create_connection(("127.0.0.1", bridge.port), timeout=10)
    head = f"POST /wsman HTTP/1.1\r\nHost: a\r\nAuthorization: {word}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_an_answer_leaves_in_one_piece(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        wsman.get_server_config()
        with _post(bridge, wire.requests[0]) as connection:
            head, _, body = connection.recv(1 << 16).partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert f"Content-Length: {len(body)}".encode() in head


def test_idle_connections_are_closed(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        wsman.get_server_config()
        with _post(bridge, wire.requests[0]) as connection:
            assert b"200 OK" in connection.recv(1 << 16)
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        bridge.idle_connection_seconds = 0.1
        with _post(bridge, wire.requests[0]) as connection:
            assert b"200 OK" in connection.recv(1 << 16)
            assert b"" == connection.recv(1)
        # A request may take longer than that.
        hold = Hold(0.4)
        bridge.next("Get", hold)
        wsman.get_server_config()
        assert hold.held.is_set()


def test_connections_break_when_a_server_is_restarted(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        wsman.get_server_config()
        with _post(bridge, wire.requests[0]) as connection:
            assert b"200 OK" in connection.recv(1 << 16)
            bridge.drop_connections()
            assert b"" == connection.recv(1)
        wsman.get_server_config()


def test_an_answer_is_held(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other:
        hold = Hold()
        bridge.next("Get", hold)
        waiting = Waiting(wsman.get_server_config)
        assert hold.held.wait(10)
        # Others are not kept waiting.
        other.get_server_config()
        assert not hold.released.is_set()
        assert not waiting.is_over()
        hold.release()
        waiting.result()
        forgotten = Hold()
        bridge.always("Get", forgotten)
        waiting = Waiting(wsman.get_server_config)
        assert forgotten.held.wait(10)
        bridge.forget_orders()
        waiting.result()


# ---- the ways of OMI ----


def test_a_client_of_windows_gets_along_with_omi(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.behave_as_omi()
    # pypsrp gives no Name.
    bridge.service.needs_name = False
    with client(bridge) as wsman:
        wire = Wire(wsman)
        with pool(wsman) as runspaces:
            wire.answers.clear()
            data, _ = received(runspaces, started(runspaces, "'a' * 100000; 1"))
            assert b"a" * 30_000 in data
            answers = list(wire.answers)
        for each in wire.answers:
            assert b"<SOAP-ENV:Envelope" in each
            assert not re.search(rb"[<>/](s|a|w|x|n|rsp):", each), each
    said = [each for each in answers if b"ReceiveResponse>" in each]
    streams = [re.findall(rb"<p:Stream Name=\"stdout\">", each) for each in said]
    # One fragment in each, and Done in one without any.
    assert [1] * (len(said) - 1) + [0] == [len(each) for each in streams]
    assert len(said) > 4
    assert [False] * (len(said) - 1) + [True] == [b"CommandState/Done" in each for each in said]


def test_idle_at_omi(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.empty_when_idle = True
    bridge.service.idle_seconds = 0.05
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = started(runspaces, "while ($true) { Start-Sleep -Milliseconds 10 }")
        state, _, streams = runspaces.shell.receive("stdout", command_id=shell.id)
        assert ("Running", b"") == (state.rpartition("/")[2], streams["stdout"])


def test_faults_of_omi(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.behave_as_omi()
    bridge.service.needs_name = False
    with client(bridge) as wsman, client(bridge) as other:
        runspaces = RunspacePool(wsman)
        runspaces.open()
        shell = started(runspaces, "while ($true) { Start-Sleep -Milliseconds 10 }")
        runspaces.disconnect()
        assert 2150859230 == fault_of(lambda: runspaces.shell.receive("stdout"))
        (found,) = RunspacePool.get_runspace_pools(other)
        found.connect()
        (there,) = found.create_disconnected_power_shells()
        assert "wsman:InternalError" == fault_of(there.connect_async)
        # Not that it would be needed.
        found.shell.signal("powershell/signal/crtl_c", shell.id)
        data, _ = received(found, there)
        assert b'PipelineState">3<' in data
        found.close()
        assert "wsa:DestinationUnreachable" == fault_of(
            lambda: wsman.delete(runspaces.shell.resource_uri, selector_set=selector(runspaces.id))
        )


def test_omi_wants_names(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        wire = Wire(wsman)
        runspaces = RunspacePool(wsman)
        runspaces.open()
        runspaces.close()
        create = next(each for each in wire.requests if b"transfer/Create" in each)
        bridge.service.needs_name = True
        assert (500, "") == status_of(lambda: wire.again(create))
        named = create.replace(b"<rsp:Shell ", b'<rsp:Shell Name="Runspace1" ')
        nameless = re.sub(rb' ShellId="[^"]*"', b"", named)
        assert (500, "") == status_of(lambda: wire.again(nameless))
        assert b"ResourceCreated" in wire.again(named)
        assert "Runspace1" == shell_of(bridge).terms.name


def test_one_fragment_may_be_larger_than_an_answer(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        bridge.service.envelope_kb = SMALL // 1024
        shell = started(runspaces, "'y' * 30000")
        assert shell_of(bridge).wait_finished(shell.id, 20)
        state, _, streams = runspaces.shell.receive("stdout", command_id=shell.id)
        (piece,) = split_fragments(streams["stdout"])
        assert (True, False, False) == (piece.is_first, piece.is_last, state == DONE)
        (*_, last) = split_fragments(streams["stdout"] + received(runspaces, shell)[0])
        assert last.is_last
