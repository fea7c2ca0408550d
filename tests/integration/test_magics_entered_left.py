"""An entered session that is left to its server, alone or with a cell, and come back to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pskernel.remoting.pssession import PSSession
from pskernel.remoting.sessions import SESSIONS
from pskernel.target import Target
from tests.fakes.wsman_bridge import Fault, Hold, WsmanBridge
from tests.parts.ipython import state
from tests.parts.winrm_magics import failure, run

pytestmark = pytest.mark.live


def left() -> PSSession:
    (session,) = SESSIONS.all()
    assert "Disconnected" == session.state
    return session


def at_server(winrm: WsmanBridge, session: PSSession) -> Any:
    return winrm.service.shells[str(session.instance_id).upper()]


def hooks(shell: Any) -> dict[str, Any]:
    """What a shell consists of, but for the results that it has shown."""
    shown = {"shell.ns_table", "shell._user_ns", "completer.global_namespace"}
    return {
        name: value
        for name, value in state(shell).items()
        if name not in shown and not name.startswith("displayhook._")
    }


@pytest.mark.parametrize(
    ("kept", "name"), [(True, "$w"), (True, ""), (False, "")], ids=["named", "of the list", "entered by name"]
)
def test_the_entered_session_is_left_and_entered_again(
    shell: Any, at: str, winrm: WsmanBridge, capsys: Any, *, kept: bool, name: str
) -> None:
    if kept:
        run(shell, f"w = %new_pssession {at}")
    run(shell, "1")
    before = hooks(shell)
    run(shell, "%enter_pssession -Session $w" if kept else f"%enter_pssession {at}")
    run(shell, "$x = 7")

    run(shell, f"%disconnect_pssession {name} -IdleTimeoutSec 600")

    assert before == hooks(shell)
    assert 3 == run(shell, "1 + 2")
    session = left()
    assert (False, 600) == (at_server(winrm, session).connected, at_server(winrm, session).terms.idle_timeout)
    run(shell, f"%enter_pssession -Id {session.id}")
    capsys.readouterr()
    run(shell, "$x")
    assert "7\n" == capsys.readouterr().out
    # It is one of the list now: leaving it does not end it, nor does a script that exits.
    run(shell, "exit")
    assert ("Opened", "Available") == (session.state, session.availability)


def test_a_cell_is_started_and_left_and_its_output_comes_to_another_process(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, capsys: Any
) -> None:
    run(shell, f"%enter_pssession {at}")
    run(shell, "$x = 7")
    capsys.readouterr()

    run(shell, "#% disconnect\n1..3; Start-Sleep -Milliseconds 300; $x; $y = 'set'")

    session = left()
    said = capsys.readouterr().out
    assert f"session {session.name} ({session.id}) is left with it to 127.0.0.1" in said
    assert f"-InstanceId {session.instance_id}" in said
    assert 3 == run(shell, "1 + 2")
    # As another process: nothing is known here but what the server says.
    session._forget(session.id)
    found = run(shell, f"%receive_pssession {at} -InstanceId {session.instance_id}")
    assert [1, 2, 3, 7] == list(found)
    (again,) = SESSIONS.all()
    assert again is not session
    # It ran as a cell: what it set is there.
    run(shell, f"%enter_pssession -Id {again.id}")
    capsys.readouterr()
    run(shell, "$y")
    assert "set\n" == capsys.readouterr().out
    run(shell, "exit")


def test_a_cell_is_left_in_a_session_of_the_list(shell: Any, at: str) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%enter_pssession -Session $w")
    run(shell, "#% disconnect\n'from here'")
    assert left() is shell.user_ns["w"]
    assert ["from here"] == list(run(shell, "%receive_pssession $w"))
    assert "Available" == shell.user_ns["w"].availability


def test_what_a_cell_that_is_left_cannot_have(shell: Any, at: str, capsys: Any) -> None:
    run(shell, f"%enter_pssession {at}")
    for nothing in ("#% disconnect", "#% disconnect\n\n  # later"):
        kind, said = failure(shell, nothing, capsys)
        assert "NoCommandToLeave" == kind
        assert "Nothing was sent" in said
    kind, said = failure(shell, "#% disconnect\n#% timeout 5\n1", capsys)
    assert "DirectiveError" == kind
    assert "`#% timeout` has no meaning in it" in said
    run(shell, "exit")
    assert [] == list(SESSIONS.all())


def test_only_sessions_over_winrm_are_left_and_others_stay_entered(
    shell: Any, at: str, pwsh: str, capsys: Any, entering: str
) -> None:
    run(shell, entering)
    for line in ("%disconnect_pssession", "#% disconnect\n1"):
        kind, said = failure(shell, line, capsys)
        assert kind in {"PSSessionDisconnectFailed", "RunspaceStateError"}
        assert "not supported on the remote computer" in said
        run(shell, "1 + 2")
        assert "3\n" == capsys.readouterr().out
    # It is one that is closed when it is left, as before.
    shell.run_cell("& { exit 3 }", store_history=False)
    _, said = failure(shell, "1 + 2", capsys)
    assert "A script ended the session with exit" in said
    run(shell, "%exit_pssession")
    assert [] == list(SESSIONS.all())
    kind, said = failure(shell, "%disconnect_pssession", capsys)
    assert "MissingMandatoryParameter" == kind
    assert "No session is entered" in said


def test_a_command_that_has_stopped_in_the_debugger_is_not_left(
    shell: Any, at: str, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("psmagic.base.PowerShellMagics.can_ask", lambda self: True)
    run(shell, f"%enter_pssession {at}")
    assert "DebuggerStop" == failure(shell, "Wait-Debugger; 'past'", capsys)[0]

    kind, said = failure(shell, "%disconnect_pssession", capsys)

    assert "PSSessionDisconnectFailed" == kind
    assert "has stopped in the debugger" in said
    run(shell, "continue")
    assert "past\n" in capsys.readouterr().out
    run(shell, "exit")


@pytest.mark.parametrize("line", ["%disconnect_pssession", "#% disconnect\n'started'"])
def test_a_server_that_refuses_keeps_the_session_entered(
    shell: Any, at: str, winrm: WsmanBridge, capsys: Any, line: str
) -> None:
    run(shell, f"%enter_pssession {at}")
    winrm.next("Disconnect", Fault(1, "w:InternalError", "not now"))

    kind, said = failure(shell, line, capsys)

    assert "PSSessionDisconnectFailed" == kind
    assert "not now" in said
    if "started" in line:
        # It runs: nothing else can, until it was received.
        (session,) = SESSIONS.all()
        assert "InvokeCommandCommandInvalidSessionAvailability" == failure(shell, "1", capsys)[0]
        assert ["started"] == list(run(shell, f"%receive_pssession -Id {session.id}"))
    run(shell, "1 + 2")
    assert "3\n" in capsys.readouterr().out
    run(shell, "exit")


@pytest.mark.parametrize("line", ["%disconnect_pssession", "#% disconnect\n'started'"])
def test_ctrl_c_while_the_server_is_asked_to_keep_it_ends_the_waiting(
    shell: Any, at: str, winrm: WsmanBridge, capsys: Any, ctrl_c: Callable[[], None], line: str
) -> None:
    run(shell, f"%enter_pssession {at}")
    held = Hold()
    winrm.next("Disconnect", held)
    thread = threading.Thread(target=lambda: held.held.wait(60) and ctrl_c())
    thread.start()

    kind, _ = failure(shell, line, capsys)

    thread.join()
    assert "Interrupted" == kind
    assert 3 == run(shell, "1 + 2")
    session = left()
    held.release()
    found = run(shell, f"%receive_pssession -Id {session.id}")
    assert (["started"] if "started" in line else []) == list(found)


def test_a_session_that_python_disconnects_stays_entered_and_nothing_runs_here(
    shell: Any, at: str, capsys: Any
) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%enter_pssession -Session $w")
    run(shell, "%%local\nw.disconnect()")

    kind, _ = failure(shell, "hit = 'python'", capsys)

    assert "InvokeCommandCommandInvalidSessionState" == kind
    assert "InvokeCommandCommandInvalidSessionState" == failure(shell, "hit = 'python'", capsys)[0]
    assert "hit" not in shell.user_ns
    run(shell, "exit")
