"""PowerShell by a real sudo and a real doas: of a real account with a password, over a real sshd and on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.connect import connect
from pskernel.errors import ConnectError, ElevationFailed, PromptUnavailable, TransportClosed
from pskernel.questions import Asker, Question
from pskernel.records import Output
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.parts.accounts import Account, doas_rules, sudo_rules
from tests.parts.ipython import run
from tests.parts.kernels import wait_gone
from tests.parts.sshd import Answers, Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

PASSWORD = "{name} ALL=(ALL) ALL"
NO_PASSWORD = "{name} ALL=(ALL) NOPASSWD: ALL"
WHO = 'id -un; [Environment]::UserName; "$HOME"'


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    """Its users log in with one key. One subsystem is sudo's own way, with a rule for PowerShell alone."""
    root = f"sudo -n {pwsh} -sshs -NoLogo -NoProfile"
    started: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "root": root})
    started.folder.chmod(0o711)
    return started


@pytest.fixture
def url(server: Sshd, account: Account, pwsh: str) -> str:
    return (
        f"ssh://{account.name}@127.0.0.1:{server.port}?sudo=1&exe={pwsh}&key_file={server.key}&ssh_config=none"
        f"&known_hosts={server.known_hosts}"
    )


async def values(opened: Runspace, script: str) -> list[object]:
    pipeline = await opened.invoke(script)
    return [record.value async for record in pipeline if isinstance(record, Output)]


def asked(url: str, script: str, asker: Asker | None = None, **options: object) -> list[object]:
    async def main() -> list[object]:
        async with await connect(Target.parse(url, options), asker=asker) as opened:
            return await values(opened, script)

    return asyncio.run(main())


def sudos_of(account: Account) -> list[int]:
    """The processes of sudo that an account has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "sudo" and account.name in {parent.username() for parent in process.parents()}:
                found.append(process.pid)
    return found


def everywhere() -> Iterator[bytes]:
    """The arguments and the environment of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                yield (folder / name).read_bytes()


# ---- the password ----


@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
def test_the_password_is_asked_for_once_and_is_nowhere(
    url: str, account: Account, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asker = Answers(account.password)

    async def main() -> None:
        target = Target.parse(url, {"backend": backend})
        assert target.label == f"{account.name}@127.0.0.1:{target.port} (sudo root)"
        async with await connect(target, asker=asker) as opened:
            assert ["root", "root", "/root"] == await values(opened, WHO)
            assert "publickey, sudo with a password" == opened.peer.auth
            secret = account.password.encode()
            assert not [found for found in everywhere() if secret in found]
            assert account.password not in repr(vars(opened)) + repr(target)

    with sudo_rules(account, PASSWORD, "Defaults:{name} lecture=always"):
        asyncio.run(main())
    assert [f"Password of {account.name} for sudo on 127.0.0.1: "] == asker.texts
    assert asker.questions[0].secret
    assert account.password not in caplog.text


def test_a_password_in_a_variable_is_handed_on_to_nobody(
    pwsh: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IN_A_VARIABLE", "hunter2")
    (tmp_path / "sudo").write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\nexit 1\n")
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConnectError):
        asked(f"process:{pwsh}?sudo=1&sudo_credential=env:IN_A_VARIABLE", "1")
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen
    assert "hunter2" not in seen


@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
def test_without_a_password_nothing_is_asked(url: str, account: Account, backend: str) -> None:
    with sudo_rules(account, NO_PASSWORD):
        assert ["root", "root", "/root"] == asked(url, WHO, backend=backend)
        assert [account.name] == asked(url, "id -un", backend=backend, sudo_user=account.name)


def test_a_wrong_password_is_asked_for_again(url: str, account: Account) -> None:
    asker = Answers("wrong", account.password)
    with sudo_rules(account, PASSWORD):
        assert ["root"] == asked(url, "id -un", asker)
    assert asker.texts[1].startswith("That was not accepted. Password of ")


def test_a_credential_is_taken_and_the_logins_is_not(
    url: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIGHT", account.password)
    monkeypatch.setenv("WRONG", "wrong")
    with sudo_rules(account, PASSWORD):
        assert ["root"] == asked(url, "id -un", sudo_credential="env:RIGHT")
        with pytest.raises(PromptUnavailable, match=r"wants a password, and nobody gave it\. Name one with the option"):
            asked(url, "1", credential="env:RIGHT")
        with pytest.raises(PromptUnavailable, match=r"did not accept the password of .* that it was given"):
            asked(url, "1", sudo_credential="env:WRONG")


def test_giving_up_at_the_question_leaves_nothing_there(url: str, account: Account) -> None:
    class Stopped:
        async def ask(self, question: Question) -> str:
            (self.sudo,) = sudos_of(account)
            task.cancel()
            return await asyncio.get_running_loop().create_future()

    async def main() -> None:
        nonlocal task
        task = asyncio.ensure_future(connect(Target.parse(url), asker=stopped))
        with pytest.raises(asyncio.CancelledError):
            await task

    task: asyncio.Future[Runspace]
    stopped = Stopped()
    with sudo_rules(account, PASSWORD):
        asyncio.run(main())
        wait_gone(stopped.sudo)
    assert [] == sudos_of(account)


@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
def test_a_cut_line_leaves_no_powershell_of_roots_there(url: str, account: Account, backend: str) -> None:
    async def main() -> int:
        async with await connect(Target.parse(url, {"backend": backend})) as opened:
            (pid,) = await values(opened, "$PID")
            assert isinstance(pid, int)
            for parent in psutil.Process(pid).parents():
                if parent.name() == "sshd":
                    parent.kill()
                    break
            await opened.wait_ended()
            assert isinstance(opened.error, TransportClosed)
            return pid

    with sudo_rules(account, NO_PASSWORD):
        wait_gone(asyncio.run(main()))
    assert [] == sudos_of(account)


# ---- refusals ----


@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
@pytest.mark.parametrize(
    ("rules", "options", "told"),
    [
        (
            ["{name} ALL=(root) NOPASSWD: /usr/bin/id"],
            {},
            r"is needed: see docs/elevation.md. It says: .*not allowed to",
        ),
        (
            [NO_PASSWORD, "Defaults:{name} requiretty"],
            {},
            r"Defaults:NAME !requiretty It says: sudo: .*must have a tty",
        ),
        ([NO_PASSWORD], {"sudo_user": "nobody-here"}, "knows no user nobody-here: correct the option sudo_user"),
        ([NO_PASSWORD], {"exe": "pwsh-0"}, "There is no program pwsh-0 on 127.0.0.1 for root: sudo looks in /"),
        ([NO_PASSWORD], {"sudo_program": "doas"}, r"doas on 127.0.0.1 has no rules that it can use"),
    ],
)
def test_refusals(
    url: str, account: Account, backend: str, rules: list[str], options: dict[str, object], told: str
) -> None:
    with sudo_rules(account, *rules), pytest.raises(ElevationFailed, match=told) as caught:
        asked(url, "1", Answers(account.password), **{"backend": backend, **options})
    assert 1 == len(str(caught.value).splitlines())
    assert len(str(caught.value)) < 800


def test_an_account_without_rules(url: str, account: Account) -> None:
    with pytest.raises(ElevationFailed, match=f"It says: .*{account.name} is not in the sudoers file"):
        asked(url, "1", Answers(account.password))


def test_a_server_without_sudo(url: str, account: Account, server: Sshd, sshd_factory: Callable[..., Sshd]) -> None:
    bare = sshd_factory({}, options=["SetEnv PATH=/nowhere"])
    bare.folder.chmod(0o711)
    there = url.replace(f":{server.port}?", f":{bare.port}?")
    with pytest.raises(
        ElevationFailed, match=r"There is no program sudo on 127.0.0.1, or it is not on PATH. It says: "
    ):
        asked(there, "1", key_file=str(bare.key), known_hosts=str(bare.known_hosts))


# ---- doas ----


def test_doas_without_a_password_and_with_one(url: str, account: Account) -> None:
    with doas_rules(f"permit nopass {account.name} as root"):
        assert ["root", "root", "/root"] == asked(url, WHO, sudo_program="doas")
    with doas_rules(f"permit {account.name} as root"), pytest.raises(ElevationFailed, match="Have its rule say nopass"):
        asked(url, "1", sudo_program="doas")
    with doas_rules("permit nopass root"), pytest.raises(ElevationFailed, match="does not let this user start"):
        asked(url, "1", sudo_program="doas")


# ---- this machine ----


def test_a_process_of_this_machine(account: Account, pwsh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who runs the tests is root, and may become anybody.
    url = f"process:{pwsh}?sudo=1&sudo_user={account.name}"
    assert [account.name, account.name, f"/home/{account.name}"] == asked(url, WHO)
    with pytest.raises(ElevationFailed, match="Say where it is: process:/path/to/pwsh"):
        asked("process:/nowhere/pwsh?sudo=1", "1")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ElevationFailed, match="There is no program sudo on this machine, or it is not on PATH"):
        asked(url, "1")


@pytest.mark.parametrize("where", ["process", "process with sudo", "ssh with sudo"])
def test_a_configuration_file_restricts_it(url: str, pwsh: str, tmp_path: Path, account: Account, where: str) -> None:
    file = tmp_path / "jea.pssc"
    file.write_text(
        "@{ SchemaVersion = '2.0.0.0'; SessionType = 'RestrictedRemoteServer'; LanguageMode = 'NoLanguage' }"
    )
    targets = {
        "process": f"process:{pwsh}",
        "process with sudo": f"process:{pwsh}?sudo=1",
        "ssh with sudo": url,
    }

    async def main() -> None:
        async with await connect(Target.parse(targets[where], {"configuration_file": str(file)})) as opened:
            pipeline = await opened.run_cell("$x = 1")
            assert [] == [record async for record in pipeline if isinstance(record, Output)]
            assert pipeline.end is not None
            assert pipeline.end.error is not None
            assert "ScriptsNotAllowed" in pipeline.end.error.fully_qualified_error_id

    with sudo_rules(account, NO_PASSWORD):
        asyncio.run(main())


# ---- the command ----


def steps_of(url: str) -> dict[str, dict[str, str]]:
    found = CliRunner().invoke(app, ["doctor", "--json", url])
    return {step["name"]: step for step in json.loads(found.stdout)["steps"]}


def test_doctor(url: str, account: Account, pwsh: str) -> None:
    with sudo_rules(account, NO_PASSWORD):
        steps = steps_of(url)
        assert {"ok"} == {step["state"] for step in steps.values()}
        assert f"the login was accepted, and {pwsh} as root by sudo was started." in steps["login"]["lines"][-1]
        assert "The way to it: publickey, sudo without a password." == steps["runspace"]["lines"][1]
        assert ", as root on " in steps["PowerShell"]["lines"][0]
        last = steps_of(f"{url.replace(pwsh, 'pwsh-0')}")["sudo"]
        assert ("failed", True) == (last["state"], "There is no program pwsh-0" in last["lines"][0])
    with sudo_rules(account, PASSWORD):
        assert "wants a password" in steps_of(url)["login"]["lines"][0]
        (only, last) = steps_of("process:?sudo=1&sudo_program=doas").values()
        assert ("sudo", "failed") == (last["name"], last["state"])
        assert only["name"] == "target"


def test_a_run_on_record(url: str, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUDO", account.password)
    cell = nbformat.v4.new_code_cell(f"id -un; '{account.password.replace(chr(39), chr(39) * 2)}'")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={}), "in.ipynb")
    words = ["run", "in.ipynb", "--target", f"{url}&sudo_credential=env:SUDO", "--audit", "log", "-o", "out.ipynb"]
    with sudo_rules(account, PASSWORD):
        found = CliRunner().invoke(app, words)
    assert 0 == found.exit_code, found.output
    kept = "".join(path.read_text() for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert '"user": "root"' in kept or '"user":"root"' in kept
    assert "sudo=true" in kept
    assert "sudo with a password" in kept
    outputs = json.dumps(nbformat.read("out.ipynb", as_version=4).cells[0].outputs)
    assert "root" in outputs
    assert account.password not in outputs + found.output


# ---- the magics ----


def test_entering_and_copying(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    server: Sshd,
    account: Account,
    pwsh: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUDO", account.password)
    to = (
        f"-HostName {account.name}@127.0.0.1:{server.port} -KeyFilePath '{server.key}' -Options @{{ UserKnownHostsFile = "
        f"'{server.known_hosts}'; Sudo = 'true'; Exe = '{pwsh}'; SudoCredential = 'env:SUDO' }}"
    )
    (tmp_path / "secret").write_bytes(os.urandom(1_000))
    (tmp_path / "mine").mkdir(mode=0o700)
    with sudo_rules(account, PASSWORD):
        assert run(shell, capsys, f"%enter_pssession {to}")[1] is None
        assert ("root\n", None) == run(shell, capsys, "id -un")
        remote = shell.find_line_magic("enter_pssession").__self__._remote
        assert remote.prompt().startswith("[127.0.0.1 (sudo root)]: PS /root")
        plain = f"ssh://{account.name}@127.0.0.1:{server.port}"
        assert "(sudo root) is entered" in str(run(shell, capsys, f"#% target {plain}\n1")[1])
        assert ("1\n", None) == run(shell, capsys, f"#% target {plain}?sudo=1\n1")
        assert ("", None) == run(shell, capsys, "exit")
        run(shell, capsys, f"s = %new_pssession {to}")
        copy = f"%copy_item '{tmp_path}/secret' -Destination '{tmp_path}/mine/there' -ToSession $s"
        assert run(shell, capsys, copy)[1] is None
        run(shell, capsys, "%remove_pssession $s")
    # By SFTP it would be the account's, which may not even enter the folder.
    assert 0 == (tmp_path / "mine" / "there").stat().st_uid
    assert (tmp_path / "mine" / "there").read_bytes() == (tmp_path / "secret").read_bytes()


# ---- sudo in a subsystem: the administrator's way ----


def test_a_subsystem_that_is_sudo_needs_a_rule_for_powershell_alone(url: str, account: Account, pwsh: str) -> None:
    plain = url.replace(f"sudo=1&exe={pwsh}&", "subsystem=root&")
    with sudo_rules(account, f"{{name}} ALL=(root) NOPASSWD: {pwsh} -sshs -NoLogo -NoProfile"):
        assert ["root", "root", "/root"] == asked(plain, WHO)
        with pytest.raises(ElevationFailed, match="a rule for all commands is needed"):
            asked(url, "1", Answers(account.password))
