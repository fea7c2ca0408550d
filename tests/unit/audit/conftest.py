"""SSH keys for tests of the audit log, made by OpenSSH; and a disk that keeps nobody waiting."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["ssh_key_pair"]


def ssh_key_pair(folder: Path, *more: str, name: str = "id") -> tuple[Path, Path]:
    """A private key and its public half; by default Ed25519 without a passphrase."""
    path = folder / name
    if not path.exists():
        options = more or ("-t", "ed25519", "-N", "")
        subprocess.run(["ssh-keygen", "-q", "-C", "", *options, "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path, path.with_suffix(".pub")


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Path]:
    """A folder in memory, where the system has one: each record waits for the disk several times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
