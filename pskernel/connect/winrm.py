"""From a WinRM target to an endpoint, and from what is known of the user to a login."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, cast

from pskernel.credentials import Secret
from pskernel.errors import TargetError
from pskernel.questions import Asker, Question
from pskernel.transports.winrm.endpoint import Auth, Trust, WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.shells import list_shells
from pskernel.transports.winrm.transport import WinRMTransport

if TYPE_CHECKING:
    from pskernel.target import Target

__all__ = ["WinRMTransport", "endpoint_of", "list_shells", "require_user"]

# As long as PowerShell's own client tries.
_RECONNECT_SECONDS = 240.0


async def endpoint_of(target: Target, secret: Secret | None, asker: Asker, name: str = "") -> WinRMEndpoint:
    """The endpoint that a WinRM target means.

    Args:
        target: where.
        secret: the password that is known already.
        asker: whom to ask for it otherwise.
        name: what the session is to be called at the server.

    Raises:
        TargetError: options contradict each other, or a library is missing.
        PromptUnavailable: nobody can be asked.
    """
    options, tls = target.options, target.scheme == "winrm+https"
    if options.skip_ca_check and not options.skip_cn_check:
        raise TargetError(
            "skip_ca_check (SkipCACheck) believes any certificate, so its name says nothing: give skip_cn_check too. "
            "Better, name the authority with ca_file, or vouch for the certificate with accept_certificate."
        )
    if options.no_encryption and not options.allow_unencrypted:
        raise TargetError(
            "no_encryption (NoEncryption) lets anybody on the way read everything. Use winrm+https://; or, if that is "
            "acceptable here, say allow_unencrypted=true as well."
        )
    return WinRMEndpoint(
        target.host or "",
        target.port,
        tls=tls,
        path=(target.path or "wsman") + (f"?{options.uri_query}" if options.uri_query else ""),
        name=name or "Runspace1",
        configuration=options.configuration,
        login=await _login(target, secret, asker),
        trust=Trust(options.ca_file, options.accept_certificate, options.skip_ca_check, options.skip_cn_check),
        encrypted=not options.no_encryption,
        proxy=options.proxy,
        culture=options.culture,
        ui_culture=options.ui_culture,
        machine_profile=options.machine_profile,
        idle_timeout=options.idle_timeout,
        output_buffering=options.output_buffering,
        connect_timeout=options.connect_timeout,
        operation_timeout=options.operation_timeout,
        reconnect_timeout=_RECONNECT_SECONDS if options.reconnect_timeout is None else options.reconnect_timeout,
        redirections=options.max_redirections if options.allow_redirection else 0,
        max_received=options.max_received_per_command,
    )


def require_user(target: Target, credential: object) -> None:
    """Refuse a password that is nobody's, before it is fetched.

    Args:
        target: where.
        credential: where the password is.

    Raises:
        TargetError: nothing says whose it is.
    """
    options = target.options
    if target.user is not None or options.certificate is not None or options.auth == "certificate":
        return
    place = "" if str(credential) == "prompt" else f"@{credential}"
    raise TargetError(
        f"The credential {credential} is a password, and nothing says whose. Name the user in front of it, "
        f"-Credential 'DOMAIN\\user{place}', or in the target, {target.scheme}://DOMAIN%5Cuser@{target.host}. "
        "keyring:NAME brings the user along if it was stored with one (pskernel credential set NAME --user USER)."
    )


async def _login(target: Target, secret: Secret | None, asker: Asker) -> WinRMLogin:
    options = target.options
    auth = options.auth
    if options.certificate is not None:
        if auth not in {"default", "certificate"}:
            raise TargetError("A client certificate is a login by itself: leave auth out.")
        auth = "certificate"
    elif auth == "certificate":
        raise TargetError("auth=certificate needs the certificate: certificate=PATH, a PEM or PFX file.")
    elif auth == "default":
        auth = "negotiate"
    _require_library(auth)
    if auth == "certificate":
        return WinRMLogin("certificate", None, secret, options.certificate)
    if target.user is None:
        _require_identity(auth, target)
    elif secret is None and auth != "kerberos":
        secret = Secret(await asker.ask(Question(f"Password for {target.label}: ")))
    return WinRMLogin(cast("Auth", auth), target.user, secret, None, options.spn, options.delegate)


def _require_library(auth: str) -> None:
    wanted = {"kerberos": ("gssapi", "kerberos"), "credssp": ("requests_credssp", "credssp")}.get(auth)
    if wanted is None or (auth == "kerberos" and sys.platform == "win32"):
        return
    if importlib.util.find_spec(wanted[0]) is None:
        raise TargetError(f"auth={auth} needs a library that is not installed: pip install 'pskernel[{wanted[1]}]'")


def _require_identity(auth: str, target: Target) -> None:
    """Without a user there must be a ticket."""
    if auth in {"negotiate", "kerberos"} and (sys.platform == "win32" or importlib.util.find_spec("gssapi")):
        return
    raise TargetError(
        f"Say who you are on {target.label}, over WinRM: -Credential user, or {target.scheme}://user@{target.host} "
        "(DOMAIN%5Cuser for a domain). Without a user, a Kerberos ticket is used, for which pip install "
        f"'pskernel[kerberos]' is needed. For SSH, write -HostName {target.host}, or ssh://{target.host}."
    )
