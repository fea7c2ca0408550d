"""What the connection of a runspace offers beside PowerShell."""

from __future__ import annotations

from pskernel.transports.base import FileAccess, KnowsPeer, OffersFiles, Peer, Transport

__all__ = ["Beside"]


class Beside:
    """A part of :class:`pskernel.session.runspace.Runspace`."""

    _transport: Transport

    @property
    def peer(self) -> Peer:
        """Who the server has proved to be, where the connection knows."""
        return self._transport.peer if isinstance(self._transport, KnowsPeer) else Peer()

    async def open_files(self) -> FileAccess | None:
        """The remote's files, where the connection reaches them."""
        return await self._transport.open_files() if isinstance(self._transport, OffersFiles) else None
