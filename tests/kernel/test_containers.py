"""A kernel for a container: what is its own beside test_cells.py and test_prompts.py, which run in one too."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.parts.container import Container, container_factory
from tests.parts.kernels import Kernel, Starter

__all__ = ["container_factory"]

pytestmark = pytest.mark.live


def test_stop_keeps_the_session_and_the_remote_completes(start: Starter, container_url: str) -> None:
    kernel = start(container_url, "stop_timeout=20")
    request = kernel.send("$kept = 5; 'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    assert "PipelineStopped" == kernel.finish(request).ename
    assert time.monotonic() - began < 5
    assert "5\n" == kernel.run("$kept").stdout
    kernel.run("$keptInTheContainer = 1")
    reply = kernel.ask("complete_request", {"code": "$keptInThe", "cursor_pos": 10}).reply["content"]
    assert "$keptInTheContainer" in reply["matches"]


def test_the_container_is_stopped_in_mid_cell(start: Starter, container_factory: Callable[..., Container]) -> None:
    own = container_factory()
    kernel = start(own.url)
    request = kernel.send("'begun'; Start-Sleep 600; 'end'")
    kernel.shows(request, "begun")
    own.stop()
    run = kernel.finish(request)
    assert "ConnectionLost" == run.ename
    assert f"The container {own.name} was stopped, or PowerShell in it was ended" in run.evalue
    assert run.stdout == "begun\n"

    refused = kernel.run("'here'")
    assert "SessionLost" == refused.ename
    assert refused.stdout == ""
    assert kernel.run("'here'").status == "error"


def test_a_cell_says_which_container(start: Starter, container: Container) -> None:
    kernel = start()
    refused = kernel.run(f"#% target {container.url}?exe=/bin/sh\n1")
    assert "A cell may not set exe" in refused.evalue
    run = kernel.run(f"#% target {container.url}?user={container.user}\n[Environment]::UserName")
    assert run.stdout.endswith(f"{container.user}\n")
    record = kernel.run("1").record
    assert ("container", container.name) == (record["transport"], record["computer"])


def _name(kernel: Kernel) -> str:
    return kernel.run("[Environment]::MachineName").stdout.strip()


def test_a_production_container_wants_its_name(start: Starter, container: Container) -> None:
    kernel = start(container.url, "production=true", "confirm=other")
    assert "is not the name of the production machine" in kernel.run("1").evalue
    assert container.name == _name(start(container.url, "production=true", f"confirm={container.name}"))
