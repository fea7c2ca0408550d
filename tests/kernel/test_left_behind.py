"""A kernel that was killed in the middle of a cell: its session at a WinRM server, and who comes for it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.ipython import shell
from tests.parts.kernels import Gate, Kernel, Starter
from tests.parts.winrm_magics import at, failure, run

__all__ = ["at", "shell"]

pytestmark = pytest.mark.live


def kill(kernel: Kernel) -> None:
    os.kill(kernel.process.pid, signal.SIGKILL)
    kernel.process.wait()


def test_a_killed_kernels_cell_goes_on_and_another_process_receives_it(
    start: Starter, winrm: WsmanBridge, winrm_url: str, gate: Gate, shell: Any, at: str, capsys: Any
) -> None:
    kernel = start(winrm_url)
    kernel.run("$x = 7")
    (left,) = winrm.service.shells.values()
    kernel.shows(kernel.send(f"'begun'; {gate.wait}; \"then $x\""), "begun")

    kill(kernel)

    # The server has not noticed: to it the client is there, and nobody else is let in.
    (found,) = run(shell, f"%get_pssession {at}")
    assert ("Disconnected", "Busy") == (found.state, found.availability)
    assert "PSSessionConnectFailed" == failure(shell, f"%receive_pssession {at}", capsys)[0]
    # Now it has.
    left.disconnect(winrm.service.expire, None)
    gate.open()
    assert [] == list(run(shell, f"%receive_pssession {at} -InstanceId {left.shell_id}"))
    assert "then 7\n" in capsys.readouterr().out
    (session,) = run(shell, "%get_pssession")
    assert "Available" == session.availability
