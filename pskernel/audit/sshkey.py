"""Records signed by an SSH key, as ``ssh-keygen -Y sign -n audit@pskernel`` signs: who verifies cannot forge."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pskernel.credentials import CredentialReference, look_up
from pskernel.errors import AuditError, TargetError

if TYPE_CHECKING:
    import asyncssh

__all__ = ["NAMESPACE", "SshKey", "read_ssh_key"]

NAMESPACE: Final = b"audit@pskernel"
_ALGORITHM: Final = b"ssh-ed25519"
_MAX_BYTES: Final = 64 * 1024


class SshKey:
    """An Ed25519 key: its signatures are the same each time, and have one form only."""

    kind = "ssh-ed25519"
    __slots__ = ("_private", "_public", "id")

    def __init__(self, key: asyncssh.SSHKey, *, private: bool) -> None:
        if key.algorithm != _ALGORITHM:
            raise AuditError(
                "An audit log is signed by an Ed25519 key. Make one with: ssh-keygen -t ed25519 -N '' -f PATH"
            )
        self._private = key if private else None
        self._public: Any = key.convert_to_public() if private else key
        self.id = key.get_fingerprint()

    def seal(self, data: bytes) -> str:
        """Return the signature, in base64.

        Raises:
            AuditError: this is only the public half.
        """
        if self._private is None:
            raise AuditError(
                f"The SSH key {self.id} is a public one, which can only verify. Name the file of the private key."
            )
        return base64.b64encode(self._private.sign(_signed(data), _ALGORITHM)).decode()

    def accepts(self, data: bytes, seal: object) -> bool:
        """Whether ``seal`` is the signature of ``data``."""
        if not isinstance(seal, str):
            return False
        try:
            signature = base64.b64decode(seal, validate=True)
            # Several texts decode to the same bytes, of which one is what was written.
            return base64.b64encode(signature).decode() == seal and bool(self._public.verify(_signed(data), signature))
        # asyncssh's parsers raise what they like for bytes that are no signature.
        except Exception:  # noqa: BLE001
            return False

    def __repr__(self) -> str:
        return f"SshKey(id={self.id!r})"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("A key cannot be pickled or copied.")


def read_ssh_key(path: str) -> SshKey:
    """Read a private key without a passphrase, or a public key.

    Raises:
        AuditError: it is none, or others can read the private key.
    """
    # A tenth of a second, which logs without an SSH key need not pay.
    import asyncssh  # noqa: PLC0415

    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if not data.startswith(b"-----BEGIN"):
            return SshKey(asyncssh.import_public_key(data), private=False)
        # Read as every other secret is: it must be this user's, and closed to others.
        text = look_up(CredentialReference("file", path)).reveal()
        return SshKey(asyncssh.import_private_key(text), private=True)
    except TargetError as error:
        problem = str(error)
    except asyncssh.KeyImportError as error:
        # As asyncssh itself tells one from the other.
        protected = str(error).startswith("Passphrase")
        problem = "It has a passphrase, which nobody is asked for." if protected else "It is not an SSH key."
    except (OSError, ValueError) as error:
        problem = f"{getattr(error, 'strerror', None) or type(error).__name__}."
    raise AuditError(f"The SSH key {path} cannot be used for the audit log. {problem}")


def _signed(data: bytes) -> bytes:
    """What is signed (PROTOCOL.sshsig): nothing that could also be a login."""
    fields = (NAMESPACE, b"", b"sha512", hashlib.sha512(data).digest())
    return b"SSHSIG" + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
