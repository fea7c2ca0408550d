"""What a cell writes its text to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pskernel.records import Notice, Record
from pskernel.render.text import StreamText, render

__all__ = ["Output", "write_between"]


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


async def write_between(output: Output, records: Sequence[Record]) -> None:
    """Write what the remote wrote since the last cell: banners while connecting, event handlers."""
    pieces = [piece for record in records if (piece := render(record)) is not None]
    if any(not isinstance(record, Notice) for record in records) and pieces:
        pieces.insert(0, StreamText("stderr", "While no cell was running, the remote wrote:\n"))
    for piece in pieces:
        await output.write(piece)
