"""A remote's listing against what was asked for: it says how its files are called, not which files there are here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pskernel.copying.far import Item
from pskernel.errors import RemoteProtocolError
from pskernel.wildcards import matcher

__all__ = ["asked_for"]

# What stands for a folder whose name is only known there; so does ~, where it stands alone.
_UNNAMED = {"", ".", ".."}


def asked_for(
    items: Sequence[Item], path: str, *, literal: bool, recurse: bool, hidden: bool, skipped: list[str]
) -> list[Item]:
    """What of a listing a path names.

    Args:
        items: the listing.
        path: the source, as the user gave it.
        literal: whether no character of it has a meaning.
        recurse: whether folders were asked for with their contents.
        hidden: whether wildcards mean names with a dot in front, too.
        skipped: takes those that they do not mean.

    Raises:
        RemoteProtocolError: there is more in it; nothing may be copied.
    """
    asked = _last_part(path)
    is_meant, has_wildcards = matcher(asked)
    if literal:
        is_meant, has_wildcards = (lambda name: name.casefold() == asked.casefold()), False
    without_dot = has_wildcards and not hidden and not asked.startswith(".")
    found: list[Item] = []
    seen: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    for item in items:
        if not is_meant(item.parts[0]) or (len(item.parts) > 1 and not (recurse and item.parts[:-1] in folders)):
            raise RemoteProtocolError(
                f"The remote lists {'/'.join(item.parts)[:100]!r}, which was not asked for. Nothing is copied."
            )
        if item.parts in seen:
            raise RemoteProtocolError(f"Two things are called {'/'.join(item.parts)[:100]!r}. Copy them one by one.")
        seen.add(item.parts)
        if item.kind == "d":
            folders.add(item.parts)
        if not (without_dot and item.parts[0].startswith(".")):
            found.append(item)
        elif len(item.parts) == 1:
            skipped.append(f"{item.path}: wildcards mean such a name with -Force only")
    return found


def _last_part(path: str) -> str:
    *above, asked = re.split(r"[/\\]", path.rstrip("/\\"))
    if not above:
        # A drive is no part of the name.
        asked = asked.rpartition(":")[2]
    if asked in _UNNAMED or (asked == "~" and not above):
        raise RemoteProtocolError(f"'{path}' does not say what is to be copied: its last part must be a name, or *.")
    return asked
