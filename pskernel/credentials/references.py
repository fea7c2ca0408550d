"""Where a password is, and a password that does not show itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NoReturn

from pskernel.errors import TargetError

__all__ = ["CredentialReference", "Secret", "check_user"]


def check_user(name: str) -> str:
    """Return the name of a user.

    Raises:
        TargetError: it can be none. The text is not repeated, since it may be a password by mistake.

    """
    # Neither Windows nor POSIX knows names with a colon: it is what stands between a user and a password.
    if not _is_plain(name, 256) or ":" in name:
        raise TargetError("The name of a user is 1 to 256 printable characters without a colon.")
    return name


def _is_plain(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and text.isprintable()


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
            "keyring": _is_plain(self.name, 256),
            "env": re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name) is not None,
            "file": _is_plain(self.name, 4096),
            "prompt": not self.name,
        }
        if not valid.get(self.kind, False):
            raise TargetError(
                "A credential reference is keyring:NAME, env:NAME, file:PATH or prompt. It says where the "
                "password is; it is never the password itself."
            )

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind
