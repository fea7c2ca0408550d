"""The magics in a shell, and a WinRM service for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pskernel.credentials import PSCredential
from pskernel.remoting.sessions import SESSIONS
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.winrm import PASSWORD, USER

__all__ = ["at", "failure", "run"]


@pytest.fixture
def at(shell: Any, winrm: WsmanBridge) -> Iterator[str]:
    """Parameters that reach the service; what was opened is closed."""
    shell.run_cell("%load_ext psmagic")
    shell.user_ns["cred"] = PSCredential(USER, PASSWORD)
    yield f"-ComputerName 127.0.0.1 -Port {winrm.port} -Credential $cred"
    shell.run_cell("%unload_ext psmagic")
    for session in SESSIONS.all():
        session.close()


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
