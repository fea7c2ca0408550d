"""A kernel for a process that runs already: what is its own beside test_cells.py and test_prompts.py, which run in one too."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.parts.host_process import HostProcess
from tests.parts.kernels import Starter

pytestmark = pytest.mark.live

Way = Callable[[HostProcess], str]


@pytest.fixture(params=["here", pytest.param("forwarded", marks=pytest.mark.sshd)])
def way(request: pytest.FixtureRequest) -> Way:
    """The target for a process."""
    if request.param == "here":
        return lambda process: process.url
    forwarded = request.getfixturevalue("forwarded")
    return lambda process: forwarded(process.pid)


def test_stop_keeps_the_session_and_the_remote_completes(
    start: Starter, host_process_factory: Callable[..., HostProcess], way: Way
) -> None:
    process = host_process_factory()
    kernel = start(way(process), "stop_timeout=20")
    request = kernel.send("$kept = 5; 'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    assert "PipelineStopped" == kernel.finish(request).ename
    assert time.monotonic() - began < 5
    assert "5\n" == kernel.run("$kept").stdout
    assert f"{process.pid}\n" == kernel.run("$PID").stdout
    kernel.run("$keptInTheProcess = 1")
    reply = kernel.ask("complete_request", {"code": "$keptInThe", "cursor_pos": 10}).reply["content"]
    assert "$keptInTheProcess" in reply["matches"]


def test_the_process_ends_in_mid_cell(
    start: Starter, host_process_factory: Callable[..., HostProcess], way: Way
) -> None:
    process = host_process_factory()
    kernel = start(way(process))
    request = kernel.send("'begun'; Start-Sleep 600; 'end'")
    kernel.shows(request, "begun")
    process.kill()
    run = kernel.finish(request)
    assert "ConnectionLost" == run.ename
    assert f"Process {process.pid}" in run.evalue
    assert "has ended." in run.evalue
    assert run.stdout == "begun\n"

    refused = kernel.run("'here'")
    assert "SessionLost" == refused.ename
    assert refused.stdout == ""
    gone = kernel.run("'here'")
    assert f"No process was found with Id: {process.pid}" in gone.evalue
    assert gone.stdout == ""


@pytest.mark.parametrize("leaving", ["exit 3", "Exit-PSHostProcess"])
def test_leaving_leaves_the_process(
    start: Starter, host_process_factory: Callable[..., HostProcess], leaving: str
) -> None:
    process = host_process_factory()
    kernel = start(process.url)
    kernel.run("$x = 1; $global:y = 2")
    kernel.run(leaving)
    assert "SessionLost" == kernel.run("'lost'").ename
    run = kernel.run('"$PID/$x"')
    assert run.stdout.endswith(f"{process.pid}/\n")  # a new session, in the same process
    assert process.is_running


def test_a_cell_names_no_process(start: Starter, host_process: HostProcess) -> None:
    kernel = start()
    for target in (f"pid:{host_process.pid}", "pipe:mine"):
        refused = kernel.run(f"#% target {target}\n1")
        assert "it is a program of this machine" in refused.evalue
    refused = kernel.run(f"#% target ssh://web01?pid={host_process.pid}\n1")
    assert "A cell may not set pid" in refused.evalue
