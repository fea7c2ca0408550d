"""Certificates for HTTPS: an authority, servers of all kinds, a client."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Pair", "authority"]

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path
    fingerprint: str
    thumbprint: str


class Authority:
    """Makes certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, self._key, authority=True).public_bytes(_PEM))

    def server(
        self, *names: str, expired: bool = False, self_signed: bool = False, addresses: tuple[str, ...] = ("127.0.0.1",)
    ) -> Pair:
        """A server's certificate, for ``localhost`` and 127.0.0.1 unless said otherwise."""
        others: list[x509.GeneralName] = [x509.DNSName(name) for name in names or ("localhost",)]
        others += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        signer, issuer = (key, name) if self_signed else (self._key, self._name)
        return self._pair("server", self._signed(name, key, signer, issuer=issuer, others=others, expired=expired), key)

    def client(self, user: str = "admin") -> Pair:
        """A client's."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._pair("client", self._signed(name, key, self._key, issuer=self._name), key)

    def joined(self, pair: Pair, passphrase: str = "") -> Path:
        """Certificate and key in one PEM file."""
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else _OPEN
        file = self.folder / f"joined-{len(list(self.folder.iterdir()))}.pem"
        file.write_bytes(pair.certificate.read_bytes() + key.private_bytes(_PEM, _PKCS8, lock))
        return file

    def pfx(self, pair: Pair, passphrase: str) -> Path:
        """Certificate and key as Windows exports them."""
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        file = self.folder / f"export-{len(list(self.folder.iterdir()))}.pfx"
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        lock = serialization.BestAvailableEncryption(passphrase.encode())
        file.write_bytes(pkcs12.serialize_key_and_certificates(b"admin", key, certificate, None, lock))
        return file

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        issuer: x509.Name | None = None,
        others: list[x509.GeneralName] | None = None,
        expired: bool = False,
        authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer or name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now - _DAY if expired else now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        return builder.sign(signer, hashes.SHA256())

    def _pair(self, kind: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
        number = len(list(self.folder.iterdir()))
        files = self.folder / f"{kind}-{number}.pem", self.folder / f"{kind}-{number}.key"
        files[0].write_bytes(certificate.public_bytes(_PEM))
        files[1].write_bytes(key.private_bytes(_PEM, _PKCS8, _OPEN))
        return Pair(
            *files, certificate.fingerprint(hashes.SHA256()).hex(), certificate.fingerprint(hashes.SHA1()).hex()
        )


_PEM = serialization.Encoding.PEM
_PKCS8 = serialization.PrivateFormat.PKCS8
_OPEN = serialization.NoEncryption()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for a module."""
    return Authority(tmp_path_factory.mktemp("certificates"))
