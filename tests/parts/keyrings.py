"""Keyrings behind keyring's own API; neither is ever chosen by itself."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import keyring.backend
import keyring.errors

__all__ = ["FileKeyring", "Memory"]


class Memory(keyring.backend.KeyringBackend):
    """A keyring in memory."""

    priority = -1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.passwords: dict[tuple[str, str], str] = {}
        self.threads: list[int] = []
        self.failure: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self.threads.append(threading.get_ident())
        if self.failure is not None:
            raise self.failure
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.passwords:
            raise keyring.errors.PasswordDeleteError
        del self.passwords[service, username]


class FileKeyring(keyring.backend.KeyringBackend):
    """A keyring that other processes see too: the file that PSKERNEL_TEST_KEYRING names."""

    priority = -1

    @property
    def path(self) -> Path:
        return Path(os.environ["PSKERNEL_TEST_KEYRING"])

    def read(self) -> dict[str, str]:
        passwords: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return passwords

    def get_password(self, service: str, username: str) -> str | None:
        return self.read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.path.write_text(json.dumps({**self.read(), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        passwords = self.read()
        del passwords[f"{service}/{username}"]
        self.path.write_text(json.dumps(passwords))
