"""A kernel as root on another host, by sudo with a password: what is asked, stopped and completed through sudo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.parts.accounts import Account, account, sudo_rules
from tests.parts.kernels import WAIT, Kernel, Starter
from tests.parts.sshd import Sshd, sshd_factory

__all__ = ["account", "sshd_factory"]

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd]) -> Sshd:
    started: Sshd = sshd_factory({})
    started.folder.chmod(0o711)
    return started


@pytest.fixture
def rules(account: Account) -> Iterator[None]:
    with sudo_rules(account, "{name} ALL=(ALL) ALL"):
        yield


@pytest.fixture
def words(server: Sshd, account: Account, pwsh: str, rules: None) -> list[str]:
    """The target, and the options that lead there."""
    return [
        f"ssh://{account.name}@127.0.0.1:{server.port}",
        *("sudo=1", f"exe={pwsh}", f"key_file={server.key}", f"known_hosts={server.known_hosts}", "ssh_config=none"),
    ]


def test_a_session_of_roots(start: Starter, words: list[str], account: Account) -> None:
    kernel = start(*words, "stop_timeout=20")
    request = kernel.send("id -u; (Read-Host 'S' -AsSecureString).Length", allow_stdin=True)
    for text, masked, answer in (
        (f"Password of {account.name} for sudo on 127.0.0.1: ", True, account.password),
        ("S: ", True, "hunter2"),
    ):
        question = kernel.client.get_stdin_msg(timeout=WAIT)["content"]
        assert (True, masked) == (question["prompt"].endswith(text), question["password"])
        kernel.client.input(answer)
    first = kernel.finish(request)
    assert (True, True) == (first.stdout.startswith("0\n"), first.stdout.endswith("\n7\n"))
    assert ("root", True) == (first.record["user"], "sudo=true" in first.record["target"])

    request = kernel.send("'begun'; while ($true) {}")
    kernel.shows(request, "begun")
    began = time.monotonic()
    kernel.interrupt()
    assert "PipelineStopped" == kernel.finish(request).ename
    assert time.monotonic() - began < 15

    # The same session: nothing is asked.
    kernel.run("$keptByRoot = 5")
    assert "5\n" == kernel.run("$keptByRoot").stdout
    reply = kernel.ask("complete_request", {"code": "$keptBy", "cursor_pos": 7}).reply["content"]
    assert ["$keptByRoot"] == reply["matches"]
    assert account.password not in repr(kernel.seen)


def test_stop_at_the_question(start: Starter, words: list[str]) -> None:
    kernel = start(*words)
    request = kernel.send("'in'", allow_stdin=True)
    assert kernel.client.get_stdin_msg(timeout=WAIT)["content"]["password"]
    kernel.interrupt()
    stopped = kernel.finish(request)
    assert ("Interrupted", False) == (stopped.ename, stopped.record["sent"])


def test_nobody_to_ask(start: Starter, words: list[str]) -> None:
    run = start(*words).run("'in'")
    assert "PromptUnavailable" == run.ename
    assert "Name one with the option sudo_credential=keyring:NAME" in run.evalue
    assert run.record["sent"] is False


def test_a_cell_does_not_switch_it_on(start: Starter, words: list[str]) -> None:
    kernel: Kernel = start()
    assert "A cell may not set sudo, sudo_user." in kernel.run(f"#% target {words[0]}?sudo=1&sudo_user=ops\n1").evalue
    assert "A cell may not set sudo." in kernel.run("#% target process:?sudo=1\n1").evalue


def test_a_password_for_sudo_does_not_go_to_a_host_that_a_cell_names(start: Starter, words: list[str]) -> None:
    kernel = start("", "sudo=1", "sudo_credential=env:SUDO")
    assert "They do not go to a host that a cell names" in kernel.run(f"#% target {words[0]}\n1").evalue


def test_production_says_who_one_is(start: Starter, words: list[str], account: Account) -> None:
    kernel = start(
        *words, "production=true", env={"SUDO": account.password}, arguments=("--option", "sudo_credential=env:SUDO")
    )
    refused = kernel.run("1")
    assert "(sudo root) is marked as production" in refused.evalue
