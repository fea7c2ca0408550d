"""The byte stream over one SSH channel. It is given an asyncssh channel, but needs nothing else of asyncssh."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from pskernel.errors import TransportClosed
from pskernel.transports.base import Peer
from pskernel.transports.ssh.login import how_it_left
from pskernel.transports.streams import CHUNK, CLOSED_HERE, Gate, Inbox, Tail, plain_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pskernel.transports.base import FileAccess
    from pskernel.transports.elevation import Handover

__all__ = ["ChannelSession", "SSHStream", "elevated"]

# How long the exit status may trail the end of output.
_SETTLE_SECONDS = 1.0
# How long what was sent last may take to leave, and the server to say goodbye.
_LEAVE_SECONDS = 1.0


class _Channel(Protocol):
    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...


class _Connection(Protocol):
    def close(self) -> None: ...
    def abort(self) -> None: ...
    async def wait_closed(self) -> None: ...


class ChannelSession:
    """Where asyncssh delivers what arrives on a channel (it has the methods of asyncssh.SSHClientSession)."""

    def __init__(self, host: str, subsystem: str, handover: Handover | None = None) -> None:
        self.inbox: Inbox
        self.gate = Gate()
        self.tail = Tail()
        self.left = ""
        self._host = host
        self._subsystem = subsystem
        self._handover = handover
        self._status: int | None = None
        self.channel: _Channel

    # ---- what asyncssh calls ----

    def connection_made(self, channel: _Channel) -> None:
        self.channel = channel
        self.inbox = Inbox(pause=channel.pause_reading, resume=channel.resume_reading)

    def session_started(self) -> None:
        """Nothing to do: whoever opened the channel is told by other means."""

    def xon_xoff_requested(self, client_can_do: bool) -> None:  # noqa: FBT001 - asyncssh's signature
        """Nothing to do: there is no terminal."""

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            self.inbox.feed(data)
        else:
            self.tail.feed(data if self._handover is None else self._handover.heard(data))

    def eof_received(self) -> bool:
        # The exit status, which diagnostics want, follows within the same breath. A socket has none.
        is_program = bool(self._subsystem) or self._handover is not None
        asyncio.get_running_loop().call_later(_SETTLE_SECONDS if is_program else 0.0, self.inbox.end)
        return True

    def exit_status_received(self, status: int) -> None:
        self._status = status
        self.left = how_it_left(status, self._subsystem)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        self.left = f"The remote program was ended by signal {plain_text(signal)[:40]}."

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.inbox.end()
            self.gate.break_(f"The server {self._host} has closed the channel.")
        else:
            reason = plain_text(str(exc))[:200]
            why = f"The SSH connection to {self._host} was lost: {reason}."
            self.inbox.end(why)
            self.gate.break_(why)
        if self._handover is not None:
            self._handover.over(self._status)

    def pause_writing(self) -> None:
        self.gate.shut()

    def resume_writing(self) -> None:
        self.gate.open()


def elevated(peer: Peer, handover: Handover) -> Peer:
    """What is known of the far side, and how one became another there."""
    return Peer(peer.key, f"{peer.auth}, {handover.summary}" if peer.auth else handover.summary)


class SSHStream:
    """A :class:`pskernel.transports.base.ByteStream` over an SSH channel; it owns the connections below it."""

    def __init__(
        self,
        session: ChannelSession,
        connections: Sequence[_Connection],
        open_files: Callable[[], Awaitable[FileAccess | None]] | None = None,
        peer: Peer | None = None,
    ) -> None:
        """Take over ``connections``: the jump hosts' in the order in which they were opened, the target's last."""
        self._session = session
        self._open_files = open_files
        self.peer = peer or Peer()
        self._connections = tuple(connections)
        self._closed: asyncio.Event | None = None

    async def open_files(self) -> FileAccess | None:
        """SFTP over the same connection, where the server has it."""
        return await self._open_files() if self._open_files is not None else None

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the remote program wrote to standard output."""
        return await self._session.inbox.take(max_bytes)

    async def send(self, data: bytes) -> None:
        """Write to the remote program's standard input."""
        self._session.gate.check()
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            await self._session.gate.passed()
            try:
                self._session.channel.write(bytes(view[start : start + CHUNK]))
            except OSError:
                raise TransportClosed("The server has closed the channel.") from None
        await self._session.gate.passed()

    async def aclose(self) -> None:
        """Close the channel and every connection; a server that does not answer gets 1 s."""
        if self._closed is not None:
            await self._closed.wait()
            return
        self._closed = asyncio.Event()
        try:
            await self._close()
        finally:
            self._closed.set()

    def diagnostics(self) -> str:
        """The tail of the remote program's standard error, and how it ended."""
        return f"{self._session.tail.text()}\n{self._session.left}".strip()

    async def _close(self) -> None:
        self._session.inbox.close()
        self._session.gate.break_(CLOSED_HERE)
        try:
            # Closing the channel still delivers what was sent before; closing the connection would not.
            self._session.channel.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._session.channel.wait_closed()
                    for connection in reversed(self._connections):
                        connection.close()
                        await connection.wait_closed()
        finally:
            for connection in self._connections:
                connection.abort()
            for connection in self._connections:
                await connection.wait_closed()
