"""The magics over WinRM by ways that need a server of their own: certificates, redirections, full buffers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pskernel.sessionoption import PSSessionOption
from tests.fakes.wsman_bridge import WsmanBridge, redirect
from tests.parts.certificates import Authority
from tests.parts.winrm_magics import failure, run

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody who types ``localhost``, whatever is asked; and what was."""
    asked: list[str] = []
    monkeypatch.setattr("psmagic.base.PowerShellMagics.can_ask", lambda self: True)
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "localhost")
    return asked


# ---- certificates ----


@pytest.mark.parametrize("by", ["thumbprint", "path"])
@pytest.mark.parametrize(
    "way", ["-ComputerName 127.0.0.1 -Port {} -UseSSL", "-ConnectionUri https://127.0.0.1:{}/wsman"]
)
def test_a_client_certificate_logs_in(
    shell: Any,
    at: str,
    bridge_factory: Factory,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    by: str,
    capsys: Any,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "pskernel" / "certificates"
    folder.mkdir(parents=True)
    server, own = authority.server(), authority.client("ops")
    joined = authority.joined(own).rename(folder / "ops.pem")
    bridge = bridge_factory(certificate=(server.certificate, server.key, authority.file), mapped=["ops"])
    shell.user_ns["o"] = PSSessionOption(ca_file=str(authority.file))
    which = own.thumbprint.upper() if by == "thumbprint" else f"'{joined}'"
    parameters = f"{way.format(bridge.port)} -CertificateThumbprint {which} -SessionOption $o"

    assert ["in"] == list(run(shell, f"found = %invoke_command {parameters} -ScriptBlock {{ 'in' }}\nfound"))
    run(shell, f"%enter_pssession {parameters}")
    run(shell, "exit")

    assert {"ops"} == {each.user for each in bridge.requests}
    bridge.rules.mapped = ["somebody else"]
    kind, said = failure(shell, f"%enter_pssession {parameters}", capsys)
    assert "AuthenticationFailed" == kind, said


# ---- redirections ----


def test_a_redirection_is_followed_where_it_is_allowed(
    shell: Any, at: str, winrm: WsmanBridge, bridge_factory: Factory, capsys: Any
) -> None:
    gate = bridge_factory()
    gate.always("Create", redirect(f"http://127.0.0.1:{winrm.port}/wsman"))
    where = f"-ConnectionUri http://127.0.0.1:{gate.port}/wsman -Credential $cred"
    kind, said = failure(shell, f"%enter_pssession {where}", capsys)
    assert "say -AllowRedirection if you trust it" in said, kind

    run(shell, f"%enter_pssession {where} -AllowRedirection")
    run(shell, "'in'")

    said = capsys.readouterr()
    assert "in\n" in said.out
    assert "redirected to the following URI" in said.out + said.err
    run(shell, "exit")
    o = PSSessionOption(maximum_redirection=0)
    shell.user_ns["o"] = o
    kind, said = failure(shell, f"%enter_pssession {where} -AllowRedirection -SessionOption $o", capsys)
    assert "It was not followed" in said, kind


def test_a_redirection_to_another_host_asks_for_its_name(
    shell: Any, at: str, winrm: WsmanBridge, bridge_factory: Factory, person: list[str], capsys: Any
) -> None:
    gate = bridge_factory()
    gate.always("Create", redirect(f"http://localhost:{winrm.port}/wsman"))
    where = f"-ConnectionUri http://127.0.0.1:{gate.port}/wsman -Credential $cred -AllowRedirection"

    run(shell, f"w = %new_pssession {where}")

    assert ["127.0.0.1 sends this session to localhost. To log in there, type its name: "] == person
    assert ["in"] == list(run(shell, "%invoke_command -Session $w -ScriptBlock { 'in' }"))


# ---- full buffers ----


SCRIPT = "1..3000 | ForEach-Object { \"$_ \" + 'x' * 1000 }"


@pytest.mark.parametrize("mode", ["Block", "Drop"])
def test_output_that_finds_no_room(shell: Any, at: str, bridge_factory: Factory, mode: str, capsys: Any) -> None:
    bridge = bridge_factory()
    bridge.service.buffer_limit = 100_000
    where = f"-ComputerName 127.0.0.1 -Port {bridge.port} -Credential $cred"
    run(shell, f"o = %new_pssessionoption -OutputBufferingMode {mode}")
    run(shell, f"w = %invoke_command {where} -SessionOption $o -InDisconnectedSession -ScriptBlock {{ {SCRIPT} }}")
    (left,) = bridge.service.shells.values()
    (command,) = left.commands

    finished = left.wait_finished(command, 30 if mode == "Drop" else 0.5)
    found = [int(each.split()[0]) for each in run(shell, "%receive_pssession $w")]

    assert (mode == "Drop") is finished
    if mode == "Block":
        assert [*range(1, 3001)] == found
    else:
        assert 50 < len(found) < 3000
        assert [*range(3001 - len(found), 3001)] == found
    # It is known when the command has been closed there, and said by the next one.
    run(shell, "%%invoke_command -Session $w\n1")
    said = capsys.readouterr()
    lost = re.findall(r"(\d+) messages of 127.0.0.1 were lost while the session was left", said.out + said.err)
    # With what is no object of the script.
    assert (mode == "Drop") is bool(lost)
    assert not lost or int(lost[0]) >= 3000 - len(found)


def test_the_mode_is_said_when_a_session_is_left(shell: Any, at: str, bridge_factory: Factory) -> None:
    bridge = bridge_factory()
    where = f"-ComputerName 127.0.0.1 -Port {bridge.port} -Credential $cred"
    run(shell, f"w = %new_pssession {where}")
    for mode in ("Drop", "Block"):
        run(shell, f"%disconnect_pssession $w -OutputBufferingMode {mode}")
        (left,) = bridge.service.shells.values()
        assert mode == left.terms.buffer_mode
        run(shell, "%connect_pssession $w")
