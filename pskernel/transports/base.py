"""The two contracts below the session.

A :class:`ByteStream` carries bytes both ways and knows nothing of PowerShell. A :class:`Transport` carries PSRP
payloads (whole fragments, MS-PSRP 2.2.4) for one runspace pool. SSH, processes and sockets are byte streams under the
one out-of-process transport; WinRM has no byte stream and is a transport of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pskernel.errors import TransportClosed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from pskernel.records import Notice

__all__ = [
    "ByteStream",
    "Disconnects",
    "FileAccess",
    "Gone",
    "Interlude",
    "KeepsUntaken",
    "KeptPool",
    "MayBeAway",
    "OffersFiles",
    "Payload",
    "PoolGone",
    "Secret",
    "TakenOver",
    "Transport",
]


class Interlude(Exception):
    """A stream has something to tell the user in between. Nothing is lost: what it carries goes on."""


class PoolGone(TransportClosed):
    """The server does not keep the pool any more."""


class TakenOver(PoolGone):
    """Another client has the pool."""


class Secret(Protocol):
    """A password or passphrase that is only looked at when it is needed."""

    def reveal(self) -> str:
        """Return it. May block: it is called in a worker thread."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Whole PSRP fragments that arrived for one pipeline, or for the pool (``pipeline_id`` is None)."""

    pipeline_id: UUID | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """The server will send no more for a pipeline, whether or not it has said how that ended."""

    pipeline_id: UUID
    why: str


class ByteStream(Protocol):
    """A two-way stream of bytes to a PowerShell remoting server.

    One task may receive and one may send at a time. Cancelling ``receive`` loses nothing; cancelling ``send`` may
    leave part of the data sent, after which the stream can only be closed.
    """

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return at least one byte and at most ``max_bytes``; ``b""`` once the peer has sent everything and left.

        An implementation must not read ahead without bound: while nobody receives, the peer's writes must block.

        Raises:
            TransportClosed: the line was cut, or this side has closed the stream.
            Interlude: a stream whose line may be cut and come back tells of that.
        """

    async def send(self, data: bytes) -> None:
        """Send all of ``data``, waiting while the peer does not read.

        Raises:
            TransportClosed: the peer is gone, or this side has closed the stream.
        """

    async def aclose(self) -> None:
        """Close both directions and end the local child, if there is one. Idempotent; closes even if cancelled."""

    def diagnostics(self) -> str:
        """What the far side said outside the protocol (the tail of stderr, an exit status), or ``""``."""


class FileAccess(Protocol):
    """Reads and writes files of the remote, beside PowerShell. One task at a time."""

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on; fewer only where the file ends.

        Raises:
            FileAccessError: the file cannot be read.
        """

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write at ``offset`` of a file that exists.

        Raises:
            FileAccessError: the file cannot be written.
        """

    async def settle(self) -> None:
        """What was written is there for others to read."""

    async def aclose(self) -> None:
        """End it; the connection stays."""


@runtime_checkable
class OffersFiles(Protocol):
    """A transport, or the stream below it, that may reach the remote's files."""

    async def open_files(self) -> FileAccess | None:
        """Files by the same connection; None where it has no way to them.

        Raises:
            FileAccessError: the server does not offer them.
        """


@dataclass(frozen=True, slots=True)
class Peer:
    """How the two sides have known each other, as far as the connection tells; empty where it does not.

    Attributes:
        key: the fingerprint of the server's host key (``SHA256:`` and base64) or certificate (hexadecimal SHA-256).
        auth: the method by which this side has logged in.
    """

    key: str = ""
    auth: str = ""


@runtime_checkable
class KnowsPeer(Protocol):
    """A transport, or the stream below it, whose far side has proved who it is."""

    @property
    def peer(self) -> Peer:
        """Who it is."""


@runtime_checkable
class MayBeAway(Protocol):
    """A transport, or the stream below it, whose connection may be lost for a while without the session's end."""

    @property
    def is_away(self) -> bool:
        """Whether that is so now. What the server does not answer meanwhile says nothing about the server."""

    async def back(self) -> None:
        """Wait until it is not."""


@runtime_checkable
class KeepsUntaken(Protocol):
    """A transport whose far side keeps what it has sent for another client, until this one has taken it."""

    def taken(self, *, at_once: bool = False) -> None:
        """All that was received was shown, or used.

        Args:
            at_once: whether the far side is to know it now, and not when there is more.
        """


@dataclass(frozen=True, slots=True)
class KeptPool:
    """A runspace pool that a server keeps, of this client or another.

    Attributes:
        pool_id: its id.
        name: what its client called it.
        configuration: the session configuration.
        owner: the user.
        connected: whether a client is connected.
        running: the ids of its pipelines; None where the server does not tell.
        opened: when it was, in seconds since 1970; 0 where the server does not tell.
        client: who is connected, or was last; likewise empty.
        alone: for how many seconds nobody has been connected; likewise.
    """

    pool_id: UUID
    name: str
    configuration: str
    owner: str
    connected: bool
    running: tuple[UUID, ...] | None = None
    opened: float = 0.0
    client: str = ""
    alone: float = 0.0


@runtime_checkable
class Disconnects(Protocol):
    """A transport whose server keeps the pool, and what runs in it, while nobody is connected (MS-PSRP 3.1.4.9).

    Attributes:
        holding: whether what pipelines send that begin now is left at the server until :meth:`reconnect`.
        leaves: whether the pool stays there, and is not ended, when the connection is dropped without its being closed.
    """

    holding: bool
    leaves: bool

    async def disconnect(self, *, idle_timeout: float | None = None, buffering: str | None = None) -> None:
        """Leave the pool to the server. What it sends waits there.

        Args:
            idle_timeout: seconds for which the server keeps it; None leaves that to the transport.
            buffering: ``none``, ``block`` or ``drop``; likewise.
        """

    async def reconnect(self) -> None:
        """Come back to it.

        Raises:
            PoolGone: the server has ended it.
            TransportClosed: it does not let us.
        """

    async def attach(self, pool_id: UUID, data: bytes) -> bytes:
        """Come to a pool that another client has left, with the first fragments (SESSION_CAPABILITY,
        CONNECT_RUNSPACEPOOL); returns those of the answer.
        """

    async def resume(self, pipeline_id: UUID) -> None:
        """Receive what such a pool's pipeline sends from now on."""


class Transport(Protocol):
    """Carries one runspace pool. All methods but ``receive`` may be called from any task; they serialise themselves."""

    @property
    def max_payload(self) -> int:
        """The largest number of bytes one ``open``, ``command`` or ``send`` may carry."""

    async def open(self, data: bytes) -> None:
        """Create the pool with its first fragments (SESSION_CAPABILITY, INIT_RUNSPACEPOOL)."""

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        """Create a pipeline with the first fragment of its CREATE_PIPELINE message."""

    async def send(self, pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> None:
        """Send further fragments. Host responses travel on their own lane (``prompt_response``)."""

    async def signal(self, pipeline_id: UUID) -> None:
        """Ask the server to stop a pipeline. Returns when the request is sent, not when it is obeyed."""

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        """Tell the server that this side is done with a pipeline, and wait until it is done with it too.

        Bounded by the caller's timeout. A pipeline that starts before can be refused: one is still running.
        """

    async def receive(self) -> Sequence[Payload | Gone | Notice]:
        """Return what has arrived since the last call, waiting for at least one item.

        Raises:
            TransportClosed: the connection is gone; the message quotes what the far side said about it.
            RemoteProtocolError: the far side broke the framing beyond repair.
        """

    async def close_pool(self) -> None:
        """Close the pool and wait for the server's acknowledgement. Bounded by the caller's timeout."""

    async def aclose(self) -> None:
        """Drop the connection. Idempotent. A server that would keep the pool is told first, which has a short bound."""

    def diagnostics(self) -> str:
        """What the far side said beside the protocol, or ``""``: for the text of errors."""
