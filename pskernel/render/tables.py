"""Small tables of text, as PowerShell prints lists of sessions and jobs, for terminals and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["html_table", "text_table"]


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns below their underlined names."""
    lines = [columns, ["-" * len(name) for name in columns], *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    padded = (" ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same in HTML; every text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
