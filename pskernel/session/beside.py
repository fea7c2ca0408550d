"""What the connection of a runspace offers beside PowerShell."""

from __future__ import annotations

from pskernel.transports.base import FileAccess, KnowsPeer, OffersFiles, Peer, Transport

__all__ = ["Beside"]


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

    async def open_files(self) -> FileAccess | None:
        """The remote's files, where the connection reaches them."""
        offered = isinstance(self._transport, OffersFiles) and not self.in_front
        return await self._transport.open_files() if offered else None  # type: ignore[attr-defined] # it is one
