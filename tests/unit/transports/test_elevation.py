"""sudo's words and the password: what is read, what is answered, and when. What the words are is the real shell's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shlex
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.credentials import Secret
from pskernel.errors import ElevationFailed, PromptUnavailable, TargetError
from pskernel.questions import Asker, NobodyToAsk
from pskernel.transports.elevation import Elevation, Handover
from tests.parts.sshd import Answers

RUNNING = b"running"


def handover(asker: Asker | None = None, secret: Secret | None = None, **changes: object) -> Handover:
    return Handover(Elevation("web01", **changes), asker=asker or Answers(), secret=secret)  # type: ignore[arg-type]


def prompt_of(it: Handover, who: str = "ann") -> bytes:
    """What sudo makes of its prompt (sudo's check.c, expand_prompt)."""
    pattern = it.argv[it.argv.index("-p") + 1]
    return pattern.replace("%%", "\0").replace("%p", who).replace("\0", "%").encode()


def marker_of(it: Handover, exe: str = "true") -> bytes:
    """What the shell writes that sudo starts, before it becomes the program."""
    at = it.argv.index("/bin/sh")
    words = [*it.argv[at : at + 4], exe]
    return subprocess.run(words, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"}).stderr


def settle(it: Handover, *heard: bytes, then: Callable[[list[bytes]], None] | None = None) -> list[bytes]:
    """Let it hear, and return what it wrote."""
    written: list[bytes] = []
    said = bytearray()

    def write(line: bytes) -> None:
        written.append(line)
        if then is not None:
            then(written)

    async def main() -> None:
        for piece in heard:
            said.extend(it.heard(piece))
        await it.settle(write, said.decode)

    asyncio.run(main())
    return written


def test_without_a_prompt_nothing_is_written() -> None:
    it = handover()
    assert [] == settle(it, b"a lecture\n", marker_of(it))
    assert "sudo without a password" == it.summary


def test_the_prompt_is_answered_and_nothing_else() -> None:
    asker = Answers("pw")
    it = handover(asker)
    assert [b"pw\n"] == settle(it, b"Password: ", prompt_of(it), b"\n", then=lambda _: it.heard(marker_of(it)))
    assert ["Password of ann for sudo on web01: "] == asker.texts
    assert asker.questions[0].secret
    assert "sudo with a password" == it.summary


def test_the_command_line_is_not_taken_for_its_words() -> None:
    """As a log of ssh's, or a shell with set -x, shows it."""
    it = handover()
    for shown in (it.command_line, shlex.join(it.argv), " ".join(it.argv)):
        line = f"debug1: Sending command: {shown}\n".encode()
        assert line == it.heard(line)
    assert [] == settle(it, marker_of(it))


@given(
    who=st.text("abz-_. \u00e4", max_size=20),
    before=st.binary(max_size=30),
    between=st.binary(max_size=30),
    cuts=st.lists(st.integers(0, 250), max_size=12),
)
def test_however_it_is_cut_the_words_are_found_and_the_rest_is_passed_on(
    who: str, before: bytes, between: bytes, cuts: list[int]
) -> None:
    it = handover(Answers("pw"))
    marker = MARKER[0].replace(MARKER[1], it._begin.encode()).replace(MARKER[2], it._end.encode())
    data = before + prompt_of(it, who) + between + marker + b"later"
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    passed = b"".join(it.heard(data[low:high]) for low, high in itertools.pairwise(edges))
    assert before + between + b"later" == passed
    assert it._wanted
    assert it._running
    assert who.strip() == it._who.strip()


_SAMPLE = handover()
MARKER = (marker_of(_SAMPLE), _SAMPLE._begin.encode(), _SAMPLE._end.encode())


@given(st.binary(max_size=400))
def test_nothing_that_others_write_is_a_word(data: bytes) -> None:
    it = handover()
    assert data == it.heard(data) + it._held
    assert not (it._wanted or it._running)


def test_a_secret_comes_first_and_is_tried_once() -> None:
    asker = Answers("second")
    it = handover(asker, Secret("first"))

    def then(written: list[bytes]) -> None:
        it.heard(b"Sorry, try again.\n" + prompt_of(it) if len(written) == 1 else marker_of(it))

    assert [b"first\n", b"second\n"] == settle(it, prompt_of(it), then=then)
    assert ["That was not accepted. Password of ann for sudo on web01: "] == asker.texts


def test_three_questions_and_no_more() -> None:
    asker = Answers("a", "b", "c", "d")
    it = handover(asker)
    with pytest.raises(ElevationFailed, match=r"sudo on web01 did not accept the password of ann\."):
        settle(it, prompt_of(it), then=lambda _: it.heard(prompt_of(it)) and None)
    assert 3 == len(asker.texts)


def test_nobody_to_ask() -> None:
    it = handover()
    with pytest.raises(
        PromptUnavailable, match=r"sudo on web01 wants a password, and nobody gave it\. Name one with the option"
    ):
        settle(it, prompt_of(it))
    # It is not even asked, so that no failed login is counted.
    it = handover(NobodyToAsk())
    it.over(1)
    with pytest.raises(
        PromptUnavailable, match=r"wants a password, and nobody gave it.* It says: sudo: Passwort n\u00f6tig"
    ):
        settle(it, "sudo: Passwort n\u00f6tig\n".encode())
    it = handover(secret=Secret("wrong"))
    with pytest.raises(PromptUnavailable, match="did not accept the password of ann that it was given"):
        settle(it, prompt_of(it), then=lambda _: it.heard(prompt_of(it)) and None)


@pytest.mark.parametrize("password", ["x" * 256, "two\nlines", "nul\0", "\udcff"])
def test_a_password_that_sudo_would_not_take_as_one_line(password: str) -> None:
    it = handover(secret=Secret(password))
    with pytest.raises(ElevationFailed) as caught:
        settle(it, prompt_of(it))
    assert "cannot be given to it" in str(caught.value)
    assert password not in str(caught.value)
    assert caught.value.__context__ is None


def test_255_bytes_are_taken() -> None:
    it = handover(secret=Secret("x" * 255))
    assert [b"x" * 255 + b"\n"] == settle(it, prompt_of(it), then=lambda _: it.heard(marker_of(it)) and None)


def test_an_answer_that_comes_too_late_is_not_written() -> None:
    class Slow:
        async def ask(self, question: object) -> str:
            it.over(1)
            return await asyncio.get_running_loop().create_future()

    it = handover(Slow())
    with pytest.raises(ElevationFailed, match=r"did not start PowerShell \(it exited with status 1\)"):
        settle(it, prompt_of(it))


def test_time_that_passes_without_a_word() -> None:
    it = handover(timeout=0.05)
    with pytest.raises(ElevationFailed, match=r"after 0.05 seconds\. It may want .* It says: Verification \| Code:"):
        settle(it, b"Verification\x1b[2J Code: ".replace(b"\x1b[2J ", b"\n"))


def test_the_time_in_which_the_user_types_does_not_count() -> None:
    class Slow:
        async def ask(self, question: object) -> str:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.2)
            return "pw"

    it = handover(Slow(), timeout=0.05)
    assert [b"pw\n"] == settle(it, prompt_of(it), then=lambda _: it.heard(marker_of(it)) and None)


def test_a_program_that_is_not_there() -> None:
    it = handover(exe="pwsh-7.9")
    said = marker_of(it, "pwsh-7.9")
    with pytest.raises(ElevationFailed) as caught:
        settle(it, said)
    assert (
        "There is no program pwsh-7.9 on web01 for root: sudo looks in /usr/bin:/bin. Say where it is: "
        "exe=/path/to/pwsh." == str(caught.value)
    )


@pytest.mark.parametrize(
    ("program", "status", "said", "told"),
    [
        ("sudo", 1, "ann is not in the sudoers file.", "does not let this user start PowerShell as root"),
        ("sudo", 1, "Sorry, user ann is not allowed to execute '/bin/sh' as root on web01.", "a rule for all commands"),
        ("sudo", 1, "sudo: sorry, you must have a tty to run sudo", "Defaults:NAME !requiretty"),
        ("sudo", 1, "sudo: unknown user: bob", "knows no user root: correct the option sudo_user"),
        ("sudo", 127, "bash: line 1: sudo: command not found", "There is no program sudo on web01"),
        ("sudo", 1, "sudo: /etc/sudo.conf is owned by uid 1", "did not start PowerShell (it exited with status 1)."),
        ("sudo", None, "", "did not start PowerShell."),
        ("doas", 1, "doas: Operation not permitted", "does not let this user start PowerShell as root"),
        ("doas", 1, "doas: Authentication required", "Have its rule say nopass"),
        ("doas", 1, "doas: doas is not enabled, /etc/doas.conf: No such file", "has no rules that it can use"),
    ],
)
def test_refusals_in_one_sentence_with_its_own_words(program: str, status: int | None, said: str, told: str) -> None:
    it = handover(program=program)
    it.over(status)
    with pytest.raises(ElevationFailed) as caught:
        settle(it, f"{'We trust you have received the usual lecture. ' * 40}\n{said}\n".encode())
    assert told in str(caught.value)
    assert (f"It says: {said}" in str(caught.value)) or ("| " + said in str(caught.value)) or not said
    assert len(str(caught.value)) < 800


def test_command_lines() -> None:
    at_sudo = handover(user="bob", arguments=("-NoLogo",)).argv
    assert ["sudo", "-S", "-p"] == at_sudo[:3]
    assert ["-H", "-u", "bob", "--", "/bin/sh", "-c"] == at_sudo[4:10]
    assert ["sh", "pwsh", "-s", "-NoLogo"] == at_sudo[11:]
    assert ["sudo", "-n", "-H", "-u", "root", "--"] == handover(NobodyToAsk()).argv[:6]
    assert "-S" in handover(NobodyToAsk(), Secret("x")).argv
    assert ["doas", "-n", "-u", "root", "/bin/sh", "-c"] == handover(program="doas").argv[:6]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_login_shells_read_the_words_as_they_are(shell: str) -> None:
    it = handover(exe="/opt/a b/pwsh", arguments=("$HOME", "`id`", "a;b", '"', "-File", "*"))
    line = it.command_line.replace("sudo ", "printf '%s\\n' ", 1)
    shown = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True).stdout
    assert "\n".join(it.argv[1:]) + "\n" == shown


@pytest.mark.parametrize("word", ["it's", "a\\b", "now!"])
def test_words_that_shells_read_differently_are_refused(word: str) -> None:
    with pytest.raises(TargetError, match="must not hold"):
        _ = handover(arguments=(word,)).command_line


def test_the_password_does_not_show() -> None:
    it = handover(secret=Secret("hunter2"))
    assert "hunter2" not in repr(it) + repr(vars(it)) + shlex.join(it.argv)
