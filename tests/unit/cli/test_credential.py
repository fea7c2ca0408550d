"""``pskernel credential``: as one person types it at a terminal, and as a script calls it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.errors
import pexpect
import pytest
import typer.main

from pskernel.cli.app import app
from pskernel.credentials import CredentialReference, Index
from tests.parts.keyrings import Memory
from tests.unit.cli.conftest import Invoke, Result

ROOT = Path(__file__).parents[3]
MARK = "Zq9secret"
MAIN = [sys.executable, "-c", "from pskernel.cli.app import main; main()"]


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Index()


def refused(result: Result) -> str:
    """The one line of an error, which does not show the password."""
    assert (2, "") == (result.status, result.stdout)
    assert MARK not in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("pskernel: ")
    return line


# -- the logic, with a keyring in memory -----------------------------------------------------------------------------


def test_there_is_no_option_that_takes_a_password() -> None:
    command = typer.main.get_command(app).commands["credential"].commands["set"]  # type: ignore[attr-defined]
    assert {"name", "user", "help"} == {
        parameter.name for parameter in command.get_params(command.make_context("set", ["x"]))
    }


def test_a_password_on_the_command_line_is_refused_without_being_repeated(invoke: Invoke, memory: Memory) -> None:
    assert "never taken from the command line" in refused(invoke("credential", "set", "web01", MARK))
    assert "without a colon" in refused(invoke("credential", "set", "web01", "--user", f"admin:{MARK}"))
    for option in (("--password", MARK), (f"--password={MARK}",), (f"-p{MARK}",)):
        result = invoke("credential", "set", "web01", *option)
        assert 2 == result.status
        assert MARK not in result.stdout + result.stderr
    assert {} == memory.passwords


@pytest.mark.parametrize("verb", ["set", "remove"])
@pytest.mark.parametrize("name", ["", "a\nb", "x" * 257])
def test_a_name_that_is_none_is_refused(invoke: Invoke, memory: Memory, verb: str, name: str) -> None:
    assert "1 to 256 printable characters" in refused(invoke("credential", verb, name))


def test_the_list_says_what_the_keyring_still_has(invoke: Invoke, memory: Memory, index: Index) -> None:
    for name, user in (("web02", None), ("web01", "admin")):
        index.put(CredentialReference("keyring", name), user)
    keyring.set_password("pskernel", "web01", MARK)
    keyring.set_password("pskernel", "unlisted", MARK)

    result = invoke("credential", "list")

    assert (0, "") == (result.status, result.stderr)
    assert [["web01", "admin", "yes"], ["web02", "-", "no"]] == result.rows


def test_an_empty_list_says_how_to_begin(invoke: Invoke) -> None:
    result = invoke("credential", "list")
    assert (0, "") == (result.status, result.stdout)
    assert "`pskernel credential set NAME`" in result.stderr


def test_removing_takes_whatever_there_is_of_a_credential(invoke: Invoke, memory: Memory, index: Index) -> None:
    both, listed = CredentialReference("keyring", "both"), CredentialReference("keyring", "listed")
    for reference in (both, listed):
        index.put(reference, None)
    keyring.set_password("pskernel", "both", MARK)
    keyring.set_password("pskernel", "unlisted", MARK)

    assert "Removed keyring:both.\n" == invoke("credential", "remove", "both").stdout
    assert "no longer had its password" in invoke("credential", "remove", "listed").stdout
    assert "Removed keyring:unlisted.\n" == invoke("credential", "remove", "unlisted").stdout

    assert ({}, {}) == (index.read(), memory.passwords)
    assert "There is no credential keyring:both." in refused(invoke("credential", "remove", "both"))


def test_a_keyring_that_cannot_be_used_is_one_sentence_and_the_list_is_shown(
    invoke: Invoke, memory: Memory, index: Index
) -> None:
    for name in ("web01", "web02"):
        index.put(CredentialReference("keyring", name), None)
    memory.failure = keyring.errors.KeyringLocked(MARK)

    result = invoke("credential", "list")

    assert [["web01", "-", "unknown"], ["web02", "-", "unknown"]] == result.rows
    assert 2 == result.status
    assert 1 == len(memory.threads)
    assert MARK not in result.stderr
    for said in (result.stderr, refused(invoke("credential", "remove", "web01"))):
        assert "(KeyringLocked). See what `keyring diagnose` says" in said
    assert {"web01", "web02"} == set(index.read())


def test_a_damaged_index_stays_as_it_is_when_a_credential_is_listed_or_removed(
    invoke: Invoke, memory: Memory, index: Index
) -> None:
    index.path.parent.mkdir(parents=True)
    index.path.write_text("{")
    keyring.set_password("pskernel", "web01", MARK)
    assert "is damaged" in refused(invoke("credential", "list"))
    assert "is removed, but may still be listed" in refused(invoke("credential", "remove", "web01"))
    assert {} == memory.passwords
    assert "is damaged" in refused(invoke("credential", "remove", "web01"))
    assert "{" == index.path.read_text()


# -- as a script calls it --------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "tests.parts.keyrings.FileKeyring",
        "PSKERNEL_TEST_KEYRING": str(tmp_path / "keyring.json"),
    }


def call(environment: dict[str, str], *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    ended = subprocess.run(
        [*MAIN, "credential", *arguments], input=given, capture_output=True, env=environment, check=False
    )
    assert MARK.encode() not in ended.stdout + ended.stderr
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def kept(environment: dict[str, str]) -> dict[str, str]:
    path = Path(environment["PSKERNEL_TEST_KEYRING"])
    passwords: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return passwords


def test_a_script_stores_lists_uses_and_removes_a_credential(environment: dict[str, str], index: Index) -> None:
    assert (0, "Stored keyring:web 01 for DOM\\admin.\n", "") == call(
        environment, "set", "web 01", "--user", "DOM\\admin", given=f" {MARK} ä\r\nnext line\n".encode()
    )
    assert {"pskernel/web 01": f" {MARK} ä"} == kept(environment)
    assert MARK not in index.path.read_text()
    assert (0, "web 01\tDOM\\admin\tyes\n", "") == call(environment, "list")

    script = (
        "from pskernel import PSCredential; c = PSCredential.from_keyring('web 01'); print(c, len(c.password.reveal()))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert f"PSCredential(user_name='DOM\\\\admin', password=***) {len(MARK) + 3}\n" == shown.stdout

    assert (0, "Stored keyring:web 01 for DOM\\admin.\n", "") == call(environment, "set", "web 01", given=b"other")
    assert {"pskernel/web 01": "other"} == kept(environment)
    assert (0, "Removed keyring:web 01.\n", "") == call(environment, "remove", "web 01")
    assert {} == kept(environment) == index.read()
    status, out, error = call(environment, "remove", "web 01")
    assert (2, "") == (status, out)
    assert (
        "pskernel: There is no credential keyring:web 01. `pskernel credential list` shows those there are.\n" == error
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", "No password was given."),
        (b"\n", "No password was given."),
        (f"{MARK}\xff\n".encode("latin-1"), "The password is not UTF-8 text."),
        (MARK.encode() * 8000, "The password is longer than 65536 bytes."),
    ],
)
def test_input_that_is_no_password_stores_nothing(
    environment: dict[str, str], index: Index, given: bytes, expected: str
) -> None:
    assert (2, "", f"pskernel: {expected} Nothing was stored.\n") == call(environment, "set", "web01", given=given)
    assert {} == kept(environment) == index.read()


def test_a_closed_input_is_no_password(environment: dict[str, str]) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *MAIN, "credential", "set", "web01"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (2, b"pskernel: No password was given. Nothing was stored.\n") == (ended.returncode, ended.stderr)


def test_a_damaged_index_is_kept_beside_a_new_one(environment: dict[str, str], index: Index) -> None:
    index.path.parent.mkdir(parents=True)
    index.path.write_text("{")
    status, out, error = call(environment, "set", "web01", given=MARK.encode())
    assert (0, "Stored keyring:web01.\n") == (status, out)
    assert f"it is kept as {index.path}.damaged-1," in error
    assert "{" == Path(f"{index.path}.damaged-1").read_text()
    assert {"web01": None} == index.read()


def test_an_index_that_cannot_be_written_is_no_lost_password(environment: dict[str, str], index: Index) -> None:
    index.path.parent.parent.mkdir(parents=True)
    index.path.parent.touch()
    status, out, error = call(environment, "set", "web01", given=MARK.encode())
    assert (2, "") == (status, out)
    assert error.startswith(
        "pskernel: The password of keyring:web01 is stored, but not listed. The index of credentials"
    )
    assert {"pskernel/web01": MARK} == kept(environment)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("keyring.backends.fail.Keyring", "cannot store the credential keyring:web01 (NoKeyringError). See what"),
        (
            "keyring.backends.null.Keyring",
            "does not keep the credential keyring:web01 (it was read back and is another)",
        ),
        ("no.such.module.Keyring", "cannot store the credential keyring:web01 (ModuleNotFoundError). See what"),
    ],
)
def test_a_machine_without_a_keyring_says_what_to_use_instead(
    environment: dict[str, str], index: Index, backend: str, expected: str
) -> None:
    status, out, error = call({**environment, "PYTHON_KEYRING_BACKEND": backend}, "set", "web01", given=MARK.encode())
    assert (2, "", 1) == (status, out, len(error.splitlines()))
    assert expected in error
    assert "use env:NAME, file:PATH or prompt" in error
    assert {} == index.read()


# -- as a person types it --------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        MAIN[0],
        [*MAIN[1:], "credential", "set", "web01", "--user", "admin"],
        env=environment,
        timeout=60,
        encoding="utf-8",
        # Where tests run in the background, Ctrl+C is ignored from the start, by children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    child.logfile_read = io.StringIO()
    yield child
    child.close(force=True)


def finish(child: pexpect.spawn) -> tuple[int | None, str]:
    child.expect(pexpect.EOF)
    child.close()
    shown = child.logfile_read.getvalue()
    assert MARK not in shown
    return child.exitstatus, re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")


def answer(child: pexpect.spawn, question: str, text: str) -> None:
    child.expect_exact(question)
    child.waitnoecho()
    child.sendline(text)


def test_a_person_types_the_password_twice_and_does_not_see_it(
    terminal: pexpect.spawn, environment: dict[str, str]
) -> None:
    answer(terminal, "Password for keyring:web01: ", MARK)
    answer(terminal, "The same again: ", MARK)
    assert (0, "Password for keyring:web01: \nThe same again: \nStored keyring:web01 for admin.\n") == finish(terminal)
    assert {"pskernel/web01": MARK} == kept(environment)


def test_a_slip_of_the_finger_stores_nothing(terminal: pexpect.spawn, environment: dict[str, str]) -> None:
    answer(terminal, "Password for keyring:web01: ", MARK)
    answer(terminal, "The same again: ", MARK + "x")
    status, shown = finish(terminal)
    assert 2 == status
    assert shown.endswith("pskernel: The two passwords are not the same. Nothing was stored.\n")
    assert {} == kept(environment)


def test_ctrl_c_at_the_question_stores_nothing(terminal: pexpect.spawn, environment: dict[str, str]) -> None:
    answer(terminal, "Password for keyring:web01: ", MARK)
    terminal.expect_exact("The same again: ")
    terminal.waitnoecho()
    terminal.sendintr()
    status, shown = finish(terminal)
    assert 130 == status
    assert "Traceback" not in shown
    assert {} == kept(environment)
