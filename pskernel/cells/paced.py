"""A cell's text on its way to the front end: batched, paced, and cut in the middle when there is too much of it.

jupyter_server drops stream output above 1 MB/s or 1,000 messages/s (averaged over 3 s) and leaves only a warning in its
place. So output is sent below those rates, and the waiting reaches back to the remote, which stops writing. Beyond a
size that nobody reads in a notebook, the rest goes to a file and the cell shows its head and its tail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pskernel.render.text import StreamName, StreamText

__all__ = ["CellOutput", "Limits"]

# 20 batches a second: what a person sees as continuous, and no text is held longer.
_HOLD_SECONDS = 0.05
_BATCH_CHARACTERS = 64 * 1024
# A message costs headers, a signature and the server's per-message limit, however short its text.
_MESSAGE_BYTES = 1500
# How far ahead of the rate a burst may run. Burst + 3 s of rate must stay below the server's 3 MB window.
_BURST_BYTES = 1_000_000
_TAIL_LINES = 100
_TAIL_CHARACTERS = 64 * 1024
# A command that never ends must not fill the disk of the machine it is watched from.
_LOG_CHARACTERS = 1024**3
_KEEP_LOG_SECONDS = 14 * 24 * 3600


class Limits:
    """How fast and how much.

    Args:
        rate: bytes a second to the front end on average; 0 for no limit.
        size: bytes of one cell shown before the rest goes to a file; 0 for no limit.
        log_folder: where that file is made.
    """

    def __init__(self, rate: int, size: int, log_folder: Path) -> None:
        self.rate = rate
        self.size = size
        self.log_folder = log_folder


class CellOutput:
    """The output of one cell.

    Args:
        send: sends one stream message.
        limits: see :class:`Limits`.
        clear: sends the message that clears what was shown.
    """

    def __init__(
        self,
        send: Callable[[StreamName, str], None],
        limits: Limits,
        clear: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._clear = clear
        self._limits = limits
        self._stream: StreamName = "stdout"
        self._held: list[str] = []
        self._held_characters = 0
        self._held_since = 0.0
        self._last_flush = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._allowance = float(_BURST_BYTES)
        self._allowance_at = time.monotonic()
        self._shown_bytes = 0
        self._overflow: _Overflow | None = None
        self._head: list[str] = []

    async def write(self, piece: StreamText) -> None:
        """Add text. Returns at once unless the front end's rate is used up."""
        if piece.stream != self._stream and self._held:
            await self._flush()
        if self._overflow is not None:
            self._overflow.write(piece.text, piece.stream)
            return
        self._stream = piece.stream
        if not self._held:
            self._held_since = time.monotonic()
        # One text may be of any size, and a message above the server's limit is dropped whole.
        self._held.extend(
            piece.text[at : at + _BATCH_CHARACTERS] for at in range(0, len(piece.text), _BATCH_CHARACTERS)
        )
        self._held_characters += len(piece.text)
        if self._held_characters >= _BATCH_CHARACTERS:
            await self._flush()
        elif self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_soon())

    async def flush(self) -> None:
        """Send what is held back now: a question follows."""
        await self._flush()

    async def clear(self) -> None:
        """The remote has cleared its screen: the front end drops what it shows when something else comes."""
        await self._flush()
        self._clear()

    def spill(self, why: str) -> None:
        """The user interrupted: from here on show only the tail, and wait for no allowance any more."""
        self._hurry.set()
        self._begin_overflow(why)

    async def finish(self) -> None:
        """Send what is held back, and the tail if there was too much. Nothing may be written after this."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            self._flusher = None
        await self._flush()
        if self._overflow is not None:
            for stream, text in self._overflow.close():
                await self._wait_for_allowance(_cost(text))
                self._send(stream, text)

    async def _flush_soon(self) -> None:
        # The first line after a pause goes out at once; a stream of them waits for company.
        due = max(self._last_flush, self._held_since) + _HOLD_SECONDS
        if time.monotonic() - self._last_flush > _HOLD_SECONDS:
            due = 0.0
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        self._flusher = None
        await self._flush()

    async def _flush(self) -> None:
        async with self._sending:
            while self._held:
                stream, text = self._stream, self._take()
                if self._limits.size:
                    self._head.append(text)
                await self._wait_for_allowance(_cost(text))
                self._last_flush = time.monotonic()
                self._send(stream, text)
                self._shown_bytes += _cost(text)
                if self._limits.size and self._shown_bytes > self._limits.size:
                    self._begin_overflow("too long for a notebook")

    def _take(self) -> str:
        """The next message's worth of what is held."""
        count = characters = 0
        for text in self._held:
            if count and characters + len(text) > _BATCH_CHARACTERS:
                break
            count += 1
            characters += len(text)
        taken, self._held = self._held[:count], self._held[count:]
        self._held_characters -= characters
        return "".join(taken)

    async def _wait_for_allowance(self, size: int) -> None:
        if not self._limits.rate:
            return
        now = time.monotonic()
        earned = (now - self._allowance_at) * self._limits.rate
        self._allowance = min(float(_BURST_BYTES), self._allowance + earned) - size
        self._allowance_at = now
        if self._allowance < 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(-self._allowance / self._limits.rate):
                    await self._hurry.wait()

    def _begin_overflow(self, why: str) -> None:
        if self._overflow is None:
            self._overflow = _Overflow(why, self._limits.log_folder, self._head, whole=bool(self._limits.size))
            for text in self._held:
                self._overflow.write(text, self._stream)
            self._head, self._held, self._held_characters = [], [], 0


class _Overflow:
    """The part of an output that is not shown: written to a file behind ``head``, its last lines kept."""

    def __init__(self, why: str, folder: Path, head: list[str], *, whole: bool) -> None:
        self._why = why
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._problem = ""
        self._what = "the whole output" if whole else "the output from here on"
        self._lines = 0
        self._characters = 0
        self._tail: deque[tuple[StreamName, str]] = deque()
        self._stream: StreamName = "stdout"
        self._tail_characters = 0
        self._rest = ""
        try:
            self._file = _log_file(folder)
            self._path = Path(self._file.name)
            self._file.writelines(head)
        except OSError as error:
            self._problem = f"it could not be kept in a file: {error.strerror}"

    def write(self, text: str, stream: StreamName) -> None:
        if stream != self._stream and self._rest:
            self._keep(self._rest)
            self._rest = ""
        self._stream = stream
        self._characters += len(text)
        if self._file is not None and self._characters > _LOG_CHARACTERS:
            self._incomplete("it would grow too large")
        if self._file is not None:
            try:
                self._file.write(text)
            except OSError as error:
                self._incomplete(str(error.strerror))
        lines = (self._rest + text).split("\n")
        # A line without an end must not grow without bound.
        self._rest = lines.pop()[-_TAIL_CHARACTERS:]
        for line in lines:
            self._keep(f"{line}\n")

    def close(self) -> list[tuple[StreamName, str]]:
        """The texts that end the cell's output, each for its stream."""
        if self._rest:
            self._keep(self._rest)
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._incomplete(str(error.strerror))
        tail = [(s, "".join(line for _, line in lines)) for s, lines in groupby(self._tail, key=itemgetter(0))]
        shown = sum(len(text) for _, text in tail)
        if self._characters == shown:
            # All of it is shown after all.
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            return tail
        lines = self._lines - len(self._tail)
        left_out = f"{lines:,} lines" if lines else f"{self._characters - shown:,} characters"
        where = self._problem or f"{self._what} is in {self._path}"
        return [("stdout", f"\n… {left_out} are left out here ({self._why}); {where} …\n\n"), *tail]

    def _incomplete(self, why: str) -> None:
        self._problem = f"the file {self._path} is incomplete: {why}"
        if self._file is not None:
            # Its buffer holds what could not be written, and would be tried again.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _keep(self, line: str) -> None:
        self._lines += 1
        line = line[-_TAIL_CHARACTERS:]
        self._tail.append((self._stream, line))
        self._tail_characters += len(line)
        while len(self._tail) > _TAIL_LINES or self._tail_characters > _TAIL_CHARACTERS:
            self._tail_characters -= len(self._tail.popleft()[1])


def _cost(text: str) -> int:
    """Bytes of a message with this text, generously."""
    return len(json.dumps(text)) + _MESSAGE_BYTES


def _log_file(folder: Path) -> IO[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    horizon = time.time() - _KEEP_LOG_SECONDS
    for old in folder.glob("cell-*.log"):
        if old.stat().st_mtime < horizon:
            old.unlink(missing_ok=True)
    handle, path = tempfile.mkstemp(prefix=time.strftime("cell-%Y%m%d-%H%M%S-"), suffix=".log", dir=folder)
    # mkstemp makes the file readable by its owner alone.
    os.close(handle)
    return Path(path).open("a", encoding="utf-8", errors="surrogatepass")
