"""What seals the records of an audit log: a secret that is shared with whoever verifies, or an SSH key."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import NoReturn, Protocol

from pskernel.audit.sshkey import SshKey, read_ssh_key
from pskernel.credentials import CredentialReference, Secret, look_up
from pskernel.errors import AuditError, TargetError

__all__ = ["AuditKey", "HmacKey", "NoKey", "SshKey", "Unchecked", "load_key", "new_secret"]

_SHORTEST = 32


class AuditKey(Protocol):
    """Seals records, or verifies their seals.

    Attributes:
        kind: what kind of seal it makes.
        id: which key it is, for everybody to see.
    """

    @property
    def kind(self) -> str: ...

    @property
    def id(self) -> str: ...

    def seal(self, data: bytes) -> str | None:
        """Return the seal of ``data``.

        Raises:
            AuditError: the key can only verify.
        """

    def accepts(self, data: bytes, seal: object) -> bool:
        """Whether ``seal`` was made of ``data`` with this key."""


class NoKey:
    """No seal: records are chained, and whoever may write them can make the chain anew."""

    kind = "none"
    id = ""

    def seal(self, _data: bytes) -> None:
        """Return nothing."""

    def accepts(self, _data: bytes, seal: object) -> bool:
        """Whether there is no seal."""
        return seal is None


class Unchecked(NoKey):
    """For reading what is not verified."""

    def accepts(self, _data: bytes, seal: object) -> bool:
        """Any seal will do."""
        return seal is None or isinstance(seal, str)


class HmacKey:
    """HMAC-SHA256. Whoever can verify can also forge.

    Raises:
        AuditError: the secret could be guessed.
    """

    kind = "hmac-sha256"
    __slots__ = ("_key", "id")

    def __init__(self, secret: Secret) -> None:
        self._key = secret.reveal().encode("utf-8", "surrogatepass")
        if len(self._key) < _SHORTEST:
            raise AuditError(
                f"The key of an audit log has at least {_SHORTEST} characters: a shorter one can be guessed with the "
                "log at hand. `pskernel audit key NAME` makes one."
            )
        self.id = hmac.digest(self._key, b"pskernel audit key id", "sha256").hex()[:16]

    def seal(self, data: bytes) -> str:
        """Return the HMAC in hexadecimal."""
        return hmac.digest(self._key, data, hashlib.sha256).hex()

    def accepts(self, data: bytes, seal: object) -> bool:
        """Whether ``seal`` is the HMAC of ``data``."""
        return isinstance(seal, str) and hmac.compare_digest(
            self.seal(data).encode(), seal.encode("utf-8", "surrogatepass")
        )

    def __repr__(self) -> str:
        return f"HmacKey(id={self.id!r})"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("A key cannot be pickled or copied.")


def load_key(reference: str) -> SshKey | HmacKey:
    """Fetch a key. It blocks while a keyring asks its owner.

    Args:
        reference: ``keyring:NAME``, ``env:NAME`` or ``file:PATH`` for a secret; ``ssh:PATH`` for an Ed25519 key of
            OpenSSH, of which the public half is enough to verify.

    Raises:
        AuditError: it is not there, not kept safely, or not a key that can be used.
    """
    kind, _, name = reference.partition(":")
    if kind.strip().lower() == "ssh":
        return read_ssh_key(os.path.expanduser(name))  # noqa: PTH111 - pathlib would raise for an unknown user
    try:
        return HmacKey(look_up(CredentialReference.parse(reference)))
    except TargetError as error:
        # Neither error has a secret in it, nor the text of what was no reference.
        raise AuditError(f"The key of the audit log cannot be used. {error} An SSH key is named ssh:PATH.") from None


def new_secret() -> Secret:
    """A new secret of 256 bits."""
    return Secret(secrets.token_urlsafe(32))
