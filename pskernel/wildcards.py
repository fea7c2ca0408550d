"""PowerShell's wildcards: ``*``, ``?``, ``[a-z]``, and a backtick in front of what has no meaning."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["is_name", "matcher", "wildcard"]


def wildcard(text: str) -> re.Pattern[str] | str:
    """A name with PowerShell's wildcards as an expression, or the name it is if it has none. A backtick escapes."""
    expression, plain, is_plain, at = "", "", True, 0
    while at < len(text):
        character, at = text[at], at + 1
        end = text.find("]", at + 1)
        if character == "`" and at < len(text):
            character, at = text[at], at + 1
        elif character in "*?":
            expression, is_plain = expression + (".*" if character == "*" else "."), False
            continue
        elif character == "[" and end > 0:
            expression, is_plain, at = expression + _character_class(text[at:end]), False, end + 1
            continue
        expression, plain = expression + re.escape(character), plain + character
    # PowerShell's have no case, on Linux neither.
    return plain if is_plain else re.compile(expression, re.IGNORECASE | re.DOTALL)


def matcher(text: str) -> tuple[Callable[[str], object], bool]:
    """What tells whether a name is meant, in any case, and whether there are wildcards in it."""
    pattern = wildcard(text)
    if isinstance(pattern, re.Pattern):
        return pattern.fullmatch, True
    return (lambda name: name.casefold() == pattern.casefold()), False


def _character_class(text: str) -> str:
    """``a-z`` is a range, everything else is itself: there is no negation."""
    ranges, at = "", 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text) and text[at] <= text[at + 2]:
            ranges, at = ranges + f"{re.escape(text[at])}-{re.escape(text[at + 2])}", at + 3
        else:
            ranges, at = ranges + re.escape(text[at]), at + 1
    return f"[{ranges}]"


def is_name(path: str) -> bool:
    """Whether a path has no wildcard in it."""
    return all(isinstance(wildcard(part), str) for part in re.split(r"[/\\]", path))
