"""A real account with a password on this machine, and real rules of sudo and doas for it. Needs root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Account", "account", "another_password", "doas_rules", "sudo_rules"]

_SUDOERS = Path("/etc/sudoers.d")
_DOAS = Path("/etc/doas.conf")


@dataclass(frozen=True)
class Account:
    """A user who may log in, and nothing else."""

    name: str
    password: str


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """One account for a whole session. What it may do, each test says by :func:`sudo_rules`."""
    if os.geteuid() != 0:
        pytest.skip("accounts and rules of sudo are made by root")
    for program in ("sudo", "visudo", "useradd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install sudo")
    # The password is one that no shell and no format would leave as it is.
    made = Account(f"psk{secrets.token_hex(5)}", f"p\xe4ss $%p '\"\\ {secrets.token_hex(4)}")
    with _locked():
        _run("useradd", "--create-home", "--shell", "/bin/bash", made.name)
        _run("chpasswd", given=f"{made.name}:{made.password}\n")
    yield made
    with _locked():
        _run("userdel", "--force", "--remove", made.name)


@contextlib.contextmanager
def another_password(account: Account) -> Iterator[None]:
    """For a while it has another one."""
    try:
        with _locked():
            _run("chpasswd", given=f"{account.name}:{secrets.token_hex(8)}\n")
        yield
    finally:
        with _locked():
            _run("chpasswd", given=f"{account.name}:{account.password}\n")


@contextlib.contextmanager
def sudo_rules(account: Account, *rules: str) -> Iterator[None]:
    """Rules for an account, in which {name} stands for it."""
    file = _SUDOERS / account.name
    text = "".join(f"{rule.format(name=account.name)}\n" for rule in rules)
    file.touch(mode=0o440)
    try:
        file.write_text(text)
        _run("visudo", "--check", "--strict", "--file", str(file))
        yield
    finally:
        file.unlink()


@contextlib.contextmanager
def doas_rules(*rules: str) -> Iterator[None]:
    """The rules of doas, which has one file of them."""
    if shutil.which("doas") is None:
        pytest.skip("doas is not installed: apt-get install opendoas")
    if _DOAS.exists():
        pytest.skip(f"{_DOAS} is somebody's")
    _DOAS.write_text("".join(f"{rule}\n" for rule in rules))
    try:
        _DOAS.chmod(0o400)
        _run("doas", "-C", str(_DOAS))
        yield
    finally:
        _DOAS.unlink()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Several test processes make accounts, and useradd does not wait."""
    with Path("/run/lock/pskernel-tests-accounts").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*words: str, given: str | None = None) -> None:
    result = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, result.stderr
