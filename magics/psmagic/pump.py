"""A remote cell, run from IPython's thread: what it shows and asks happens here, and Ctrl+C stops it there."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import queue
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pskernel.errors import PromptUnavailable
from pskernel.questions import Question
from pskernel.render.ansi import neutralise, strip
from pskernel.render.text import StreamText

if TYPE_CHECKING:
    from pskernel.remoting.loop import LoopThread
    from psmagic.progress import Progress

__all__ = ["Pump"]

_T = TypeVar("_T")
# How long the queue is waited for at a time: on Windows nothing else lets Ctrl+C in.
_POLL_SECONDS = 0.1
_MAX_PROMPT = 2000
# What may wait to be printed, before the remote is made to wait.
_MAX_QUEUED = 200


@dataclass(frozen=True, slots=True)
class _Ask:
    question: Question
    answer: asyncio.Future[str]


@dataclass(frozen=True, slots=True)
class _Draw:
    progress: Progress
    kind: str
    content: dict[str, Any]


class Pump:
    """Carries text and questions from the session's loop to the user's thread.

    It is a :class:`pskernel.cells.output.Output` and a :class:`pskernel.questions.Asker`, used on the loop, while
    :meth:`run` waits on the user's thread.

    Args:
        loop: where sessions live.
        interactive: whether the user can be asked.
        progress: draws progress.
    """

    def __init__(self, loop: LoopThread, *, interactive: bool = True, progress: Progress | None = None) -> None:
        self._loop = loop
        self._progress = progress
        self._interactive = interactive
        self._queue: queue.Queue[StreamText | _Ask | _Draw | None] = queue.Queue()
        self._hurry = False
        self._drained = asyncio.Event()

    def run(self, work: Coroutine[Any, Any, _T], interrupt: Callable[[], object] | None = None) -> _T:
        """Run a coroutine on the loop to its end, and serve it meanwhile.

        Args:
            work: what to run.
            interrupt: called on the loop at Ctrl+C; the work is expected to end then. Without one it is cancelled.

        Raises:
            KeyboardInterrupt: the work was cancelled by it.
            OSError: what it writes cannot be shown; it was interrupted, and has ended.
        """
        if interrupt is None:
            work, interrupt = _cancellable(work)
        future = self._loop.start(work)
        future.add_done_callback(lambda _: self._queue.put(None))
        while True:
            try:
                if self._serve(future):
                    break
            except KeyboardInterrupt:
                self._loop.call(interrupt)
            except BaseException:
                # Whoever is gone on without would go on running, and wait for a reader that is not there.
                self._abandon(future, interrupt)
                raise
        try:
            return future.result()
        except CancelledError:
            raise KeyboardInterrupt from None

    def _abandon(self, future: Future[Any], interrupt: Callable[[], object]) -> None:
        self._interactive = False
        self._loop.call(lambda: self.spill("it cannot be shown"))
        self._loop.call(interrupt)
        while not future.done():
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=_POLL_SECONDS)
                if isinstance(item, _Ask):
                    self._resolve(item, PromptUnavailable("It cannot be asked."))

    def _serve(self, future: Future[Any]) -> bool:
        """Handle what is next. Returns whether the work is over."""
        try:
            item = self._queue.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            # The last word is lost where Ctrl+C came just behind it.
            return future.done() and self._queue.empty()
        if self._queue.qsize() < _MAX_QUEUED // 2:
            self._loop.call(self._drained.set)
        if item is None:
            return future.done()
        if isinstance(item, _Draw):
            item.progress.show(item.kind, item.content)
            return False
        if self._progress is not None:
            self._progress.make_room()
        if isinstance(item, StreamText):
            _print(item)
            return False
        self._answer(item)
        return False

    def _answer(self, ask: _Ask) -> None:
        if ask.answer.done():
            return  # another host's question was interrupted, and with it this one
        text = strip(neutralise(ask.question.text))[:_MAX_PROMPT]
        try:
            value = getpass.getpass(text) if ask.question.secret else input(text)
        except EOFError:
            self._resolve(ask, PromptUnavailable(f"{text.rstrip(': ')}: the prompt was closed without an answer."))
        except Exception as error:  # noqa: BLE001 - a front end without stdin raises its own
            self._resolve(ask, PromptUnavailable(f"{text.rstrip(': ')}: it cannot be asked ({type(error).__name__})."))
        else:
            self._resolve(ask, value)

    def _resolve(self, ask: _Ask, answer: str | Exception) -> None:
        def settle() -> None:
            if ask.answer.done():
                return  # the question was withdrawn
            if isinstance(answer, Exception):
                ask.answer.set_exception(answer)
            else:
                ask.answer.set_result(answer)

        self._loop.call(settle)

    # On the loop.

    def draw(self, kind: str, content: dict[str, Any]) -> None:
        """Show progress, where that is drawn."""
        if self._progress is not None:
            self._queue.put(_Draw(self._progress, kind, content))

    async def write(self, piece: StreamText) -> None:
        """Show text; a slow terminal makes the remote wait."""
        self._queue.put(piece)
        if self._queue.qsize() > _MAX_QUEUED and not self._hurry:
            self._drained.clear()
            await self._drained.wait()

    async def flush(self) -> None:
        """Nothing is held back."""

    async def clear(self) -> None:
        """A terminal keeps what it has shown."""

    def spill(self, why: str) -> None:  # noqa: ARG002 - the protocol's signature
        """The user wants it to end: wait for the terminal no more."""
        self._hurry = True
        self._drained.set()

    async def ask(self, question: Question) -> str:
        """Put a question to the user.

        Raises:
            PromptUnavailable: nobody can be asked, or the prompt was closed.
        """
        if not self._interactive:
            raise PromptUnavailable(f"{question.text.rstrip(': ')}: this run cannot ask.")
        ask = _Ask(question, asyncio.get_running_loop().create_future())
        self._queue.put(ask)
        return await ask.answer


def _cancellable(work: Coroutine[Any, Any, _T]) -> tuple[Coroutine[Any, Any, _T], Callable[[], object]]:
    """Work, and what cancels it; what it does then to clean up is waited for."""
    running: list[asyncio.Task[Any] | None] = []

    async def run() -> _T:
        running.append(asyncio.current_task())
        return await work

    def cancel() -> None:
        if not running:
            # It is about to begin.
            asyncio.get_running_loop().call_soon(cancel)
        elif running[0] is not None:
            running[0].cancel()

    return run(), cancel


def _print(piece: StreamText) -> None:
    file = sys.stderr if piece.stream == "stderr" else sys.stdout
    try:
        print(piece.text, end="", file=file, flush=True)
    except UnicodeEncodeError:
        # A terminal without Unicode: what it does not have is shown by its number.
        encoding = file.encoding or "ascii"
        print(piece.text.encode(encoding, "backslashreplace").decode(encoding), end="", file=file, flush=True)
