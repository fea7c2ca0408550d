"""What a cell shows while it waits for the connection, in front ends with a person before them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pskernel.cells.where import where
from pskernel.session.interactive import InteractiveSession

__all__ = ["ConnectionNote"]

_PATIENCE_SECONDS = 0.5
_UPDATE_SECONDS = 1.0


class ConnectionNote:
    """One updatable line: who is being connected to, for how long, and then, once a session, who answered.

    Headless runs get none: it would be a different output in every run. The reply's metadata says the same.

    Args:
        session: the session.
        send: sends a message of the given type and content.
        told: the number of the session that the user was told of last.
    """

    def __init__(self, session: InteractiveSession, send: Callable[[str, dict[str, Any]], None], told: int) -> None:
        self._session = session
        self._send = send
        self._told = told
        self._display_id = uuid.uuid4().hex
        self._task: asyncio.Task[None] | None = None
        self._shown = False
        self._is_told = False

    async def __aenter__(self) -> Self:
        if not self._session.is_open:
            self._task = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        if self._shown and not self._is_told:
            # Its line must not stay at "Connecting".
            self._show(f"Not connected to {self._session.label}")

    async def connected(self) -> int:
        """The session is open: say so, unless it was said before. Returns the session's number."""
        await self._stop()
        self._is_told = True
        if self._session.number != self._told:
            self._told = self._session.number
            self._show(where(self._session))
        return self._told

    async def _tell(self) -> None:
        began = time.monotonic()
        await asyncio.sleep(_PATIENCE_SECONDS)
        while not self._session.is_open:
            elapsed = time.monotonic() - began
            self._show(f"Connecting to {self._session.label} … {int(elapsed)} s")
            await asyncio.sleep(_UPDATE_SECONDS)

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _show(self, text: str) -> None:
        content = {
            "data": {"text/plain": text},
            "metadata": {},
            "transient": {"display_id": self._display_id},
        }
        self._send("update_display_data" if self._shown else "display_data", content)
        self._shown = True
