"""What a cell shows while it waits for the connection, in front ends with a person before them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pskernel.render.ansi import strip
from pskernel.session.interactive import InteractiveSession

__all__ = ["ConnectionNote"]

_PATIENCE_SECONDS = 0.5
_UPDATE_SECONDS = 1.0


class ConnectionNote:
    """One updatable line: who is being connected to, and for how long; nothing if the session is open already.

    Headless runs get none: it would be a different output in every run.
    """

    def __init__(self, session: InteractiveSession, send: Callable[[str, dict[str, Any]], None]) -> None:
        self._session = session
        self._send = send
        self._display_id = uuid.uuid4().hex
        self._task: asyncio.Task[None] | None = None
        self._shown = False

    async def __aenter__(self) -> Self:
        if not self._session.is_open:
            self._task = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if self._shown:
                # The cell was over before the next look: its line must not stay at "Connecting".
                self._show(self._connected() if self._session.is_open else f"Not connected to {self._session.label}")

    async def _tell(self) -> None:
        began = time.monotonic()
        await asyncio.sleep(_PATIENCE_SECONDS)
        while not self._session.is_open:
            elapsed = time.monotonic() - began
            self._show(f"Connecting to {self._session.label} … {int(elapsed)} s")
            await asyncio.sleep(_UPDATE_SECONDS)
        if self._shown:
            self._show(self._connected())

    def _connected(self) -> str:
        facts = self._session.facts
        who = f" as {strip(facts.user)}" if facts.user else ""
        version = f" (PowerShell {strip(facts.version)})" if facts.version else ""
        return f"Connected to {self._session.label}{who}{version}"

    def _show(self, text: str) -> None:
        content = {
            "data": {"text/plain": text},
            "metadata": {},
            "transient": {"display_id": self._display_id},
        }
        self._send("update_display_data" if self._shown else "display_data", content)
        self._shown = True
