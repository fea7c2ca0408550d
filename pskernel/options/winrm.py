"""Options of ``winrm://`` and ``winrm+https://`` targets; in brackets, what New-PSSessionOption calls them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from pskernel.options.kinds import MAX_TEXT, PATH, SECONDS, SWITCH, Kind, choice, number, option, string, whole
from pskernel.options.schemes import DURABLE, WINRM

__all__ = ["WinRMOptions"]

_HTTPS: Final = "winrm+https"
_URI_PREFIX: Final = "http://schemas.microsoft.com/powershell/"


def _read_configuration(value: object) -> str:
    name = string(value)
    if name.lower().startswith(_URI_PREFIX):
        name = name[len(_URI_PREFIX) :]
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", name):
        raise ValueError
    return name


def _read_fingerprint(value: object) -> str:
    digits = string(value).replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError
    return digits


def _read_proxy(value: object) -> str:
    text = string(value)
    if text.lower() in {"none", "environment"}:
        return text.lower()
    if not re.fullmatch(r"https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?", text):
        raise ValueError
    return text.rstrip("/")


def _read_spn(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,253}(?::[0-9]{1,5})?", text := string(value)):
        raise ValueError
    return text


def _read_culture(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", text := string(value)):
        raise ValueError
    return text


def _read_arguments(value: object) -> str:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict) or not found or len(text := json.dumps(found, separators=(",", ":"))) > MAX_TEXT:
        raise ValueError
    return text


def _read_query(value: object) -> str:
    # RFC 3986, 3.4.
    if not re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})+", text := string(value)):
        raise ValueError
    return text


_CULTURE = Kind("the name of a culture, as en-US", _read_culture)


@dataclass(frozen=True)
class WinRMOptions:
    """Each at its default unless given."""

    configuration: str = option(
        "Microsoft.PowerShell",
        Kind("the name of a session configuration", _read_configuration),
        "Session configuration of the server: PowerShell.7, or the name of a JEA endpoint.",
        *WINRM,
    )
    uri_query: str | None = option(
        None,
        Kind("the query of a URL, without the question mark", _read_query),
        "Query of the endpoint's URL, as DelegatedOrg=corp.example; what stands so in -ConnectionUri.",
        *WINRM,
    )
    auth: str = option(
        "default",
        choice("default", "negotiate", "kerberos", "ntlm", "basic", "credssp", "certificate"),
        "How to log in; default is negotiate, which is Kerberos where there is a ticket or a realm, else NTLM.",
        *WINRM,
    )
    certificate: str | None = option(
        None, PATH, "Client certificate with its key to log in with, as PEM or PFX; implies auth=certificate.", _HTTPS
    )
    ca_file: str | None = option(
        None, PATH, "Certificates of the authorities to trust, as PEM, instead of the system's.", _HTTPS
    )
    accept_certificate: str | None = option(
        None,
        Kind("a SHA-256 fingerprint of 64 hexadecimal digits", _read_fingerprint),
        "Fingerprint of the server's certificate that you vouch for: that one is accepted, and no other.",
        _HTTPS,
    )
    skip_ca_check: bool = option(
        False, SWITCH, "Whether any certificate is believed; only together with skip_cn_check (SkipCACheck).", _HTTPS
    )
    skip_cn_check: bool = option(False, SWITCH, "Whether the certificate may be another host's (SkipCNCheck).", _HTTPS)
    no_encryption: bool = option(
        False, SWITCH, "Whether messages travel readable; only together with allow_unencrypted (NoEncryption).", "winrm"
    )
    allow_unencrypted: bool = option(
        False,
        SWITCH,
        "Whether you accept that anybody on the way reads everything, a Basic password included.",
        "winrm",
    )
    proxy: str = option(
        "none",
        Kind("http://host:port, environment or none", _read_proxy),
        "HTTP proxy to go through; environment is what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say (ProxyAccessType).",
        *WINRM,
    )
    spn: str | None = option(
        None,
        Kind("SERVICE/host", _read_spn),
        "Kerberos name of the service, where it is not host/ and the name of the host.",
        *WINRM,
    )
    delegate: bool = option(False, SWITCH, "Whether the server may use your Kerberos ticket for a second hop.", *WINRM)
    culture: str = option("en-US", _CULTURE, "Culture of numbers and dates in the session (Culture).", *WINRM)
    ui_culture: str = option("en-US", _CULTURE, "Language of messages in the session (UICulture).", *WINRM)
    machine_profile: bool = option(
        True, SWITCH, "Whether Windows loads the user's profile for the session (NoMachineProfile).", *WINRM
    )
    idle_timeout: float | None = option(
        None,
        number(60, 2_147_483, "seconds"),
        "Time without a client until the session ends; the server's own for WinRM, else 7200 (IdleTimeout).",
        *WINRM,
        *DURABLE,
    )
    output_buffering: str = option(
        "none",
        choice("none", "block", "drop"),
        "What a disconnected session does when its buffer is full: wait, or drop output (OutputBufferingMode).",
        *WINRM,
    )
    max_received_object: int = option(
        209_715_200,
        whole(1_000, 1_000_000_000, "bytes"),
        "Size of the largest object that is taken from the server (MaximumReceivedObjectSize).",
        *WINRM,
    )
    max_received_per_command: int | None = option(
        None,
        whole(1_000, 10**15, "bytes"),
        "What one command may send in all; without a limit otherwise (MaximumReceivedDataSizePerCommand).",
        *WINRM,
    )
    application_arguments: str | None = option(
        None,
        Kind("a JSON object", _read_arguments),
        "What $PSSenderInfo.ApplicationArguments shows to scripts of the server (ApplicationArguments).",
        *WINRM,
    )
    operation_timeout: float = option(
        180.0, SECONDS, "Time the server may take for one operation (OperationTimeout).", *WINRM
    )
    reconnect_timeout: float | None = option(
        None,
        number(0, 86_400, "seconds"),
        "Time for which a connection that was cut is tried again; 240 for WinRM, for durable sessions idle_timeout.",
        *WINRM,
        *DURABLE,
    )
    allow_redirection: bool = option(
        False, SWITCH, "Whether the server may send the session to another address (AllowRedirection).", *WINRM
    )
    max_redirections: int = option(
        5, whole(0, 100, "redirections"), "Redirections followed at most (MaximumConnectionRedirectionCount).", *WINRM
    )
