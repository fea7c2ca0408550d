"""The machine's policy: whether runs are put on record, and where. No user, and no variable of theirs, switches it off.

::

    audit:
      folder: /var/log/pskernel/{user}     # or ~/..., each user's own
      key: keyring:audit                   # or env:NAME, file:PATH, ssh:PATH; without one there is no seal
      max_bytes: 67108864                  # a file's size
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from pskernel.audit.keys import load_key
from pskernel.audit.log import MAX_BYTES, AuditLog, local_user
from pskernel.errors import AuditError
from pskernel.masking import Masker

__all__ = ["AuditSettings", "audit_policy", "policy_file"]

_MAX_POLICY: Final = 1024 * 1024
_SMALLEST: Final = 64 * 1024
_SECTIONS: Final = {"audit"}
_NAMES: Final = {"folder", "key", "max_bytes"}


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where runs are put on record.

    Attributes:
        folder: the log's.
        key: where its key is, or None.
        max_bytes: the size that a file has at most.
    """

    folder: Path
    key: str | None = None
    max_bytes: int = MAX_BYTES

    def open(self, masker: Masker | None = None) -> AuditLog:
        """Fetch the key and open the log. It blocks while a keyring asks its owner.

        Raises:
            AuditError: one of both cannot be done.
        """
        key = None if self.key is None else load_key(self.key)
        return AuditLog.open(self.folder, key, masker=masker, max_bytes=self.max_bytes)


def audit_policy(path: Path | None = None) -> AuditSettings | None:
    """What the machine's policy says; None where it asks for no log.

    Args:
        path: another file, for tests. It must never come from the environment or from a user.

    Raises:
        AuditError: the policy cannot be read or is not clear, so that nobody knows whether it asks for one.
    """
    path = path or policy_file()
    data = _read(path)
    if data is None:
        return None
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _unclear(path, "it is not YAML") from None
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise _unclear(path, "it is not a mapping with `audit:`")
    # A slip of the pen must not switch anything off.
    if unknown := sorted(map(str, content.keys() - _SECTIONS)):
        raise _unclear(path, f"it has a section {unknown[0][:40]!r}, which does not exist")
    return None if "audit" not in content else _settings(path, content["audit"])


def policy_file() -> Path:
    """Where the policy is: where platformdirs has the machine's configuration if no variable says otherwise."""
    # Not platformdirs itself, which lets XDG_CONFIG_DIRS, a variable of the user's, name another place.
    return _folder() / "policy.yaml"


if sys.platform == "win32":
    import winreg

    def _folder() -> Path:
        where = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, where) as key:
                return Path(str(winreg.QueryValueEx(key, "Common AppData")[0])) / "pskernel"
        except OSError:
            raise AuditError("Windows does not say where its ProgramData is, and so not what the policy is.") from None
elif sys.platform == "darwin":

    def _folder() -> Path:
        return Path("/Library/Application Support/pskernel")
else:

    def _folder() -> Path:
        return Path("/etc/xdg/pskernel")


def _read(path: Path) -> bytes | None:
    try:
        # A link is as good as a file here: only who may write in the folder can make one.
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(_MAX_POLICY + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:
        raise _unclear(path, getattr(error, "strerror", None) or type(error).__name__) from None
    if os.name == "posix" and (
        found.st_uid not in {0, os.geteuid()} or stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise _unclear(path, "others than its owner, who must be root, can change it")
    if len(data) > _MAX_POLICY:
        raise _unclear(path, f"it is larger than {_MAX_POLICY >> 20} MB")
    return data


def _settings(path: Path, section: Any) -> AuditSettings:
    if not isinstance(section, Mapping) or not section.keys() <= _NAMES:
        raise _unclear(path, f"`audit` holds {', '.join(sorted(_NAMES))} and nothing else")
    folder, key, max_bytes = section.get("folder"), section.get("key"), section.get("max_bytes", MAX_BYTES)
    if not isinstance(folder, str) or not isinstance(key, str | None):
        raise _unclear(path, "`folder` and `key` are texts, and `folder` must be there")
    if type(max_bytes) is not int or max_bytes < _SMALLEST:
        raise _unclear(path, f"`max_bytes` is a number of at least {_SMALLEST}")
    return AuditSettings(_place(path, folder), key, max_bytes)


def _place(path: Path, folder: str) -> Path:
    user, home = local_user()
    text = folder.replace("{user}", user)
    place = Path(home + text[1:] if text.startswith("~/") else text)
    if not place.is_absolute():
        raise _unclear(path, "`folder` is an absolute path, which may begin with ~/ and hold {user}")
    return place


def _unclear(path: Path, why: str) -> AuditError:
    return AuditError(
        f"The policy {path} cannot be followed: {why}. Whether runs must be put on record is not known, so that "
        "nothing is run. Whoever looks after this machine must correct it."
    )
