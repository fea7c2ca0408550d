"""The bridge: one service on one port."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.fakes.wsman_bridge.login import Rules
from tests.fakes.wsman_bridge.orders import Hold, Order
from tests.fakes.wsman_bridge.record import Asked, Record
from tests.fakes.wsman_bridge.server import HTTP, Server
from tests.fakes.wsman_bridge.service import Service

__all__ = ["WsmanBridge"]

_JOIN_SECONDS = 5.0


class WsmanBridge:
    """A running service, as a context manager.

    Args:
        command: starts an engine that speaks PSRP on standard input and output.
        users: passwords by name, ``DOMAIN\\user`` or ``user``.
        certificate: files with the server's certificate and key, for https; and with the authorities of clients'
            certificates, or None.
        configurations: the session configurations there are.
        path: where the service is.
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
        path: str = "wsman",
        **rules: Any,
    ) -> None:
        self.record = Record()
        self.rules = Rules(users, **rules)
        self.service = Service(command, configurations, self.record)
        self.service.envelope_kb = envelope_kb
        self.path = path.lower()
        self.tls = certificate is not None
        # Connections on which no request came for so long are closed; None: they stay.
        self.idle_connection_seconds: float | None = None
        self._orders: dict[str, list[Order]] = {}
        self._standing: dict[str, Order] = {}
        self._held: list[Hold] = []
        self._lock = threading.Lock()
        self._server = Server(self, _tls(certificate, self.rules) if certificate is not None else None)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything: engines, connections, threads. May be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_JOIN_SECONDS)
        self._server.server_close()
        self.forget_orders()
        self.service.close()
        self._server.drop_connections()
        self._server.join(_JOIN_SECONDS)

    @property
    def port(self) -> int:
        """On 127.0.0.1."""
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        """Where the service is, by a name that its certificate is for."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/{self.path}"

    # ---- what was ----

    @property
    def requests(self) -> list[Asked]:
        """The requests that were let in, in order."""
        return self.record.requests

    @property
    def sent(self) -> dict[tuple[str, str | None], bytes]:
        """What was handed out by Receive: see :attr:`Record.sent`."""
        return self.record.sent

    @property
    def log(self) -> list[str]:
        """What engines said on standard error, what connections ended with, which orders were carried out."""
        return list(self.record.log)

    def count(self, operation: str) -> int:
        """How many requests of an operation were let in."""
        return sum(each.operation == operation for each in self.requests)

    def wait_for(self, operation: str, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until ``count`` requests of an operation have come.

        Raises:
            TimeoutError: they have not.
        """
        if not self.record.wait_until(lambda: self.count(operation) >= count, timeout):
            raise TimeoutError(f"{self.count(operation)} {operation} came, not {count}.")

    # ---- what is to be ----

    def next(self, operation: str, *orders: Order) -> None:
        """Order what happens to the next requests of an operation, one by one.

        ``*`` is any operation. ``HTTP`` is what comes before the login; there, only Answer and Cut make sense. The order
        None is nothing unusual.
        """
        with self._lock:
            self._orders.setdefault(operation, []).extend(orders)

    def always(self, operation: str, order: Order) -> None:
        """Order what happens to all requests of an operation for which nothing else is ordered."""
        with self._lock:
            self._standing[operation] = order

    def forget_orders(self) -> None:
        """What was ordered and did not come to pass, will not; what is held goes."""
        with self._lock:
            held, self._held = self._held, []
            self._orders.clear()
            self._standing.clear()
        for order in held:
            order.release()

    def drop_connections(self) -> None:
        """Break all connections, as a server does that is restarted, or a network."""
        self._server.drop_connections()

    def order_for(self, operation: str) -> Order:
        """The next order for an operation; asking for it uses it up."""
        with self._lock:
            order = self._next_order(operation)
            if order is None and operation != HTTP:
                order = self._next_order("*")
            if isinstance(order, Hold):
                self._held.append(order)
        return order

    def _next_order(self, name: str) -> Order:
        waiting = self._orders.get(name)
        return waiting.pop(0) if waiting else self._standing.get(name)


def _tls(files: tuple[Path, Path, Path | None], rules: Rules) -> ssl.SSLContext:
    certificate, key, clients = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    rules.certificate = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
