"""Questions put on the terminal, if there is one."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys

from pskernel.cli.console import clean
from pskernel.errors import PromptUnavailable
from pskernel.questions import Asker, NobodyToAsk, Question

__all__ = ["TerminalAsker", "asker"]

_MAX_ANSWER = 4096


def asker() -> Asker:
    """Whoever can be asked: the person at the terminal, or nobody."""
    return TerminalAsker() if sys.stdin.isatty() else NobodyToAsk()


class TerminalAsker:
    """Asks on standard error and reads from standard input, which must be a terminal."""

    async def ask(self, question: Question) -> str:
        """Put the question. Secret answers are not shown as they are typed.

        Raises:
            PromptUnavailable: the input has ended (Ctrl+D).
        """
        text = clean(question.text)
        if sys.platform == "win32":
            return await asyncio.to_thread(getpass.getpass if question.secret else input, text)
        print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - a prompt has no end of line
        return await _read_line(sys.stdin.fileno(), echo=not question.secret)


if sys.platform != "win32":
    import termios

    async def _read_line(terminal: int, *, echo: bool) -> str:
        """Read a line. Not getpass in a thread: that cannot be interrupted, and would leave the terminal silent."""
        saved = termios.tcgetattr(terminal)
        if not echo:
            silent = termios.tcgetattr(terminal)
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        try:
            line = await _next_line(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, saved)
            if not echo:
                print(file=sys.stderr)  # noqa: T201 - the one the user typed was not shown
        if not line:
            raise PromptUnavailable("The answer was not given: the input ended. Run the command again.")
        return line.decode("utf-8", "replace").rstrip("\r\n")

    async def _next_line(terminal: int) -> bytes:
        loop = asyncio.get_running_loop()
        typed = asyncio.Event()
        loop.add_reader(terminal, typed.set)
        try:
            await typed.wait()
        finally:
            loop.remove_reader(terminal)
        # A terminal hands out whole lines.
        return os.read(terminal, _MAX_ANSWER)
