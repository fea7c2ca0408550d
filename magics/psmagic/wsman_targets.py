"""From the parameters for WinRM to a target, with the checks that PowerShell makes before it connects."""

from __future__ import annotations

import getpass
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pskernel.credentials import CredentialReference, GivenCredential, Secret, find_certificate, read_credential
from pskernel.errors import TargetError
from pskernel.options import Options
from pskernel.sessionoption import PSSessionOption
from pskernel.target import Target
from psmagic.arguments import ArgumentError
from psmagic.binding import Bound

__all__ = ["credential_of", "require_host", "require_one_login", "uri_target", "wsman_target"]

_HOST = re.compile(r"\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%]+\]?|[^:@\[\]/?#\\\s]+")
_AUTHS = {
    "Default": "default",
    "Basic": "basic",
    "Negotiate": "negotiate",
    "NegotiateWithImplicitCredential": "negotiate",
    "Credssp": "credssp",
    "Kerberos": "kerberos",
}
_THIS_COMPUTER = {".", "localhost"}


def credential_of(bound: Bound, *, ask: bool) -> GivenCredential | None:
    """What -Credential says: the user, and the password or where it is.

    Args:
        bound: the parameters.
        ask: whether a person is there. They are asked once, before anything is contacted, for however many hosts.
    """
    if bound.get("Credential") is None:
        return None
    given = read_credential(bound.get("Credential"))
    if not ask or given.source != CredentialReference("prompt"):
        return given
    return GivenCredential(given.user, Secret(getpass.getpass(f"Password for user {given.user}: ")))


def require_one_login(bound: Bound) -> None:
    """Refuse what PowerShell refuses: two ways to log in at a time.

    Raises:
        ArgumentError: with PowerShell's id.
    """
    chosen = bound.get("Authentication", "Default")
    thumbprint, credential = bound.get("CertificateThumbprint"), bound.get("Credential")
    if thumbprint and credential is not None:
        raise _conflict("Credential", "CertificateThumbPrint", "Credential")
    if thumbprint and chosen != "Default":
        raise _conflict("Authentication", "CertificateThumbPrint", chosen)
    if credential is not None and chosen == "NegotiateWithImplicitCredential":
        raise _conflict("Credential", "Credential", chosen)
    if chosen == "Digest":
        raise ArgumentError(
            "Digest is not available here: it proves less than Negotiate, and protects nothing. Use Negotiate, or "
            "Basic over HTTPS.",
            "NotSupported",
        )


def require_host(address: str) -> None:
    """Refuse what is no name or number of a host, with PowerShell's id.

    Raises:
        ArgumentError: the message says why it is none.
    """
    try:
        Target.parse(address)
    except TargetError as error:
        raise ArgumentError(str(error), "PSSessionInvalidComputerName") from None


def wsman_target(bound: Bound, computer: str) -> Target:
    """The target of -ComputerName.

    Raises:
        ArgumentError: the name is none.
        TargetError: a value cannot be part of a target.
    """
    if _HOST.fullmatch(computer) is None:
        raise ArgumentError(
            "One or more computer names are not valid. If you are trying to pass a URI, use the -ConnectionUri "
            "parameter, or pass URI objects instead of strings.",
            "PSSessionInvalidComputerName",
        )
    host = "localhost" if computer in _THIS_COMPUTER else computer.strip("[]")
    require_host(f"winrm://[{host}]" if ":" in host else f"winrm://{host}")
    if bound.get("EnableNetworkAccess") and host == "localhost":
        raise ArgumentError(
            "-EnableNetworkAccess is for sessions of Windows to itself, which need Windows' own client.", "NotSupported"
        )
    path = (bound.get("ApplicationName") or "").strip("/") or None
    return _target(bound, "winrm+https" if bound.get("UseSSL") else "winrm", host, bound.get("Port"), path)


def uri_target(bound: Bound, uri: str) -> Target:
    """The target of -ConnectionUri.

    Raises:
        ArgumentError: it is no address of HTTP.
        TargetError: a value cannot be part of a target.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise ArgumentError(
            "Invalid URI: The hostname or the port could not be parsed.", "UriFormatException"
        ) from None
    if parts.scheme not in {"http", "https"}:
        raise ArgumentError(
            f'{parts.scheme} is not a valid schema value. Valid values are "http" and "https".', "ArgumentException"
        )
    if parts.username is not None or parts.fragment or not parts.hostname:
        raise ArgumentError(
            "The URI holds what no address of an endpoint has: a user, or a fragment.", "UriFormatException"
        )
    require_host(f"winrm://{parts.netloc}")
    tls = parts.scheme == "https"
    # As .NET's Uri has it; -ComputerName is what means WinRM's own ports.
    return _target(
        bound,
        "winrm+https" if tls else "winrm",
        parts.hostname,
        port or (443 if tls else 80),
        parts.path.strip("/") or None,
        query=parts.query,
    )


def _target(bound: Bound, scheme: str, host: str, port: int | None, path: str | None, *, query: str = "") -> Target:
    given: PSSessionOption = bound.get("SessionOption") or PSSessionOption()
    options = given.target_options()
    if query:
        options["uri_query"] = query
    options["auth"] = _AUTHS[bound.get("Authentication", "Default")]
    if bound.get("ConfigurationName"):
        options["configuration"] = bound.get("ConfigurationName")
    if bound.get("AllowRedirection"):
        options["allow_redirection"] = True
    if bound.get("CertificateThumbprint"):
        options["certificate"] = _certificate(bound.get("CertificateThumbprint"))
        options["auth"] = "certificate"
    credential = credential_of(bound, ask=False)
    target = Target(
        scheme, host, port, None if credential is None else credential.user, path, _options(options, scheme)
    )
    if given.include_port_in_spn:
        spn = f"HTTP/{target.host}:{target.port or (5986 if scheme == 'winrm+https' else 5985)}"
        target = replace(target, options=replace(target.options, spn=spn))
    return target


def _options(values: dict[str, Any], scheme: str) -> Options:
    # What is said of the other of HTTP and HTTPS has no meaning here, and PowerShell takes no offence either.
    void = {"skip_ca_check", "skip_cn_check"} if scheme == "winrm" else {"no_encryption", "allow_unencrypted"}
    return Options(**{name: value for name, value in values.items() if name not in void})


def _certificate(given: str) -> str:
    path = Path(given).expanduser()
    return str(path) if path.is_file() else find_certificate(given)


def _conflict(parameter: str, one: str, other: str) -> ArgumentError:
    return ArgumentError(
        f'Cannot bind parameter \'{parameter}\' to the target. Exception setting "{parameter}": "A {one} cannot be '
        f'specified when {other} is specified."',
        "ParameterBindingFailed",
    )
