"""Messages sealed for one connection (MS-WSMV 2.2.9.1): MIME parts around what the login's context encrypts."""

from __future__ import annotations

import re
import struct
from typing import Protocol

__all__ = ["Sealer", "seal", "unseal"]

_BOUNDARY = "Encrypted Boundary"
_DASHES = f"--{_BOUNDARY}\r\n".encode()
_LAST_DASHES = f"--{_BOUNDARY}--\r\n".encode()
_OCTETS = b"\tContent-Type: application/octet-stream\r\n"
_KINDS = {
    "application/HTTP-SPNEGO-session-encrypted",
    "application/HTTP-Kerberos-session-encrypted",
}


class Sealer(Protocol):
    """What of a pyspnego context is used here."""

    def wrap_winrm(self, data: bytes) -> tuple[bytes, bytes, int]:
        """Header, sealed data and the length of the padding."""

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        """The data."""


def unseal(context: Sealer, raw: bytes) -> bytes:
    """The message in a sealed body.

    Raises:
        ValueError: it is not made as it should be.
        spnego.exceptions.SpnegoError: it was sealed for another connection, or changed.
    """
    parts = raw.split(_DASHES)
    if len(parts) != 3 or not parts[2].startswith(_OCTETS) or not parts[2].endswith(_LAST_DASHES):
        raise ValueError("The parts of the message are not where they should be.")
    sealed = parts[2][len(_OCTETS) : -len(_LAST_DASHES)]
    length = int.from_bytes(sealed[:4], "little")
    return context.unwrap_winrm(sealed[4 : 4 + length], sealed[4 + length :])


def seal(context: Sealer, message: bytes, content_type: str, damage: str = "") -> tuple[bytes, str]:
    """A sealed body and its Content-Type, of the kind that the request's was.

    Args:
        context: the connection's.
        message: what to seal.
        content_type: the request's.
        damage: ``boundary`` for parts with another boundary than announced, ``mic`` for a wrong signature.
    """
    found = re.search(r'protocol="([^"]+)"', content_type)
    kind = found[1] if found is not None and found[1] in _KINDS else "application/HTTP-SPNEGO-session-encrypted"
    header, data, padding = context.wrap_winrm(message)
    if damage == "mic":
        header = header[:-1] + bytes([header[-1] ^ 0xFF])
    length = len(message) + padding
    body = (
        _DASHES
        + f"\tContent-Type: {kind}\r\n".encode()
        + f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={length}\r\n".encode()
        + _DASHES
        + _OCTETS
        + struct.pack("<i", len(header))
        + header
        + data
        + _LAST_DASHES
    )
    if damage == "boundary":
        body = body.replace(_BOUNDARY.encode(), b"Another Boundary")
    return body, f'multipart/encrypted;protocol="{kind}";boundary="{_BOUNDARY}"'
