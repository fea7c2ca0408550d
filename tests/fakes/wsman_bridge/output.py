"""What a shell, or a command in it, has for its client: PSRP fragments that wait for Receive."""

from __future__ import annotations

import base64
import re
import struct
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

__all__ = ["Counter", "Output", "Piece", "Taken", "message_type", "split_fragments"]

# MS-PSRP 2.2.4: number of the message, of the fragment in it, whether it is the first or last one, length.
_FRAGMENT = struct.Struct(">QQBI")
_FIRST, _LAST = 1, 2
_PIPELINE_STATE = 0x41006
_ENDED = re.compile(rb'PipelineState">[345]<')
# What the XML around a fragment takes at most: a Stream with its attributes.
_STREAM_XML = 110


@dataclass(frozen=True)
class Piece:
    """A fragment."""

    number: int
    index: int
    flags: int
    body: bytes

    @property
    def is_first(self) -> bool:
        return bool(self.flags & _FIRST)

    @property
    def is_last(self) -> bool:
        return bool(self.flags & _LAST)

    @property
    def data(self) -> bytes:
        """As it goes over the line."""
        return _FRAGMENT.pack(self.number, self.index, self.flags, len(self.body)) + self.body

    @property
    def text(self) -> str:
        """As it stands in an envelope."""
        return base64.b64encode(self.data).decode()

    @property
    def room(self) -> int:
        """The bytes it takes in an envelope."""
        return _STREAM_XML + (_FRAGMENT.size + len(self.body) + 2) // 3 * 4

    def cut(self, room: int) -> tuple[Piece, Piece]:
        """Two fragments in place of this one; the first takes no more than ``room`` bytes of an envelope."""
        length = max(1, (room - _STREAM_XML) // 4 * 3 - _FRAGMENT.size)
        head = Piece(self.number, self.index, self.flags & ~_LAST, self.body[:length])
        return head, Piece(self.number, self.index + 1, self.flags & ~_FIRST, self.body[length:])


@dataclass(frozen=True)
class Taken:
    """What one Receive gets. ``done``: there will be no more."""

    pieces: list[Piece]
    done: bool = False

    @property
    def data(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)


class Counter:
    """Numbers the messages of one shell.

    The engine numbers them itself. Those that the bridge adds shift all that come later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._renamed: dict[int, int] = {}

    def own(self, body: bytes) -> Piece:
        """A message of the bridge's."""
        with self._lock:
            self._last += 1
            return Piece(self._last, 0, _FIRST | _LAST, body)

    def renumbered(self, piece: Piece) -> Piece:
        """A fragment of the engine's, with the number that its message has for the client."""
        with self._lock:
            if piece.is_first:
                self._last += 1
                self._renamed[piece.number] = self._last
            number = self._renamed[piece.number]
            if piece.is_last:
                del self._renamed[piece.number]
        return replace(piece, number=number)


@dataclass
class Output:
    """The queue of the shell, or of one command. Whoever reads or writes holds ``changed``.

    ``turn`` counts Receives: an older one gives way to a newer one. ``waited_for``: one of them waits now.
    ``finished``: nothing will be added any more.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    pieces: deque[Piece] = field(default_factory=deque)
    turn: int = 0
    waited_for: bool = False
    finished: bool = False
    _size: int = 0
    _state: bytearray | None = None
    # The index of the next fragment of a message, where it is not the engine's because one was cut.
    _indexes: dict[int, int] = field(default_factory=dict)
    _last_taken: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes that wait."""
        return self._size

    def add(self, piece: Piece) -> None:
        """Put a fragment at the end of the queue."""
        self.pieces.append(piece)
        self._size += len(piece.body)
        self._watch(piece)
        self.changed.notify_all()

    def take(self, room: int, at_most: int) -> list[Piece]:
        """Take fragments that fit into ``room`` bytes of an envelope; one that does not fit by itself is cut."""
        taken: list[Piece] = []
        while self.pieces and len(taken) < at_most:
            piece = self.pieces.popleft()
            if piece.room > room:
                if taken:
                    self.pieces.appendleft(piece)
                    break
                piece, rest = piece.cut(room)
                self.pieces.appendleft(rest)
            self._size -= len(piece.body)
            taken.append(self._indexed(piece))
            room -= piece.room
        self._last_taken = taken
        return taken

    def give_back(self, taken: list[Piece]) -> None:
        """What was taken and reached nobody comes with the next Receive again."""
        for piece in reversed(taken):
            self.pieces.appendleft(piece)
            self._size += len(piece.body)
            self._indexes[piece.number] = piece.index
        self._last_taken = []
        self.changed.notify_all()

    def repeat_last(self) -> None:
        """Let the next Receive begin with what the last one got."""
        self.give_back(self._last_taken)

    def drop_oldest(self, limit: int) -> None:
        """Discard whole messages from the front until no more than ``limit`` bytes wait; the last one stays."""
        begun: list[Piece] = []
        while self.pieces and not self.pieces[0].is_first:
            # The rest of a message whose beginning is out.
            begun.append(self.pieces.popleft())
        while self._size > limit and self.pieces and self.pieces[0].number != self.pieces[-1].number:
            number = self.pieces[0].number
            while self.pieces[0].number == number:
                self._size -= len(self.pieces.popleft().body)
        self.pieces.extendleft(reversed(begun))

    def _indexed(self, piece: Piece) -> Piece:
        index = self._indexes.pop(piece.number, piece.index)
        if not piece.is_last:
            self._indexes[piece.number] = index + 1
        return replace(piece, index=index)

    def _watch(self, piece: Piece) -> None:
        """A pipeline's last message tells its state, behind the reason for it."""
        if piece.is_first:
            self._state = bytearray() if message_type(piece.body) == _PIPELINE_STATE else None
        if self._state is None:
            return
        self._state += piece.body
        if piece.is_last:
            self.finished = self.finished or _ENDED.search(self._state) is not None


def message_type(body: bytes) -> int:
    """The type of a PSRP message (MS-PSRP 2.2.1)."""
    return int(struct.unpack_from("<I", body, 4)[0])


def split_fragments(data: bytes) -> Iterator[Piece]:
    """The fragments in ``data``."""
    at = 0
    while at < len(data):
        number, index, flags, length = _FRAGMENT.unpack_from(data, at)
        at += _FRAGMENT.size
        yield Piece(number, index, flags, data[at : at + length])
        at += length
