"""How requests reach the network: with the certificates that were agreed on, by a proxy or not, and within bounds."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from pskernel.errors import RemoteProtocolError

__all__ = ["Adapter"]

# The largest envelope that Windows can be told to send is 8 MB.
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_UNAUTHORIZED: Final = 401


class Adapter(HTTPAdapter):
    """For one connection at a time, whoever of requests' managers makes it.

    Args:
        tls: what urllib3 is told of certificates, by the names of its own parameters. Nothing else counts.
        answered: called whenever the server has answered, be it only a step of the login.

    Attributes:
        offered: the ways to log in that the server named to a request that lacked them.
        late: whether :meth:`cut` was called.
    """

    def __init__(self, tls: Mapping[str, Any], answered: Callable[[], None]) -> None:
        self.offered: str | None = None
        self.late = False
        self._tls = dict(tls)
        self._answered = answered
        self._lock = threading.Lock()
        # The connection, which is in nobody's pool while it is in use; and a second hold on it, for :meth:`cut`.
        self._connection: Any = None
        self._line: socket.socket | None = None
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:  # noqa: FBT001, FBT002 - as requests calls it
        """Make the manager of direct connections."""
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make, or find, the manager of those through a proxy."""
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        if proxy.lower().startswith("https:"):
            # The proxy is not the server: another certificate, and the system's authorities.
            kwargs["proxy_ssl_context"] = ssl.create_default_context()
        manager = super().proxy_manager_for(proxy, **kwargs, **self._tls)
        self._watch(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Where to; requests' own ideas of certificates, and those of the environment, are left out."""
        return super().build_connection_pool_key_attributes(request, verify, cert)[0], {}

    def cert_verify(self, *_: Any) -> None:
        """Not here either."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send, and bound the answer."""
        response = super().send(request, *args, **kwargs)
        self._answered()
        if response.status_code == _UNAUTHORIZED and _names_no_token(request.headers.get("Authorization")):
            self.offered = response.headers.get("WWW-Authenticate", "")
        raw: Any = response.raw
        stream = raw.stream
        raw.stream = lambda *a, **k: _limited(response, stream(*a, **k))
        return response

    def cut(self) -> None:
        """Break the connection, from any thread: whoever waits for it fails."""
        with self._lock:
            self.late = True
            self._shut_down()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._connection is not None:
            self._connection.close()
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = None

    def _watch(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: self._pool_of(kind) for scheme, kind in manager.pool_classes_by_scheme.items()
        }

    def _pool_of(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        def make(*args: Any, **kwargs: Any) -> Any:
            pool = kind(*args, **kwargs)
            pool.ConnectionCls = self._connection_of(pool.ConnectionCls)
            return pool

        return make

    def _connection_of(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        def make(*args: Any, **kwargs: Any) -> Any:
            if self._connection is not None:
                # It was given up in the middle of an answer.
                self._connection.close()
            self._connection = connection = kind(*args, **kwargs)
            dial = connection._new_conn  # noqa: SLF001 - nothing later sees the socket before TLS has it
            connection._new_conn = lambda: self._hold(dial())  # noqa: SLF001
            return connection

        return make

    def _hold(self, line: socket.socket) -> socket.socket:
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = line.dup()
            if self.late:
                self._shut_down()
        return line

    def _shut_down(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):  # it is broken already
                self._line.shutdown(socket.SHUT_RDWR)


def _names_no_token(authorization: str | bytes | None) -> bool:
    start = "Basic " if isinstance(authorization, str) else b"Basic "
    return authorization is None or authorization.startswith(start)  # type: ignore[arg-type] # it is of its kind


def _limited(response: requests.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            response.close()
            raise RemoteProtocolError(f"An answer of the server is larger than {_MAX_ANSWER_BYTES} bytes.")
        yield chunk
