"""Inventories in which each line is a host: CSV, and plain lines."""

from __future__ import annotations

import csv
import difflib
import re

from pskernel.fleet.entries import Entries, Place, settings_from
from pskernel.options import describe

__all__ = ["read_csv", "read_lines"]

_COLUMNS = {"host": "host", "name": "host", "target": "target", "group": "groups", "groups": "groups"}
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OPTION, _PARAMETER = "option:", "parameter:"


def read_lines(text: str, entries: Entries) -> None:
    """A name or a target in each line; # at its beginning or behind a blank begins a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        word = _COMMENT.sub("", line).strip()
        if word:
            entries.host("", word, Place(entries.source, number))


def read_csv(text: str, entries: Entries) -> None:
    """A header with ``host`` or ``target`` or both, ``groups``, and a column for each option and parameter."""
    first = next(iter(text.splitlines()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        header = [_column(name, Place(entries.source, 1)) for name in next(reader, [])]
        _check(header, Place(entries.source, 1))
        for row in reader:
            if any(cell.strip() for cell in row):
                _read_row(header, row, Place(entries.source, reader.line_num), entries)
    except csv.Error as error:
        Place(entries.source, reader.line_num).wrong(f"This is not CSV: {error}.")


def _check(header: list[str], place: Place) -> None:
    if not {"host", "target"} & set(header):
        place.wrong("The first line must name the columns, and one of them must be host or target.")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        place.wrong(f"The column {min(twice)} is there twice.")


def _column(name: str, place: Place) -> str:
    """What a column holds: host, target, groups, option:NAME or parameter:NAME."""
    word = name.strip()
    lower = word.lower()
    if lower in _COLUMNS:
        return _COLUMNS[lower]
    if lower.startswith(_OPTION):
        return _OPTION + lower.removeprefix(_OPTION).strip().replace("-", "_")
    if lower.startswith(_PARAMETER):
        return _PARAMETER + word[len(_PARAMETER) :].strip()
    options = [option.name for option in describe()]
    option = lower.replace("-", "_")
    if option in options:
        return _OPTION + option
    close = difflib.get_close_matches(option, options, n=1, cutoff=0.8)
    if close:
        place.wrong(
            f"The column {word} is like the option {close[0]}. Write {close[0]}, or parameter:{word} if it is one."
        )
    return _PARAMETER + word


def _read_row(header: list[str], row: list[str], place: Place, entries: Entries) -> None:
    if len(row) != len(header):
        place.wrong(f"There are {len(row)} columns here, and {len(header)} in the first line.")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    if "host" not in cells and "target" not in cells:
        place.wrong("The host is missing.")
    settings = settings_from(
        {name.removeprefix(_OPTION): cell for name, cell in cells.items() if name.startswith(_OPTION)},
        {name.removeprefix(_PARAMETER): cell for name, cell in cells.items() if name.startswith(_PARAMETER)},
    )
    settings.check(place)
    entry = entries.host(*_name_and_target(cells), place, settings)
    for name in re.split(r"[\s,;|]+", cells.get("groups", "")):
        if name:
            group = entries.group(name, place)
            group.defined = True
            entry.groups.add(name.casefold())


def _name_and_target(cells: dict[str, str]) -> tuple[str, str]:
    """A host may be written as a target as well."""
    host, target = cells.get("host", ""), cells.get("target", "")
    return (host, target) if target else ("", host)
