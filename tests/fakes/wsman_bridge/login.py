"""Who a connection belongs to, and how its messages are sealed."""

from __future__ import annotations

import atexit
import base64
import hashlib
import os
import re
import ssl
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spnego
from cryptography import x509

__all__ = ["Login", "Rules", "add_accounts"]

_BOUNDARY = b"--Encrypted Boundary\r\n"
_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"


@dataclass
class Rules:
    """What the service asks for. ``require_cbt``: over https, only logins bound to the channel are let in."""

    users: Mapping[str, str]
    schemes: Sequence[str] = ("Negotiate", "NTLM", "Basic")
    require_encryption: bool = True
    require_cbt: bool = False
    certificate: bytes = b""
    offers: list[str] = field(default_factory=list)


def add_accounts(users: Mapping[str, str]) -> None:
    """pyspnego's acceptor looks for the passwords of NTLM in a file, one for the process."""
    known = os.environ.get("NTLM_USER_FILE")
    if known is None or not Path(known).exists():
        handle, known = tempfile.mkstemp(prefix="psk-ntlm-")
        os.close(handle)
        os.environ["NTLM_USER_FILE"] = known
        atexit.register(Path(known).unlink, missing_ok=True)
    with Path(known).open("a") as file:
        for name, password in users.items():
            domain, _, user = name.rpartition("\\")
            file.write(f"{domain}:{user}:{password}\n")


class Login:
    """The state of one TCP connection."""

    def __init__(self, rules: Rules, connection: Any) -> None:
        self._rules = rules
        self._connection = connection
        self._context: Any = None
        self.user: str | None = None
        # Headers of the next answer.
        self.answers: list[str] = []

    def step(self, header: str | None) -> bool:
        """Read a request's Authorization; whether the request may be served."""
        self.answers = []
        scheme, _, token = (header or "").partition(" ")
        if header == _MUTUAL:
            return self._by_certificate()
        if scheme.lower() == "basic" and "Basic" in self._rules.schemes:
            return self._by_password(token)
        if scheme.lower() in {"negotiate", "ntlm", "kerberos"}:
            return self._by_token(scheme, base64.b64decode(token))
        return (self.user is not None and self._context is not None) or self._refused()

    def unseal(self, raw: bytes) -> bytes:
        """The message in a sealed body. Raises where it cannot be read."""
        part = raw.split(_BOUNDARY)[2].split(b"application/octet-stream\r\n", 1)[1]
        part = part[: -len(b"--Encrypted Boundary--\r\n")]
        length = struct.unpack("<i", part[:4])[0]
        return bytes(self._context.unwrap_winrm(part[4 : 4 + length], part[4 + length :]))

    def seal(self, message: bytes, content_type: str) -> tuple[bytes, str]:
        """A sealed body and its type, as the request's was."""
        found = re.search(r'protocol="([^"]+)"', content_type)
        protocol = found[1] if found else ""
        header, data, padding = self._context.wrap_winrm(message)
        body = (
            b"--Encrypted Boundary\r\n"
            + f"\tContent-Type: {protocol}\r\n".encode()
            + f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(message) + padding}\r\n".encode()
            + b"--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
            + struct.pack("<i", len(header))
            + header
            + data
            + b"--Encrypted Boundary--\r\n"
        )
        return body, f'multipart/encrypted;protocol="{protocol}";boundary="Encrypted Boundary"'

    def _by_certificate(self) -> bool:
        if not isinstance(self._connection, ssl.SSLSocket):
            return self._refused()
        der = self._connection.getpeercert(binary_form=True)
        if not der:
            return self._refused()
        self.user = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        return True

    def _by_password(self, token: str) -> bool:
        user, _, password = base64.b64decode(token).decode().partition(":")
        if self._rules.users.get(user) != password:
            return self._refused()
        self.user = user
        return True

    def _by_token(self, scheme: str, token: bytes) -> bool:
        if self._context is None or self._context.complete:
            self._context = spnego.server(
                protocol=scheme.lower(),
                options=spnego.NegotiateOptions.wrapping_winrm,
                channel_bindings=self._bindings(),
            )
        try:
            out = self._context.step(token)
        except spnego.exceptions.SpnegoError:
            self._context = None
            return self._refused()
        answer = [f"{scheme} {base64.b64encode(out).decode()}"] if out else []
        if not self._context.complete:
            self.answers = answer
            return False
        self.user, self.answers = str(self._context.client_principal), answer
        return True

    def _bindings(self) -> Any:
        if not self._rules.require_cbt or not self._rules.certificate:
            return None
        digest = hashlib.sha256(self._rules.certificate).digest()
        return spnego.channel_bindings.GssChannelBindings(application_data=b"tls-server-end-point:" + digest)

    def _refused(self) -> bool:
        self.answers = ['Basic realm="WSMAN"' if each == "Basic" else each for each in self._rules.schemes]
        return False
