"""What a client and the relay of a durable session say to each other, over one link after the other.

Both streams of bytes, to the engine and from it, are numbered from the session's beginning. A frame is a letter, a
position, a length (little-endian: 1, 8 and 4 bytes) and that many bytes:

- ``H`` hello: the first on a link, both ways; JSON with the version and the positions of whoever says it;
- ``D`` data that begin at the position;
- ``A`` everything before the position was taken: it will not be asked for again;
- ``E`` the engine has ended, with this exit status and what it last wrote to standard error, after so many bytes;
- ``X`` the relay does not let the client in; a word says why;
- ``N`` a note of the client's for whoever comes to the session after it; the relay does not look into it;
- ``L`` everything before the position was taken, and the client leaves the session to whoever comes in so many seconds;
  the relay says it back before it hangs up;
- ``W`` says what session it is: the first on a link, both ways, and the last;
- ``Q`` the client wants the session to end.

What was not acknowledged is kept, and sent again over the next link. A frame of data to the engine is taken whole or
not at all. Nothing here does I/O.
"""

from __future__ import annotations

import base64
import json
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from pskernel.errors import RemoteProtocolError

__all__ = [
    "MAX_BODY", "MAX_NOTE", "VERSION", "Frame", "FrameDecoder", "Left", "Refusal", "Resumable", "encode_frame",
    "read_left",
]  # fmt: skip

VERSION: Final = 1
MAX_BODY: Final = 65_536
MAX_NOTE: Final = 4_096
# Of which a note is the largest, in base64, and ids of pipelines.
_MAX_WORDS = 16_384
_MAX_PIPELINES = 100
_HEADER = struct.Struct("<cqi")
_SECONDS = struct.Struct("<q")
_KINDS = b"HDAEXWL"
_NUMBERS = ("first", "passed", "sent", "received")
# The relay is told of what was taken when there is so much of it.
_ACK_BYTES = 65_536
# What nobody takes, such as the pieces of a huge object, is acknowledged all the same before the relay is full.
_MOST_UNTAKEN = 16_777_216
# PowerShell's have 44 KiB. What has no lines must not wait for one until the relay is full.
_LONGEST_LINE = 524_288
_FROM_WHAT_YOU_HAVE = -1
# Whole numbers of Python's have no end; those of a frame have 8 bytes.
_MOST_BYTES = 1 << 62


class Token(Protocol):
    """What a relay lets in; it is looked at for each link."""

    def reveal(self) -> str:
        """Return it."""


class Refusal(RemoteProtocolError):
    """The relay does not let this client in."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the relay."""

    kind: str
    position: int
    body: bytes = b""


def encode_frame(kind: str, position: int = 0, body: bytes = b"") -> bytes:
    """A frame for the relay."""
    return _HEADER.pack(kind.encode(), position, len(body)) + body


@dataclass(frozen=True, slots=True)
class Left:
    """What a client left for the next one: its note, and the ids of the pipelines that it had begun and not closed."""

    note: bytes
    running: tuple[UUID, ...]


class FrameDecoder:
    """Cuts received bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames they complete.

        Raises:
            RemoteProtocolError: these are no frames, or one is larger than a relay's.
        """
        data = self._rest + data if self._rest else data
        at, frames = 0, []
        while len(data) - at >= _HEADER.size:
            kind, position, size = _HEADER.unpack_from(data, at)
            most = MAX_BODY if kind == b"D" else _MAX_WORDS
            if kind not in _KINDS or position < 0 or not 0 <= size <= most:
                raise RemoteProtocolError("What answers as the relay of the session does not speak as a relay does.")
            end = at + _HEADER.size + size
            if len(data) < end:
                break
            frames.append(Frame(kind.decode(), position, data[end - size : end]))
            at = end
        self._rest = data[at:]
        return frames


class Resumable:
    """The client's side of one session: how far both streams are, and what may have to be sent again.

    Args:
        session: which session it is.
        token: what the relay lets in.
        client: who this is, among those who have the token.
        idle: for how many seconds the relay keeps it when nobody is connected.
        who: what others are told who that is.
        comes_later: whether the session was another client's before.
        takes_over: whether that one may have it still.
    """

    def __init__(
        self,
        session: str,
        token: Token,
        client: str,
        *,
        idle: float,
        who: str = "",
        comes_later: bool = False,
        takes_over: bool = False,
    ) -> None:
        self._session, self._token, self._client, self._who = session, token, client, who
        self._comes_later, self._takes_over = comes_later, takes_over
        self._idle = idle
        self._kept: deque[tuple[int, bytes]] = deque()
        self._sent = self._received = 0
        # How much was handed on, up to which line's end, how much of that was taken, and what the relay knows of.
        self._delivered = self._lines = self._taken = self._acknowledged = 0
        # Up to where another client may have received it too; whether what was handed on last is of that.
        self._new_from = 0
        self.is_replaying = False
        # What the client before this one has left.
        self.left: Left | None = None
        self.kept_bytes = 0
        # The exit status, when the engine has ended, and the end of its standard error.
        self.status: int | None = None
        self.last_words = b""

    # ---- a new link ----

    def hello(self) -> bytes:
        """The first frame on a link. It holds the token."""
        words = {
            "version": VERSION, "token": self._token.reveal(), "client": self._client, "who": self._who,
            "received": _FROM_WHAT_YOU_HAVE if self._comes_later else self._received, "take": self._takes_over,
            "idle": self._idle,
        }  # fmt: skip
        return encode_frame("H", 0, json.dumps(words).encode())

    def welcome(self, frame: Frame) -> list[bytes]:
        """Take the relay's answer to hello; returns the frames that it has not got.

        Raises:
            Refusal: it does not let us in.
            RemoteProtocolError: it is another session's relay, or has lost something.
        """
        if frame.kind == "X":
            raise Refusal(_plain(frame.body))
        said = _read_hello(frame)
        if said.get("version") != VERSION or said.get("session") != self._session:
            raise RemoteProtocolError("What answers is not the relay of this session.")
        first, passed, sent, received = (said[name] for name in _NUMBERS)
        if self._comes_later:
            self._begin_late(said)
        oldest = self._kept[0][0] if self._kept else self._sent
        if not (first <= self._received <= sent and oldest <= received <= self._sent):
            raise RemoteProtocolError("The relay of the session does not have what it should have kept.")
        if not first <= passed <= sent:
            raise RemoteProtocolError("The relay of the session does not know how far it is.")
        self._forget(received)
        return [frame for _, frame in self._kept]

    def _begin_late(self, said: Mapping[str, Any]) -> None:
        """Begin where the client before has ended: with a whole line."""
        self.left = read_left(said)
        self._comes_later = self._takes_over = False
        self._sent = said["received"]
        self._received = self._delivered = self._lines = self._taken = self._acknowledged = said["passed"]
        self._new_from = said["sent"]

    # ---- data ----

    def send(self, data: bytes) -> bytes:
        """A frame with at most :data:`MAX_BODY` bytes for the engine."""
        frame = encode_frame("D", self._sent, data)
        self._kept.append((self._sent, frame))
        self._sent += len(data)
        self.kept_bytes += len(data)
        return frame

    def take(self, frame: Frame) -> bytes:
        """Take a frame; returns what is new of the engine's bytes.

        Raises:
            RemoteProtocolError: something is missing, or was never sent.
        """
        if frame.kind == "A":
            self._forget(frame.position)
            return b""
        if frame.kind == "D" and self.status is None and frame.position <= self._received:
            new = frame.body[self._received - frame.position :]
            self._received += len(new)
            return new
        if frame.kind == "E" and frame.position == self._received:
            status, _, self.last_words = frame.body.partition(b"\n")
            self.status = _read_status(status)
            return b""
        raise RemoteProtocolError("The relay of the session left something out, or speaks out of turn.")

    def delivered(self, data: bytes) -> bytes:
        """Note that bytes were handed on; returns a frame to send, or nothing."""
        line_end = data.rfind(b"\n") + 1
        if line_end:
            # Whoever comes to the session without having been there before begins with a whole line.
            self._lines = self._delivered + line_end
        self.is_replaying = self._delivered < self._new_from
        self._delivered += len(data)
        if self._delivered - self._lines > _LONGEST_LINE:
            self._lines = self._delivered
        if self._lines - self._acknowledged < _MOST_UNTAKEN:
            return b""
        self._taken = self._acknowledged = self._lines
        return encode_frame("A", self._taken)

    def taken(self, *, at_once: bool = False) -> bytes:
        """Note that what was handed on is of use to nobody else any more; returns a frame to send, or nothing.

        Args:
            at_once: whether the relay is to know it now, and not when there is more.
        """
        self._taken = self._lines
        if self._taken - self._acknowledged < (1 if at_once else _ACK_BYTES):
            return b""
        self._acknowledged = self._taken
        return encode_frame("A", self._taken)

    @property
    def is_all_taken(self) -> bool:
        """Whether all lines that were handed on were taken."""
        return self._taken == self._lines

    def leave(self, seconds: float) -> bytes:
        """A frame that leaves the session to whoever comes in so many seconds, with all that was not taken."""
        return encode_frame("L", self._taken, _SECONDS.pack(int(seconds)))

    def _forget(self, position: int) -> None:
        if position > self._sent:
            raise RemoteProtocolError("The relay of the session acknowledges what was never sent.")
        while self._kept:
            start, frame = self._kept[0]
            size = len(frame) - _HEADER.size
            if start + size > position:
                return
            self._kept.popleft()
            self.kept_bytes -= size


def _read_hello(frame: Frame) -> dict[str, Any]:
    try:
        said = json.loads(frame.body) if frame.kind == "H" else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not all(_is_position(said.get(name)) for name in _NUMBERS):
        raise RemoteProtocolError("What answers as the relay of the session does not say hello as a relay does.")
    return said


def _is_position(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST_BYTES


def read_left(said: Mapping[str, Any]) -> Left:
    """What a relay says that a client has left.

    Raises:
        RemoteProtocolError: it says it in no way that a relay does.
    """
    try:
        left = Left(base64.b64decode(said["note"], validate=True), tuple(UUID(str(each)) for each in said["running"]))
    except (KeyError, TypeError, ValueError):
        left = None
    if left is None or len(left.note) > MAX_NOTE or len(left.running) > _MAX_PIPELINES:
        raise RemoteProtocolError("The relay of the session does not say as a relay does what was left in it.")
    return left


def _read_status(body: bytes) -> int:
    text = _plain(body)
    return int(text) if text.removeprefix("-").isdigit() and len(text) < 12 else -1


def _plain(body: bytes) -> str:
    return "".join(c for c in body[:40].decode("ascii", "replace") if c.isalnum() or c == "-")
