"""Who a connection belongs to: Basic, NTLM, Negotiate, Kerberos, client certificates."""

from __future__ import annotations

import atexit
import base64
import binascii
import hashlib
import os
import ssl
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spnego
from cryptography import x509
from cryptography.x509.oid import NameOID
from spnego.channel_bindings import GssChannelBindings

from tests.fakes.wsman_bridge.sealing import seal, unseal

__all__ = ["Login", "Rules"]

_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
_TOKENS = {"negotiate", "ntlm", "kerberos"}


@dataclass
class Rules:
    """What the service asks for. May be changed while it runs; connections that are logged in stay so.

    Args:
        users: passwords by name, ``DOMAIN\\user`` or ``user``. Kerberos asks the KDC of the environment instead.
        schemes: what a 401 offers, and what is accepted.
        require_encryption: over http, refuse messages that are not sealed, as AllowUnencrypted=false does.
        require_cbt: over https, let in only logins that are bound to the connection, as CbtHardeningLevel=Strict does.
        certificate: the server's, as DER: what logins must be bound to.
        mapped: the common names of client certificates that are somebody's; None: all are.
        delegated: is filled with the users who let the service use their tickets further.
    """

    users: Mapping[str, str]
    schemes: Sequence[str] = ("Negotiate", "Kerberos", "NTLM", "Basic")
    require_encryption: bool = True
    require_cbt: bool = False
    certificate: bytes = b""
    mapped: Sequence[str] | None = None
    delegated: set[str] = field(default_factory=set)

    def accepts(self, scheme: str) -> bool:
        """Whether somebody may log in that way."""
        return scheme.lower() in {each.lower() for each in self.schemes}


class Login:
    """The state of one TCP connection."""

    def __init__(self, rules: Rules, connection: Any) -> None:
        self._rules = rules
        self._connection = connection
        self._context: Any = None
        self.user: str | None = None
        # The WWW-Authenticate headers of the next answer.
        self.answers: list[str] = []

    def step(self, header: str | None) -> bool:
        """Read a request's Authorization; whether the request may be served."""
        self.answers = []
        scheme, _, token = (header or "").partition(" ")
        if header == _MUTUAL:
            return self._by_certificate()
        if not header:
            # Only what began with tokens is a matter of the connection.
            return (self.user is not None and self._context is not None) or self._refuse()
        if not self._rules.accepts(scheme):
            return self._refuse()
        try:
            decoded = base64.b64decode(token, validate=True)
        except binascii.Error:
            return self._refuse()
        if scheme.lower() == "basic":
            return self._by_password(decoded)
        return self._by_token(scheme, decoded) if scheme.lower() in _TOKENS else self._refuse()

    def unseal(self, raw: bytes) -> bytes:
        """The message in a sealed body.

        Raises:
            ValueError, spnego.exceptions.SpnegoError: it cannot be read.
        """
        if self._context is None:
            raise ValueError("Nobody has logged in with a key.")
        return unseal(self._context, raw)

    def seal(self, message: bytes, content_type: str, damage: str = "") -> tuple[bytes, str]:
        """A sealed body and its type, as the request's was."""
        return seal(self._context, message, content_type, damage)

    def _by_certificate(self) -> bool:
        if not isinstance(self._connection, ssl.SSLSocket):
            return self._refuse()
        der = self._connection.getpeercert(binary_form=True)
        if not der:
            return self._refuse()
        names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value) if names else ""
        if self._rules.mapped is not None and name not in self._rules.mapped:
            return self._refuse()
        self.user = name
        return True

    def _by_password(self, decoded: bytes) -> bool:
        # Clients differ in how they write what is not ASCII, and the header cannot say it.
        for encoding in ("utf-8", "latin-1"):
            user, _, password = decoded.decode(encoding, errors="replace").partition(":")
            if user and self._rules.users.get(user) == password:
                self.user = user
                return True
        return self._refuse()

    def _by_token(self, scheme: str, token: bytes) -> bool:
        if self._context is None or self._context.complete:
            # A new login on a connection that had one replaces it.
            self._context, self.user = None, None
        try:
            with _Accounts(self._rules.users):
                if self._context is None:
                    self._context = spnego.server(
                        protocol=scheme.lower(),
                        options=spnego.NegotiateOptions.wrapping_winrm,
                        channel_bindings=self._bindings(),
                    )
                out = self._context.step(token)
        except Exception:  # noqa: BLE001 - what is no token, or for another channel, ends in errors of several libraries
            self._context = None
            return self._refuse()
        self.answers = [f"{scheme} {base64.b64encode(out).decode()}"] if out else []
        if not self._context.complete:
            return False
        self.user = str(self._context.client_principal)
        if self._context.context_attr & spnego.ContextReq.delegate:
            self._rules.delegated.add(self.user)
        return True

    def _bindings(self) -> GssChannelBindings | None:
        if not self._rules.require_cbt or not self._rules.certificate:
            return None
        digest = hashlib.sha256(self._rules.certificate).digest()
        return GssChannelBindings(application_data=b"tls-server-end-point:" + digest)

    def _refuse(self) -> bool:
        self.answers = ['Basic realm="WSMAN"' if each == "Basic" else each for each in self._rules.schemes]
        return False


class _Accounts:
    """The accounts that pyspnego's NTLM acceptor knows. It reads them from a file that the environment names.

    There is one such file for the process, and several bridges may run in it: so the file holds a bridge's accounts
    only while one of its logins takes a step, and nothing otherwise.
    """

    _lock = threading.Lock()
    _file: Path | None = None

    def __init__(self, users: Mapping[str, str]) -> None:
        self._lines = ""
        for name, password in users.items():
            domain, _, user = name.rpartition("\\")
            assert ":" not in f"{domain}{user}{password}", "the file's format has no way to write a colon"
            self._lines += f"{domain}:{user}:{password}\n"

    def __enter__(self) -> None:
        self._lock.acquire()
        self._the_file().write_text(self._lines, encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        self._the_file().write_text("", encoding="utf-8")
        self._lock.release()

    @classmethod
    def _the_file(cls) -> Path:
        if cls._file is None:
            handle, path = tempfile.mkstemp(prefix="psk-ntlm-")
            os.close(handle)
            cls._file = Path(path)
            atexit.register(cls._file.unlink, missing_ok=True)
            os.environ["NTLM_USER_FILE"] = path
        return cls._file
