"""Certificates of an HTTPS endpoint: which one of the server is believed, and which one this side shows."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from pathlib import Path
from typing import Any, Final

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from requests.adapters import HTTPAdapter

from pskernel.errors import TargetError
from pskernel.transports.base import Secret
from pskernel.transports.winrm.endpoint import Trust, WinRMEndpoint

__all__ = ["Certificates"]

_MAX_FILE_BYTES: Final = 1024 * 1024


class Certificates:
    """For all connections of one session.

    Raises:
        TargetError: a file cannot be read, or its passphrase is wrong.
    """

    def __init__(self, endpoint: WinRMEndpoint) -> None:
        self._trust = endpoint.trust
        self._certificate = endpoint.login.certificate if endpoint.login.auth == "certificate" else None
        self._context = _context(self._trust) if endpoint.tls else None
        if self._context is not None and self._certificate is not None:
            _load_own(self._context, self._certificate, endpoint.login.secret)

    def arguments(self) -> dict[str, Any]:
        """For pypsrp's WSMan, which insists on file names that :meth:`prepare` then makes void."""
        chosen: dict[str, Any] = {"cert_validation": not self._trust.anything}
        if self._certificate is not None:
            chosen |= {"certificate_pem": self._certificate, "certificate_key_pem": self._certificate}
        return chosen

    def prepare(self, session: requests.Session, adapter: HTTPAdapter) -> None:
        """Set a new session up."""
        if self._context is None:
            return
        session.cert = None
        pool = adapter.poolmanager.connection_pool_kw
        pool["ssl_context"] = self._context
        if self._trust.fingerprint is not None or self._trust.anything:
            session.verify = False
            if self._trust.fingerprint is not None:
                pool["assert_fingerprint"] = self._trust.fingerprint
        elif self._trust.ca_file is not None:
            session.verify = self._trust.ca_file
        if self._trust.any_name:
            pool["assert_hostname"] = False


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # urllib3 compares the name itself, and could not switch verification off otherwise.
    context.check_hostname = False
    if trust.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(trust.ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "it holds no certificates in PEM form"
        raise TargetError(f"The file {trust.ca_file} (ca_file) cannot be used: {reason}.") from None
    return context


def _load_own(context: ssl.SSLContext, path: str, passphrase: Secret | None) -> None:
    """Load this side's certificate and key, PEM or PFX."""
    try:
        data = Path(path).read_bytes()[: _MAX_FILE_BYTES + 1]
    except OSError as error:
        raise TargetError(f"The certificate {path} cannot be read: {error.strerror or error}.") from None
    if len(data) > _MAX_FILE_BYTES:
        raise TargetError(f"The file {path} is too large for a certificate.")
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
