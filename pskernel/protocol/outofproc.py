"""The out-of-process framing that PowerShell speaks over stdio, SSH and named pipes: one XML element a line.

``<Data Stream='Default' PSGuid='…'>BASE64</Data>``, and empty elements ``<Command PSGuid='…' />``, ``CommandAck``,
``DataAck``, ``Close``, ``CloseAck``, ``Signal``, ``SignalAck``. There is no published specification; the rules are
those of PowerShell's OutOfProcTransportManager and what a real engine was seen to do:

- the all-zero PSGuid is the runspace pool, any other a pipeline;
- every Data, Command, Close and Signal of the client is acknowledged, and the next Data for the same PSGuid may only
  go out after the acknowledgement (the server handles lines on a thread pool and would lose their order);
- the client never acknowledges the server's Data: the server takes a ``DataAck`` for an unknown element and falls
  silent;
- an empty line means "the client died" to the server.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from pskernel.errors import RemoteProtocolError

__all__ = ["AckLedger", "Junk", "Packet", "PacketDecoder", "PacketKind", "encode_data", "encode_empty"]

_NO_PIPELINE = "00000000-0000-0000-0000-000000000000"
_PACKET = re.compile(
    rb"<(?P<name>[A-Za-z]{1,16})(?: Stream='(?:Default|PromptResponse)')? PSGuid='(?P<guid>[0-9A-Fa-f-]{36})'"
    rb"(?: ?/>|>(?P<data>[A-Za-z0-9+/=]+)</Data>)\s*\Z"
)
# A server's fragment is at most 32 KiB, 44 KiB in base64; the cap leaves room for a server with larger ones.
MAX_LINE_BYTES = 4 * 1024 * 1024
# Enough for any banner to be quoted; the rest of an endless talker is dropped.
_JUNK_CHARACTERS = 500


class PacketKind(Enum):
    """What a packet asks for, or acknowledges."""

    DATA = "Data"
    DATA_ACK = "DataAck"
    COMMAND = "Command"
    COMMAND_ACK = "CommandAck"
    CLOSE = "Close"
    CLOSE_ACK = "CloseAck"
    SIGNAL = "Signal"
    SIGNAL_ACK = "SignalAck"


_ACK_OF = {
    PacketKind.DATA: PacketKind.DATA_ACK,
    PacketKind.COMMAND: PacketKind.COMMAND_ACK,
    PacketKind.CLOSE: PacketKind.CLOSE_ACK,
    PacketKind.SIGNAL: PacketKind.SIGNAL_ACK,
}
_KIND_BY_NAME = {kind.value.encode(): kind for kind in PacketKind}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. ``pipeline_id`` is None for the pool; ``data`` is decoded and empty for all but Data."""

    kind: PacketKind
    pipeline_id: UUID | None
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Junk:
    """A line that is no packet: a login banner, a profile's output, or a peer that is not PowerShell."""

    text: str


def encode_data(pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> bytes:
    """A Data packet. Host responses travel as ``PromptResponse``."""
    stream = "PromptResponse" if prompt_response else "Default"
    return f"<Data Stream='{stream}' PSGuid='{_guid(pipeline_id)}'>".encode() + b64encode(data) + b"</Data>\n"


def encode_empty(kind: PacketKind, pipeline_id: UUID | None) -> bytes:
    """A Command, Close or Signal packet."""
    return f"<{kind.value} PSGuid='{_guid(pipeline_id)}' />\n".encode()


def _guid(pipeline_id: UUID | None) -> str:
    return _NO_PIPELINE if pipeline_id is None else str(pipeline_id)


class PacketDecoder:
    """Cuts received bytes into packets."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._rest = b""
        # One runspace runs one pipeline at a time, so the same few ids come thousands of times.
        self._ids: dict[bytes, UUID | None] = {_NO_PIPELINE.encode(): None}

    def feed(self, data: bytes) -> list[Packet | Junk]:
        """Take bytes and return the packets they complete.

        Raises:
            RemoteProtocolError: a line grows beyond the limit.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._max:
            raise RemoteProtocolError(f"The remote sent more than {self._max} bytes without ending the line.")
        packets: list[Packet | Junk] = []
        for line in lines:
            match = _PACKET.match(line)
            packet = self._packet(match) if match else None
            if packet is not None:
                packets.append(packet)
            elif line.strip():
                packets.append(Junk(_quote(line)))
        return packets

    def feed_eof(self) -> Junk | None:
        """What was left unfinished when the peer closed."""
        rest, self._rest = self._rest, b""
        return Junk(_quote(rest)) if rest.strip() else None

    def _packet(self, match: re.Match[bytes]) -> Packet | None:
        name, guid, payload = match.group("name", "guid", "data")
        kind = _KIND_BY_NAME.get(name)
        if kind is None or (kind is PacketKind.DATA) != (payload is not None):
            return None
        try:
            pipeline_id = self._ids[guid]
        except KeyError:
            try:
                pipeline_id = UUID(guid.decode())
            except ValueError:
                return None
            if len(self._ids) > 256:
                self._ids = {_NO_PIPELINE.encode(): None}
            self._ids[guid] = pipeline_id
        if payload is None:
            return Packet(kind, pipeline_id)
        try:
            return Packet(kind, pipeline_id, binascii.a2b_base64(payload))
        except binascii.Error:
            return None


def _quote(line: bytes) -> str:
    text = line[: _JUNK_CHARACTERS * 4].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_JUNK_CHARACTERS]


class AckLedger:
    """Which acknowledgements are owed, by packet kind and id.

    Args:
        alone: whether nobody else has sent what they may be for.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self._alone = alone
        self._owed: Counter[tuple[PacketKind, UUID | None]] = Counter()

    def sent(self, kind: PacketKind, pipeline_id: UUID | None) -> None:
        """Note that a packet was sent and will be acknowledged."""
        self._owed[_ACK_OF[kind], pipeline_id] += 1

    def owed(self, kind: PacketKind, pipeline_id: UUID | None) -> bool:
        """Whether a packet of this kind is not acknowledged yet."""
        return self._owed[_ACK_OF[kind], pipeline_id] > 0

    def received(self, packet: Packet) -> None:
        """Settle an acknowledgement.

        Raises:
            RemoteProtocolError: nothing of this kind was owed.
        """
        key = packet.kind, packet.pipeline_id
        if self._owed[key] <= 0 and not self._alone:
            return
        if self._owed[key] <= 0:
            raise RemoteProtocolError(f"The remote sent a {packet.kind.value} that answers nothing.")
        self._owed[key] -= 1
        if not self._owed[key]:
            del self._owed[key]
