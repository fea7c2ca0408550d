"""Escape sequences: the remote's colours are kept, everything else it might do to a terminal is taken out."""

from __future__ import annotations

import re

__all__ = ["neutralise", "paint", "strip"]

# Only "Select Graphic Rendition" may pass. Cursor movement, erasing, titles, clipboard writes (OSC 52), hyperlinks and
# device queries could rewrite what an administrator has read, or what their terminal types next.
_SEQUENCE = re.compile(
    r"\x1b\[[0-9;:]{0,64}m"  # SGR: kept
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"  # OSC, DCS, SOS, PM, APC with their content
    r"|\x1b\[[0-?]*[ -/]*[@-~]?"  # any other CSI
    r"|\x1b[ -/]*[0-~]?"  # two-character sequences, character sets
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"  # other control characters; tab, newline, return stay
)
_SGR = re.compile(r"\x1b\[[0-9;:]{0,64}m\Z")
_NEEDS_WORK = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

# ConsoleColor to SGR foreground codes; background is ten more.
_FOREGROUND = (30, 34, 32, 36, 31, 35, 33, 37, 90, 94, 92, 96, 91, 95, 93, 97)


def neutralise(text: str) -> str:
    """Take out every control sequence but colours, and half characters, which no message can carry."""
    if not _NEEDS_WORK.search(text):
        return text
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _SEQUENCE.sub(lambda match: match[0] if _SGR.match(match[0]) else "", text)


def strip(text: str) -> str:
    """Take out colours too."""
    return _SEQUENCE.sub("", text) if _NEEDS_WORK.search(text) else text


def paint(text: str, foreground: int | None, background: int | None) -> str:
    """Colour a text with ConsoleColor numbers (0 to 15), leaving its final newline outside."""
    codes = []
    if foreground is not None and 0 <= foreground < len(_FOREGROUND):
        codes.append(str(_FOREGROUND[foreground]))
    if background is not None and 0 < background < len(_FOREGROUND):
        # Black is what the client declared as its own background: painting it would only spoil light themes.
        codes.append(str(_FOREGROUND[background] + 10))
    if not codes:
        return text
    body, newline = (text[:-1], "\n") if text.endswith("\n") else (text, "")
    return f"\x1b[{';'.join(codes)}m{body}\x1b[0m{newline}" if body else newline
