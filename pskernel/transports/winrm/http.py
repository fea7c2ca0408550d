"""HTTP as WSMan needs it, and no more than that: what stands in the place of the transport in pypsrp's WSMan class.

pypsrp's own is used below, and guarded: answers are bounded and are plain XML; what must be encrypted is; credentials
never follow a redirection; a connection whose authentication has died with it is made anew; and where the network is
interrupted, what may be sent twice is sent again, as the same message, for as long as that makes sense.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from pypsrp.exceptions import AuthenticationError, WinRMTransportError

from pskernel.errors import RemoteProtocolError, TransportClosed
from pskernel.transports.streams import plain_text
from pskernel.transports.winrm.adapter import Adapter
from pskernel.transports.winrm.line import Line, Trouble

__all__ = ["GuardedHttp", "KerberosFailed", "NotOffered", "Redirected", "without_pages"]

# Windows drops connections that were idle for longer; with encryption, the next request on one would be refused.
_IDLE_SECONDS: Final = 30.0
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_NOT_UTF8: Final = re.compile(rb"""\A[^>]{0,200}encoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)
# The types that Windows seals messages as, letter by letter, and their boundary. pypsrp looks for it with a regular
# expression that it makes of it, before anything is verified: so nothing that means something in one.
_SEALED: Final = ("multipart/encrypted;", "multipart/x-multi-encrypted;")
_BOUNDARY: Final = re.compile(r'boundary="([A-Za-z0-9][A-Za-z0-9 _\'=-]{0,69})"\s*\Z')
_ENVELOPE: Final = re.compile(r"\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:[\w.-]{1,40}:)?Envelope[\s>]")
# Patterns that look for an end may look as often as there are beginnings; this much of a page is enough for a line.
_TAGS: Final = re.compile(r"<(style|script).*?</\1>|<[^>]{0,500}>", re.DOTALL | re.IGNORECASE)
_MAX_PAGE: Final = 4_000
_SCHEMES: Final = re.compile(r"\b(Negotiate|Kerberos|NTLM|Basic|CredSSP|Digest)\b", re.IGNORECASE)
# What a server must offer for a login to make sense.
_NEEDED: Final = {
    "negotiate": {"negotiate", "kerberos", "ntlm"},
    "kerberos": {"negotiate", "kerberos"},
    "ntlm": {"negotiate", "ntlm"},
    "basic": {"basic"},
    "credssp": {"credssp"},
}
# What OpenSSL and urllib3 say when somebody does not believe a certificate, or speaks no TLS: that stays so.
_FINAL: Final = (
    "CERTIFICATE_VERIFY_FAILED", "ingerprint", "doesn't match", "no appropriate", "WRONG_VERSION", "record layer",
    "ALERT",
)  # fmt: skip


class Redirected(RemoteProtocolError):
    """The server wants the request to go elsewhere; nothing was sent there."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"The server redirects to {plain_text(location)[:1_000]}. That is followed where a session begins, and "
            "nowhere else: name that address, if you trust it."
        )
        self.location = location


class KerberosFailed(Exception):
    """What the system's Kerberos libraries say, whose errors have nothing in common."""


class NotOffered(Exception):
    """The server knows no login of the kind that was asked for.

    Attributes:
        schemes: those it knows.
    """

    def __init__(self, schemes: tuple[str, ...]) -> None:
        super().__init__(schemes)
        self.schemes = schemes


class GuardedHttp:
    """In the place of ``WSMan.transport``.

    Args:
        inner: pypsrp's transport.
        tls: what urllib3 is told of certificates.
        line: the state of the network.
        encrypted: whether answers must be encrypted messages.
        connect_timeout: seconds to reach the server.

    Attributes:
        answer_within: seconds for the answer to the next message.
    """

    def __init__(
        self, inner: Any, tls: Mapping[str, Any], line: Line, *, encrypted: bool, connect_timeout: float
    ) -> None:
        self.answer_within = connect_timeout
        self._inner = inner
        # pypsrp's own believes an answer whether or not it was sealed.
        inner._send_request = self._exchange  # noqa: SLF001
        self._tls = tls
        self._line = line
        self._encrypted = encrypted
        self._connect_timeout = connect_timeout
        self._used = _now()
        self._generation = 0
        self._adapter: Adapter | None = None

    @property
    def endpoint(self) -> str:
        """The URL."""
        return str(self._inner.endpoint)

    def close(self) -> None:
        """Drop the connection."""
        self._inner.close()

    def send(self, message: bytes, *, retries_on_read_timeout: int = 0, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Send a message and return the answer.

        Args:
            message: an envelope.
            retries_on_read_timeout: not 0 if the server may see the message twice.
            timeout: what pypsrp would wait; not regarded.

        Raises:
            Redirected: the server is elsewhere.
            RemoteProtocolError: the answer is not one.
            pypsrp.exceptions.WinRMError, requests.RequestException: as pypsrp's transport.
        """
        renewed, trouble = False, Trouble()
        while True:
            if self._line.closed:
                raise TransportClosed("The connection was closed on this side.")
            if self._is_old():
                self._forget()
            fresh = self._inner.session is None
            try:
                return self._once(message)
            except requests.exceptions.SSLError:
                raise
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                self._forget()
                if not (retries_on_read_timeout or _never_left(error)) or not self._line.lost(trouble):
                    raise
            except WinRMTransportError as error:
                # Sealed for a connection that is gone: nobody could read it.
                if error.code != _BAD_REQUEST or not self._encrypted or fresh or renewed:
                    raise
                renewed = True
                self._forget()

    def _is_old(self) -> bool:
        """Whether the connection may be dead without anybody having said so."""
        late = self._adapter is not None and self._adapter.late
        return late or _now() - self._used > _IDLE_SECONDS or self._generation != self._line.generation

    def _once(self, message: bytes) -> bytes:
        adapter = self._adapter
        if self._inner.session is None or adapter is None:
            adapter = self._build()
        # Each read has a limit of its own, which a server that sends a byte now and then never reaches.
        watchdog = threading.Timer(self._connect_timeout + self.answer_within, adapter.cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = self._guarded(message, adapter)
        except Exception:
            if not adapter.late:
                raise
        else:
            if not adapter.late:
                return answer
        finally:
            watchdog.cancel()
            self._used = _now()
        # Whatever that led to, where half an answer may look like a whole one.
        raise requests.ReadTimeout("The answer did not come in time.")

    def _guarded(self, message: bytes, adapter: Adapter) -> bytes:
        try:
            answer: bytes = self._inner.send(message, timeout=(self._connect_timeout, self.answer_within))
        except requests.TooManyRedirects as error:
            location = error.response.headers.get("location", "") if error.response is not None else ""
            raise Redirected(location) from None
        except WinRMTransportError as error:
            raise without_pages(error) from None
        except (AuthenticationError, ValueError):
            _require_offered(self._inner.auth, adapter.offered)
            raise
        except requests.exceptions.SSLError as error:
            if any(each in str(error) for each in _FINAL):
                raise
            # The connection broke, as others do without TLS.
            raise requests.ConnectionError(*error.args) from None
        except requests.RequestException:
            raise
        except OSError as error:
            raise requests.ConnectionError(error) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] in {"gssapi", "krb5"}:
                raise KerberosFailed(str(error)) from None
            raise
        _require_plain_xml(answer)
        return answer

    def _exchange(self, request: requests.PreparedRequest, timeout: Any = None) -> bytes:
        """Send a request, unseal the answer."""
        response: requests.Response = self._inner.session.send(request, timeout=timeout)
        status = response.status_code
        body = response.content
        if self._encrypted:
            # What is readable and need not be, is nobody's word: not even an error's.
            body = self._unsealed(response) if request.body else b""
        if status == _UNAUTHORIZED:
            raise AuthenticationError("The login was refused.")
        if status >= _BAD_REQUEST:
            raise WinRMTransportError("http", status, body.decode("utf-8", "replace"))
        return body

    def _unsealed(self, response: requests.Response) -> bytes:
        kind = response.headers.get("content-type", "")
        if kind.startswith(_SEALED):
            boundary = _BOUNDARY.search(kind[:1_000])
            if boundary is None:
                raise RemoteProtocolError("An answer of the server is malformed.")
            return bytes(self._inner.encryption.unwrap_message(response.content, boundary[1]))
        if response.status_code < _BAD_REQUEST:
            raise RemoteProtocolError(
                "The server answered an encrypted message with a readable one. Somebody may be in between."
            )
        return b""

    def _build(self) -> Adapter:
        session: requests.Session = self._inner._build_session()  # noqa: SLF001 - it is built on the first send only
        # A .netrc would add a password of its own; what the environment says of proxies has been read by now.
        session.trust_env = False
        # Otherwise requests would log in wherever the server points it.
        session.max_redirects = 0
        adapter = Adapter(self._tls, self._line.reached)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        self._generation = self._line.generation
        self._inner.session, self._adapter = session, adapter
        return adapter

    def _forget(self) -> None:
        if self._inner.session is not None:
            self._inner.session.close()
        self._inner.session = self._adapter = None
        self._inner.encryption = None
        self._used = _now()


def _now() -> float:
    """Seconds, of which those of a suspended machine count too, where there is such a clock."""
    clock: Callable[[int], float] | None = getattr(time, "clock_gettime", None)
    which: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None or which is None else clock(which)


def _require_plain_xml(data: bytes) -> None:
    """Refuse what could make the XML parser read more than is there.

    Raises:
        RemoteProtocolError: a document type, an entity, or an encoding that could hide one.
    """
    if b"\x00" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data or _NOT_UTF8.match(data):
        raise RemoteProtocolError("An answer of the server is not plain XML: it declares a document type or encoding.")


def without_pages(error: WinRMTransportError) -> WinRMTransportError:
    """The error, and where it has a page of HTML, its words only: pypsrp would look for a fault, and lose the status.

    Raises:
        RemoteProtocolError: an envelope could make the XML parser read more than is there.
    """
    text = str(error.response_text)
    if _ENVELOPE.match(text) is None:
        words = _TAGS.sub(" ", text[:_MAX_PAGE]).replace("<", " ").split()
        return WinRMTransportError("http", error.code, " ".join(words))
    _require_plain_xml(text.encode("utf-8", "replace"))
    return error


def _require_offered(auth: str, offered: str | None) -> None:
    """Raises NotOffered if the server has said that it knows no such login."""
    if offered is None or auth not in _NEEDED:
        return
    schemes = tuple(dict.fromkeys(_SCHEMES.findall(offered[:2_000])))
    # Where a password was refused, some servers name nothing any more.
    if not _NEEDED[auth] & {each.lower() for each in schemes} and (schemes or auth != "basic"):
        raise NotOffered(schemes)


def _never_left(error: requests.RequestException) -> bool:
    """Whether the request did not reach the server for sure."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in {"NewConnectionError", "NameResolutionError", "ProxyError"}
