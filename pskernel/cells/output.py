"""What a cell writes its text to."""

from __future__ import annotations

from typing import Protocol

from pskernel.render.text import StreamText

__all__ = ["Output"]


class Output(Protocol):
    """Shows the text of one cell. A front end that is slow may make :meth:`write` wait, and so the remote."""

    async def write(self, piece: StreamText) -> None:
        """Add text."""

    async def flush(self) -> None:
        """Show what is held back now: a question follows."""

    async def clear(self) -> None:
        """The remote has cleared its screen: what is shown of this cell goes, once something else comes."""

    def spill(self, why: str) -> None:
        """The user has lost interest in what is still coming: hurry."""
