"""HTTP as WSMan needs it, and no more than that: what stands in the place of the transport in pypsrp's WSMan class.

pypsrp's own is used below, and guarded: answers are bounded and are plain XML; what must be encrypted is; credentials
never follow a redirection; a connection whose authentication has died with it is made anew; and where the network is
interrupted, what may be sent twice is sent again, as the same message, for as long as that makes sense.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import requests
from pypsrp.exceptions import WinRMTransportError
from requests.adapters import BaseAdapter, HTTPAdapter

from pskernel.errors import RemoteProtocolError, TransportClosed
from pskernel.transports.winrm.line import Line

__all__ = ["GuardedHttp", "KerberosFailed", "Redirected"]

# The largest envelope that Windows can be told to send is 8 MB.
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
# Windows drops connections that were idle for longer; with encryption, the next request on one would be refused.
_IDLE_SECONDS: Final = 30.0
_REDIRECTIONS: Final = 300
_BAD_REQUEST: Final = 400
_NOT_UTF8: Final = re.compile(rb"""\A[^>]{0,200}encoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)


class Redirected(Exception):
    """The server wants the request to go elsewhere; nothing was sent there."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class KerberosFailed(Exception):
    """What the system's Kerberos libraries say, whose errors have nothing in common."""


class GuardedHttp:
    """In the place of ``WSMan.transport``.

    Args:
        inner: pypsrp's transport.
        prepare: sets certificates up on an adapter.
        line: the state of the network.
        encrypted: whether answers must be encrypted messages.
        connect_timeout: seconds to reach the server.

    Attributes:
        answer_within: seconds for the answer to the next message.
    """

    def __init__(
        self,
        inner: Any,
        prepare: Callable[[requests.Session, HTTPAdapter], None],
        line: Line,
        *,
        encrypted: bool,
        connect_timeout: float,
    ) -> None:
        self.answer_within = connect_timeout
        self._inner = inner
        self._prepare = prepare
        self._line = line
        self._encrypted = encrypted
        self._connect_timeout = connect_timeout
        self._used = time.monotonic()

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
        renewed = False
        while True:
            if self._line.closed:
                raise TransportClosed("The connection was closed on this side.")
            if time.monotonic() - self._used > _IDLE_SECONDS:
                self._forget()
            fresh = self._inner.session is None
            try:
                answer = self._once(message)
            except requests.exceptions.SSLError:
                raise
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                self._forget()
                if not (retries_on_read_timeout or _never_left(error)) or not self._line.lost():
                    raise
            except WinRMTransportError as error:
                self._line.answered()
                # Sealed for a connection that is gone: nobody could read it.
                if error.code != _BAD_REQUEST or not self._encrypted or fresh or renewed:
                    raise
                renewed = True
                self._forget()
            else:
                self._line.answered()
                return answer

    def _once(self, message: bytes) -> bytes:
        if self._inner.session is None:
            self._inner.session = self._build()
        try:
            answer: bytes = self._inner.send(message, timeout=(self._connect_timeout, self.answer_within))
        except requests.TooManyRedirects as error:
            location = error.response.headers.get("location", "") if error.response is not None else ""
            raise Redirected(location) from None
        except WinRMTransportError as error:
            _require_plain_xml(str(error.response_text).encode("utf-8", "replace"))
            raise
        except (LookupError, AttributeError, TypeError, struct.error, UnicodeDecodeError):
            # pypsrp takes the parts of a sealed answer for granted.
            raise RemoteProtocolError("An answer of the server is malformed.") from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] in {"gssapi", "krb5"}:
                raise KerberosFailed(str(error)) from None
            raise
        finally:
            self._used = time.monotonic()
        _require_plain_xml(answer)
        return answer

    def _build(self) -> requests.Session:
        session: requests.Session = self._inner._build_session()  # noqa: SLF001 - it is built on the first send only
        # A .netrc would add a password of its own; what the environment says of proxies has been read by now.
        session.trust_env = False
        # Otherwise requests would log in wherever the server points it.
        session.max_redirects = 0
        for prefix in ("http://", "https://"):
            adapter = session.get_adapter(prefix)
            self._prepare(session, adapter)  # type: ignore[arg-type] # pypsrp mounts no others
            session.mount(prefix, _Bounded(adapter, self._line.reached, encrypted=self._encrypted))
        return session

    def _forget(self) -> None:
        if self._inner.session is not None:
            self._inner.session.close()
        self._inner.session = None
        self._inner.encryption = None
        self._used = time.monotonic()


class _Bounded(BaseAdapter):
    """An adapter whose answers have a limit, and are encrypted where they must be.

    ``answered`` is called whenever the server has answered, be it only a step of the login.
    """

    def __init__(self, inner: BaseAdapter, answered: Callable[[], None], *, encrypted: bool) -> None:
        super().__init__()
        self._inner = inner
        self._answered = answered
        self._encrypted = encrypted
        self._last: requests.Response | None = None

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._last = self._inner.send(request, *args, **kwargs)
        self._answered()
        # Whoever authenticates sends on by the adapter that a response names.
        response.connection = self  # type: ignore[assignment]
        raw: Any = response.raw
        readable = not self._encrypted or response.headers.get("content-type", "").startswith("multipart/")
        if not readable and response.status_code < _REDIRECTIONS and request.body:
            response.close()
            raise RemoteProtocolError(
                "The server answered an encrypted message with a readable one. Somebody may be in between."
            )
        stream = raw.stream
        # What is readable and need not be, is nobody's word: not even an error's.
        raw.stream = lambda *a, **k: _limited(response, stream(*a, **k), 0 if not readable else _MAX_ANSWER_BYTES)
        return response

    def close(self) -> None:
        if self._last is not None:
            # Whoever refuses a login does not read what came with it, and its connection is in no pool.
            self._last.close()
        self._inner.close()


def _limited(response: requests.Response, chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if limit and size > limit:
            response.close()
            raise RemoteProtocolError(f"An answer of the server is larger than {limit} bytes.")
        if limit:
            yield chunk


def _require_plain_xml(data: bytes) -> None:
    """Refuse what could make the XML parser read more than is there.

    Raises:
        RemoteProtocolError: a document type, an entity, or an encoding that could hide one.
    """
    if b"\x00" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data or _NOT_UTF8.match(data):
        raise RemoteProtocolError("An answer of the server is not plain XML: it declares a document type or encoding.")


def _never_left(error: requests.RequestException) -> bool:
    """Whether the request did not reach the server for sure."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in {"NewConnectionError", "NameResolutionError"}
