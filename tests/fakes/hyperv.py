"""A virtual machine as PowerShell Direct sees it, over two Unix sockets instead of Hyper-V's.

It follows the published protocol, reading one word with each receive, and hands the second connection over to a program
on it, which is a real engine where PowerShell is meant to answer.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import tempfile
import threading
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from pskernel.transports.hyperv import BROKER, SERVER

__all__ = ["VirtualMachine"]


class VirtualMachine:
    """One that runs.

    Args:
        program: what speaks on the second connection.
        version: of the handshake: 1 or 2.
        users: name, with its domain, and password.
        asks_configuration: whether the broker asks for one (CONF).
    """

    def __init__(
        self,
        program: Sequence[str],
        *,
        version: int = 2,
        users: dict[str, str] | None = None,
        asks_configuration: bool = True,
    ) -> None:
        self.id = uuid4()
        # What was said to the broker, one list a connection, and the configuration that was named: whole once it stopped.
        self.heard: list[list[bytes]] = []
        self.configuration = ""
        self.children: list[subprocess.Popen[bytes]] = []
        self.silent = False
        self.forgets_token = False
        self._program = program
        self._version = version
        self._users = {"localhost\\admin": "pässword"} if users is None else users
        self._asks_configuration = asks_configuration
        self._token = ""
        self._held: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="psk-", dir="/tmp")
        self._listeners = {}
        for service, serve in ((BROKER, self._be_broker), (SERVER, self._be_server)):
            listener = self._listeners[service] = socket.socket(socket.AF_UNIX)
            listener.bind(f"{self._folder.name}/{service}")
            listener.listen()
            self._threads.append(threading.Thread(target=self._accept, args=(listener, serve), daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in [*self._listeners.values(), *self._held]:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        for child in self.children:
            child.kill()
            child.wait()
        self._folder.cleanup()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads)

    def connect(self, machine: UUID, service: UUID, seconds: float) -> socket.socket:
        """What stands for :func:`pskernel.transports.hyperv.connect_hyperv`."""
        assert machine == self.id
        assert seconds > 0
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(Path(self._folder.name) / str(service)))
        except BaseException:
            line.close()
            raise
        return line

    def stop(self, service: UUID) -> None:
        """Nobody listens on one of its services any more."""
        self._listeners[service].shutdown(socket.SHUT_RDWR)
        self._listeners[service].close()
        (Path(self._folder.name) / str(service)).unlink()

    def _accept(self, listener: socket.socket, serve: object) -> None:
        assert callable(serve)
        with contextlib.suppress(OSError):
            while True:
                line, _ = listener.accept()
                if self.silent:
                    self._held.append(line)
                    continue
                with line, contextlib.suppress(OSError):
                    serve(line)

    def _be_broker(self, line: socket.socket) -> None:
        heard: list[bytes] = []
        self.heard.append(heard)

        def hear() -> bytes:
            heard.append(line.recv(4096))
            return heard[-1]

        if self._version == 2:
            assert b"VERSION" == hear()
            line.sendall(b"VERSION_2\0")
            assert b"VERSION_2" == hear()
            line.sendall(b"PASS\0")
        domain = hear()
        line.sendall(b"PASS")
        user = hear()
        line.sendall(b"PASS")
        password = ""
        if hear() == b"NONEMPTYPW":
            line.sendall(b"PASS")
            password = hear().decode("utf-16-le")
        # Version 1 reads this side's VERSION for a domain, of whatever length.
        name = f"{domain.decode('utf-16-le', 'replace')}\\{user.decode('utf-16-le')}"
        if self._users.get(name) != password:
            line.sendall(b"FAIL")
            hear()
            return
        line.sendall(b"CONF" if self._asks_configuration else b"PASS")
        if hear() == b"NONEMPTYCF":
            line.sendall(b"PASS")
            self.configuration = hear().decode("utf-16-le")
        if self._version == 2:
            self._token = b64encode(secrets.token_bytes(32)).decode()
            line.sendall(f"TOKEN {self._token}".encode())
            assert b"PASS" == hear()

    def _be_server(self, line: socket.socket) -> None:
        if self._version == 2:
            assert b"VERSION" == line.recv(11)
            line.sendall(b"VERSION_2")
            assert line.recv(13).startswith(b"VERSION_")
            line.sendall(b"PASS")
            shown = line.recv(110)
            if self.forgets_token or f"TOKEN {self._token}".encode() != shown:
                line.sendall(b"FAIL")
                return
            line.sendall(b"PASS")
        self.children.append(subprocess.Popen(self._program, stdin=line, stdout=line))
