"""The names that an SSH configuration has entries for.

What an entry says is read by the transport when it connects: here are only names, which no library lists.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from pskernel.fleet.entries import InventoryError, Place
from pskernel.userfiles import read_user_file

__all__ = ["config_hosts"]

# As ssh's READCONF_MAX_DEPTH.
_MAX_DEPTH = 16
_MAX_BYTES = 1024 * 1024
_MAX_FILES = 1000


def config_hosts(path: Path) -> Iterator[tuple[str, Place]]:
    """The names in Host lines that are no patterns, each once, in order, with Include followed.

    Raises:
        InventoryError: the file cannot be read.
    """
    seen: set[str] = set()
    budget = [_MAX_FILES]
    for name, place in _read(path, [], _MAX_DEPTH, budget):
        if name not in seen:
            seen.add(name)
            yield name, place


def _read(path: Path, conditions: list[list[str]], depth: int, budget: list[int]) -> Iterator[tuple[str, Place]]:
    budget[0] -= 1
    if budget[0] < 0 or not depth:
        Place(str(path)).wrong("Include leads too deep, or in a circle.")
    # What a file that is included within a Host block says holds for the hosts of that block.
    current: list[str] | None = None
    for number, keyword, words in _lines(path):
        place = Place(str(path), number)
        if keyword == "host":
            current = words
            for word in words:
                if not re.search(r"[*?!]", word) and all(_matches(word, patterns) for patterns in conditions):
                    yield word, place
        elif keyword == "match":
            current = None
        elif keyword == "include":
            inner = conditions if current is None else [*conditions, current]
            for word in words:
                for file in _included(word, place):
                    yield from _read(file, inner, depth - 1, budget)


def _matches(name: str, patterns: list[str]) -> bool:
    """Whether a Host line means a name: one of its patterns does, and none that begins with !."""
    found = [pattern.startswith("!") for pattern in patterns if fnmatch.fnmatchcase(name, pattern.lstrip("!"))]
    return bool(found) and not any(found)


def _included(pattern: str, place: Place) -> list[Path]:
    try:
        path = Path(pattern).expanduser()
        whole = path if path.is_absolute() else Path("~/.ssh").expanduser() / path
    except RuntimeError:
        place.wrong(f"There is no folder of the user that {pattern} means.")
    return [Path(name) for name in sorted(glob.glob(str(whole))) if Path(name).is_file()]  # noqa: PTH207 - absolute


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    data = read_user_file(path, "The SSH configuration", at_most=_MAX_BYTES, error=InventoryError)
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        match = re.fullmatch(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)", line)
        if match and match[1].lower() in ("host", "match", "include"):
            try:
                yield number, match[1].lower(), shlex.split(match[2], comments=True)
            except ValueError as error:
                Place(str(path), number).wrong(f"This line cannot be read: {error}.")
