"""The magics over WinRM: entering, options, sessions that are left and found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pskernel import new_pssession
from pskernel.credentials import PSCredential
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.winrm import PASSWORD, USER
from tests.parts.winrm_magics import failure, run

pytestmark = pytest.mark.live


def test_a_host_is_entered_by_name_and_by_uri(shell: Any, at: str, winrm: WsmanBridge, capsys: Any) -> None:
    for line in (at, f"-ConnectionUri http://127.0.0.1:{winrm.port}/wsman -Credential $cred -Authentication Negotiate"):
        run(shell, f"%enter_pssession {line}")
        run(shell, '"$(1+1) $($PSSenderInfo.ApplicationArguments.PSVersionTable.PSEdition)"')
        assert "2 Core" in capsys.readouterr().out
        run(shell, "exit")
        assert 3 == run(shell, "1 + 2")


def test_the_query_of_a_uri_reaches_the_server(
    shell: Any, at: str, bridge_factory: Callable[..., WsmanBridge], capsys: Any
) -> None:
    tenant = bridge_factory(path="wsman?delegatedorg=b.example")
    uri = f"-ConnectionUri 'http://127.0.0.1:{tenant.port}/wsman?DelegatedOrg=b.example' -Credential $cred"
    run(shell, f"%enter_pssession {uri}")
    run(shell, "exit")
    assert ["in"] == list(run(shell, f"found = %invoke_command {uri} -ScriptBlock {{ 'in' }}\nfound"))
    assert "404" in failure(shell, f"%enter_pssession {uri.replace('?DelegatedOrg=b.example', '')}", capsys)[1]


def test_options_reach_the_session(shell: Any, at: str, capsys: Any) -> None:
    run(shell, "o = %new_pssessionoption -ApplicationArguments @{ ticket = 'T-1' } -OperationTimeout 20000")
    run(
        shell,
        f"found = %invoke_command {at} -SessionOption $o -ScriptBlock {{ $PSSenderInfo.ApplicationArguments.ticket }}",
    )
    assert ["T-1"] == list(shell.user_ns["found"])
    shell.user_ns["PSSessionOption"] = shell.user_ns.pop("o")
    run(shell, f"found = %invoke_command {at} -ScriptBlock {{ $PSSenderInfo.ApplicationArguments.ticket }}")
    assert ["T-1"] == list(shell.user_ns["found"])


def test_a_password_is_asked_for_once_and_by_name(shell: Any, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or PASSWORD)
    monkeypatch.setattr("psmagic.base.PowerShellMagics.can_ask", lambda self: True)
    where = at.replace("-ComputerName 127.0.0.1", "-ComputerName 127.0.0.1, localhost").replace(
        "$cred", "'CORP\\admin'"
    )
    sessions = run(shell, f"w = %new_pssession {where}\nw")
    assert ["Password for user CORP\\admin: "] == asked
    assert ["127.0.0.1", "localhost"] == [each.ComputerName for each in sessions]
    assert {"WSMan"} == {each.Transport for each in sessions}
    assert {"Microsoft.PowerShell"} == {each.ConfigurationName for each in sessions}


def test_the_user_stands_before_the_place_of_the_password(
    shell: Any, at: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("WEB01", PASSWORD)
    where = at.replace("$cred", f"'{USER}@env:WEB01'")
    assert ["in"] == list(run(shell, f"found = %invoke_command {where} -ScriptBlock {{ 'in' }}\nfound"))
    kind, said = failure(shell, f"%enter_pssession {at.replace('$cred', 'env:WEB01')}", capsys)
    assert kind == "TargetError"
    assert "Name the user in front of it" in said


def test_what_fails_says_why_and_how_to_say_ssh(shell: Any, at: str, winrm: WsmanBridge, capsys: Any) -> None:
    shell.user_ns["bad"] = PSCredential(USER, "wrong")
    assert "AuthenticationFailed" == failure(shell, f"%enter_pssession {at.replace('$cred', '$bad')}", capsys)[0]
    kind, said = failure(shell, "%enter_pssession no.such.host.invalid -Credential $cred", capsys)
    assert kind == "TargetUnreachable"
    assert "cannot be resolved" in said
    kind, said = failure(shell, f"%enter_pssession {at} -Authentication Basic", capsys)
    assert kind == "TargetError"
    assert "sends the password readable" in said


def test_a_session_is_left_found_and_received(shell: Any, at: str) -> None:
    left = run(
        shell, f"w = %invoke_command {at} -InDisconnectedSession -ScriptBlock {{ 1..10; Start-Sleep 1; 'end' }}\nw"
    )
    assert ("Disconnected", "None") == (left.State, left.Availability)
    (found,) = [each for each in run(shell, f"%get_pssession {at}") if each.InstanceId == left.InstanceId]
    assert found is left
    assert [*range(1, 11), "end"] == list(run(shell, "%receive_pssession $w"))
    assert ("Opened", "Available") == (left.State, left.Availability)
    assert [] == list(run(shell, "%receive_pssession $w"))


def test_a_session_is_disconnected_and_connected(shell: Any, at: str, capsys: Any) -> None:
    run(shell, f"w = %new_pssession {at} -Name kept")
    run(shell, "%%invoke_command -Session $w\n$x = 5")
    run(shell, "%disconnect_pssession $w -IdleTimeoutSec 600 -OutputBufferingMode Drop")
    session = shell.user_ns["w"]
    assert "Disconnected" == session.State
    assert "InvokeCommandCommandInvalidSessionState" == failure(shell, "%%invoke_command -Session $w\n1", capsys)[0]
    run(shell, "%disconnect_pssession -Name kept")  # no error, as with PowerShell
    run(shell, "%enter_pssession -Session $w")  # which connects it
    capsys.readouterr()
    run(shell, "$x")
    assert "5\n" == capsys.readouterr().out
    assert "SessionIsEntered" == failure(shell, "%%local\n%remove_pssession $w", capsys)[0]
    run(shell, "exit")
    run(shell, "%disconnect_pssession -Name kept")
    run(shell, f"%connect_pssession {at} -Name kept")
    assert "Opened" == session.State
    assert "PSSessionNotFound" == failure(shell, f"%connect_pssession {at} -Name nope", capsys)[0]


def test_only_winrm_can_be_left(shell: Any, at: str, pwsh: str, capsys: Any) -> None:
    with new_pssession(f"process:{pwsh}") as session:
        shell.user_ns["p"] = session
        kind, said = failure(shell, "%disconnect_pssession $p", capsys)
    assert kind == "PSSessionDisconnectFailed"
    assert "not supported on the remote computer" in said


def test_a_file_travels_through_powershell(shell: Any, at: str, tmp_path: Any) -> None:
    source, back = tmp_path / "a.bin", tmp_path / "b.bin"
    source.write_bytes(bytes(range(256)) * 3000)
    run(shell, f"w = %new_pssession {at}")
    run(shell, f"%copy_item '{source}' '{tmp_path}/far.bin' -ToSession $w")
    run(shell, f"%copy_item '{tmp_path}/far.bin' '{back}' -FromSession $w")
    assert back.read_bytes() == source.read_bytes()
