"""The magics in a shell, and a WinRM service for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pskernel.connect import connect
from pskernel.credentials import PSCredential
from pskernel.remoting.loop import LOOP
from pskernel.remoting.sessions import SESSIONS
from pskernel.target import Target
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.winrm import PASSWORD, USER, url_of

__all__ = ["at", "failure", "left_by_another", "run", "target"]


@pytest.fixture
def at(shell: Any, winrm: WsmanBridge) -> Iterator[str]:
    """Parameters that reach the service; what was opened is closed."""
    shell.run_cell("%load_ext psmagic")
    shell.user_ns["cred"] = PSCredential(USER, PASSWORD)
    yield f"-ComputerName 127.0.0.1 -Port {winrm.port} -Credential $cred"
    shell.run_cell("%unload_ext psmagic")
    for session in SESSIONS.all():
        session.close()


@pytest.fixture
def target(winrm: WsmanBridge, tmp_path: Path) -> Target:
    """For clients other than the magics."""
    return Target.parse(url_of(winrm, tmp_path, "auth=ntlm"))


def left_by_another(target: Target, script: str = "") -> UUID:
    """A session that another client has left, with a script in it, whose output nobody has received."""

    async def leave() -> UUID:
        runspace = await connect(target, name="left")
        if script:
            await runspace.leave(script)
        await runspace.disconnect()
        await runspace.aclose()
        return runspace.instance_id

    return LOOP.run(leave())


def run(shell: Any, cell: str) -> Any:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def failure(shell: Any, cell: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    capsys.readouterr()
    result = shell.run_cell(cell)
    error = result.error_in_exec
    assert error is not None, cell
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err + repr(error)
    return type(error).__name__, said.out + said.err
