"""Ctrl+C while the magics wait for a WinRM server that says nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pskernel.remoting.pssession import PSSession
from pskernel.remoting.sessions import SESSIONS
from pskernel.target import Target
from tests.fakes.wsman_bridge import Hold, WsmanBridge
from tests.parts.winrm_magics import failure, left_by_another, run

pytestmark = pytest.mark.live


@contextmanager
def silent_server(then: Callable[[], object]) -> Iterator[int]:
    """Accepts, and never answers; ``then`` is called when somebody has sent something. Its port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def accept() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                then()
                over.wait(60)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            over.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "line",
    [
        "%get_pssession",
        "%connect_pssession",
        "%receive_pssession",
        "%new_pssession",
        "%enter_pssession",
        "%invoke_command -InDisconnectedSession -ScriptBlock { 1 }",
    ],
)
def test_a_server_that_says_nothing_is_given_up(
    shell: Any, at: str, capsys: Any, ctrl_c: Callable[[], None], line: str
) -> None:
    with silent_server(ctrl_c) as port:
        where = at.rpartition("-Port")[0] + f"-Port {port} -Credential $cred -Authentication Negotiate"

        kind, said = failure(shell, f"{line} {where}", capsys)

    assert "Interrupted" == kind
    assert "It was interrupted." in said
    assert [] == list(SESSIONS.all())
    assert 3 == run(shell, "1 + 2")


@pytest.fixture
def held_and_interrupted(winrm: WsmanBridge, ctrl_c: Callable[[], None]) -> Iterator[Callable[[str], Hold]]:
    """Hold a server's answer to one operation, and press Ctrl+C as soon as it waits."""
    threads: list[threading.Thread] = []

    def hold(operation: str) -> Hold:
        held = Hold()
        winrm.next(operation, held)
        threads.append(threading.Thread(target=lambda: held.held.wait(60) and ctrl_c()))
        threads[-1].start()
        return held

    yield hold
    winrm.forget_orders()
    for thread in threads:
        thread.join()


def test_a_session_is_left_though_nobody_waited_for_it(
    shell: Any, at: str, capsys: Any, held_and_interrupted: Callable[[str], Hold]
) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%%invoke_command -Session $w\n$x = 5")
    held = held_and_interrupted("Disconnect")

    kind, _ = failure(shell, "%disconnect_pssession $w", capsys)

    assert "Interrupted" == kind
    assert "Disconnected" == shell.user_ns["w"].state
    held.release()
    run(shell, "%connect_pssession $w")
    assert [5] == list(run(shell, "%invoke_command -Session $w -ScriptBlock { $x }"))


@pytest.mark.parametrize("line", ["%connect_pssession $w", "%receive_pssession $w", "%remove_pssession $w"])
def test_a_session_is_come_back_to_though_nobody_waited_for_it(
    shell: Any, at: str, capsys: Any, held_and_interrupted: Callable[[str], Hold], line: str
) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%disconnect_pssession $w")
    session: PSSession = shell.user_ns["w"]
    held = held_and_interrupted("Reconnect")

    kind, _ = failure(shell, line, capsys)

    assert ("Interrupted", "Disconnected") == (kind, session.state)
    held.release()
    run(shell, "%connect_pssession $w")  # the one that is under way, and no second one
    assert [1] == list(run(shell, "%invoke_command -Session $w -ScriptBlock { 1 }"))


@pytest.mark.parametrize("line", ["%connect_pssession $w", "%receive_pssession $w", "%enter_pssession -Session $w"])
def test_coming_to_a_session_of_another_client_is_given_up(
    shell: Any, at: str, capsys: Any, held_and_interrupted: Callable[[str], Hold], target: Target, line: str
) -> None:
    pool_id = left_by_another(target, "" if line.startswith("%enter") else "1..3")
    (shell.user_ns["w"],) = run(shell, f"%get_pssession {at} -InstanceId {pool_id}")
    held_and_interrupted("Connect")

    kind, _ = failure(shell, line, capsys)

    assert "Interrupted" == kind
    assert 3 == run(shell, "1 + 2")


@pytest.mark.parametrize("operation", ["Command", "Disconnect"])
def test_a_script_that_was_to_be_left_is_ended_or_listed(
    shell: Any, at: str, capsys: Any, winrm: WsmanBridge, held_and_interrupted: Callable[[str], Hold], operation: str
) -> None:
    before = set(winrm.service.shells)
    if operation == "Command":
        # The first two are questions of ours, when the session is opened.
        winrm.next("Command", None, None)
    held_and_interrupted(operation)

    kind, _ = failure(shell, f"%invoke_command {at} -InDisconnectedSession -ScriptBlock {{ 1..3 }}", capsys)

    assert "Interrupted" == kind
    listed = [str(each.instance_id).upper() for each in SESSIONS.all()]
    winrm.forget_orders()
    assert winrm.record.wait_until(lambda: set(winrm.service.shells) - before == set(listed), 10)
    assert (operation == "Disconnect") == bool(listed)
    assert all(each.state == "Disconnected" for each in SESSIONS.all())
