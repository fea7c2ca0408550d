"""A user and a password, and what ``-Credential`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from pskernel.credentials.index import Index
from pskernel.credentials.keyrings import fetch
from pskernel.credentials.places import resolve
from pskernel.credentials.references import CredentialReference, Secret, check_user
from pskernel.errors import TargetError
from pskernel.questions import Asker, Question

__all__ = ["GivenCredential", "PSCredential", "read_credential"]


class PSCredential:
    r"""A user and a password that does not show itself: ``credential.password.reveal()`` returns it.

    Args:
        user_name: as PowerShell takes it: ``admin``, ``DOMAIN\admin``, ``admin@domain``.
        password: read it with getpass or from a store. A cell that holds it is in the notebook and its history.

    Raises:
        TargetError: the name of the user is none.
        TypeError: the password is no text.
    """

    __slots__ = ("_password", "_user_name")

    def __init__(self, user_name: str, password: str | Secret) -> None:
        # First of all: IPython's verbose tracebacks show the arguments of every frame.
        password = password if isinstance(password, Secret) else Secret(password)
        if not isinstance(password.reveal(), str):
            raise TypeError("The password of a PSCredential is a str.")
        self._user_name = check_user(user_name)
        self._password = password

    @classmethod
    def from_keyring(cls, name: str) -> PSCredential:
        """Read what ``pskernel credential set NAME --user USER`` stored. It blocks while the keyring asks its owner.

        Raises:
            TargetError: the keyring has no such password, or none that was stored with a user.

        """
        reference = CredentialReference("keyring", name)
        user = Index().read().get(name)
        secret = fetch(reference)
        if user is None:
            raise TargetError(
                f"The credential {reference} was stored without a user. Store it again with "
                "`pskernel credential set NAME --user USER`."
            )
        return cls(user, secret)

    @property
    def user_name(self) -> str:
        """The name of the user."""
        return self._user_name

    @property
    def UserName(self) -> str:  # noqa: N802 - PowerShell's spelling
        """The name of the user, as PowerShell spells the property."""
        return self._user_name

    @property
    def password(self) -> Secret:
        """The password; its text only by :meth:`~pskernel.credentials.Secret.reveal`."""
        return self._password

    def __repr__(self) -> str:
        return f"PSCredential(user_name={self._user_name!r}, password={self._password!r})"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("A credential cannot be pickled or copied.")


@dataclass(frozen=True, slots=True)
class GivenCredential:
    """What was given to ``-Credential``: the user, if it says one, and the password or where that is."""

    user: str | None
    source: CredentialReference | Secret

    async def password(self, asker: Asker, question: Question) -> Secret:
        """Return the password, or fetch it; ``question`` is put to ``asker`` if it is in nobody's store.

        Raises:
            TargetError: there is no secret at its place, or it is not kept safely there.
            PromptUnavailable: nobody can be asked.

        """
        if isinstance(self.source, Secret):
            return self.source
        return await resolve(self.source, asker, question)


def read_credential(value: object) -> GivenCredential:
    """Read a user's name, ``keyring:NAME`` (or ``env:NAME``, ``file:PATH``) or a :class:`PSCredential`.

    No password is fetched. A user may stand before a reference, ``USER@env:NAME``; the user of ``keyring:NAME`` is
    otherwise the one it was stored with.

    Raises:
        TargetError: it is none of these. It is not repeated, since it may hold a password by mistake.

    """
    if isinstance(value, PSCredential):
        return GivenCredential(value.user_name, value.password)
    if not isinstance(value, str):
        raise TargetError(
            f"A credential is the name of a user, keyring:NAME or a PSCredential, and not a {type(value).__name__}."
        )
    if ":" not in value:
        return GivenCredential(check_user(value), CredentialReference("prompt"))
    # No user's name has a colon; user:password has one, and is refused.
    owner, at, _ = value.partition(":")[0].rpartition("@")
    reference = CredentialReference.parse(value[len(owner + at) :])
    if at:
        return GivenCredential(check_user(owner), reference)
    user = Index().read().get(reference.name) if reference.kind == "keyring" else None
    return GivenCredential(user, reference)
