"""OpenSSH's known_hosts files: which keys a server may show, and what to tell a user when it shows another.

The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Checking a server's certificate and its proof that
it has the key is the SSH library's part; this module only says which keys are on file, and adds one.
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
    "HostKeyPolicy",
    "KnownHosts",
    "KnownKey",
    "ShownKey",
    "accepted_key",
    "changed_key",
    "host_label",
    "kind_of",
    "remember",
    "revoked_key",
    "unexpected_key",
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
    def fingerprint(self) -> str:
        """The key's fingerprint as OpenSSH shows it: ``SHA256:`` and unpadded base64."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def text(self) -> str:
        """The key as OpenSSH writes it: algorithm and base64."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"

    @property
    def shown(self) -> ShownKey:
        """The key as messages show it."""
        return ShownKey(kind_of(self.algorithm), self.fingerprint, self.text)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of a known_hosts file that is about the host asked for."""

    marker: Marker
    key: HostKey
    file: str
    line: int


def kind_of(algorithm: str) -> str:
    """Return the name people use for a key algorithm: ED25519, ECDSA, RSA."""
    if algorithm.startswith("ecdsa-"):
        return "ECDSA"
    return _ALGORITHM_NAMES.get(algorithm, algorithm)


def host_label(host: str, port: int) -> str:
    """Return the name a host goes by in known_hosts: ``host``, or ``[host]:port`` off port 22."""
    return host if port == _DEFAULT_PORT else f"[{host}]:{port}"


class KnownHosts:
    """What the known_hosts files say about one host."""

    def __init__(self, files: Iterable[str], host: str, port: int) -> None:
        """Read ``files`` in order, leaving out those that do not exist or may not be read."""
        self._entries: list[KnownKey] = []
        # Keys on file for the host without its port serve a server on another port that has no keys of its own, as
        # OpenSSH has it.
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
        own = tuple(entry.key for entry in self._entries if not entry.marker)
        return own or tuple(entry.key for entry in self._portless if not entry.marker)

    @property
    def authorities(self) -> tuple[HostKey, ...]:
        """The keys that may sign the host's certificate."""
        return self._marked("cert-authority")

    @property
    def revoked(self) -> tuple[HostKey, ...]:
        """The keys the host must not show."""
        return self._marked("revoked")

    def conflict(self, key: HostKey) -> KnownKey | None:
        """Return the line that speaks against an unknown ``key``: another one for the same host and port."""
        known = [entry for entry in self._entries if not entry.marker]
        known.sort(key=lambda entry: entry.key.algorithm != key.algorithm)
        return known[0] if known else None

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


class HostKeyPolicy:
    """Which keys one server may show: those on file, or the one that the user vouches for and no other."""

    def __init__(self, files: Iterable[str], host: str, port: int, pin: str | None) -> None:
        """Read the known_hosts ``files``; ``pin`` is the fingerprint the user vouches for."""
        self._known = KnownHosts(files, host, port)
        self._pin = (pin or "").rstrip("=")
        self.label = host_label(host, port)

    @property
    def trusted(self) -> tuple[HostKey, ...]:
        """The keys that will do without further questions."""
        revoked = self._known.revoked
        return tuple(key for key in self._known.keys if key not in revoked and self._pin in ("", key.fingerprint))

    @property
    def authorities(self) -> tuple[HostKey, ...]:
        """The keys that may sign the host's certificate."""
        return () if self._pin else self._known.authorities

    @property
    def revoked(self) -> tuple[HostKey, ...]:
        """The keys that neither the host nor an authority may have."""
        return self._known.revoked

    @property
    def algorithms(self) -> set[str]:
        """The algorithms to ask the server for, so that it shows a key that will do, or else one that is on file."""
        return {key.algorithm for key in self.trusted or self._known.keys}

    def objection(self, key: HostKey, *, file: str, login: str, pinnable: bool) -> str:
        """Return why the server is refused that showed a key which is not trusted; nothing if the user vouches for it.

        The further arguments are those of :func:`unknown_key`.
        """
        conflict = self._known.conflict(key)
        if self._pin not in ("", key.fingerprint):
            return unexpected_key(self.label, key.shown, self._pin)
        if key in self._known.revoked:
            return revoked_key(self.label, key.shown)
        if conflict is not None:
            return changed_key(self.label, key.shown, conflict.file, conflict.line)
        return "" if self._pin else unknown_key(self.label, key.shown, file=file, login=login, pinnable=pinnable)


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
    """Compare with a hashed name: ``|1|SALT|HASH``, HASH being HMAC-SHA1(SALT, name), both in base64."""
    try:
        _, version, salt, digest = pattern.split("|")
        return version == "1" and hmac.compare_digest(_hash(base64.b64decode(salt), name), base64.b64decode(digest))
    except ValueError:
        return False


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), hashlib.sha1).digest()


def remember(file: str, host: str, port: int, key: HostKey) -> None:
    """Add a host's key to a known_hosts file; the name is hashed if the file has hashed names already.

    Of folders, only ~/.ssh is made, as OpenSSH does: another one that is missing may be a slip in a path.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(file)
    if path.parent == Path.home() / ".ssh":
        path.parent.mkdir(mode=0o700, exist_ok=True)
    name = host_label(host.lower(), port)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as opened:
        present = opened.read()
        if re.search(rb"^(?:@\S+\s+)?\|1\|", present, re.MULTILINE):
            salt = secrets.token_bytes(20)
            name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(_hash(salt, name)).decode()}"
        gap = "\n" if present and not present.endswith(b"\n") else ""
        opened.write(f"{gap}{name} {key.text}\n".encode())


@dataclass(frozen=True, slots=True)
class ShownKey:
    """What is known of a key that a server showed. ``text`` is the whole of it, where it is known."""

    kind: str
    fingerprint: str
    text: str = ""


def unknown_key(label: str, shown: ShownKey, *, file: str, login: str, pinnable: bool) -> str:
    """Return what to tell a user about a server whose key is not on file.

    Args:
        label: the server's name in known_hosts.
        shown: the key it showed.
        file: the known_hosts file a line can be added to, or empty if there is none.
        login: the command that asks OpenSSH's own question, such as ``ssh -p 2222 user@host``.
        pinnable: whether the option accept_host_key is about this server (it is not for a jump host).
    """
    option = (
        f"give the option accept_host_key={shown.fingerprint} where the target is named (but not in a `#% target` "
        "line: a cell may not vouch for a host), or "
    )
    line = f", or add this line to {file}:\n{label} {shown.text}" if shown.text and file else "."
    return (
        f"The server {label} is not known: its {shown.kind} key has the fingerprint {shown.fingerprint}. Compare that "
        f"with what the server's administrator says. If it is right, {option if pinnable else ''}log in once with "
        f"`{login}`{line}"
    )


def unexpected_key(label: str, shown: ShownKey, pin: str) -> str:
    """Return what to tell a user about a server whose key is not ``pin``, the one they vouch for."""
    return (
        f"The server {label} is not the one that the option accept_host_key vouches for: its {shown.kind} key has the "
        f"fingerprint {shown.fingerprint}, and the option names {pin}. No session was opened. Compare both with what "
        "the server's administrator says. If the server's is right, correct the option."
    )


def accepted_key(label: str, shown: ShownKey, file: str, problem: str = "") -> str:
    """Return what to tell a user whose option accept_host_key was taken at its word, and what became of ``file``."""
    filed = f"could not be added to {file} ({problem}): keep the option" if problem else f"was added to {file}"
    return (
        f"The server {label} was not known. Its {shown.kind} key {shown.fingerprint}, which the option accept_host_key "
        f"vouches for, {filed}."
    )


def changed_key(label: str, shown: ShownKey, file: str, line: int) -> str:
    """Return what to tell a user about a server whose key is not the one on line ``line`` of ``file``."""
    return (
        f"The server {label} is not the one known by that name: it showed the {shown.kind} key {shown.fingerprint}, "
        f"but line {line} of {file} holds another one. Somebody may be listening on the line, or the server was set up "
        "anew. The login was not attempted. Ask the server's administrator; if the change is theirs, remove the old "
        f'key with `ssh-keygen -f "{file}" -R "{label}"` and try again.'
    )


def revoked_key(label: str, shown: ShownKey) -> str:
    """Return what to tell a user about a server whose key is marked as revoked."""
    return (
        f"The server {label} showed the {shown.kind} key {shown.fingerprint}, which known_hosts marks as revoked: it "
        "may be in the wrong hands. The login was not attempted. Ask the server's administrator."
    )
