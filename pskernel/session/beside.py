"""What the connection of a runspace offers beside PowerShell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pskernel.transports.base import FileAccess, KnowsPeer, MayBeAway, OffersFiles, Peer, Transport

__all__ = ["Beside"]

_T = TypeVar("_T")


class Beside:
    """A part of :class:`pskernel.session.runspace.Runspace`."""

    _transport: Transport
    # The id of the host in front of the one that runs the pipelines, where it was reached through another. What the
    # connection offers is that one's.
    in_front: str = ""
    # Whether another client had it before, who may have taken it to another host.
    is_taken_over = False

    @property
    def peer(self) -> Peer:
        """Who the server has proved to be, where the connection knows."""
        return self._transport.peer if isinstance(self._transport, KnowsPeer) else Peer()

    @property
    def is_reconnecting(self) -> bool:
        """Whether its connection is lost for a while, and being made again."""
        return isinstance(self._transport, MayBeAway) and self._transport.is_away

    async def in_time(self, seconds: float, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do something that the server answers. While the connection is away, that it does not says nothing of it.

        Raises:
            TimeoutError: it took longer than so many seconds.
        """
        while True:
            try:
                async with asyncio.timeout(seconds):
                    return await work()
            except TimeoutError:
                if not isinstance(self._transport, MayBeAway) or not self._transport.is_away:
                    raise
                await self._transport.back()

    async def open_files(self) -> FileAccess | None:
        """The remote's files, where the connection reaches them."""
        offered = isinstance(self._transport, OffersFiles) and not self.in_front
        return await self._transport.open_files() if offered else None  # type: ignore[attr-defined] # it is one
