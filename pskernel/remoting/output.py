"""Where the text of scripts goes that run beside the user's cells: kept for later, or marked with its host."""

from __future__ import annotations

import re

from pskernel.cells.output import Output
from pskernel.render.text import StreamName, StreamText

__all__ = ["Kept", "Labelled"]

# What a terminal takes for the end of a line, or goes back to its beginning for: a host could write another's label.
_LINE_END = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_MAX_LINE = 64 * 1024
# Of text, until somebody takes it.
_MAX_CHARACTERS = 64 * 1024 * 1024


class Kept:
    """Keeps text until it is taken; from the last 64 million characters on, no more of it."""

    def __init__(self) -> None:
        self._pieces: list[StreamText] = []
        self._room = _MAX_CHARACTERS
        self._full = False

    def take(self) -> list[StreamText]:
        """What has come since the last time."""
        pieces = self.peek()
        self.drop(len(pieces))
        return pieces

    def peek(self) -> list[StreamText]:
        """The same, and it stays."""
        return list(self._pieces)

    def drop(self, count: int) -> None:
        """The first ones have been taken."""
        self._room += sum(len(piece.text) for piece in self._pieces[:count])
        del self._pieces[:count]
        if not self._pieces:
            self._room, self._full = _MAX_CHARACTERS, False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._pieces

    async def write(self, piece: StreamText) -> None:
        """Keep text."""
        self._room -= len(piece.text)
        if self._room > 0:
            self._pieces.append(piece)
        elif not self._full:
            self._full = True
            self._pieces.append(StreamText("stderr", "More text than can be kept came; it is left out from here on.\n"))

    async def flush(self) -> None:
        """Nothing is held back."""

    async def clear(self) -> None:
        """What is kept is no screen."""

    def spill(self, why: str) -> None:
        """Nobody waits for it."""


class Labelled:
    """Passes text on in whole lines, each with its host in front.

    Args:
        inner: where to.
        host: the host.
    """

    def __init__(self, inner: Output, host: str) -> None:
        self._inner = inner
        self._label = f"[{host}] "
        self._begun: dict[StreamName, str] = {"stdout": "", "stderr": ""}

    async def write(self, piece: StreamText) -> None:
        """Pass on the lines that are complete, or too long to wait for their end."""
        text = self._begun[piece.stream] + _LINE_END.sub("\n", piece.text)
        *lines, rest = text.split("\n")
        if len(rest) > _MAX_LINE:
            lines, rest = [*lines, rest], ""
        self._begun[piece.stream] = rest
        if lines:
            labelled = "".join(f"{self._label}{line}\n" for line in lines)
            await self._inner.write(StreamText(piece.stream, labelled, is_error=piece.is_error))

    async def flush(self) -> None:
        """Pass on the rest, and end its line."""
        for stream, text in self._begun.items():
            self._begun[stream] = ""
            if text:
                await self._inner.write(StreamText(stream, f"{self._label}{text}\n"))
        await self._inner.flush()

    async def clear(self) -> None:
        """One host does not clear what others have written."""

    def spill(self, why: str) -> None:
        """Hurry."""
        self._inner.spill(why)
