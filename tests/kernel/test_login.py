"""A login that needs the user: asked through the front end, in the first cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.kernels import WAIT, Kernel, Starter
from tests.parts.sshd import LoginServer, LoginThread

pytestmark = pytest.mark.live

PASSWORD = "p4ss w\xf6rd"


@pytest.fixture
def server(pwsh: str, tmp_path: Path) -> Iterator[LoginThread]:
    rules = LoginServer(password=PASSWORD, program=(pwsh, "-s", "-NoLogo", "-NoProfile"))
    with LoginThread(rules, tmp_path) as server:
        yield server


@pytest.fixture
def kernel(server: LoginThread, start: Starter) -> Kernel:
    options = ["ssh_config=none", f"known_hosts={server.known_hosts}", "backend=asyncssh"]
    return start(f"ssh://admin@127.0.0.1:{server.rules.port}", *options)


def asked(kernel: Kernel) -> dict[str, object]:
    content: dict[str, object] = kernel.client.get_stdin_msg(timeout=WAIT)["content"]
    return content


def test_a_password_is_asked_masked_and_for_a_named_host(kernel: Kernel, server: LoginThread) -> None:
    request = kernel.send("'in'", allow_stdin=True)
    question = asked(kernel)
    assert question["password"] is True
    assert "admin@127.0.0.1" in str(question["prompt"])
    kernel.client.input(PASSWORD)
    run = kernel.finish(request)
    assert run.status == "ok", run.errors
    assert run.stdout == "in\n"
    assert server.rules.passwords_seen == [PASSWORD]
    # Further cells ask nothing, and the secret is in nothing that the kernel has said.
    assert kernel.run("'again'").stdout == "again\n"
    assert PASSWORD not in repr(kernel.seen) + repr(run.reply)
    assert PASSWORD.encode() not in Path(f"/proc/{kernel.pid}/cmdline").read_bytes()


def test_a_wrong_password_is_the_cells_error_and_the_next_cell_asks_again(kernel: Kernel, server: LoginThread) -> None:
    request = kernel.send("'in'", allow_stdin=True)
    # As often as OpenSSH asks.
    for _ in range(3):
        asked(kernel)
        kernel.client.input("wrong")
    run = kernel.finish(request)
    assert run.ename == "AuthenticationFailed"
    assert run.record["sent"] is False
    assert run.record["own_error"] is True
    assert server.rules.passwords_seen == ["wrong"] * 3
    request = kernel.send("'in'", allow_stdin=True)
    asked(kernel)
    kernel.client.input(PASSWORD)
    assert kernel.finish(request).stdout == "in\n"


def test_an_interrupt_withdraws_the_question(kernel: Kernel) -> None:
    request = kernel.send("'in'", allow_stdin=True)
    asked(kernel)
    kernel.interrupt()
    run = kernel.finish(request)
    assert run.ename == "Interrupted"
    assert run.record["sent"] is False


def test_with_nobody_to_ask_the_error_names_the_ways(kernel: Kernel, server: LoginThread) -> None:
    run = kernel.run("'in'")
    assert run.ename == "PromptUnavailable"
    assert "credential=" in run.evalue
    assert server.rules.passwords_seen == []
