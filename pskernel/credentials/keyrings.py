"""Passwords in the keyring of this machine, each under its name.

Backends are other people's programs and raise what they like: of their errors only the type is shown, since nobody
knows what they put into the text.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pskernel.credentials.references import CredentialReference, Secret
from pskernel.errors import TargetError

__all__ = ["KEYRING_SERVICE", "delete", "fetch", "find", "store"]

T = TypeVar("T")

KEYRING_SERVICE: Final = "pskernel"


def fetch(reference: CredentialReference) -> Secret:
    """Return the password.

    Raises:
        TargetError: there is none, or the keyring cannot be used.

    """
    secret = find(reference)
    if secret is None:
        raise TargetError(
            f"The keyring has no password for the credential {reference}. Store one with: "
            f"pskernel credential set {_argument(reference.name)}"
        )
    return secret


def find(reference: CredentialReference) -> Secret | None:
    """Return the password, if the keyring has it.

    Raises:
        TargetError: the keyring cannot be used.

    """

    def get(keyring: Any) -> Secret | None:
        value = keyring.get_password(KEYRING_SERVICE, reference.name)
        return None if value is None else Secret(value)

    return _use(get, f"cannot be read for the credential {reference}")


def store(reference: CredentialReference, secret: Secret) -> None:
    """Put the password into the keyring, in place of an earlier one.

    Raises:
        TargetError: the keyring cannot be used, or takes the password and keeps nothing.

    """
    _use(
        lambda keyring: keyring.set_password(KEYRING_SERVICE, reference.name, secret.reveal()),
        f"cannot store the credential {reference}",
    )
    # There is a backend for machines that are to have no keyring: it takes everything and keeps nothing.
    kept = find(reference)
    if kept is None or kept.reveal() != secret.reveal():
        raise _unusable(f"does not keep the credential {reference}", "it was read back and is another")


def delete(reference: CredentialReference) -> bool:
    """Take the password out of the keyring; return whether it was there.

    Raises:
        TargetError: the keyring cannot be used.

    """
    if find(reference) is None:
        return False
    _use(
        lambda keyring: keyring.delete_password(KEYRING_SERVICE, reference.name),
        f"cannot remove the credential {reference}",
    )
    return True


def _use(action: Callable[[Any], T], failure: str) -> T:
    try:
        # Looking for a backend takes tens of milliseconds, which other credentials need not pay.
        import keyring  # noqa: PLC0415

        return action(keyring)
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        # Neither the text nor the chain: nobody knows what a backend puts there.
        problem = type(error).__name__
    raise _unusable(failure, problem)


def _unusable(failure: str, problem: str) -> TargetError:
    return TargetError(
        f"The keyring of this machine {failure} ({problem}). See what `keyring diagnose` says, or use env:NAME, "
        "file:PATH or prompt; a machine without a desktop often has no keyring."
    )


def _argument(name: str) -> str:
    quoted = shlex.quote(name)
    return f"-- {quoted}" if name.startswith("-") else quoted
