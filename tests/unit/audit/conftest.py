"""SSH keys for tests of the audit log, made by OpenSSH."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["ssh_key_pair"]


def ssh_key_pair(folder: Path, *more: str, name: str = "id") -> tuple[Path, Path]:
    """A private key and its public half; by default Ed25519 without a passphrase."""
    path = folder / name
    if not path.exists():
        options = more or ("-t", "ed25519", "-N", "")
        subprocess.run(["ssh-keygen", "-q", "-C", "", *options, "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path, path.with_suffix(".pub")
