"""PSRP fragments within WSMan envelopes: where they are, and whose ids their messages carry."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

__all__ = [
    "ENCRYPTED_SESSION_KEY", "PUBLIC_KEY", "RUNSPACE_AVAILABILITY", "Fragment", "calls_in", "fragments", "ids_of",
    "joined", "payloads", "with_ids",
]  # fmt: skip

# Object id, fragment id, flags, length of the blob: big-endian. MS-PSRP 2.2.4.
_FRAGMENT = struct.Struct(">QQBI")
# Destination, message type, runspace pool id, pipeline id: little-endian. MS-PSRP 2.2.1.
_MESSAGE = struct.Struct("<II16s16s")
_FIRST = 1
_BOM = b"\xef\xbb\xbf"
PUBLIC_KEY = 0x00010005
ENCRYPTED_SESSION_KEY = 0x00010006
RUNSPACE_AVAILABILITY = 0x00021004
_CALL = re.compile(rb'<I64 N="ci">(-?\d+)</I64>')
# Whatever the prefixes are: the text of these elements is fragments.
_CARRIERS = re.compile(
    r"(?P<start><(?:[\w-]+:)?(?:Stream|creationXml|connectXml|connectResponseXml|Arguments)\b[^<>]*(?<!/)>)"
    r"(?P<text>[^<]*)(?=</)"
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment; ``message_type`` and the ids are those of the message that it begins, otherwise None."""

    object_id: int
    number: int
    flags: int
    blob: bytes

    @property
    def message_type(self) -> int | None:
        return int(_MESSAGE.unpack_from(self.blob)[1]) if self.flags & _FIRST else None

    @property
    def ids(self) -> tuple[UUID, UUID] | None:
        """The runspace pool's and the pipeline's."""
        if not self.flags & _FIRST:
            return None
        _, _, pool, pipeline = _MESSAGE.unpack_from(self.blob)
        return UUID(bytes_le=pool), UUID(bytes_le=pipeline)

    @property
    def body(self) -> bytes:
        """The CLIXML that it begins with."""
        return self.blob[_MESSAGE.size :].removeprefix(_BOM)

    def with_ids(self, ids: Mapping[UUID, UUID]) -> Fragment:
        """The same with other ids, where there are others."""
        if not self.flags & _FIRST:
            return self
        destination, kind, pool, pipeline = _MESSAGE.unpack_from(self.blob)
        own = [ids.get(UUID(bytes_le=each), UUID(bytes_le=each)).bytes_le for each in (pool, pipeline)]
        return replace(self, blob=_MESSAGE.pack(destination, kind, *own) + self.blob[_MESSAGE.size :])

    def with_body(self, body: bytes) -> Fragment:
        """The same message saying something else."""
        return replace(self, blob=self.blob[: _MESSAGE.size] + _BOM + body)


def fragments(data: bytes) -> Iterator[Fragment]:
    """The fragments that ``data`` consists of."""
    position = 0
    while position < len(data):
        object_id, number, flags, length = _FRAGMENT.unpack_from(data, position)
        start = position + _FRAGMENT.size
        position = start + length
        assert position <= len(data), "a fragment is cut"
        yield Fragment(object_id, number, flags, data[start:position])


def joined(parts: Iterator[Fragment]) -> bytes:
    """The bytes of fragments."""
    return b"".join(
        _FRAGMENT.pack(each.object_id, each.number, each.flags, len(each.blob)) + each.blob for each in parts
    )


def payloads(xml: str) -> list[bytes]:
    """All that an envelope carries for PSRP, element by element."""
    return [base64.b64decode(match["text"]) for match in _CARRIERS.finditer(xml) if match["text"].strip()]


def ids_of(xml: str) -> tuple[UUID, UUID] | None:
    """The ids in the first message of an envelope."""
    for data in payloads(xml):
        if len(data) >= _FRAGMENT.size + _MESSAGE.size:
            return next(fragments(data)).ids
    return None


def calls_in(xml: str) -> list[bytes]:
    """The numbers of the questions to the pool in an envelope (MS-PSRP 2.2.2.3 to 2.2.2.7)."""
    found = [_CALL.search(each.body) for data in payloads(xml) for each in fragments(data)]
    return [match[1] for match in found if match is not None]


def with_ids(
    xml: str, ids: Mapping[UUID, UUID], *, questions: Mapping[bytes, bytes], session_key: bytes | None = None
) -> str:
    """An envelope whose messages carry other ids, and answer other questions to the pool; and our own key, if there is
    one, in the place of the recorded one.
    """

    def own(each: Fragment) -> Fragment:
        if each.message_type == ENCRYPTED_SESSION_KEY and session_key is not None:
            each = each.with_body(session_key)
        if each.message_type == RUNSPACE_AVAILABILITY:
            each = each.with_body(
                _CALL.sub(lambda match: b'<I64 N="ci">%s</I64>' % questions.get(match[1], match[1]), each.body)
            )
        return each.with_ids(ids)

    def carrier(match: re.Match[str]) -> str:
        if not match["text"].strip():
            return match[0]
        data = joined(own(each) for each in fragments(base64.b64decode(match["text"])))
        return match["start"] + base64.b64encode(data).decode("ascii")

    return _CARRIERS.sub(carrier, xml)
