"""Attaching to a PowerShell process that is running already, whatever way its pipe is reached.

Such a process takes one client at a time, and has no pipe for a moment when one has left. Both are found out here,
before a runspace is opened: a second client would be taken into a queue, and be told nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from pskernel.errors import NotPowerShell, RemoteProtocolError, TargetUnreachable, TransportClosed
from pskernel.protocol.outofproc import Packet, PacketDecoder, PacketKind, encode_empty
from pskernel.transports.base import FileAccess, KnowsPeer, OffersFiles, Peer
from pskernel.transports.pipes import CannotAttach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pskernel.transports.base import ByteStream

__all__ = ["AttachedStream", "attach"]

# An answer to a packet takes milliseconds, on the process's own thread for its pipe.
_ANSWER_SECONDS = 5.0
# How long a process may be without a pipe, or closing the one before.
_PASSING_SECONDS = 1.5
_PAUSE_SECONDS = 0.1
# The answer has 60 characters.
_MAX_ANSWER = 4_096


async def attach(open_stream: Callable[[], Awaitable[ByteStream]], what: str, error_id: str) -> ByteStream:
    """Connect to a process's pipe, and see that the process answers.

    Args:
        open_stream: finds the pipe, and connects to it.
        what: the process, for messages.
        error_id: PowerShell's, for a process that lets nobody in.

    Raises:
        CannotAttach: nobody listens there, or somebody else is attached.
        NotPowerShell: something else answers.
        ConnectError: it may not be opened.
    """
    loop = asyncio.get_running_loop()
    passing_until = loop.time() + _PASSING_SECONDS
    while True:
        try:
            stream = await open_stream()
            if await _answers(stream, what, error_id):
                return stream
            problem = CannotAttach(
                f"{what} has closed its pipe at once, again and again. It may be ending, or somebody else may be "
                "attached to it by another of its pipes.",
                error_id,
            )
        except CannotAttach as error:
            if not error.passing:
                raise
            problem = error
        except TargetUnreachable as error:
            problem = CannotAttach(str(error), error_id)
        if loop.time() > passing_until:
            raise problem
        await asyncio.sleep(_PAUSE_SECONDS)


async def _answers(stream: ByteStream, what: str, error_id: str) -> bool:
    """Whether PowerShell answers: to the signal for a pipeline that it does not have. It is closed if it does not."""
    good = False
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            good = await _is_powershell(stream)
    except TransportClosed:
        pass
    except RemoteProtocolError:
        raise NotPowerShell(f"What listens as {what} does not answer as PowerShell does.") from None
    except TimeoutError:
        raise CannotAttach(
            f"{what} did not answer within {_ANSWER_SECONDS:g} seconds. A PowerShell process takes one client at a "
            "time: somebody else is attached to it, most likely. Try again when they have left.",
            error_id,
        ) from None
    finally:
        if not good:
            await stream.aclose()
    return good


async def _is_powershell(stream: ByteStream) -> bool:
    """Raises NotPowerShell: something else answers. False where the stream has ended."""
    pipeline, decoder = uuid.uuid4(), PacketDecoder(_MAX_ANSWER)
    await stream.send(encode_empty(PacketKind.SIGNAL, pipeline))
    while data := await stream.receive():
        for packet in decoder.feed(data):
            if isinstance(packet, Packet) and (packet.kind, packet.pipeline_id) == (PacketKind.SIGNAL_ACK, pipeline):
                return True
            said = "" if isinstance(packet, Packet) else f" It wrote: {packet.text}."
            raise NotPowerShell(f"What listens there does not answer as PowerShell does.{said}")
    return False


class AttachedStream:
    """A :class:`pskernel.transports.base.ByteStream` that says, when it has ended, what became of the process.

    Args:
        inner: to the process.
        fate: looks for that.
    """

    def __init__(self, inner: ByteStream, fate: Callable[[], Awaitable[str]]) -> None:
        self._inner = inner
        self._fate = fate
        self._ended = ""

    @property
    def peer(self) -> Peer:
        """The server in between, if there is one."""
        return self._inner.peer if isinstance(self._inner, KnowsPeer) else Peer()

    async def open_files(self) -> FileAccess | None:
        """Files of the server in between, if there is one."""
        return await self._inner.open_files() if isinstance(self._inner, OffersFiles) else None

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the process sent."""
        try:
            data = await self._inner.receive(max_bytes)
        except TransportClosed:
            self._ended = await self._fate()
            raise
        if not data:
            self._ended = await self._fate()
        return data

    async def send(self, data: bytes) -> None:
        """Send to the process."""
        await self._inner.send(data)

    async def aclose(self) -> None:
        """Leave the process, which goes on."""
        await self._inner.aclose()

    def diagnostics(self) -> str:
        """What became of the process."""
        return f"{self._inner.diagnostics()} {self._ended}".strip()
