"""What a WinRM service says of itself before anybody has logged in, for ``pskernel doctor``."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pskernel.errors import NotPowerShell, TargetUnreachable
from pskernel.threads import in_thread

if TYPE_CHECKING:
    from pskernel.target import Target

__all__ = ["Service", "advice", "find"]

_IDENTIFY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Header/><s:Body><i:Identify/>'
    "</s:Body></s:Envelope>"
)
_NEEDED = {
    "default": {"negotiate", "kerberos", "ntlm"},
    "negotiate": {"negotiate", "kerberos", "ntlm"},
    "kerberos": {"negotiate", "kerberos"},
    "ntlm": {"negotiate", "ntlm"},
    "basic": {"basic"},
    "credssp": {"credssp"},
}
# Kerberos bears no more.
_MAX_SKEW_SECONDS = 300.0
_MAX_TEXT = 120


@dataclass(frozen=True, slots=True)
class Service:
    """What was found: the ways to log in, the server's word for itself, its clock, its certificate."""

    addresses: tuple[str, ...]
    status: int
    server: str
    schemes: tuple[str, ...]
    ahead_seconds: float | None
    fingerprint: str = ""


async def find(target: Target, seconds: float) -> Service:
    """Ask a service who it is, without a login and without believing its certificate.

    Raises:
        TargetUnreachable: nobody is there.
        NotPowerShell: whoever is there speaks no HTTP.
    """
    host, tls = target.host or "", target.scheme == "winrm+https"
    port = target.port or (5986 if tls else 5985)
    try:
        async with asyncio.timeout(seconds):
            # Each of a socket's own waits is limited; a server that says a byte now and then never reaches that.
            return await in_thread(lambda: _ask(target, port, seconds))
    except (socket.gaierror, UnicodeError):
        raise TargetUnreachable(f"The name {host} cannot be resolved. Check its spelling, and the DNS.") from None
    except ConnectionRefusedError:
        raise TargetUnreachable(
            f"Nobody listens on port {port} of {host}: is WinRM enabled there (Enable-PSRemoting), with a listener for "
            f"{'HTTPS' if tls else 'HTTP'}?"
        ) from None
    except TimeoutError:
        raise TargetUnreachable(
            f"Port {port} of {host} does not answer within {seconds:g} seconds: a firewall, or a host that is down."
        ) from None
    except (ssl.SSLError, http.client.HTTPException):
        kind = "HTTPS" if tls else "HTTP"
        raise NotPowerShell(f"What listens on port {port} of {host} does not speak {kind}.") from None
    except OSError as error:
        raise TargetUnreachable(
            f"The connection on port {port} of {host} failed: {error.strerror or 'it was cut'}."
        ) from None


def _ask(target: Target, port: int, seconds: float) -> Service:
    found = socket.getaddrinfo(target.host or "", port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    connection: http.client.HTTPConnection
    if target.scheme == "winrm+https":
        # Nothing is sent that could be stolen; whether it is to be believed is for the login.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(target.host or "", port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(target.host or "", port, timeout=seconds)
    try:
        connection.request(
            "POST",
            f"/{quote(target.path or 'wsman')}",
            _IDENTIFY,
            {"Content-Type": "application/soap+xml;charset=UTF-8"},
        )
        certificate = (
            connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else b""
        )
        answer = connection.getresponse()
        offered = ", ".join(answer.headers.get_all("WWW-Authenticate") or [])
        return Service(
            addresses,
            answer.status,
            (answer.headers.get("Server") or "")[:_MAX_TEXT],
            tuple(dict.fromkeys(re.findall(r"(?i)\b(Negotiate|Kerberos|NTLM|Basic|CredSSP|Digest)\b", offered))),
            _ahead(answer.headers.get("Date")),
            hashlib.sha256(certificate).hexdigest() if certificate else "",
        )
    finally:
        connection.close()


def _ahead(date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date or "").timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def advice(target: Target, service: Service) -> list[str]:
    """What will go wrong with the login."""
    found = []
    if service.status == 404:
        found.append("There is no such application there: it is usually wsman.")
    needed = _NEEDED.get(target.options.auth, set())
    if service.schemes and needed and not needed & {each.lower() for each in service.schemes}:
        where = "WSMan:\\localhost\\Service\\Auth"
        found.append(f"It does not offer {target.options.auth}: choose another auth, or allow it there ({where}).")
    if service.ahead_seconds is not None and abs(service.ahead_seconds) > _MAX_SKEW_SECONDS:
        way = "ahead of" if service.ahead_seconds > 0 else "behind"
        minutes = f"{abs(service.ahead_seconds) / 60:.0f} minutes {way}"
        found.append(f"Its clock is {minutes} this one's: Kerberos bears no more than 5.")
    if target.options.auth == "kerberos" and re.fullmatch(r"[0-9.]+|.*:.*", target.host or ""):
        found.append("Kerberos knows services by name, and this is an address: use the host's full name, or give spn.")
    return found
