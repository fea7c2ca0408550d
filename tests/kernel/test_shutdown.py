"""The end: the remote session closed, no process left, and a fresh start after a restart."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.kernels import Kernel, Starter, wait_gone

pytestmark = pytest.mark.live

# Jupyter's own patience with a kernel that was asked to leave.
PATIENCE = 2.5


@pytest.fixture
def own(start: Starter, pwsh: str) -> Kernel:
    return start(f"process:{pwsh}")


def shut_down(kernel: Kernel) -> float:
    """Shut the kernel down as front ends do, and return the seconds it took; it must leave by itself."""
    process = kernel.process
    began = time.monotonic()
    kernel.manager.shutdown_kernel()
    taken = time.monotonic() - began
    assert process.returncode == 0
    return taken


def test_an_idle_session_is_closed(own: Kernel) -> None:
    remote = own.remote_pid()
    assert shut_down(own) < PATIENCE
    wait_gone(remote, 1)


@pytest.mark.parametrize("cell", ["", "while ($true) {}"], ids=["idle", "busy"])
def test_a_session_over_winrm_is_closed(start: Starter, winrm: WsmanBridge, winrm_url: str, cell: str) -> None:
    kernel = start(winrm_url)
    remote = kernel.remote_pid()
    if cell:
        kernel.shows(kernel.send(f"'begun'; {cell}"), "begun")
    assert [remote] == [shell.engine_pid for shell in winrm.service.shells.values()]
    assert shut_down(kernel) < PATIENCE
    assert {} == winrm.service.shells


def test_an_idle_session_is_closed_before_the_kernel_says_so(own: Kernel) -> None:
    remote = own.remote_pid()
    reply = own.control("shutdown_request", {"restart": False})
    assert reply["content"] == {"status": "ok", "restart": False}
    assert wait_gone(remote, 2) < 0.1


@pytest.mark.parametrize(
    "cell", ["while ($true) {}", "while ($true) { 'flood' * 100 }", "[Threading.Thread]::Sleep(30000)"]
)
def test_a_session_in_mid_cell_is_closed(own: Kernel, cell: str) -> None:
    remote = own.remote_pid()
    request = own.send(f"'begun'; {cell}")
    own.shows(request, "begun")
    assert shut_down(own) < PATIENCE
    wait_gone(remote, 1)


def test_an_opening_that_hangs_is_given_up(start: Starter, tmp_path: Path) -> None:
    started, program = tmp_path / "started", tmp_path / "hangs"
    os.mkfifo(started)
    program.write_text(f"#!/bin/sh\necho $$ > '{started}'\nexec sleep 100\n")
    program.chmod(0o700)
    kernel = start(f"process:{program}")
    # Opening a FIFO waits for its writer.
    child = int(started.read_text())
    kernel.send("'waits for the connection'")
    assert kernel.ask("kernel_info_request", {}).status == "ok"
    assert shut_down(kernel) < PATIENCE
    wait_gone(child, 1)


def test_a_socket_that_says_nothing_does_not_hold_up_the_end(start: Starter, silent_socket: str) -> None:
    kernel = start(f"unix:{silent_socket}")
    kernel.send("'waits for the connection'")
    assert kernel.ask("kernel_info_request", {}).status == "ok"
    assert shut_down(kernel) < PATIENCE


def test_a_restart_gives_a_fresh_session(own: Kernel) -> None:
    own.run("$x = 1")
    remote = own.remote_pid()
    own.manager.restart_kernel()
    own.client.wait_for_ready(timeout=30)
    wait_gone(remote, 1)
    fresh = own.run('"[$x]"')
    assert fresh.stdout == "[]\n"
    assert fresh.reply["content"]["execution_count"] == 1
    assert own.remote_pid() != remote


def test_a_restart_in_mid_cell_gives_a_fresh_session(own: Kernel) -> None:
    remote = own.remote_pid()
    request = own.send("'begun'; while ($true) {}")
    own.shows(request, "begun")
    own.manager.restart_kernel()
    own.client.wait_for_ready(timeout=30)
    wait_gone(remote, 1)
    assert own.run("'new'").stdout == "new\n"


@pytest.mark.parametrize("cell", ["1", "while ($true) {}", "while ($true) { 'flood' }"])
def test_the_remote_ends_when_the_kernel_is_killed(own: Kernel, cell: str) -> None:
    remote = own.remote_pid()
    request = own.send(f"'begun'; {cell}")
    own.shows(request, "begun")
    os.kill(own.pid, signal.SIGKILL)
    wait_gone(remote, 10)
