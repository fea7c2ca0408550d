"""Options of a session, as New-PSSessionOption makes them: for WinRM, as with PowerShell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from pskernel.errors import TargetError

__all__ = ["PSSessionOption", "option_names"]

# Fields that are options of a target under another name, or in another unit.
_RENAMED: Final = {
    "maximum_redirection": "max_redirections",
    "output_buffering_mode": "output_buffering",
    "maximum_received_object_size": "max_received_object",
    "maximum_received_data_size_per_command": "max_received_per_command",
}
_MILLISECONDS: Final = {
    "operation_timeout": ("operation_timeout",),
    "cancel_timeout": ("stop_timeout",),
    "open_timeout": ("open_timeout", "connect_timeout"),
}
# Times that mean "without end", as long as a target's options let them be.
_LONGEST_SECONDS: Final = 3600.0
_SHORTEST_IDLE: Final = 60_000
_AT_LEAST_ONE: Final = ("maximum_received_object_size", "maximum_received_data_size_per_command")
_NO_EFFECT: Final = {"no_compression", "skip_revocation_check"}
_REFUSED: Final = {
    "use_utf16": "UseUTF16: messages are always UTF-8 here",
    "proxy_credential": "ProxyCredential: a proxy that wants a login is not supported",
    "proxy_authentication": "ProxyAuthentication: a proxy that wants a login is not supported",
}
_PROXY: Final = {"none": "none", "noproxyserver": "none", "winhttpconfig": "environment", "ieconfig": "environment",
                 "autodetect": "environment"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PSSessionOption:
    """What New-PSSessionOption takes, times in milliseconds and sizes in bytes; None is the default.

    What is not positive means, as with PowerShell: of ``operation_timeout``, ``open_timeout`` and ``cancel_timeout``,
    without end (here: one hour); of ``idle_timeout``, -1 is the server's own, and nothing else below a minute can be;
    0 for ``maximum_redirection`` and ``max_connection_retry_count`` is none at all. A size is at least 1000 bytes.

    The last fields are not PowerShell's: the file with authorities, the fingerprint of the server's certificate, the
    URL of a proxy, and the word that readable messages are acceptable, without which ``no_encryption`` is refused.

    Raises:
        TargetError: a value that cannot be had here, or none that the option can have.
    """

    maximum_redirection: int | None = None
    no_compression: bool = False
    no_machine_profile: bool = False
    culture: str | None = None
    ui_culture: str | None = None
    maximum_received_data_size_per_command: int | None = None
    maximum_received_object_size: int | None = None
    output_buffering_mode: str | None = None
    max_connection_retry_count: int | None = None
    application_arguments: Mapping[str, Any] | None = None
    open_timeout: int | None = None
    cancel_timeout: int | None = None
    idle_timeout: int | None = None
    proxy_access_type: str | None = None
    proxy_authentication: str | None = None
    proxy_credential: object | None = None
    skip_ca_check: bool = False
    skip_cn_check: bool = False
    skip_revocation_check: bool = False
    operation_timeout: int | None = None
    no_encryption: bool = False
    use_utf16: bool = False
    include_port_in_spn: bool = False
    ca_file: str | None = None
    accept_certificate: str | None = None
    proxy: str | None = None
    allow_unencrypted: bool = False

    def __post_init__(self) -> None:
        refused = [why for name, why in _REFUSED.items() if getattr(self, name) not in (None, False)]
        if refused:
            raise TargetError(f"This option cannot be had. {refused[0]}.")
        self._check_numbers()
        if (self.proxy_access_type or "none").lower() not in _PROXY:
            raise TargetError("ProxyAccessType is None, NoProxyServer, or IEConfig, WinHttpConfig and AutoDetect.")

    def _check_numbers(self) -> None:
        idle = self.idle_timeout
        if idle is not None and idle != -1 and idle < _SHORTEST_IDLE:
            raise TargetError(
                f"The specified IdleTimeout session option {idle / 1000:g} (seconds) is not a valid period. Specify an "
                f"IdleTimeout value that is greater than or equal to the minimum allowed {_SHORTEST_IDLE // 1000} "
                "(seconds), or -1 for the server's own."
            )
        for name in _AT_LEAST_ONE:
            size = getattr(self, name)
            if size is not None and size < 1:
                raise TargetError(
                    f"{name.title().replace('_', '')} is a number of bytes, and {size} would let nothing through. "
                    "Leave it out for its default."
                )
        for name in ("maximum_redirection", "max_connection_retry_count"):
            if (getattr(self, name) or 0) < 0:
                raise TargetError(f"{name.title().replace('_', '')} is a number from 0 on.")

    def target_options(self) -> dict[str, object]:
        """The options of a target that say the same; those not given are left out."""
        found: dict[str, object] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None or value is False or each.name in _NO_EFFECT:
                continue
            if each.name in _MILLISECONDS:
                found |= dict.fromkeys(_MILLISECONDS[each.name], _seconds(value))
            elif each.name not in _SPECIAL:
                found[_RENAMED.get(each.name, each.name)] = value
        if self.no_machine_profile:
            found["machine_profile"] = False
        if self.idle_timeout not in (None, -1):
            found["idle_timeout"] = _seconds(self.idle_timeout)
        if self.max_connection_retry_count == 0:
            found["reconnect_timeout"] = 0
        if self.proxy is None and self.proxy_access_type is not None:
            found["proxy"] = _PROXY[self.proxy_access_type.lower()]
        return found

    def __repr__(self) -> str:
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        given = (f"{name}={value!r}" for name, value in values if value is not None and value is not False)
        return f"PSSessionOption({', '.join(given)})"


_SPECIAL: Final = {
    "no_machine_profile", "idle_timeout", "max_connection_retry_count", "proxy_access_type", "include_port_in_spn",
}  # fmt: skip


def option_names(field: str) -> tuple[str, ...]:
    """The options of a target that a field of :class:`PSSessionOption` says."""
    return _MILLISECONDS.get(field, (_RENAMED.get(field, field),))


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1000 if milliseconds > 0 else _LONGEST_SECONDS
