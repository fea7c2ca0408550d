"""The parts of a target that say which host, and who one is there: read, checked, made canonical."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import unquote

from pskernel.errors import TargetError
from pskernel.options import CREDENTIAL_ADVICE

__all__ = ["canonical_host", "check_login_user", "decode", "refuse_password", "split_login"]

_SSH: Final = "ssh://[user@]host[:port]"

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ZONE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,31}")
# What OpenSSH's own valid_ruser() refuses (ssh.c): an option, shell syntax, an option after a space.
_BAD_USER = re.compile(r"""^-|['`";&<>|(){}]|\s-|\\\Z""")


def split_login(login: str) -> tuple[str | None, str, int | None]:
    """Split ``[user@]host[:port]``; only the port is checked."""
    user, at, address = login.rpartition("@")
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([^:]*))?", address)
    if match is None:
        raise TargetError(f"The host cannot be read. Write {_SSH}, with an IPv6 address in brackets.")
    inner, name, port = match.groups()
    if inner is not None and ":" not in inner:
        raise TargetError("Only an IPv6 address is written in brackets.")
    if port is not None and not re.fullmatch(r"[0-9]{1,5}", port):
        raise TargetError("The port must be a whole number from 1 to 65535.")
    # People also paste a zone with a plain "%".
    host = name if inner is None else inner.replace("%25", "%", 1)
    return (user if at else None), host, (None if port is None else int(port))


def canonical_host(host: str) -> str:
    """A host's name in lower case, or its address in the shortest form. Raises TargetError."""
    if not host:
        raise TargetError(f"The host is missing. Write {_SSH}.")
    if ":" in host:
        address, percent, zone = host.partition("%")
        try:
            canonical = str(ipaddress.IPv6Address(address))
        except ValueError:
            raise TargetError("The IPv6 address is not valid. Write it as in ssh://[2001:db8::1].") from None
        if percent and not _ZONE.fullmatch(zone):
            raise TargetError("The zone of the IPv6 address must be the name of a network interface, as in %25eth0.")
        return canonical + percent + zone
    # The Kelvin sign, for one, becomes an ASCII letter in lower case.
    name = host.lower() if host.isascii() else ""
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise TargetError(
            f"{host[:80]!r} is not a host name or an IP address. A host name is made of letters, digits, "
            "'-', '_' and '.', and begins with a letter or digit; write other names in their xn-- form."
        )
    if name.replace(".", "").isdigit():
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise TargetError(f"{name[:80]!r} is not a valid IPv4 address; it needs four numbers.") from None
    return name


def check_login_user(user: str) -> None:
    """Raise TargetError for what is no user's name, or could be taken for an option or shell syntax."""
    if ":" in user:
        raise TargetError(CREDENTIAL_ADVICE)
    if not user or len(user) > 256 or not user.isprintable() or _BAD_USER.search(user):
        raise TargetError(
            "The user name is not acceptable: it must not be empty, begin with '-', end in '\\', or contain "
            "control characters or any of ' ` \" ; & < > | ( ) { }."
        )


def decode(text: str) -> str:
    """Text with its percent codes read. Raises TargetError for what is none."""
    if not re.search(r"%(?![0-9A-Fa-f]{2})", text):
        try:
            return unquote(text, errors="strict")
        except UnicodeDecodeError:  # it holds the bytes
            pass
    raise TargetError("A '%' in a target begins a two-digit code of UTF-8. Write a '%' that is meant as such as %25.")


def refuse_password(rest: str) -> None:
    """Raise TargetError if what follows the scheme has a password beside its user."""
    login = re.split("[/?#]", rest.removeprefix("//"), maxsplit=1)[0]
    if ":" in login.rpartition("@")[0]:
        raise TargetError(CREDENTIAL_ADVICE)
