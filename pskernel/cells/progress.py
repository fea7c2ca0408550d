"""A cell's progress in the front end: one display that is updated, and empty when the cell has ended."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from pskernel.records import ProgressRecord
from pskernel.render.progress import ProgressBoard

__all__ = ["ProgressDisplay"]

# Ten updates a second: scripts report thousands.
_HOLD_SECONDS = 0.1


class ProgressDisplay:
    """Shows progress records.

    Args:
        send: sends a display_data or update_display_data message; None shows nothing (headless runs, whose output is
            kept as it is).
    """

    def __init__(self, send: Callable[[str, dict[str, Any]], None] | None) -> None:
        self._send = send
        self._board = ProgressBoard()
        self._display_id = uuid.uuid4().hex
        self._shown = False
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def update(self, record: ProgressRecord) -> None:
        """Take note of a record; the display follows within a tenth of a second."""
        self._board.update(record)
        if self._send is not None and self._task is None:
            self._task = asyncio.create_task(self._show_soon())

    async def finish(self) -> None:
        """Empty the display."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._shown:
            self._board = ProgressBoard()
            self._show()

    async def _show_soon(self) -> None:
        await asyncio.sleep(max(0.0, self._last + _HOLD_SECONDS - time.monotonic()))
        self._task = None
        if self._shown or not self._board.is_empty:
            self._show()

    def _show(self) -> None:
        assert self._send is not None  # noqa: S101 - nothing is shown without it
        self._last = time.monotonic()
        # An empty text, not no data: front ends keep what they drew before where there is nothing to draw.
        data = {"text/plain": self._board.text(), "text/html": self._board.html()}
        content = {"data": data, "metadata": {}, "transient": {"display_id": self._display_id}}
        self._send("update_display_data" if self._shown else "display_data", content)
        self._shown = True
