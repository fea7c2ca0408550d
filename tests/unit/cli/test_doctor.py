"""The doctor ends with a verdict, in bounded time, whatever it is sent to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pskernel.cli import checks
from pskernel.cli.checks import State, Visit, examine
from pskernel.questions import NobodyToAsk
from tests.parts.sshd import Sshd, fingerprint_of, running_sshd
from tests.unit.cli.conftest import Invoke, Result

BOUND = 20.0


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes an executable of a shell script; what it is called with is ignored."""

    def make(script: str) -> str:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


@contextmanager
def web_server() -> Iterator[int]:
    """A port where HTTP is spoken, and only HTTP."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(BOUND)


def examined(invoke: Invoke, target: str, *options: str) -> tuple[Result, Any]:
    """Examine a target; return what was said, and the findings."""
    began = time.monotonic()
    arguments = [f"--option={option}" for option in options]
    result = invoke("doctor", target, "--json", *arguments)
    assert time.monotonic() - began < BOUND
    assert result.stderr == ""
    return result, json.loads(result.stdout)


def failure(findings: Any) -> Any:
    """The one failed step, which is the last."""
    *before, last = findings["steps"]
    assert last["state"] == "failed"
    assert all(step["state"] != "failed" for step in before)
    assert not findings["ok"]
    assert last["lines"]
    assert "Traceback" not in str(findings)
    return last


@pytest.mark.live
def test_a_target_that_works(invoke: Invoke, pwsh: str) -> None:
    result = invoke("doctor", f"process:{pwsh}")
    assert (result.status, result.stderr) == (0, "")
    *steps, verdict = result.stdout.splitlines()
    assert [line.split()[:2] for line in steps] == [
        ["ok", name] for name in ("target", "connection", "runspace", "PowerShell", "line", "speed")
    ]
    assert "PowerShell 7" in steps[3]
    assert verdict == "This target works."


@pytest.mark.live
def test_findings_for_machines(invoke: Invoke, pwsh: str) -> None:
    result, findings = examined(invoke, f"process:{pwsh}", "width=99")
    assert result.status == 0
    assert findings["target"] == f"process:{pwsh}?width=99"
    assert findings["ok"] is True
    assert {step["state"] for step in findings["steps"]} == {"ok"}
    assert all(0 <= step["seconds"] < BOUND for step in findings["steps"])


@pytest.mark.live
def test_lines_before_powershell_are_shown_with_what_causes_them(
    invoke: Invoke, pwsh: str, program: Callable[[str], str]
) -> None:
    chatty = program(f"echo 'Welcome to [web01]'\nexec {pwsh} -s -NoLogo -NoProfile")
    result, findings = examined(invoke, f"process:{chatty}")
    assert result.status == 0
    (line,) = [step for step in findings["steps"] if step["name"] == "line"]
    assert line["state"] == "warning"
    assert "Welcome to [web01]" in line["lines"][0]
    assert "~/.bashrc" in line["lines"][-1]
    assert invoke("doctor", f"process:{chatty}").stdout.endswith("This target works, with warnings.\n")


@pytest.mark.parametrize(
    ("target", "step", "text"),
    [
        ("nonsense", "target", "A target begins with"),
        ("ssh://admin:hunter2@web01", "target", "never holds a password"),
        ("ssh://nosuch.invalid", "name", "cannot be found"),
        ("process:/no[such]", "connection", "/no[such] does not exist"),
        ("unix:/no/such", "connection", "There is no socket"),
        ("pid:4194305", "process", "4194305"),
        ("pipe:nosuch", "process", "No named pipe was found with CustomPipeName: nosuch."),
        ("replay:/no/such", "connection", "/no/such"),
    ],
)
def test_a_target_that_is_not_there(invoke: Invoke, target: str, step: str, text: str) -> None:
    result, findings = examined(invoke, target, *(["ssh_config=none"] if target.startswith("ssh:") else []))
    assert result.status == 2
    last = failure(findings)
    assert last["name"] == step
    assert text in last["lines"][0]
    assert "hunter2" not in result.stdout


@pytest.mark.parametrize(
    "script",
    [
        "exec cat",
        "exec yes",
        "exec sleep 100",
        "exit 3",
        "echo hello; exec sleep 100",
        "while :; do printf x; done",
        "cat; sleep 100",
    ],
)
def test_a_program_that_is_not_powershell(invoke: Invoke, program: Callable[[str], str], script: str) -> None:
    result, findings = examined(invoke, f"process:{program(script)}", "open_timeout=1")
    assert result.status == 2
    last = failure(findings)
    assert last["name"] == "runspace"
    assert len(last["lines"]) == 2
    assert "Check that the program is PowerShell 7" in last["lines"][1]


@pytest.mark.parametrize("path", ["/bin/cat", "/usr/bin/yes", "/bin/true"])
def test_a_well_known_program_that_is_not_powershell(invoke: Invoke, path: str) -> None:
    result = invoke("doctor", f"process:{path}", "--option", "open_timeout=1")
    assert result.status == 2
    assert [line.split()[:2] for line in result.stdout.splitlines()[:3]] == [
        ["ok", "target"],
        ["ok", "connection"],
        ["failed", "runspace"],
    ]
    assert result.stdout.splitlines()[-1] == "This target does not work: the step “runspace” failed."


def test_a_closed_port(invoke: Invoke) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        result, findings = examined(invoke, f"ssh://127.0.0.1:{reserved.getsockname()[1]}", "ssh_config=none")
    assert result.status == 2
    last = failure(findings)
    assert (last["name"], [step["name"] for step in findings["steps"]]) == ("port", ["target", "name", "port"])
    assert "connection is refused" in last["lines"][0]


def test_a_web_server(invoke: Invoke) -> None:
    with web_server() as port:
        result, findings = examined(invoke, f"ssh://127.0.0.1:{port}", "ssh_config=none", "connect_timeout=5")
    assert result.status == 2
    assert failure(findings)["name"] == "port"
    assert "HTTP/1.1 400 Bad Request" in failure(findings)["lines"][0]


def test_a_socket_where_nobody_answers(invoke: Invoke, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        result, findings = examined(invoke, f"unix:{tmp_path / 's'}", "open_timeout=0.5")
    assert result.status == 2
    assert failure(findings)["name"] == "runspace"
    assert "within 0.5 seconds" in failure(findings)["lines"][0]


@pytest.fixture(scope="module")
def server(pwsh: str) -> Iterator[Sshd]:
    powershell = f"{pwsh} -sshs -NoLogo -NoProfile"
    subsystems = {"powershell": powershell, "false": "/bin/false", "missing": "pwsh-is-not-here -sshs"}
    with running_sshd(subsystems) as sshd:
        yield sshd


def ssh_options(server: Sshd) -> list[str]:
    return ["ssh_config=none", f"key_file={server.key}", f"known_hosts={server.known_hosts}"]


@pytest.mark.live
@pytest.mark.sshd
def test_an_ssh_server_that_works(invoke: Invoke, server: Sshd) -> None:
    result, findings = examined(invoke, f"ssh://{server.user}@{server.host}:{server.port}", *ssh_options(server))
    assert result.status == 0
    assert [step["name"] for step in findings["steps"]] == [
        "target",
        "name",
        "port",
        "login",
        "runspace",
        "PowerShell",
        "line",
        "speed",
    ]
    assert "SSH-2.0-OpenSSH" in findings["steps"][2]["lines"][0]


@pytest.mark.live
@pytest.mark.sshd
def test_where_the_way_to_an_ssh_server_ends(invoke: Invoke, server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    url = f"ssh://{server.user}@{server.host}:{server.port}"
    good = ssh_options(server)
    for changed, step, text in (
        (f"known_hosts={tmp_path / 'empty'}", "host key", "SHA256:"),
        (f"key_file={tmp_path / 'nokey'}", "settings", "nokey"),
        ("subsystem=nosuch", "subsystem", "no subsystem nosuch"),
    ):
        kept = [option for option in good if option.partition("=")[0] != changed.partition("=")[0]]
        result, findings = examined(invoke, url, *kept, changed)
        assert result.status == 2
        assert (failure(findings)["name"], text in " ".join(failure(findings)["lines"])) == (step, True)
    result, findings = examined(invoke, f"ssh://nobody@{server.host}:{server.port}", *good)
    assert (result.status, failure(findings)["name"]) == (2, "login")
    result, findings = examined(invoke, url, *good, "subsystem=false", "open_timeout=5")
    assert (result.status, failure(findings)["name"]) == (2, "runspace")
    assert "Subsystem powershell" in failure(findings)["lines"][1]


@pytest.mark.live
@pytest.mark.sshd
def test_a_host_key_that_was_accepted_is_told_with_its_file(invoke: Invoke, server: Sshd, tmp_path: Path) -> None:
    pin = fingerprint_of(server.folder / "host_key.pub")
    options = ["ssh_config=none", f"key_file={server.key}", f"known_hosts={tmp_path}/known", f"accept_host_key={pin}"]
    result, findings = examined(invoke, f"ssh://{server.user}@{server.host}:{server.port}", *options)
    assert result.status == 0
    steps = {step["name"]: step for step in findings["steps"]}
    assert steps["login"]["lines"][0].endswith(f"was added to {tmp_path}/known.")
    assert steps["line"]["state"] == "ok"


@pytest.mark.live
@pytest.mark.sshd
def test_a_program_that_the_server_does_not_find(invoke: Invoke, server: Sshd) -> None:
    url = f"ssh://{server.user}@{server.host}:{server.port}"
    result, findings = examined(invoke, url, *ssh_options(server), "subsystem=missing")
    assert (result.status, failure(findings)["name"]) == (2, "runspace")
    assert "exited with status 127" in failure(findings)["lines"][0]
    assert "Install PowerShell 7 there" in failure(findings)["lines"][0]


def test_the_target_may_come_from_the_environment(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    none = invoke("doctor")
    assert none.status == 2
    assert "Name the target" in none.stdout
    monkeypatch.setenv("PSKERNEL_TARGET", "process:/no/such?width=90")
    result = invoke("doctor", "--json", "--option", "width=91")
    findings = json.loads(result.stdout)
    assert findings["target"] == "process:/no/such?width=91"
    assert failure(findings)["name"] == "connection"
    monkeypatch.setenv("PSKERNEL_TARGET", "nonsense")
    assert "variable PSKERNEL_TARGET" in invoke("doctor").stdout
    assert "PSKERNEL_TARGET" not in invoke("doctor", "process:/no/such").stdout


@pytest.mark.parametrize("target", ["process:", "unix:/x", "pid:1", "replay:x"])
def test_the_time_to_connect_is_an_option_of_networks_alone(invoke: Invoke, target: str) -> None:
    result = invoke("doctor", target, "--option", "connect_timeout=5")
    assert result.status == 2
    assert "The option connect_timeout is for ssh and winrm and winrm+https" in result.stdout


def test_long_lists_of_lines_are_cut() -> None:
    visit = Visit("process:", {}, NobodyToAsk(), notices=[f"line {number}" for number in range(9)])
    finding = asyncio.run(checks._listen(visit))
    assert finding.state is State.WARNING
    assert finding.lines[:6] == (*(f"line {number}" for number in range(5)), "… and 4 more lines.")


def test_what_is_behind_a_jump_host_is_not_looked_for_here() -> None:
    async def main() -> list[tuple[str, State]]:
        visit = Visit("ssh://web.invalid", {"ssh_config": "none", "proxy_jump": "bastion.invalid"}, NobodyToAsk())
        return [(step.name, step.state) async for step in examine(visit)]

    steps = asyncio.run(main())
    assert steps[:3] == [("target", State.OK), ("name", State.SKIPPED), ("port", State.SKIPPED)]
    assert steps[3] == ("connection", State.FAILED)
