"""The HTTP front end, and the faults that tests order."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import spnego

from tests.fakes.wsman_bridge.login import Login, Rules, add_accounts
from tests.fakes.wsman_bridge.service import Service
from tests.fakes.wsman_bridge.soap import Fault, Request, envelope, fault_body

__all__ = ["Answer", "Cut", "WsmanBridge"]

_SOAP = "application/soap+xml;charset=UTF-8"


@dataclass(frozen=True)
class Answer:
    """Instead of what the service would say. ``{id}`` in the body becomes the request's message id."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    content_type: str = _SOAP
    # Whether it is sealed where other answers are.
    sealed: bool = True


@dataclass(frozen=True)
class Cut:
    """The connection breaks: before the service has seen the request, or when half of its answer is out."""

    after: bool = False


class WsmanBridge:
    """A running service.

    Args:
        command: starts an engine on standard input and output.
        users: passwords.
        certificate: files with the server's certificate and key, for https; and with the authorities of clients.
        envelope_kb: what Get of the configuration says; 0 lets nobody ask.
        configurations: the session configurations there are.
        rules: further fields of :class:`tests.fakes.wsman_bridge.login.Rules`.
    """

    def __init__(
        self,
        command: Sequence[str],
        users: Mapping[str, str],
        *,
        certificate: tuple[Path, Path, Path | None] | None = None,
        envelope_kb: int = 500,
        configurations: Sequence[str] = ("Microsoft.PowerShell", "PowerShell.7"),
        **rules: Any,
    ) -> None:
        self.rules = Rules(users, **rules)
        self.service = Service(command, envelope_kb, configurations)
        # Operations in the order in which they came.
        self.requests: list[str] = []
        self.tls = certificate is not None
        self._orders: dict[str, list[Answer | Cut | None]] = {}
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.bridge = self
        self._server.tls = _tls(certificate, self.rules) if certificate is not None else None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        add_accounts(self.rules.users)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.service.close()
        self.drop_connections()

    def next(self, operation: str, *orders: Answer | Cut | None) -> None:
        """Order what happens to the next requests of an operation, one by one; ``*`` is any, None nothing unusual."""
        with self._lock:
            self._orders.setdefault(operation, []).extend(orders)

    def forget_orders(self) -> None:
        """What was ordered and did not come to pass, will not."""
        with self._lock:
            self._orders.clear()

    def drop_connections(self) -> None:
        """Break all connections, as a server does that found them idle."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def count(self, operation: str) -> int:
        """How many requests of an operation there were."""
        return self.requests.count(operation)

    def order_for(self, operation: str) -> Answer | Cut | None:
        """The next order for an operation, which is carried out."""
        with self._lock:
            self.requests.append(operation)
            for name in (operation, "*"):
                if self._orders.get(name):
                    return self._orders[name].pop(0)
        return None

    def opened(self, connection: socket.socket) -> None:
        """Note a connection."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    bridge: WsmanBridge
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            # Whoever does not finish the handshake must not keep others waiting.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.bridge.opened(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.bridge.closed(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._bridge = self.server.bridge
        self._login = Login(self._bridge.rules, self.connection)

    def log_message(self, *_: Any) -> None:
        """Not on the test's standard error."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.strip("/").lower() != "wsman":
            return self._reply(404, b"<html><body>Not found</body></html>", "text/html")
        if not self._login.step(self.headers.get("Authorization")):
            return self._reply(401)
        if not raw:
            return self._reply(200)
        sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if sealed:
            try:
                raw = self._login.unseal(raw)
            except (spnego.exceptions.SpnegoError, IndexError, struct.error, AttributeError):
                return self._reply(400)
        elif self._bridge.rules.require_encryption and not self._bridge.tls:
            return self._reply(500)
        return self._serve(Request(raw), sealed)

    def _serve(self, request: Request, sealed: bool) -> None:
        order = self._bridge.order_for(request.operation)
        if isinstance(order, Answer):
            body = order.body.replace(b"{id}", request.message_id.encode())
            return self._send(order.status, body, order.content_type, sealed and order.sealed, order.headers)
        if order == Cut():
            return self._cut()
        try:
            status, body = 200, envelope(request, self._bridge.service.handle(request, str(self._login.user)))
        except Fault as fault:
            status, body = 500, envelope(None, fault_body(fault))
        if order == Cut(after=True):
            return self._cut(*(self._login.seal(body, self.headers["Content-Type"]) if sealed else (body, _SOAP)))
        return self._send(status, body, _SOAP, sealed, None)

    def _send(self, status: int, body: bytes, kind: str, sealed: bool, headers: Mapping[str, str] | None) -> None:
        if sealed and body:
            body, kind = self._login.seal(body, self.headers["Content-Type"])
        self._reply(status, body, kind, headers)

    def _reply(self, status: int, body: bytes = b"", kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Header and body in one send: two of them would wait for each other's acknowledgement."""
        self.send_response(status)
        for each in self._login.answers:
            self.send_header("WWW-Authenticate", each)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self._headers_buffer += [b"\r\n", body]  # type: ignore[attr-defined]
        self.flush_headers()

    def _cut(self, body: bytes = b"", kind: str = "") -> None:
        if body:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body[: len(body) // 2])
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _tls(files: tuple[Path, Path, Path | None], rules: Rules) -> ssl.SSLContext:
    certificate, key, clients = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    rules.certificate = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
