"""Names and addresses of hosts, as a target has them: nothing that could be an option or shell syntax."""

from __future__ import annotations

import ipaddress
import re

from pskernel.errors import TargetError

__all__ = ["canonical_host"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ZONE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,31}")


def canonical_host(host: str) -> str:
    """The name in lower case, or the address as it is written shortest, IPv6 without brackets.

    Raises:
        TargetError: it is none.
    """
    if not host:
        raise TargetError("The host is missing. Write ssh://[user@]host[:port].")
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
