"""OpenSSH's known_hosts files: which keys a server may show, and what to tell a user when it shows another.

The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Checking the server's certificate and its proof of
possession is the SSH library's part; this module only says which keys are on file, and adds one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "HostKey",
    "KnownHosts",
    "KnownKey",
    "changed_key",
    "fingerprint",
    "host_label",
    "remember",
    "revoked_key",
    "unknown_key",
]

_DEFAULT_PORT = 22
_ALGORITHM_NAMES = {
    "ssh-ed25519": "ED25519",
    "ssh-rsa": "RSA",
    "ssh-dss": "DSA",
    "sk-ssh-ed25519@openssh.com": "ED25519-SK",
    "sk-ecdsa-sha2-nistp256@openssh.com": "ECDSA-SK",
}

Marker = Literal["", "cert-authority", "revoked"]


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public key: its algorithm ("ssh-ed25519") and its binary form (RFC 4253 6.6)."""

    algorithm: str
    blob: bytes

    @property
    def kind(self) -> str:
        """The name people use: ED25519, ECDSA, RSA."""
        if self.algorithm.startswith("ecdsa-"):
            return "ECDSA"
        return _ALGORITHM_NAMES.get(self.algorithm, self.algorithm)

    @property
    def text(self) -> str:
        """The key as OpenSSH writes it: algorithm and base64."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of a known_hosts file that is about the host asked for."""

    marker: Marker
    key: HostKey
    file: str
    line: int


def fingerprint(key: HostKey) -> str:
    """Return a key's fingerprint as OpenSSH shows it: ``SHA256:`` and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.blob).digest()).decode().rstrip("=")


def host_label(host: str, port: int) -> str:
    """Return the name a host goes by in known_hosts: ``host``, or ``[host]:port`` off port 22."""
    return host if port == _DEFAULT_PORT else f"[{host}]:{port}"


class KnownHosts:
    """What the known_hosts files say about one host."""

    def __init__(self, files: Iterable[str], host: str, port: int) -> None:
        """Read ``files`` in order, leaving out those that do not exist or may not be read."""
        self._entries: list[KnownKey] = []
        # Keys on file for the host without its port serve a server on another port, as OpenSSH has it.
        self._portless: list[KnownKey] = []
        for file in files:
            try:
                text = Path(file).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            for number, line in enumerate(text.splitlines(), 1):
                self._read_line(line, file, number, host.lower(), port)

    @property
    def keys(self) -> tuple[HostKey, ...]:
        """The keys the host may show."""
        return tuple(entry.key for entry in self._entries if not entry.marker) + tuple(
            entry.key for entry in self._portless if not entry.marker
        )

    @property
    def authorities(self) -> tuple[HostKey, ...]:
        """The keys that may sign the host's certificate."""
        return self._marked("cert-authority")

    @property
    def revoked(self) -> tuple[HostKey, ...]:
        """The keys the host must not show."""
        return self._marked("revoked")

    def conflict(self, key: HostKey) -> KnownKey | None:
        """Return the line that speaks against an unknown ``key``: another key on file for this host and port."""
        known = [entry for entry in self._entries if not entry.marker]
        return next(
            (entry for entry in known if entry.key.algorithm == key.algorithm), known[0] if known else None
        )

    def _marked(self, marker: Marker) -> tuple[HostKey, ...]:
        return tuple(entry.key for entry in self._entries + self._portless if entry.marker == marker)

    def _read_line(self, line: str, file: str, number: int, host: str, port: int) -> None:
        fields = line.split()
        marker: Marker = ""
        if fields and fields[0] == "@cert-authority":
            marker = "cert-authority"
            del fields[0]
        elif fields and fields[0] == "@revoked":
            marker = "revoked"
            del fields[0]
        if len(fields) < 3 or fields[0].startswith(("#", "@")):
            return
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            return
        entry = KnownKey(marker, HostKey(fields[1], blob), file, number)
        if _matches(fields[0], host_label(host, port)):
            self._entries.append(entry)
        elif port != _DEFAULT_PORT and _matches(fields[0], host):
            self._portless.append(entry)


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|"):
        return _matches_hash(patterns, name)
    matched = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        wildcard = re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(wildcard, name):
            if negated:
                return False
            matched = True
    return matched


def _matches_hash(pattern: str, name: str) -> bool:
    """Compare with a hashed name: ``|1|``, the base64 of a salt, ``|``, the base64 of HMAC-SHA1(salt, name)."""
    try:
        _, version, salt, digest = pattern.split("|")
        return version == "1" and hmac.compare_digest(
            _hash(base64.b64decode(salt), name), base64.b64decode(digest)
        )
    except ValueError:
        return False


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), hashlib.sha1).digest()


def remember(file: str, host: str, port: int, key: HostKey) -> None:
    """Add a host's key to a known_hosts file; the name is hashed if the file has hashed names already.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(file)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = host_label(host.lower(), port)
    with open(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as opened:
        present = opened.read()
        if re.search(rb"^(?:@\S+\s+)?\|1\|", present, re.MULTILINE):
            salt = secrets.token_bytes(20)
            name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(_hash(salt, name)).decode()}"
        gap = "\n" if present and not present.endswith(b"\n") else ""
        opened.write(f"{gap}{name} {key.text}\n".encode())


def unknown_key(host: str, port: int, key: HostKey, *, file: str, login: str, pinnable: bool) -> str:
    """Return what to tell a user about a server whose key is not on file.

    Args:
        host: its name.
        port: its port.
        key: the key it showed.
        file: the known_hosts file a line can be added to.
        login: the command that asks OpenSSH's own question, such as ``ssh -p 2222 user@host``.
        pinnable: whether the option accept_host_key is about this host (it is not for a jump host).
    """
    option = f"add the option accept_host_key={fingerprint(key)} to the target, or " if pinnable else ""
    return (
        f"The server {host_label(host, port)} is not known: its {key.kind} key has the fingerprint "
        f"{fingerprint(key)}. Compare that with what the server's administrator says. If it is right, {option}"
        f"log in once with `{login}`, or add this line to {file}: {host_label(host, port)} {key.text}"
    )


def changed_key(host: str, port: int, key: HostKey, known: KnownKey) -> str:
    """Return what to tell a user about a server whose key is not the one on file."""
    label = host_label(host, port)
    return (
        f"The server {label} is not the one known by that name: it showed the {key.kind} key {fingerprint(key)}, but "
        f"line {known.line} of {known.file} holds the {known.key.kind} key {fingerprint(known.key)}. Somebody may be "
        "listening on the line, or the server was set up anew. Nothing was sent to it. Ask its administrator; if the "
        f'change is theirs, remove the old key with `ssh-keygen -f "{known.file}" -R "{label}"` and try again.'
    )


def revoked_key(host: str, port: int, key: HostKey) -> str:
    """Return what to tell a user about a server whose key is marked as revoked."""
    return (
        f"The server {host_label(host, port)} showed the {key.kind} key {fingerprint(key)}, which known_hosts marks "
        "as revoked: it may be in the wrong hands. Nothing was sent to it. Ask the server's administrator."
    )
