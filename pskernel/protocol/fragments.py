"""PSRP fragments and message headers (MS-PSRP 2.2.4 and 2.2.1): bytes to messages and back, with every length checked.

psrpcore slices whatever is there, so a cut fragment would pass as a whole one and desynchronise the pool for good.
Reassembly is therefore ours; psrpcore is only ever given whole messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from uuid import UUID

from pskernel.errors import RemoteProtocolError

__all__ = [
    "MAX_MESSAGE_BYTES", "Message", "MessageType", "Reassembler", "build_message", "fragment", "is_last",
    "parse_message", "pool_init_data", "pool_of", "split_fragments",
]  # fmt: skip

# Object id, fragment id, flags (1 = first, 2 = last), length of the blob: big-endian.
_FRAGMENT = struct.Struct(">QQBI")
# Destination (1 = client, 2 = server), message type, runspace pool id, pipeline id: little-endian.
_MESSAGE = struct.Struct("<II16s16s")
_FIRST, _LAST = 1, 2
_TO_CLIENT, _TO_SERVER = 1, 2
_NO_PIPELINE = bytes(16)
_BOM = b"\xef\xbb\xbf"
_ONE_RUNSPACE = b'<Obj RefId="0"><MS><I32 N="MinRunspaces">1</I32><I32 N="MaxRunspaces">1</I32></MS></Obj>'

# PowerShell's own default for one received object (PSSessionOption.MaximumReceivedObjectSize).
MAX_MESSAGE_BYTES = 200 * 1024 * 1024
# A server interleaves at most one unfinished message a pipeline and one for the pool; more is not PowerShell.
MAX_UNFINISHED = 64


class MessageType(IntEnum):
    """The message types this side reads or writes by itself (MS-PSRP 2.2.1). All others belong to psrpcore."""

    ENCRYPTED_SESSION_KEY = 0x00010006
    RUNSPACEPOOL_INIT_DATA = 0x0002100B
    CREATE_PIPELINE = 0x00021006
    USER_EVENT = 0x00021008
    RUNSPACEPOOL_HOST_CALL = 0x00021100
    PIPELINE_INPUT = 0x00041002
    END_OF_PIPELINE_INPUT = 0x00041003
    PIPELINE_OUTPUT = 0x00041004
    ERROR_RECORD = 0x00041005
    PIPELINE_STATE = 0x00041006
    DEBUG_RECORD = 0x00041007
    VERBOSE_RECORD = 0x00041008
    WARNING_RECORD = 0x00041009
    PROGRESS_RECORD = 0x00041010
    INFORMATION_RECORD = 0x00041011
    PIPELINE_HOST_CALL = 0x00041100


@dataclass(frozen=True, slots=True)
class Message:
    """One PSRP message. ``pipeline_id`` is None for the pool; ``body`` is CLIXML without its byte order mark."""

    message_type: int
    pipeline_id: UUID | None
    body: bytes


@dataclass(slots=True)
class _Unfinished:
    """The beginning of a message, in one buffer: a list of all but empty fragments would outgrow the limit."""

    fragments: int = 0
    data: bytearray = field(default_factory=bytearray)


class Reassembler:
    """Joins fragments into messages. One for each runspace pool.

    Args:
        max_message_bytes: of one message.
        comes_late: whether another client may have had the beginning of the first messages; they are left out.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES, *, comes_late: bool = False) -> None:
        self._max = max_message_bytes
        self._comes_late = comes_late
        self._unfinished: dict[int, _Unfinished] = {}
        self._held_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take whole fragments and return the messages they complete, headers included.

        Raises:
            RemoteProtocolError: a fragment is cut, out of sequence, or the message grows beyond the limit.
        """
        messages: list[bytes] = []
        for object_id, fragment_id, flags, start, end in split_fragments(data):
            message = self._add(object_id, fragment_id, flags, data[start + _FRAGMENT.size : end])
            if message is not None:
                messages.append(message)
        return messages

    @property
    def is_between(self) -> bool:
        """Whether nothing is left of what was fed: no message has begun that has not ended."""
        return not self._unfinished

    def _add(self, object_id: int, fragment_id: int, flags: int, blob: bytes) -> bytes | None:
        if flags == _FIRST | _LAST and fragment_id == 0 and object_id not in self._unfinished:
            if len(blob) > self._max:
                raise RemoteProtocolError(f"The remote sent a message of more than {self._max} bytes.")
            return blob
        begun = self._unfinished.get(object_id)
        if begun is None and self._comes_late and fragment_id and not flags & _FIRST:
            return None
        if begun is None:
            if len(self._unfinished) >= MAX_UNFINISHED:
                raise RemoteProtocolError("The remote began too many messages without ending them.")
            begun = self._unfinished[object_id] = _Unfinished()
        if fragment_id != begun.fragments or bool(flags & _FIRST) != (fragment_id == 0):
            raise RemoteProtocolError("The remote sent PSRP fragments out of sequence.")
        self._held_bytes += len(blob)
        if self._held_bytes > self._max:
            raise RemoteProtocolError(f"The remote sent a message of more than {self._max} bytes.")
        begun.fragments += 1
        begun.data += blob
        if not flags & _LAST:
            return None
        del self._unfinished[object_id]
        self._held_bytes -= len(begun.data)
        return bytes(begun.data)


def split_fragments(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield of each fragment its object id, its number in the object, its flags, and where it begins and ends.

    Raises:
        RemoteProtocolError: the last one is cut.
    """
    position, end = 0, len(data)
    while position < end:
        if end - position < _FRAGMENT.size:
            raise RemoteProtocolError("The remote sent a PSRP fragment with an incomplete header.")
        object_id, fragment_id, flags, length = _FRAGMENT.unpack_from(data, position)
        if length > end - position - _FRAGMENT.size:
            raise RemoteProtocolError("The remote sent a PSRP fragment that is shorter than it says.")
        yield object_id, fragment_id, flags, position, position + _FRAGMENT.size + length
        position += _FRAGMENT.size + length


def is_last(flags: int) -> bool:
    """Whether a fragment with these flags ends its object."""
    return bool(flags & _LAST)


def pool_of(data: bytes) -> UUID:
    """The id of the runspace pool that our own first fragment is for."""
    return UUID(bytes_le=_MESSAGE.unpack_from(data, _FRAGMENT.size)[2])


def pool_init_data(pool_id: UUID) -> bytes:
    """What a server says to CONNECT_RUNSPACEPOOL of a pool with one runspace (MS-PSRP 2.2.2.27), as one fragment."""
    header = _MESSAGE.pack(_TO_CLIENT, MessageType.RUNSPACEPOOL_INIT_DATA, pool_id.bytes_le, _NO_PIPELINE)
    return fragment(0, header + _ONE_RUNSPACE, len(header) + len(_ONE_RUNSPACE) + _FRAGMENT.size)[0]


def parse_message(data: bytes) -> Message:
    """Read a message's header.

    Raises:
        RemoteProtocolError: the message is shorter than a header, or meant for a server (an echo of our own).
    """
    if len(data) < _MESSAGE.size:
        raise RemoteProtocolError("The remote sent a PSRP message with an incomplete header.")
    destination, message_type, _, pipeline = _MESSAGE.unpack_from(data)
    if destination != _TO_CLIENT:
        raise RemoteProtocolError("The remote sends back what it was sent: it is not PowerShell.")
    start = _MESSAGE.size
    if data.startswith(_BOM, start):
        start += len(_BOM)
    return Message(message_type, _pipeline_id(pipeline), data[start:])


@lru_cache(maxsize=16)
def _pipeline_id(raw: bytes) -> UUID | None:
    # The same few ids come in thousands of messages.
    return None if raw == _NO_PIPELINE else UUID(bytes_le=raw)


def build_message(message_type: int, runspace_id: UUID, pipeline_id: UUID | None, body: bytes) -> bytes:
    """Write a message to the server."""
    pipeline = _NO_PIPELINE if pipeline_id is None else pipeline_id.bytes_le
    return _MESSAGE.pack(_TO_SERVER, message_type, runspace_id.bytes_le, pipeline) + body


def fragment(object_id: int, message: bytes, max_bytes: int) -> list[bytes]:
    """Cut a message into fragments of at most ``max_bytes`` each, headers included."""
    room = max_bytes - _FRAGMENT.size
    blobs = [message[i : i + room] for i in range(0, len(message), room)] or [b""]
    fragments = []
    for number, blob in enumerate(blobs):
        flags = (_FIRST if number == 0 else 0) | (_LAST if number == len(blobs) - 1 else 0)
        fragments.append(_FRAGMENT.pack(object_id, number, flags, len(blob)) + blob)
    return fragments
