"""What was run where, kept between sessions: one SQLite file, one line for each cell, by target."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

__all__ = ["History"]

# PSReadLine's rule for what must not reach its history file.
_SENSITIVE = re.compile(r"password|asplaintext|token|apikey|secret", re.IGNORECASE)
_MAX_LINES = 10_000
_MAX_CHARACTERS = 100_000

Line = tuple[int, int, str]


class History:
    """The cells of one target.

    It is a convenience: where its file cannot be used, everything goes on without it.

    Args:
        path: the database.
        target: whose lines to keep and return.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._target = target
        self._line = 0
        self._database: sqlite3.Connection | None = None
        self._session = 1
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._database.execute("pragma journal_mode = wal")
            # A cell does not wait for the disk; what a power failure may take is a line of history.
            self._database.execute("pragma synchronous = off")
            self._database.execute(
                "create table if not exists lines (target text, session integer, line integer, time real, text text)"
            )
            self._database.execute("create index if not exists by_target on lines (target, session, line)")
            (last,) = self._database.execute(
                "select coalesce(max(session), 0) from lines where target = ?", (target,)
            ).fetchone()
            self._session = last + 1
        except (OSError, sqlite3.Error):
            self._database = None

    def add(self, text: str) -> None:
        """Keep a cell, unless it may hold a secret."""
        self._line += 1
        if self._database is None or _SENSITIVE.search(text) or len(text) > _MAX_CHARACTERS:
            return
        try:
            self._database.execute(
                "insert into lines values (?, ?, ?, ?, ?)", (self._target, self._session, self._line, time.time(), text)
            )
        except (sqlite3.Error, UnicodeEncodeError):
            return

    def tail(self, count: int) -> list[Line]:
        """The last cells of all sessions, oldest first."""
        rows = self._select("order by session desc, line desc limit ?", _bounded(count))
        return rows[::-1]

    def range(self, session: int, start: int, stop: int | None) -> list[Line]:
        """Cells of a session; 0 is the present one, -1 the one before, and so on. ``stop`` is not included."""
        number = self._session + session if session <= 0 else session
        last = 2**31 if stop is None else stop
        return self._select("and session = ? and line >= ? and line < ? order by line", number, start, last)

    def search(self, pattern: str, count: int | None, *, unique: bool) -> list[Line]:
        """Cells that match a pattern with ``*`` and ``?``, the last ones, oldest first."""
        wanted = _bounded(count)
        rows = self._select("and text glob ? order by session desc, line desc limit ?", pattern, _MAX_LINES)
        if unique:
            rows = list({row[2]: row for row in reversed(rows)}.values())[::-1]
            rows.sort(reverse=True)
        return rows[:wanted][::-1]

    def close(self) -> None:
        """Release the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _select(self, rest: str, *parameters: Any) -> list[Line]:
        if self._database is None:
            return []
        # `rest` is one of the texts above.
        query = f"select session, line, text from lines where target = ? {rest}"  # noqa: S608
        try:
            return self._database.execute(query, (self._target, *parameters)).fetchall()
        except (sqlite3.Error, OverflowError):
            return []


def _bounded(count: int | None) -> int:
    return _MAX_LINES if count is None else max(0, min(count, _MAX_LINES))
