"""Certificates of an HTTPS endpoint: which one of the server is believed, and which one this side shows."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from pskernel.errors import TargetError
from pskernel.transports.base import Secret
from pskernel.transports.winrm.endpoint import Trust, WinRMEndpoint

__all__ = ["Certificates"]

_MAX_FILE_BYTES: Final = 1024 * 1024


class Certificates:
    """For all connections of one session."""

    def __init__(self, endpoint: WinRMEndpoint) -> None:
        self._trust = endpoint.trust
        self._login = endpoint.login
        self._tls = endpoint.tls
        self._lock = threading.Lock()
        self._settings: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """For pypsrp's WSMan, which insists on file names that mean nothing then: :meth:`settings` alone counts."""
        chosen: dict[str, Any] = {"cert_validation": not self._trust.anything}
        if self._login.auth == "certificate":
            chosen |= {"certificate_pem": self._login.certificate, "certificate_key_pem": self._login.certificate}
        return chosen

    def settings(self) -> dict[str, Any]:
        """What urllib3 is to be told, by the names of its parameters. Reads files, and may ask for a passphrase.

        Raises:
            TargetError: a file cannot be read, or its passphrase is wrong.
        """
        with self._lock:
            if self._settings is None:
                self._settings = self._read() if self._tls else {}
            return self._settings

    def _read(self) -> dict[str, Any]:
        context = _context(self._trust)
        if self._login.auth == "certificate" and self._login.certificate is not None:
            _load_own(context, self._login.certificate, self._login.secret)
        found: dict[str, Any] = {"ssl_context": context}
        if self._trust.fingerprint is not None:
            found["assert_fingerprint"] = self._trust.fingerprint
        if self._trust.any_name:
            found["assert_hostname"] = False
        return found


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # urllib3 compares the name itself, and could not switch that off otherwise.
    context.check_hostname = False
    if trust.fingerprint is not None or trust.anything:
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_file is None:
        context.load_default_certs()
    else:
        _load_authorities(context, trust.ca_file)
    return context


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        reason = "it holds no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise TargetError(f"The file {path} (ca_file) cannot be used: {reason}.") from None


def _read_file(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TargetError(f"The certificate {path} cannot be read: {error.strerror}.") from None
    if len(data) > _MAX_FILE_BYTES:
        raise TargetError(f"The file {path} is too large for a certificate.")
    return data


def _load_own(context: ssl.SSLContext, path: str, passphrase: Secret | None) -> None:
    """Load this side's certificate and key, PEM or PFX."""
    data = _read_file(path)
    try:
        if b"-----BEGIN" in data:
            context.load_cert_chain(path, password=None if passphrase is None else passphrase.reveal())
        else:
            _load_pfx(context, data, b"" if passphrase is None else passphrase.reveal().encode())
    except (ValueError, ssl.SSLError, OSError, TypeError):
        raise TargetError(
            f"The certificate {path} cannot be used: it is no PEM file with a certificate and its key, and no PFX "
            "file; or the passphrase of its key is missing or wrong (option credential)."
        ) from None


def _load_pfx(context: ssl.SSLContext, data: bytes, passphrase: bytes) -> None:
    key, own, others = pkcs12.load_key_and_certificates(data, passphrase or None)
    if key is None or own is None:
        raise ValueError
    # Python's ssl reads files only. This one is there for a moment, ours alone, and its key is sealed.
    lock = secrets.token_bytes(32).hex().encode()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(lock),
    )
    pem += b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (own, *others))
    handle, path = tempfile.mkstemp(prefix="pskernel-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path, password=lock)
    finally:
        Path(path).unlink()
