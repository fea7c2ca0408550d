"""The socket of a relay at an SSH server, by the system's own ssh: it makes a socket here, and forwards it to that one.

The socket here takes a connection whether or not the server opens the other end: ssh's log tells. It stands in a
folder for this user alone, which is removed as soon as we have connected.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

from pskernel.errors import ConnectError, TargetUnreachable
from pskernel.transports import leash
from pskernel.transports.ssh.openssh import SSHChild, log_in
from pskernel.transports.ssh.opensshconfig import forwarding_line
from pskernel.transports.ssh.sockets import lost_meanwhile, not_opened
from pskernel.transports.unix import UnixStream, open_unix

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.transports.base import Secret
    from pskernel.transports.ssh.login import Login, SSHEndpoint
    from pskernel.transports.ssh.opensshconfig import SSHConfig

__all__ = ["ForwardedStream", "open_socket_by_openssh"]

# ssh expands some characters in it, and a socket's path has about 100.
_FOLDER = re.compile(r"/[A-Za-z0-9_./+-]{1,90}")
# Lines of ssh's log; there may be other channels, of forwardings that the configuration asks for.
_LISTENS = re.compile(r"debug1: Entering interactive session\.")
_CHANNEL = re.compile(r"debug1: channel (?P<number>\d+): new .*\[direct-streamlocal@openssh\.com\]")
_ANSWER = re.compile(r"(?:debug2: )?channel (?P<number>\d+): open (?P<answer>confirm|failed: [a-z ]+)")
_OPENED = "confirm"
# How a server that is there says that the socket is not, or that it forwards none.
_NOT_THERE = ("failed: connect failed", "failed: administratively prohibited")


async def open_socket_by_openssh(
    endpoint: SSHEndpoint, path: str, *, asker: Asker, secret: Secret | None, advice: str
) -> ForwardedStream:
    """Log in and open a socket there; ``advice`` is for a server that does not open it.

    Raises:
        ConnectError: as :func:`pskernel.transports.ssh.openssh.open_openssh`.
        PoolGone: the server does not open the socket.
        TargetUnreachable: also when the connection ends meanwhile.
    """
    if sys.platform == "win32":
        raise ConnectError(
            "The ssh program of Windows forwards no sockets. Use the built-in SSH client for durable sessions "
            "(backend=asyncssh)."
        )
    folder = tempfile.mkdtemp(prefix="pskernel-")
    try:
        if not _FOLDER.fullmatch(folder):
            raise ConnectError(
                f"ssh cannot make a socket in the folder {tempfile.gettempdir()}: its path is too long, or has "
                "other characters than letters, digits and ._+-. Set TMPDIR to another folder, or use the built-in SSH "
                "client (backend=asyncssh)."
            )
        child = await log_in(
            endpoint,
            lambda config, login: _Forwarding(endpoint, config, login, f"{folder}/s", path),
            asker=asker,
            secret=secret,
            tell=None,
        )
        try:
            return ForwardedStream(await child.connect(advice), child)
        except BaseException:
            await child.end(patience=0)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Forwarding(SSHChild):
    """An ssh that forwards the socket ``here`` to the one ``there``."""

    ready_line = _LISTENS

    def __init__(self, endpoint: SSHEndpoint, config: SSHConfig, login: Login, here: str, there: str) -> None:
        super().__init__(endpoint, config, login)
        self._here = here
        self._there = there
        self._requested = False
        self._channel = ""
        self._answer = ""
        # Set once the server has opened the socket or refused to, or ssh has ended.
        self._answered = asyncio.Event()

    def argv(self) -> list[str]:
        # It reads nothing, and would stay if we were killed.
        words = forwarding_line(self.endpoint, self.config, self._here, self._there)
        return [sys.executable, "-I", "-S", leash.__file__, *words]

    async def connect(self, advice: str) -> UnixStream:
        """The connection to the socket there. Raises as :func:`open_socket_by_openssh`."""
        seconds = self.endpoint.connect_timeout or self.config.timeout
        try:
            async with asyncio.timeout(seconds):
                stream = await self._open_here()
                try:
                    await self._open_there(advice)
                except BaseException:
                    await stream.aclose()
                    raise
        except TimeoutError:
            raise self.unreached.slow_login(seconds) from None
        return stream

    async def _open_there(self, advice: str) -> None:
        await self._answered.wait()
        if self._answer in _NOT_THERE:
            raise not_opened(self.endpoint.host, advice)
        if self._answer != _OPENED:
            raise lost_meanwhile(self.endpoint.host)

    async def _open_here(self) -> UnixStream:
        try:
            return await open_unix(self._here)
        except TargetUnreachable:
            if self.status is not None:
                raise lost_meanwhile(self.endpoint.host) from None
            raise ConnectError(f"ssh made no socket on this machine. {self.tail.text()[-300:]}".rstrip()) from None

    def stderr_received(self, data: bytes) -> None:
        # No program writes here, and the lines about channels are wanted.
        self.read_lines(data)

    def read_line(self, line: bytes) -> None:
        super().read_line(line)
        if self._answered.is_set():
            return
        text = line.decode("utf-8", "replace").strip()
        if self._channel:
            answer = _ANSWER.match(text)
            if answer is not None and answer["number"] == self._channel:
                self._answer = answer["answer"]
                self._answered.set()
        elif self._requested and (channel := _CHANNEL.match(text)) is not None:
            self._channel = channel["number"]
        elif f"forwarding to {self._there} port" in text:
            self._requested = True

    def how_left(self) -> str:
        return f"The process ssh exited with status {self.status}." if self.status else ""

    def over(self) -> None:
        super().over()
        self._answered.set()


class ForwardedStream:
    """A :class:`pskernel.transports.base.ByteStream` over a socket that an ssh of ours forwards, which ends with it."""

    def __init__(self, stream: UnixStream, child: _Forwarding) -> None:
        self._stream = stream
        self._child = child
        self.peer = child.peer()
        self._closed: asyncio.Event | None = None

    @property
    def pid(self) -> int:
        """The process id of what runs ssh."""
        return self._child.pid

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what came from the socket there."""
        return await self._stream.receive(max_bytes)

    async def send(self, data: bytes) -> None:
        """Send to the socket there."""
        await self._stream.send(data)

    async def aclose(self) -> None:
        """Close it, and end ssh."""
        if self._closed is not None:
            await self._closed.wait()
            return
        self._closed = asyncio.Event()
        try:
            await self._stream.aclose()
        finally:
            await self._child.end()
            self._closed.set()

    def diagnostics(self) -> str:
        """What ssh said, and how it ended."""
        return f"{self._child.tail.text()}\n{self._child.how_left()}".strip()
