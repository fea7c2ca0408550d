"""Where a password is, and how to get it from there.

A target only ever carries a :class:`CredentialReference`, which is safe to show; :func:`resolve` turns it
into a :class:`Secret` at the moment of the login. No error here contains, or is chained to an exception that
contains, what was found.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from pskernel.errors import TargetError

if TYPE_CHECKING:
    from pskernel.questions import Asker, Question

__all__ = ["KEYRING_SERVICE", "CredentialReference", "Secret", "resolve"]

KEYRING_SERVICE: Final = "pskernel"
MAX_SECRET_BYTES: Final = 64 * 1024


class Secret:
    """A text that shows itself only to who asks for it with :meth:`reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text. Use it at once; do not store it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, format_spec: str, /) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("A secret cannot be pickled or copied.")


@dataclass(frozen=True, slots=True)
class CredentialReference:
    """Names a place: ``keyring:NAME``, ``env:NAME``, ``file:PATH``, or ``prompt`` without a name."""

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> CredentialReference:
        """Read a reference. ``~`` in the path of a file is expanded.

        Raises:
            TargetError: it is none. The text is not repeated, since it may be a password by mistake.

        """
        kind, _, name = text.partition(":")
        kind = kind.strip().lower()
        if kind == "file":
            name = os.path.expanduser(name)  # noqa: PTH111 - pathlib would raise for an unknown user
        return cls(kind, name)

    def __post_init__(self) -> None:
        valid = {
            "keyring": self._is_plain(256),
            "env": re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name) is not None,
            "file": self._is_plain(4096),
            "prompt": not self.name,
        }
        if not valid.get(self.kind, False):
            raise TargetError(
                "A credential reference is keyring:NAME, env:NAME, file:PATH or prompt. It says where the "
                "password is; it is never the password itself."
            )

    def _is_plain(self, limit: int) -> bool:
        return 0 < len(self.name) <= limit and self.name.isprintable()

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


async def resolve(reference: CredentialReference, asker: Asker, question: Question) -> Secret:
    """Fetch the secret from its place; ``question`` is put to ``asker`` for the reference ``prompt`` only.

    Raises:
        TargetError: there is no secret at that place, or it is not kept safely there.
        PromptUnavailable: nobody can be asked.

    """
    if reference.kind == "prompt":
        return Secret(await asker.ask(question))
    if reference.kind == "env":
        value = os.environ.get(reference.name)
        if value is None:
            raise TargetError(
                f"The credential {reference} cannot be used: the environment variable {reference.name} is "
                "not set where the kernel runs."
            )
    elif reference.kind == "keyring":
        value = await asyncio.to_thread(_from_keyring, reference)
    else:
        value = await asyncio.to_thread(_from_file, reference)
    if not value:
        raise TargetError(f"The credential {reference} is empty. Store the password there.")
    return Secret(value)


def _from_keyring(reference: CredentialReference) -> str:
    try:
        # Looking for a backend takes tens of milliseconds, which other credentials need not pay.
        import keyring  # noqa: PLC0415

        value = keyring.get_password(KEYRING_SERVICE, reference.name)
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        # Neither the text nor the chain: nobody knows what a backend puts there.
        problem = type(error).__name__
    else:
        if value is not None:
            return value
        raise TargetError(
            f"The keyring has no password for the credential {reference}. Store one with: "
            f"keyring set {KEYRING_SERVICE} {shlex.quote(reference.name)}"
        )
    raise TargetError(
        f"The keyring of this machine cannot be read for the credential {reference} ({problem}). See what "
        "`keyring diagnose` says, or use env:NAME, file:PATH or prompt; a machine without a desktop often "
        "has no keyring."
    )


def _from_file(reference: CredentialReference) -> str:
    try:
        # Opened first and examined afterwards, so that nobody can swap the file in between.
        with open(reference.name, "rb", opener=_open_at_once) as file:
            _check_file(reference, os.fstat(file.fileno()))
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TargetError(f"The file of the credential {reference} cannot be read: {reason}.") from None
    if len(data) > MAX_SECRET_BYTES:
        raise TargetError(f"The file of the credential {reference} is larger than {MAX_SECRET_BYTES} bytes.")
    for newline in (b"\r\n", b"\n"):
        if data.endswith(newline):
            data = data.removesuffix(newline)
            break
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:  # it holds the bytes
        pass
    raise TargetError(f"The file of the credential {reference} is not UTF-8 text.")


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe must not wait for somebody to write into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_file(reference: CredentialReference, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise TargetError(f"The credential {reference} does not name a regular file.")
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise TargetError(f"The file of the credential {reference} belongs to another user. Make a copy that is yours.")
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise TargetError(
            f"Others can reach the file of the credential {reference}. Close it with: "
            f"chmod 600 {shlex.quote(reference.name)}"
        )
