"""What has come for whoever receives: payloads in their order, and sentences for the user in front of them."""

from __future__ import annotations

import asyncio
import contextlib

from pskernel.errors import PSKernelError
from pskernel.records import Notice
from pskernel.transports.base import Gone, Payload

__all__ = ["Arrived"]

# Answers that may wait until the session takes them. While more do, the server is not asked.
_MAX_WAITING = 8


class Arrived:
    """Belongs to the loop on which it is made; :meth:`tell` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Payload | Gone | None] = asyncio.Queue(_MAX_WAITING)
        self._news: list[Notice] = []
        # What ended it, and whether whoever receives knows.
        self.failure: PSKernelError | None = None
        self._is_over = False

    async def put(self, item: Payload | Gone) -> None:
        """Add an item, once there is room; after the end nobody takes one any more."""
        if not self._is_over:
            await self._items.put(item)

    def fail(self, error: PSKernelError) -> None:
        """Note what ended it, if nothing has yet."""
        self.failure = self.failure or error
        self._wake()

    def tell(self, text: str) -> None:
        """Add a sentence for the user."""
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._add, text)

    async def take(self) -> list[Payload | Gone | Notice]:
        """What is next; what ended it comes when everything else was taken.

        Raises:
            PSKernelError: that.
        """
        while True:
            if self._news and not self._is_over:
                news, self._news = self._news, []
                return list(news)
            if self.failure is not None and (self._is_over or self._items.empty()):
                self._is_over = True
                raise self.failure
            item = await self._items.get()
            if item is not None:
                return [item]

    def _add(self, text: str) -> None:
        self._news.append(Notice(text))
        self._wake()

    def _wake(self) -> None:
        # If there is no room, somebody who receives will find it later.
        with contextlib.suppress(asyncio.QueueFull):
            self._items.put_nowait(None)
