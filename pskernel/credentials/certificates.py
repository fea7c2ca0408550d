"""A client certificate by its thumbprint, where there is no Windows certificate store."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from typing import Final

import platformdirs

from pskernel.errors import TargetError

__all__ = ["certificate_folder", "find_certificate"]

_MAX_FILES: Final = 1_000
_MAX_BYTES: Final = 1024 * 1024
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def certificate_folder() -> Path:
    """Where certificates with their keys are looked for."""
    return Path(platformdirs.user_data_dir("pskernel", appauthor=False)) / "certificates"


def find_certificate(thumbprint: str, folder: Path | None = None) -> str:
    """The path of the PEM file whose first certificate has this thumbprint (SHA-1 or SHA-256, as hexadecimal digits).

    Raises:
        TargetError: there is none, or the thumbprint is none.
    """
    wanted = re.sub(r"[\s:\u200e]", "", thumbprint).lower()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", wanted):
        raise TargetError(
            "A certificate is named by its thumbprint, of 40 hexadecimal digits, or by the path of its file."
        )
    where = folder or certificate_folder()
    digest = hashlib.sha1 if len(wanted) == 40 else hashlib.sha256
    for path in sorted(where.glob("*.pem"))[:_MAX_FILES]:
        certificate = _read(path)
        # SHA-1 names it here, as Windows does; nothing is believed for its sake.
        if certificate is not None and digest(certificate).hexdigest() == wanted:
            return str(path)
    raise TargetError(
        f"No certificate with the thumbprint {wanted} is in {where}. Outside of Windows there is no certificate store: "
        "export the certificate with its key, convert it to PEM (openssl pkcs12 -in cert.pfx -out cert.pem), put it "
        "there, readable by you only; or give the path of its PEM or PFX file instead of the thumbprint."
    )


def _read(path: Path) -> bytes | None:
    """The first certificate of a file; None where there is none."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            found = _CERTIFICATE.search(file.read(_MAX_BYTES).decode("ascii", "replace"))
        return ssl.PEM_cert_to_DER_cert(found[0]) if found else None
    except (OSError, ValueError):
        return None
