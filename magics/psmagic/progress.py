"""Where progress is drawn: a display that is updated in a notebook, one line at the cursor in a terminal."""

from __future__ import annotations

import shutil
import sys
from typing import Any, Protocol

__all__ = ["Progress", "progress_of"]


class Progress(Protocol):
    """Draws the messages of a :class:`pskernel.cells.progress.ProgressDisplay`, on the user's thread."""

    def show(self, kind: str, content: dict[str, Any]) -> None:
        """Draw what there is now."""

    def make_room(self) -> None:
        """Text follows."""


def progress_of(shell: Any) -> Progress | None:
    """What draws progress in a shell; None where nobody looks."""
    if getattr(shell, "kernel", None) is not None:
        return _InNotebook(shell)
    return _InTerminal() if sys.stderr is not None and sys.stderr.isatty() else None


class _InNotebook:
    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def show(self, kind: str, content: dict[str, Any]) -> None:
        if not self._shell.kernel.get_parent("shell").get("content", {}).get("allow_stdin"):
            return  # a headless run, whose output is kept as it is
        self._shell.display_pub.publish(
            content["data"], content["metadata"], transient=content["transient"], update=kind == "update_display_data"
        )

    def make_room(self) -> None:
        """It has a place of its own."""


class _InTerminal:
    def __init__(self) -> None:
        self._shown = False

    def show(self, kind: str, content: dict[str, Any]) -> None:  # noqa: ARG002 - there is one line for all
        columns = shutil.get_terminal_size().columns
        line = content["data"]["text/plain"].partition("\n")[0][: columns - 1]
        self._write(line)

    def make_room(self) -> None:
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        # Back to the beginning of the line, and what stands there away.
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        self._shown = bool(line)
