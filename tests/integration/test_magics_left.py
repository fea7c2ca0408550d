"""Sessions that were left, by this client or another: entered, removed, taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pskernel.connect import connect, find_shells, reopen
from pskernel.questions import NobodyToAsk
from pskernel.records import Output
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.pssession import PSSession
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.fakes.wsman_bridge import Fault, WsmanBridge
from tests.fakes.wsman_bridge.shells import Shell
from tests.parts.winrm_magics import failure, left_by_another, run

pytestmark = pytest.mark.live


def taken_by_another(target: Target, pool_id: UUID) -> Runspace:
    """Another client comes to a session."""

    async def take() -> Runspace:
        (shell,) = [each for each in await find_shells(target, NobodyToAsk()) if each.pool_id == pool_id]
        return await reopen(target, shell, NobodyToAsk())

    return LOOP.run(take())


def found(shell: Any, at: str, pool_id: UUID) -> PSSession:
    (session,) = [each for each in run(shell, f"%get_pssession {at}") if each.instance_id == pool_id]
    shell.user_ns["found"] = session
    return session


def at_server(winrm: WsmanBridge, pool_id: UUID | None) -> Shell | None:
    return winrm.service.shells.get(str(pool_id).upper())


# ---- removed ----


def test_a_session_that_was_left_is_removed_from_its_server(shell: Any, at: str, winrm: WsmanBridge) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%disconnect_pssession $w")
    session = shell.user_ns["w"]
    assert at_server(winrm, session.instance_id) is not None

    run(shell, "%remove_pssession $w")

    assert at_server(winrm, session.instance_id) is None
    assert "Closed" == session.state
    assert session not in run(shell, "%get_pssession")


@pytest.mark.parametrize("script", ["", "'begun'; Start-Sleep 60"])
def test_a_session_that_another_client_left_is_removed(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, script: str
) -> None:
    pool_id = left_by_another(target, script)
    session = found(shell, at, pool_id)

    session.close()

    assert at_server(winrm, pool_id) is None
    assert "Closed" == session.state


def test_a_session_that_another_client_took_is_not_removed(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, capsys: Any
) -> None:
    run(shell, f"w = %new_pssession {at} -Name taken")
    run(shell, f"v = %new_pssession {at} -Name ours")
    run(shell, "%disconnect_pssession $w, $v")
    session, other = shell.user_ns["w"], shell.user_ns["v"]
    taker = taken_by_another(target, session.instance_id)

    kind, said = failure(shell, "%remove_pssession $w, $v", capsys)

    assert "RemoveSessionCannotConnectToServer" == kind
    assert "Remote session taken could not be connected" in said
    assert at_server(winrm, session.instance_id) is not None
    assert "Disconnected" == session.state
    assert [session] == list(run(shell, "%get_pssession"))
    assert at_server(winrm, other.instance_id) is None
    with pytest.raises(RemotingError, match="stays in the list"):
        session.close()
    LOOP.run(taker.aclose())
    session.close()


def test_a_session_that_its_server_has_ended_is_taken_off_the_list(shell: Any, at: str, winrm: WsmanBridge) -> None:
    run(shell, f"w = %new_pssession {at}")
    run(shell, "%disconnect_pssession $w")
    kept = at_server(winrm, shell.user_ns["w"].instance_id)
    assert kept is not None
    winrm.service.expire(kept)

    run(shell, "%remove_pssession $w")

    assert [] == list(run(shell, "%get_pssession"))


# ---- entered ----


def test_a_session_that_another_client_has_is_not_entered(shell: Any, at: str, target: Target, capsys: Any) -> None:
    pool_id = left_by_another(target)
    session = found(shell, at, pool_id)
    # Since it was found.
    taker = taken_by_another(target, pool_id)

    kind, said = failure(shell, "%enter_pssession -Session $found", capsys)

    assert "EnterPSSessionCannotConnectDisconnectedSession" == kind
    assert "another client is connected" in said
    assert 3 == run(shell, "1 + 2")
    assert "Disconnected" == session.state
    LOOP.run(taker.aclose())


def test_a_session_in_which_a_command_was_left_is_not_entered(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, capsys: Any
) -> None:
    pool_id = left_by_another(target, "1..5")
    session = found(shell, at, pool_id)
    kept = at_server(winrm, pool_id)
    assert kept is not None
    (command,) = kept.commands
    assert kept.wait_finished(command, 30)

    kind, said = failure(shell, "%enter_pssession -Session $found", capsys)

    assert "EnterPSSessionConnectSessionNotAvailable" == kind
    assert "%receive_pssession" in said
    assert 3 == run(shell, "1 + 2")
    assert not kept.connected
    # Nothing of it was received.
    assert [*range(1, 6)] == list(run(shell, "%receive_pssession $found"))
    run(shell, "%enter_pssession -Session $found")
    run(shell, "exit")
    session.close()


def test_a_session_of_ours_with_a_command_left_in_it_is_not_entered(shell: Any, at: str, capsys: Any) -> None:
    run(shell, f"w = %invoke_command {at} -InDisconnectedSession -ScriptBlock {{ 1..5 }}")

    kind, _ = failure(shell, "%enter_pssession -Session $w", capsys)

    assert "EnterPSSessionConnectSessionNotAvailable" == kind
    assert "Disconnected" == shell.user_ns["w"].state
    assert [*range(1, 6)] == list(run(shell, "%receive_pssession $w"))


def test_a_session_that_is_gone_is_not_entered(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, capsys: Any
) -> None:
    pool_id = left_by_another(target)
    found(shell, at, pool_id)
    kept = at_server(winrm, pool_id)
    assert kept is not None
    winrm.service.expire(kept)

    kind, said = failure(shell, "%enter_pssession -Session $found", capsys)

    assert "EnterPSSessionConnectSessionFailed" == kind
    assert "does not exist on 127.0.0.1 any more" in said


# ---- what is received ----


def test_only_what_the_user_has_left_is_received(shell: Any, at: str, winrm: WsmanBridge) -> None:
    run(shell, f"w = %new_pssession {at}")
    session = shell.user_ns["w"]
    run(shell, "%enter_pssession -Session $w")
    run(shell, "$x = 7")
    run(shell, "exit")
    run(shell, "%disconnect_pssession $w")  # while we ask which host the session is on

    kept = at_server(winrm, session.instance_id)
    assert kept is not None
    assert [] == kept.commands
    assert [] == list(run(shell, "%receive_pssession $w"))


def test_a_question_of_ours_is_over_before_a_session_is_left(
    target: Target, winrm: WsmanBridge, tmp_path: Path
) -> None:
    async def leave() -> tuple[list[str], list[Any]]:
        runspace = await connect(target)
        kept = at_server(winrm, runspace.instance_id)
        assert kept is not None
        gate = tmp_path / "gate"
        asked = LOOP.start(
            runspace.query(f"while (-not (Test-Path '{gate}')) {{ Start-Sleep -Milliseconds 20 }}; 'ours'")
        )
        async with asyncio.timeout(30):
            while not kept.commands:
                await asyncio.sleep(0)
        leaving = asyncio.create_task(runspace.disconnect())
        await asyncio.sleep(0)
        gate.touch()
        await leaving
        left = kept.commands
        await runspace.reconnect()
        await runspace.aclose()
        return left, asked.result(0)

    assert ([], ["ours"]) == LOOP.run(leave())


def test_what_a_script_has_sent_before_it_was_left_waits_for_whoever_comes(
    shell: Any, at: str, winrm: WsmanBridge, target: Target
) -> None:
    run(shell, f"w = %invoke_command {at} -InDisconnectedSession -ScriptBlock {{ 1..5 }}")
    kept = at_server(winrm, shell.user_ns["w"].instance_id)
    assert kept is not None
    (command,) = kept.commands
    assert kept.wait_finished(command, 30)

    other = taken_by_another(target, shell.user_ns["w"].instance_id)

    async def receive() -> list[Any]:
        (pipeline,) = other.left
        return [record.value async for record in pipeline if isinstance(record, Output)]

    assert [*range(1, 6)] == LOOP.run(receive())
    LOOP.run(other.aclose())


def test_a_server_that_does_not_say_what_runs_is_told_from_one_where_nothing_does(
    shell: Any, at: str, winrm: WsmanBridge, target: Target, capsys: Any
) -> None:
    pool_id = left_by_another(target, "1..5")
    session = found(shell, at, pool_id)
    # What it keeps, it says; of what runs there it knows nothing.
    winrm.next("Enumerate", *[None, *[Fault(1, "a:ActionNotSupported", "no")] * len(winrm.service.shells)])

    kind, said = failure(shell, "%receive_pssession $found", capsys)

    assert "ReceivePSSessionCommandsUnknown" == kind
    assert "127.0.0.1 does not say what runs in session left" in said
    winrm.forget_orders()
    session.close()
    nothing = found(shell, at, left_by_another(target))
    assert [] == list(run(shell, "%receive_pssession $found"))
    nothing.close()


# ---- named ----


def test_sessions_are_named_when_a_script_is_left_in_them(shell: Any, at: str, capsys: Any) -> None:
    two = at.replace("-ComputerName 127.0.0.1", "-ComputerName 127.0.0.1, localhost")
    sessions = run(
        shell,
        f"w = %invoke_command {two} -InDisconnectedSession -SessionName nightly, other -ScriptBlock {{ 'done' }}\nw",
    )
    assert ["nightly", "other"] == [each.name for each in sessions]
    assert ["done"] == list(run(shell, f"%receive_pssession {at} -Name nightly"))

    kind, _ = failure(shell, f"%invoke_command {at} -SessionName x -ScriptBlock {{ 1 }}", capsys)
    assert "InvalidOperationException" == kind
    kind, _ = failure(shell, f"%invoke_command {at} -InDisconnectedSession -AsJob -ScriptBlock {{ 1 }}", capsys)
    assert "InvalidOperationException" == kind
