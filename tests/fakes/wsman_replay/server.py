"""HTTP in front of a replay."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.fakes.wsman_bridge.soap import Request
from tests.fakes.wsman_replay.naming import related
from tests.fakes.wsman_replay.recording import Exchange
from tests.fakes.wsman_replay.seen import Answer

__all__ = ["PASSWORD", "USER", "Answering", "ReplayServer", "Sequence"]

USER, PASSWORD = "omitest", "correct horse"
_LOGIN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_SOAP = {"content-type": "application/soap+xml;charset=UTF-8"}

# Answers a request, or not; may block.
Answering = Callable[[bytes], Answer | None]


class Sequence:
    """Answers one request after the other with exchanges in their order, whatever is asked."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._left = iter(exchanges)

    def __call__(self, raw: bytes) -> Answer | None:
        exchange = next(self._left)
        if exchange.status is None:
            return None
        body = related(exchange.response, Request(raw).message_id)
        return Answer(exchange.status, exchange.headers, body)


class ReplayServer(ThreadingHTTPServer):
    """A WinRM service on a free port of the loopback, with Basic, and nothing but what ``answering`` says.

    Attributes:
        denied: what whoever is not :data:`USER` is answered.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, answering: Answering, denied: Exchange) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answering = answering
        self.denied = denied
        self._lines: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="wsman-replay", daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def add_line(self, line: socket.socket) -> None:
        self._lines.add(line)

    def drop_line(self, line: socket.socket) -> None:
        self._lines.discard(line)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ReplayServer

    def setup(self) -> None:
        super().setup()
        self.server.add_line(self.connection)

    def finish(self) -> None:
        self.server.drop_line(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != _LOGIN:
            denied = self.server.denied
            self._send(Answer(HTTPStatus.UNAUTHORIZED, denied.headers, denied.response))
            return
        answer = self.server.answering(raw)
        if answer is None:
            self.close_connection = True
            return
        self._send(answer)
        answer.sent()

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        kept = {name: value for name, value in answer.headers.items() if name.lower() == "www-authenticate"}
        headers = {**(_SOAP if body else {}), **kept, "content-length": str(len(body))}
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        # In one piece: who acknowledges late would otherwise wait 40 ms for the second one.
        self.wfile.write(head.encode("latin-1") + b"\r\n" + body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
