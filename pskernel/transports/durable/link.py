"""The beginning and the end of one link to the relay of a durable session."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from pskernel.errors import PSKernelError
from pskernel.protocol.durable import Frame, FrameDecoder, Refusal, Resumable
from pskernel.transports.base import ByteStream, PoolGone, TakenOver
from pskernel.transports.durable.way import HungUp

__all__ = ["drop", "greet"]

_GREET_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 2.0
_REFUSALS: Final = {
    "taken": "Another client has it.",
    "version": "Its relay was started by another version of pskernel.",
    "position": "What it said meanwhile is not kept any more.",
}


async def greet(link: ByteStream, state: Resumable) -> tuple[FrameDecoder, list[Frame], list[bytes]]:
    """Say hello and hear it; returns what reads the link from here on, what has come already, and what to send again.

    Raises:
        PoolGone: the relay does not let this client in. The link is closed then, as after all other errors.
        HungUp: it ended before the relay said anything.
        RemoteProtocolError, TransportClosed, TimeoutError: as their names say.
    """
    decoder = FrameDecoder()
    try:
        async with asyncio.timeout(_GREET_SECONDS):
            await link.send(state.hello())
            frames: list[Frame] = []
            while not frames and (data := await link.receive()):
                frames = decoder.feed(data)
        if frames:
            return decoder, frames[1:], state.welcome(frames[0])
    except Refusal as refusal:
        await drop(link)
        kind = TakenOver if str(refusal) == "taken" else PoolGone
        raise kind(_REFUSALS.get(str(refusal), "Its relay refuses it.")) from None
    except BaseException:
        await drop(link)
        raise
    await drop(link)
    raise HungUp(f"The connection to its relay ended before that answered. {link.diagnostics()[:500]}".rstrip())


async def drop(link: ByteStream) -> None:
    """Close it. One that cannot even be closed must not be in the way of the next."""
    with contextlib.suppress(PSKernelError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await link.aclose()
