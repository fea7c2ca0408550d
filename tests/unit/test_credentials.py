"""Credential references, the places they name, and secrets that do not show themselves."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
import traceback
from pathlib import Path

import keyring
import keyring.backends.fail
import keyring.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.credentials import CredentialReference, Secret, resolve
from pskernel.errors import PromptUnavailable, TargetError
from pskernel.questions import NobodyToAsk, Question
from tests.parts.keyrings import Memory

QUESTION = Question("Password for admin@web01: ")
MARK = "Zq9secret"


class Answers:
    """An asker that knows the answer and counts the questions."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> str:
        self.asked.append(question)
        return self.answer


def fetch(text: str) -> str:
    return asyncio.run(resolve(CredentialReference.parse(text), NobodyToAsk(), QUESTION)).reveal()


def refusal(text: str) -> str:
    """The message, after checking that neither it nor what it is chained to shows the secret."""
    with pytest.raises(TargetError) as caught:
        fetch(text)
    assert MARK.lower() not in "".join(traceback.format_exception(caught.value)).lower()
    error: BaseException | None = caught.value
    while error is not None:
        assert MARK not in repr(error.args)
        error = error.__cause__ or error.__context__
    return str(caught.value)


# -- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("keyring:web servers", "keyring", "web servers"),
        ("KEYRING:a:b", "keyring", "a:b"),
        ("env:MY_PASSWORD", "env", "MY_PASSWORD"),
        ("file:/etc/secret", "file", "/etc/secret"),
        ("file:~/secret", "file", str(Path.home() / "secret")),
        ("file:~no-such-user-here/x", "file", "~no-such-user-here/x"),
        ("prompt", "prompt", ""),
        ("Prompt:", "prompt", ""),
    ],
)
def test_references(text: str, kind: str, name: str) -> None:
    reference = CredentialReference.parse(text)
    assert (reference.kind, reference.name) == (kind, name)
    assert CredentialReference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        MARK,
        f"vault:{MARK}",
        f"prompt:{MARK}",
        "keyring:",
        "keyring",
        f"keyring:{MARK}\n",
        "keyring:" + MARK * 100,
        "env:",
        f"env:{MARK} x",
        "env:1A",
        "env:A=B",
        "file:",
        f"file:{MARK}\0",
        "file:" + "x" * 5000,
    ],
)
def test_what_is_no_reference_is_refused_without_being_repeated(text: str) -> None:
    assert "keyring:NAME, env:NAME, file:PATH or prompt" in refusal(text)


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(st.text(), st.builds("{}:{}".format, st.sampled_from(["keyring", "env", "file", "prompt"]), st.text()))
)
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = CredentialReference.parse(text)
    except TargetError:
        return
    assert CredentialReference.parse(str(reference)) == reference


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(MARK)
    assert secret.reveal() == MARK
    assert [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        "".join(map(str, [secret])),
        repr([secret]),
    ] == [
        *["***"] * 6,
        "[***]",
    ]
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(MARK), protocol)


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy])
def test_a_secret_cannot_be_copied(function: object) -> None:
    assert callable(function)
    with pytest.raises(TypeError, match="copied"):
        function(Secret(MARK))


# -- prompt ----------------------------------------------------------------------------------------------------------


def test_prompt_asks_the_question() -> None:
    asker = Answers(MARK)
    secret = asyncio.run(resolve(CredentialReference.parse("prompt"), asker, QUESTION))
    assert secret.reveal() == MARK
    assert asker.asked == [QUESTION]


def test_prompt_with_nobody_to_ask() -> None:
    with pytest.raises(PromptUnavailable):
        fetch("prompt")


# -- environment -----------------------------------------------------------------------------------------------------


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TEST_SECRET", MARK)
    asker = Answers("other")
    assert asyncio.run(resolve(CredentialReference.parse("env:PSKERNEL_TEST_SECRET"), asker, QUESTION)).reveal() == MARK
    assert asker.asked == []


def test_env_unset_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSKERNEL_TEST_SECRET", raising=False)
    assert "PSKERNEL_TEST_SECRET is not set" in refusal("env:PSKERNEL_TEST_SECRET")
    monkeypatch.setenv("PSKERNEL_TEST_SECRET", "")
    assert "is empty" in refusal("env:PSKERNEL_TEST_SECRET")


# -- files -----------------------------------------------------------------------------------------------------------


def make(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return f"file:{path}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b" p w \n", " p w "),
        ("pässword".encode(), "pässword"),
        (b"x" * 65536, "x" * 65536),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_file(tmp_path: Path, content: bytes, expected: str, mode: int) -> None:
    assert fetch(make(tmp_path, content, mode)) == expected


def test_file_behind_a_link(tmp_path: Path) -> None:
    make(tmp_path, b"pw")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    assert fetch(f"file:{tmp_path}/link") == "pw"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666])
def test_file_that_others_can_reach(tmp_path: Path, mode: int) -> None:
    message = refusal(make(tmp_path, MARK.encode(), mode))
    assert f"chmod 600 {tmp_path}/secret" in message


def test_the_advice_about_the_mode_is_safe_to_paste(tmp_path: Path) -> None:
    path = tmp_path / "a b;c"
    path.write_bytes(b"x")
    path.chmod(0o644)
    assert f"chmod 600 '{path}'" in refusal(f"file:{path}")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (MARK.encode() * 8000, "larger than 65536 bytes"),
        (MARK.encode() + b"\xff", "not UTF-8"),
        (b"", "is empty"),
        (b"\n", "is empty"),
    ],
)
def test_file_with_unusable_content(tmp_path: Path, content: bytes, part: str) -> None:
    assert part in refusal(make(tmp_path, content))


def test_file_that_is_missing_or_no_file(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(f"file:{tmp_path}/none")
    assert "Is a directory" in refusal(f"file:{tmp_path}")
    assert "not name a regular file" in refusal("file:/dev/zero")


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not name a regular file" in refusal(f"file:{tmp_path}/pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user(tmp_path: Path) -> None:
    text = make(tmp_path, MARK.encode())
    os.chown(tmp_path / "secret", 12345, 12345)
    assert "belongs to another user" in refusal(text)


def test_no_file_is_left_open(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    refusal(f"file:{tmp_path}")
    refusal(make(tmp_path, b"x", 0o644))
    assert set(Path("/proc/self/fd").iterdir()) == before


# -- keyring ---------------------------------------------------------------------------------------------------------


def test_keyring(memory: Memory) -> None:
    keyring.set_password("pskernel", "web servers", MARK)
    assert fetch("keyring:web servers") == MARK
    assert memory.threads != [threading.get_ident()]


def test_keyring_without_the_entry(memory: Memory) -> None:
    keyring.set_password("other", "web", MARK)
    assert "pskernel credential set web" in refusal("keyring:web")
    assert "pskernel credential set 'a b;c'" in refusal("keyring:a b;c")
    assert "pskernel credential set -- -web" in refusal("keyring:-web")
    keyring.set_password("pskernel", "web", "")
    assert "is empty" in refusal("keyring:web")


@pytest.mark.parametrize(
    "failure", [keyring.errors.KeyringLocked(MARK), keyring.errors.InitError(MARK), OSError(MARK), ValueError(MARK)]
)
def test_keyring_that_fails(memory: Memory, failure: Exception) -> None:
    memory.failure = failure
    message = refusal("keyring:web")
    assert type(failure).__name__ in message
    assert "keyring diagnose" in message


def test_a_machine_without_a_keyring(memory: Memory) -> None:
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    assert "(NoKeyringError)" in refusal("keyring:web")
