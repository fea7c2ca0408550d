"""Which credentials were stored here, and for whom: keyrings cannot be asked what they hold.

One JSON file, readable by its owner, without any password::

    {"credentials": {"web01": {"user": "admin"}, "backup": {}}}
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pskernel.credentials.references import CredentialReference, check_user
from pskernel.errors import TargetError

__all__ = ["Index", "IndexBroken"]

_MAX_BYTES: Final = 1024 * 1024

Users = dict[str, str | None]


class IndexBroken(TargetError):
    """The file can be read, and is not an index."""


class Index:
    """The names of the credentials stored in the keyring, each with its user or None.

    Args:
        path: the file; without one, that of this user.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _default_path()

    def read(self) -> Users:
        """Return the users by name, in the order of the names; nothing was stored where there is no file.

        Raises:
            IndexBroken: the file is not an index.
            TargetError: it cannot be read.

        """
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failure("read", error) from None
        try:
            return _users(data)
        except (ValueError, RecursionError, TargetError):
            pass
        raise IndexBroken(
            f"The index of credentials {self.path} is damaged. The passwords are still in the keyring; mend the file, "
            "or store a credential with `pskernel credential set`, which keeps the damaged file beside a new one."
        )

    def put(self, reference: CredentialReference, user: str | None) -> str | None:
        """Add a credential, or change its user; without ``user`` it keeps the one it had. Return its user.

        Raises:
            TargetError: the file cannot be read or written, or the user's name is none.

        """
        with self._locked():
            users = self.read()
            user = users.get(reference.name) if user is None else check_user(user)
            self._write({**users, reference.name: user})
        return user

    def drop(self, reference: CredentialReference) -> bool:
        """Take a credential out; return whether it was there.

        Raises:
            TargetError: the file cannot be read or written.

        """
        with self._locked():
            users = self.read()
            if reference.name not in users:
                return False
            del users[reference.name]
            self._write(users)
        return True

    def set_aside_if_broken(self) -> Path | None:
        """Give a file that is not an index another name; return that, if there was one.

        Raises:
            TargetError: the file cannot be read or renamed.

        """
        with self._locked():
            try:
                self.read()
            except IndexBroken:
                return self._set_aside()
        return None

    def _set_aside(self) -> Path:
        number = 1
        while os.path.lexists(aside := self.path.with_name(f"{self.path.name}.damaged-{number}")):
            number += 1
        try:
            self.path.rename(aside)
        except OSError as error:
            raise self._failure("renamed", error) from None
        return aside

    def _write(self, users: Users) -> None:
        entries = {name: {} if user is None else {"user": user} for name, user in sorted(users.items())}
        data = json.dumps({"credentials": entries}, indent=2, ensure_ascii=False).encode() + b"\n"
        if len(data) > _MAX_BYTES:
            raise TargetError(
                f"The index of credentials {self.path} is full. Remove some with `pskernel credential remove`."
            )
        try:
            # mkstemp makes it readable and writable for this user only.
            number, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(data)
                Path(temporary).replace(self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            raise self._failure("written", error) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep two commands from losing each other's entries. It is held for milliseconds, and asks nobody anything."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = _lock(self.path.parent)
        except OSError as error:
            raise self._failure("written", error) from None
        try:
            yield
        finally:
            if folder is not None:
                os.close(folder)

    def _failure(self, what: str, error: OSError) -> TargetError:
        reason = error.strerror or type(error).__name__
        return TargetError(f"The index of credentials {self.path} cannot be {what}: {reason}.")


if sys.platform == "win32":

    def _lock(_folder: Path) -> int | None:
        return None
else:
    import fcntl

    def _lock(folder: Path) -> int | None:
        # The folder itself: a lock's file would be left behind, and the index is replaced at each change.
        number = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
        except BaseException:
            os.close(number)
            raise
        return number


def _default_path() -> Path:
    # Tens of milliseconds, which whoever only imports the library need not pay.
    from platformdirs import user_data_path  # noqa: PLC0415

    return user_data_path("pskernel", appauthor=False) / "credentials.json"


def _users(data: bytes) -> Users:
    if len(data) > _MAX_BYTES:
        raise ValueError
    content = json.loads(data)
    entries = content.get("credentials") if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping):
        raise ValueError  # noqa: TRY004 - the one error of all that it may be
    users: Users = {}
    for name, entry in sorted(entries.items()):
        CredentialReference("keyring", name)
        user = entry.get("user") if isinstance(entry, Mapping) else entry
        if not isinstance(entry, Mapping) or not isinstance(user, str | None):
            raise ValueError  # noqa: TRY004 - likewise
        users[name] = None if user is None else check_user(user)
    return users
