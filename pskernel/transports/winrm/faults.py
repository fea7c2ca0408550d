"""What went wrong with WinRM, in PowerShell's terms and with what to do next."""

from __future__ import annotations

import re
from typing import Final

import requests
from pypsrp.exceptions import AuthenticationError, WinRMError, WinRMTransportError, WSManFaultError
from spnego.exceptions import BadMICError, SpnegoError

from pskernel.errors import (
    AuthenticationFailed,
    CertificateRejected,
    ConnectError,
    NotPowerShell,
    PSKernelError,
    RemoteProtocolError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.transports.streams import plain_text
from pskernel.transports.winrm.endpoint import WinRMEndpoint
from pskernel.transports.winrm.http import KerberosFailed, NotOffered

__all__ = [
    "DISCONNECTED",
    "FAILURES",
    "NO_SUCH_SHELL",
    "TIMED_OUT",
    "about_command",
    "as_closed",
    "as_connect_error",
    "code_of",
]

# MS-WSMV, and what Windows' own wsmerror.h calls them.
TIMED_OUT: Final = 0x80338029
NO_SUCH_SHELL: Final = 0x8033805B
DISCONNECTED: Final = 0x803381DE
_NO_SUCH_RESOURCE: Final = 0x8033803B
_ACCESS_DENIED: Final = {5, 0x80070005}
_QUOTAS: Final = range(0x803381A0, 0x803381B0)
_MAX_WORDS: Final = 2_000
_MAX_QUOTED: Final = 1_000
_MAX_REASON: Final = 160
# What a request can end with, other than our own errors.
FAILURES: Final = (
    WinRMError,
    requests.RequestException,
    SpnegoError,
    KerberosFailed,
    NotOffered,
    UnicodeEncodeError,
)


def code_of(error: BaseException) -> int | None:
    """The number of a WSMan fault, where it has one."""
    code = error.code if isinstance(error, WSManFaultError) else None
    return code & 0xFFFFFFFF if isinstance(code, int) else None


def as_connect_error(error: Exception, endpoint: WinRMEndpoint) -> PSKernelError:
    """The error of a session that could not be opened."""
    if isinstance(error, PSKernelError) and not isinstance(error, RemoteProtocolError):
        return error
    kind, why = _explain(error, endpoint)
    return kind(f"Connecting to remote server {endpoint.host} failed with the following error message : {why}")


def as_closed(error: Exception, endpoint: WinRMEndpoint) -> PSKernelError:
    """The error of a session that was open."""
    if isinstance(error, PSKernelError):
        return error
    if code_of(error) == NO_SUCH_SHELL:
        return TransportClosed(f"The session on {endpoint.host} does not exist any more: the server has ended it.")
    if code_of(error) == DISCONNECTED:
        return TransportClosed(f"The session on {endpoint.host} was disconnected, or taken over by another client.")
    return TransportClosed(f"The connection to {endpoint.host} is lost: {_explain(error, endpoint)[1]}")


def about_command(error: WSManFaultError, endpoint: WinRMEndpoint) -> str:
    """Why a command of an open session can be heard no more."""
    return f"The server {endpoint.host} does not know the command any more: {_fault(error, endpoint)[1]}"


def _explain(error: Exception, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    if isinstance(error, AuthenticationError):
        return AuthenticationFailed, _denied(endpoint)
    if isinstance(error, WSManFaultError):
        return _fault(error, endpoint)
    if isinstance(error, WinRMTransportError):
        return _status(error, endpoint)
    if isinstance(error, requests.RequestException):
        return _network(error, endpoint)
    return _other(error, endpoint)


def _other(error: Exception, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    if isinstance(error, BadMICError):
        return ConnectError, "The server's answer was changed on its way, or sealed for somebody else."
    if isinstance(error, SpnegoError | KerberosFailed):
        return AuthenticationFailed, _no_login(str(error), endpoint)
    if isinstance(error, NotOffered):
        return AuthenticationFailed, _not_offered(error, endpoint)
    if isinstance(error, UnicodeEncodeError):
        # Its text would quote what cannot be encoded, which may be the password.
        return ConnectError, "The user's name or the password cannot be sent as it is."
    return (
        NotPowerShell,
        f"What answers at {endpoint.url} does not do so as a WinRM service does{_because(str(error))}.",
    )


def _denied(endpoint: WinRMEndpoint) -> str:
    login = endpoint.login
    who = f" as {login.user}" if login.user else ""
    more = {
        "basic": " The service may not allow Basic (Service/Auth/Basic), which takes local accounts only.",
        "certificate": " The certificate must be mapped to a user on the server, and its issuer be trusted there.",
        "ntlm": " A domain account is written DOMAIN\\user or user@domain.",
        "negotiate": " A domain account is written DOMAIN\\user or user@domain.",
    }.get(login.auth, "")
    return f"Access is denied. The server refused the login{who} by {login.auth}.{more}"


def _not_offered(error: NotOffered, endpoint: WinRMEndpoint) -> str:
    if endpoint.login.auth == "basic":
        # It is sent unasked; OMI takes it, and does not offer it.
        return f"{_denied(endpoint)} It offers {', '.join(error.schemes)} only."
    known = (
        f"it offers {', '.join(error.schemes)}" if error.schemes else "it offers no way to log in that is known here"
    )
    return (
        f"{endpoint.url} does not offer a login by {endpoint.login.auth}: {known}. Choose another auth "
        "(-Authentication), or allow it on the server (WSMan:\\localhost\\Service\\Auth)."
    )


def _fault(error: WSManFaultError, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    said = " ".join(filter(None, (_quoted(error.reason), _quoted(error.provider_fault))))
    code = code_of(error)
    if error.code is None and not said:
        return NotPowerShell, f"{endpoint.url} answered as no WinRM service does."
    if code in _ACCESS_DENIED:
        return AuthenticationFailed, (
            f"Access is denied. {said} The user needs to be an administrator, or a member of Remote Management Users, "
            f"and the configuration {endpoint.configuration} must let them in (Set-PSSessionConfiguration)."
        )
    advice = ""
    if code == _NO_SUCH_RESOURCE:
        # PowerShell's client makes this sentence of that number too.
        said = f"Cannot find the {endpoint.configuration} session configuration on {endpoint.host}. {said}"
    if code in _QUOTAS:
        advice = (
            " Close sessions of this user there (Get-PSSession -ComputerName), or raise the quota (WSMan:\\localhost)."
        )
    elif endpoint.configuration.lower() in said.lower():
        advice = " Get-PSSessionConfiguration, on the server, lists the configurations there are."
    number = f" (WSMan fault {code}, 0x{code:08X})" if code is not None else f" ({_quoted(error.code)[:100]})"
    return ConnectError, f"{said or 'The server gave no reason.'}{number}{advice}"


def _status(error: WinRMTransportError, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    status, body = int(error.code), str(error.response_text or "")
    said = f" It said: {_quoted(body)}" if body.strip() else ""
    if status == 404:
        return TargetUnreachable, (
            f"There is no WinRM service at {endpoint.url} (HTTP status 404). Check the port, and the application name "
            "after the host, which is usually wsman."
        )
    if status in {407, 413}:
        return _in_between(status, endpoint)
    if status == 403:
        return AuthenticationFailed, f"The server forbids it (HTTP status 403).{said}"
    if status == 400 and endpoint.encrypted and not endpoint.tls:
        return ConnectError, "The server could not read the encrypted message (HTTP status 400)."
    if status >= 500 and not body.strip():
        return ConnectError, f"The server failed and gave no reason (HTTP status {status}, empty answer)." + (
            "" if endpoint.encrypted or endpoint.tls else " It may not allow unencrypted messages."
        )
    return (
        NotPowerShell,
        f"{endpoint.url} answered as no WinRM service does (HTTP status {status}).{said}",
    )


def _in_between(status: int, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    if status == 407:
        return TargetUnreachable, f"{_proxy(endpoint)} {_PROXY_LOGIN}"
    return ConnectError, (
        "The message is larger than the server takes (HTTP status 413): its MaxEnvelopeSizekb is small, or something "
        "in between has a limit of its own."
    )


def _network(error: requests.RequestException, endpoint: WinRMEndpoint) -> tuple[type[ConnectError], str]:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = str(reason or error)
    if isinstance(error, requests.exceptions.SSLError):
        return CertificateRejected, _certificate(text, endpoint)
    if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL):
        return TargetUnreachable, f"{_proxy(endpoint)} {_of_proxy(text, endpoint)}"
    return TargetUnreachable, _unreachable(error, reason, text, endpoint)


_PROXY_LOGIN: Final = "wants a login (HTTP status 407), which is not supported."


def _proxy(endpoint: WinRMEndpoint) -> str:
    return "The proxy that the environment names" if "://" not in endpoint.proxy else f"The proxy {endpoint.proxy}"


def _of_proxy(text: str, endpoint: WinRMEndpoint) -> str:
    status = re.search(r"failed: ([1-5][0-9]{2})\b", text)
    if status is not None and status[1] == "407":
        return _PROXY_LOGIN
    if status is not None:
        return f"does not let us through to {endpoint.host}, port {endpoint.actual_port} (HTTP status {status[1]})."
    if "refused" in text:
        return "cannot be used: nobody listens there."
    if "resolve" in text or "getaddrinfo" in text:
        return "cannot be used: its name cannot be resolved."
    return "cannot be used: it does not answer as a proxy does."


# What Python says of a connection that somebody has ended.
_CUT: Final = (
    "RemoteDisconnected", "IncompleteRead", "Connection broken", "reset by peer", "Broken pipe", "EOF", "ResetError",
    "forcibly closed", "Connection aborted",
)  # fmt: skip


def _unreachable(error: requests.RequestException, reason: object, text: str, endpoint: WinRMEndpoint) -> str:
    where = f"port {endpoint.actual_port}"
    if type(reason).__name__ == "NameResolutionError":
        return f"The name {endpoint.host} cannot be resolved. Check its spelling, and the DNS."
    if isinstance(error, requests.ConnectTimeout):
        return (
            f"Nobody answered on {where} within {endpoint.connect_timeout:g} seconds. Check that the host is up, that "
            "its firewall lets WinRM through, and that Enable-PSRemoting was run on it."
        )
    if "refused" in text:
        other = "" if endpoint.tls else " For SSH, write ssh:// or -HostName."
        return (
            f"Nobody listens on {where}. Check that WinRM is enabled there (Enable-PSRemoting), with a listener for "
            f"{'HTTPS' if endpoint.tls else 'HTTP'}.{other}"
        )
    if isinstance(error, requests.ReadTimeout):
        return f"The server accepted the connection on {where} and did not answer in time."
    if any(each in text for each in _CUT):
        return f"The connection on {where} was cut, by the server or by something on the way there."
    system = _system_words(error)
    return f"The connection on {where} failed{f': {_quoted(system)}' if system else '.'}"


def _system_words(error: BaseException | None) -> str:
    """What the operating system said, of all that Python wrapped around it."""
    for _ in range(8):
        if error is None:
            break
        if isinstance(error, OSError) and isinstance(error.strerror, str):
            return error.strerror
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return ""


_TRUST: Final = (
    "name its authority with ca_file, or vouch for this very certificate with accept_certificate=FINGERPRINT."
)
# What OpenSSL and urllib3 say of a certificate, and what there is to say to the user.
_CERTIFICATES: Final = (
    (("ingerprint",), "The server's certificate is not the one that accept_certificate vouches for."),
    (("expired",), f"The certificate of {{host}} has expired. It must be renewed there; or {_TRUST}"),
    (
        ("doesn't match", "not valid for", "no appropriate"),
        "The certificate is not one for {host}. Connect by a name that it is for{text}.",
    ),
    (
        ("in certificate chain", "unable to get"),
        f"An authority that is not trusted here signed {{host}}'s certificate: {_TRUST}",
    ),
    (("self-signed", "self signed"), f"The certificate of {{host}} is self-signed. If it is meant to be, {_TRUST}"),
    (
        tuple(
            f"ALERT_{each}"
            for each in (
                "CERTIFICATE",
                "BAD_CERTIFICATE",
                "UNSUPPORTED_CERTIFICATE",
                "UNKNOWN_CA",
                "DECRYPT_ERROR",
                "ACCESS_DENIED",
            )
        ),
        "{host} does not accept the certificate that this side shows, or asks for one (certificate).",
    ),
    (("WRONG_VERSION", "record layer"), "{host} does not speak HTTPS on port {port}. For HTTP, write winrm://."),
    (("",), "HTTPS with {host} failed{text}. pskernel doctor says what answers there."),
)


def _certificate(text: str, endpoint: WinRMEndpoint) -> str:
    sentence = next(said for needles, said in _CERTIFICATES if any(each in text for each in needles))
    # Not str.format: a certificate's names are the server's, and may hold braces.
    for name, value in (("host", endpoint.host), ("port", endpoint.actual_port), ("text", _because(text))):
        sentence = sentence.replace("{" + name + "}", str(value))
    return sentence


# What Kerberos says, and what to tell the user; with ``True``, in which words it said so.
_KERBEROS: Final = (
    (
        "not found in Kerberos database",
        "No service of that name is registered for {host}: connect by its full name, or give spn",
        True,
    ),
    ("Decrypt integrity", "The password is wrong", False),
    ("Preauthentication failed", "The password is wrong", False),
    ("skew", "The clocks of this machine and of the domain differ by more than five minutes: set them", False),
    ("Cannot find KDC", "This machine does not know the realm: see its krb5.conf, and the DNS", True),
    ("Cannot contact any KDC", "No domain controller answers: check the network, and the realm in krb5.conf", True),
    ("expired", "The ticket or the password has expired: renew it, a ticket with kinit", False),
)


def _no_login(text: str, endpoint: WinRMEndpoint) -> str:
    """What keeps this side from logging in: it has not come to the server's word."""
    host, user = endpoint.host, endpoint.login.user
    if "Client" in text and "not found in Kerberos database" in text:
        return f"The realm has no user {user or 'of that name'}{_because(text)}."
    for needle, said, quoted in _KERBEROS:
        if needle in text:
            return f"{said.replace('{host}', host)}{_because(text) if quoted else ''}."
    if user is None:
        scheme = "winrm+https" if endpoint.tls else "winrm"
        return (
            "No user was named, and there is no Kerberos ticket on this machine. Name one, -Credential user or "
            f"{scheme}://user@{host} (DOMAIN%5Cuser for a domain), or get a ticket with kinit. For SSH, write "
            f"-HostName {host}, or ssh://{host}."
        )
    if endpoint.login.secret is None:
        return f"There is no Kerberos ticket of {user} here. Get one with kinit, or give the password (-Credential)."
    return (
        f"The login as {user} by {endpoint.login.auth} cannot be made on this machine{_because(text)}. Try auth=ntlm, "
        "or get a ticket with kinit."
    )


def _last_words(text: str) -> str:
    """An exception's text without the objects that are quoted in it."""
    pattern = r"\s*\(_ssl\.c:\d+\)|<[^>]*object at 0x[0-9a-f]+>:?\s*|\[Errno -?\d+\]\s*"
    return re.sub(pattern, "", text[:_MAX_WORDS]).strip()


def _because(text: str) -> str:
    """A library's words, in brackets: what the innermost of its layers said, and no more than a line of that."""
    words = re.sub(r"^.*Minor \(\d+\): |SpnegoError \(\d+\): |, Context: .*| -?\d{6,}$", "", _last_words(text))
    words = re.sub(r"^.*(?:Error|Exception|Disconnected)\((?:\d+, )?[\"']?(.*?)[\"']?[,)]*$", r"\1", words)
    words = re.sub(r"^HTTPS?Connection(?:Pool)?\(.*?\): ", "", words)
    short = " ".join(plain_text(words).split())[:_MAX_REASON].rstrip(". ")
    return f" ({short})" if short else ""


def _quoted(what: object) -> str:
    text = " ".join(plain_text(str(what or "")).split())[:_MAX_QUOTED]
    return text if not text or text[-1] in ".!?" else text + "."
