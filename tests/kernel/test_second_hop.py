"""A kernel whose cells go on to another host: what front ends ask there, and production."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.parts.kernels import WAIT, Kernel, Run, Starter
from tests.parts.sshd import Sshd, enter_line, sshd_factory

__all__ = ["sshd_factory"]

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def inner(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    # Another name than this machine's, which takes root.
    name = "db01" if os.geteuid() == 0 else ""
    return sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}, hostname=name)


def test_a_front_end_is_answered_by_the_host_behind(pwsh: str, inner: Sshd, start: Starter) -> None:
    kernel = start(f"process:{pwsh}")
    kernel.run("$onlyHere = 1")
    assert "cells run on" in kernel.run(enter_line(inner)).stderr
    kernel.run("$onlyThere = 2")

    reply = kernel.ask("complete_request", {"code": "$only", "cursor_pos": 5}).reply["content"]
    assert ["$onlyThere"] == reply["matches"]
    reply = kernel.ask("is_complete_request", {"code": "if (1) {"}).reply["content"]
    assert "incomplete" == reply["status"]
    request = kernel.send("'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    kernel.interrupt()
    assert "PipelineStopped" == kernel.finish(request).ename
    assert "2\n" == kernel.run("$onlyThere").stdout

    named = kernel.run(f"#% target process:{pwsh}\n1")
    assert "cells run on" in named.evalue
    assert "" == named.stdout
    told, question = answered(kernel, "Read-Host 'Name'", "Anna")
    assert "Anna\n" == told.stdout
    assert "\N{RIGHTWARDS ARROW}" in question
    assert "again" in kernel.run("Exit-PSSession").stderr
    assert "1\n" == kernel.run("$onlyHere").stdout


def answered(kernel: Kernel, cell: str, answer: str) -> tuple[Run, str]:
    """Run a cell that asks something. Returns the question too."""
    request = kernel.send(cell, allow_stdin=True)
    question = kernel.client.get_stdin_msg(timeout=WAIT)["content"]["prompt"]
    kernel.client.input(answer)
    return kernel.finish(request), question


def test_the_host_behind_a_production_host_is_confirmed_by_its_own_name(pwsh: str, inner: Sshd, start: Starter) -> None:
    kernel = start(f"process:{pwsh}", "production=true", "confirm=localhost")
    computer = kernel.run("[Environment]::MachineName")
    assert "is not the name" in computer.evalue
    name = computer.evalue.partition("which is ")[2].partition(".")[0]
    named = start(f"process:{pwsh}", "production=true", f"confirm={name}")
    assert "PRODUCTION" in named.run(enter_line(inner)).stderr

    # The option is for the first host alone, and so is its name.
    there = "db01" if os.geteuid() == 0 else name
    refused, question = answered(named, "'here'", name if os.geteuid() == 0 else "somewhere")
    assert f"\N{RIGHTWARDS ARROW} {there} is a production machine" in question
    assert ("ProductionNotConfirmed", "") == (refused.ename, refused.stdout)
    let_in, _ = answered(named, "'here'", there)
    assert "here\n" == let_in.stdout
    assert f"\N{RIGHTWARDS ARROW} {there}" in let_in.stderr
    assert "again\n" == named.run("'again'").stdout

    # Leaving asks nothing, and neither does the first host when it is come back to; the other one does.
    assert "error" != named.run("exit").status
    assert "home\n" == named.run("'home'", allow_stdin=False).stdout
    named.run(enter_line(inner))
    assert "ProductionNotConfirmed" == named.run("'here'", allow_stdin=False).ename
    assert "error" != named.run("Exit-PSSession", allow_stdin=False).status
