"""Questions on a terminal: a real one, made by the operating system."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pskernel.cli import ask
from pskernel.cli.ask import TerminalAsker, asker
from pskernel.errors import PromptUnavailable
from pskernel.questions import NobodyToAsk, Question


@dataclass
class Terminal:
    keyboard: int
    screen: int

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.screen)[3] & termios.ECHO)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()
    with os.fdopen(screen, "r", closefd=False) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield Terminal(keyboard, screen)
    os.close(keyboard)
    os.close(screen)


async def answer(terminal: Terminal, question: Question, typed: bytes) -> tuple[str, bool]:
    """Type an answer once the question waits for it; return what was read, and whether the typing was shown."""
    asking = asyncio.create_task(TerminalAsker().ask(question))
    await asyncio.sleep(0)
    echoed = terminal.echoes
    os.write(terminal.keyboard, typed)
    return await asking, echoed


def test_a_secret_is_read_without_being_shown(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    said, echoed = asyncio.run(answer(terminal, Question("Password for web01: "), "grün hat = blau\n".encode()))
    assert said == "grün hat = blau"
    assert not echoed
    assert terminal.echoes
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Password for web01: \n")


def test_what_is_not_secret_is_shown_as_it_is_typed(terminal: Terminal) -> None:
    assert asyncio.run(answer(terminal, Question("yes/no? ", secret=False), b"yes\n")) == ("yes", True)


def test_an_empty_answer_is_one(terminal: Terminal) -> None:
    assert asyncio.run(answer(terminal, Question("Password: "), b"\n"))[0] == ""


def test_the_end_of_input_is_no_answer(terminal: Terminal) -> None:
    with pytest.raises(PromptUnavailable):
        asyncio.run(answer(terminal, Question("Password: "), b"\x04"))
    assert terminal.echoes


def test_a_server_cannot_write_to_the_terminal_with_its_question(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(answer(terminal, Question("\x1b]0;owned\x07Code\x1b[2J: "), b"1\n"))
    assert capsys.readouterr().err == "Code: \n"


def test_an_interrupt_ends_the_question_and_gives_the_echo_back(terminal: Terminal) -> None:
    async def main() -> None:
        asking = asyncio.create_task(TerminalAsker().ask(Question("Password: ")))
        await asyncio.sleep(0)
        assert not terminal.echoes
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()

    asyncio.run(main())
    assert terminal.echoes


def test_the_one_at_the_terminal_is_asked_and_otherwise_nobody(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(asker(), TerminalAsker)
    with Path(os.devnull).open() as null:
        monkeypatch.setattr(ask.sys, "stdin", null)
        assert isinstance(asker(), NobodyToAsk)
