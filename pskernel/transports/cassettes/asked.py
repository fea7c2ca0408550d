"""What a client asks a server for, as far as recording and replaying a session need to know it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from uuid import UUID

from pskernel.protocol import clixml
from pskernel.protocol.fragments import Reassembler
from pskernel.protocol.noting import NOTING

__all__ = ["ClientMessage", "ClientReader", "Key", "Request"]

# Destination, message type, runspace pool id, pipeline id: little-endian (MS-PSRP 2.2.1).
_HEADER = struct.Struct("<II16s16s")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Key:
    """What a pipeline is found by.

    Attributes:
        commands: text and is_script of each command, in order.
        input_sha256: digest of the input's CLIXML; None for a pipeline without input.
    """

    commands: tuple[tuple[str, bool], ...]
    input_sha256: str | None = None

    @property
    def cell(self) -> str | None:
        """The text of the cell; None for a query of our own, or the display of an error."""
        match self.commands:
            case ((text, True), ("Out-Default", False)) if self.input_sha256 is None:
                return text
        return None


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A message on its way to the server. ``raw`` is all of it."""

    message_type: int
    runspace_id: UUID
    pipeline_id: UUID
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)


class ClientReader:
    """Reads the fragments the client sends, as far as recording and replaying need it."""

    def __init__(self) -> None:
        self._reassembler = Reassembler()

    def feed(self, data: bytes) -> list[ClientMessage]:
        """Return the messages that ``data`` completes."""
        messages = []
        for raw in self._reassembler.feed(data):
            _, message_type, runspace, pipeline = _HEADER.unpack_from(raw)
            body = raw[_HEADER.size :].removeprefix(_BOM)
            messages.append(ClientMessage(message_type, UUID(bytes_le=runspace), UUID(bytes_le=pipeline), body, raw))
        return messages


class Request:
    """What a client asks of one pipeline: its CREATE_PIPELINE message (MS-PSRP 2.2.2.10), then its input."""

    def __init__(self, create_pipeline: bytes) -> None:
        members = clixml.decode(create_pipeline).properties
        self.takes_input = not members["NoInput"]
        commands = [command.properties for command in members["PowerShell"].properties["Cmds"].value]
        # What notes errors is no part of the cell: a recording is played with it and without.
        self._commands = tuple(
            (str(command["Cmd"]), bool(command["IsScript"])) for command in commands if command["Cmd"] != NOTING
        )
        self._digest = hashlib.sha256()

    def add_input(self, clixml_body: bytes) -> None:
        """Take one PIPELINE_INPUT body."""
        self._digest.update(clixml_body)

    def key(self) -> Key:
        """The key, once all input is there."""
        return Key(self._commands, self._digest.hexdigest() if self.takes_input else None)
