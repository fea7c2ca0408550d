"""HTTP in front of the service: connections, logins, sealed messages, and what tests order."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from spnego.exceptions import SpnegoError

from tests.fakes.wsman_bridge.faults import Fault
from tests.fakes.wsman_bridge.login import Login, Rules
from tests.fakes.wsman_bridge.orders import SOAP, Answer, Cut, Garbled, Hold, Order
from tests.fakes.wsman_bridge.record import Asked, Record
from tests.fakes.wsman_bridge.service import Reply, Service, Unexplained
from tests.fakes.wsman_bridge.soap import IDENTIFY, Request, answer, fault_answer, identify_answer

__all__ = ["HTTP", "Front", "Server"]

# The operation that orders call what comes before a login.
HTTP = "HTTP"
_MAX_BODY = 64 * 1024 * 1024


class Front(Protocol):
    """What the server needs to know of the bridge."""

    rules: Rules
    service: Service
    record: Record
    path: str
    tls: bool
    idle_connection_seconds: float | None

    def order_for(self, operation: str) -> Order:
        """What is to happen to the next request of an operation."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, front: Front, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.front = front
        self._tls = context
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._handlers: set[threading.Thread] = set()

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        # Otherwise an answer waits for the acknowledgement of the one before it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            # The handshake is made on the connection's own thread: who does not finish it keeps nobody waiting.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._handlers.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._handlers.discard(threading.current_thread())

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose; a client's refusal of our certificate ends up here too."""
        self.front.record.note(f"connection {client_address} ended: {_current_error()}")

    def drop_connections(self) -> None:
        """Break all connections."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for each in connections:
            _break(each)

    def join(self, seconds: float) -> None:
        """Wait for the threads of all connections."""
        with self._lock:
            handlers = list(self._handlers)
        for thread in handlers:
            thread.join(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # As Windows calls itself.
    server_version, sys_version = "Microsoft-HTTPAPI/2.0", ""
    server: Server

    def setup(self) -> None:
        super().setup()
        self._front = self.server.front
        self._login = Login(self._front.rules, self.connection)

    def log_message(self, *_: Any) -> None:
        """Not on the test's standard error."""

    def handle_one_request(self) -> None:
        # Only the wait for a request is limited: when it passes, the connection is closed without a word.
        self.connection.settimeout(self._front.idle_connection_seconds)
        super().handle_one_request()

    def parse_request(self) -> bool:
        self.connection.settimeout(None)
        return super().parse_request()

    def do_GET(self) -> None:
        """What clients make of a POST that is redirected; there is nothing to get."""
        order = self._front.order_for(HTTP)
        return self._before_login(order) if order is not None else self._send(405)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or int(length) > _MAX_BODY:
            return self._send(400)
        raw = self.rfile.read(int(length))
        if self.path.strip("/").lower() != self._front.path:
            return self._send(404, b"<html><body>Not Found</body></html>", "text/html")
        order = self._front.order_for(HTTP)
        if order is not None:
            return self._before_login(order)
        if self.headers.get("WSMANIDENTIFY", "").lower() == "unauthenticated":
            return self._send(200, identify_answer(logged_in=False), SOAP)
        if not self._login.step(self.headers.get("Authorization")):
            return self._send(401)
        return self._message(raw) if raw else self._send(200)

    def _before_login(self, order: Order) -> None:
        assert isinstance(order, Answer | Cut), "before the login there is nothing else"
        if isinstance(order, Cut):
            return self._cut()
        return self._send(order.status, order.body, order.content_type, order.headers)

    def _message(self, raw: bytes) -> None:
        """A body that came with, or after, a login."""
        sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if sealed:
            try:
                raw = self._login.unseal(raw)
            except (SpnegoError, ValueError) as error:
                self._front.record.note(f"a message could not be unsealed: {type(error).__name__}")
                return self._send(400)
        elif self._front.rules.require_encryption and not self._front.tls:
            return self._send(500)
        if len(raw) > self._front.service.largest_envelope:
            # That Windows' client speaks of a "request size" it "was notified" of speaks for this status.
            return self._send(413)
        try:
            request = Request(raw)
        except Fault as fault:
            return self._reply(500, fault_answer(None, fault, self._front.service.dialect), sealed=sealed)
        asked = Asked(
            request.operation, request.message_id, request.shell_id, request.command_id, str(self._login.user)
        )
        self._front.record.asked(asked)
        return self._obey(request, self._front.order_for(request.operation), sealed=sealed)

    def _obey(self, request: Request, order: Order, *, sealed: bool) -> None:
        if order is not None:
            self._front.record.note(f"{request.operation} {request.message_id}: {type(order).__name__}")
        if isinstance(order, Answer):
            body = order.body.replace(b"{id}", request.message_id.encode())
            return self._reply(order.status, body, sealed=sealed and order.sealed, order=order)
        if isinstance(order, Cut) and not order.after:
            return self._cut()
        status, body, give_back = self._served(request, order if isinstance(order, Fault) else None)
        if isinstance(order, Cut):
            if order.keeps:
                give_back()
            return self._cut(*self._sealed(body, sealed=sealed))
        if isinstance(order, Hold):
            order.held.set()
            order.released.wait(order.seconds)
        try:
            self._reply(status, body, sealed=sealed, damage=order.what if isinstance(order, Garbled) else "")
        except OSError:
            # Nobody is there any more who could have read it.
            give_back()
            raise

    def _served(self, request: Request, ordered: Fault | None) -> tuple[int, bytes, Callable[[], None]]:
        """Status and body of the service's own answer, and how to undo what it took."""
        service = self._front.service
        reply = Reply("")
        try:
            if ordered is not None:
                raise ordered
            if request.operation == IDENTIFY:
                return 200, identify_answer(logged_in=True), reply.give_back
            reply = service.handle(request, str(self._login.user))
        except Fault as fault:
            return 500, fault_answer(request, fault, service.dialect), reply.give_back
        except Unexplained:
            return 500, b"", reply.give_back
        return 200, answer(request, reply.body, service.dialect), reply.give_back

    def _reply(self, status: int, body: bytes, *, sealed: bool, order: Answer | None = None, damage: str = "") -> None:
        kind = SOAP if order is None else order.content_type
        if sealed and body:
            body, kind = self._sealed(body, sealed=True, damage=damage)
        self._send(status, body, kind if body else "", None if order is None else order.headers)

    def _sealed(self, body: bytes, *, sealed: bool, damage: str = "") -> tuple[bytes, str]:
        return self._login.seal(body, self.headers["Content-Type"], damage) if sealed else (body, SOAP)

    def _send(self, status: int, body: bytes = b"", kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Header and body in one send: two of them would wait for each other's acknowledgement."""
        self.send_response(status)
        for each in self._login.answers:
            self.send_header("WWW-Authenticate", each)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self._headers_buffer += [b"\r\n", body]  # type: ignore[attr-defined] # what end_headers() itself does
        self.flush_headers()

    def _cut(self, body: bytes = b"", kind: str = "") -> None:
        """Break the connection, with half of the answer out if there is one."""
        self.close_connection = True
        if body:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            with contextlib.suppress(OSError):
                self.wfile.write(head.encode() + body[: len(body) // 2])
        _break(self.connection)


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the TLS way, which would take leave: the line is cut.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _current_error() -> str:
    error = sys.exc_info()[1]
    return f"{type(error).__name__}: {error}"
