"""Members and indices behind a variable's name, read from a Python value as PowerShell would read them.

Nothing is called, and nothing is evaluated: there are names, numbers and texts. What Python keeps private is no member.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pskernel.protocol.clixml import PSObject

__all__ = ["INDEX", "MEMBER", "Step", "follow", "steps"]

MEMBER = r"\.\s*(?P<member>\w+)"
INDEX = r"\[\s*(?:(?P<number>-?[0-9]{1,9})|'(?P<single>[^']*)'|\"(?P<double>[^\"$`]*)\")\s*\]"
_STEP = re.compile(rf"\s*{MEMBER}|{INDEX}")
_SIZES: dict[type, tuple[str, ...]] = {
    str: ("length",),
    **dict.fromkeys((list, tuple, range, bytes), ("length", "count")),
}


class Step(NamedTuple):
    """One step: to a member by its name, or to what an index has."""

    key: str | int
    is_index: bool


def steps(text: str) -> list[Step]:
    """The steps that a text consists of, which the patterns of this module match."""
    found = []
    for match in _STEP.finditer(text):
        number, member = match["number"], match["member"]
        key = match["single"] if match["single"] is not None else match["double"]
        found.append(Step(int(number) if number is not None else key if key is not None else member, member is None))
    return found


def follow(value: Any, step: Step) -> Any:
    """What a step leads to. A table has None where there is no such key, as PowerShell's has.

    Raises:
        LookupError: there is nothing, or what may not be read; or whatever a user's own object raises.
    """
    if isinstance(value, PSObject) and isinstance(value.value, list | dict) and step.key not in value.properties:
        value = value.value
    if not step.is_index:
        return _member(value, str(step.key))
    if not isinstance(value, Mapping):
        return value[step.key]
    return value[step.key] if step.key in value else _in_any_case(value).get(str(step.key).casefold())


def _member(value: Any, name: str) -> Any:
    folded = name.casefold()
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        same = _in_any_case(value)
        return len(value) if folded == "count" and folded not in same else same[folded]
    # What .NET's texts and arrays have.
    if folded in _SIZES.get(type(value), ()):
        return len(value)
    if name.startswith("_"):
        raise LookupError(name)
    found = getattr(value, name)
    if inspect.isroutine(found):
        raise LookupError(name)
    return found


def _in_any_case(table: Mapping[Any, Any]) -> dict[str, Any]:
    return {key.casefold(): item for key, item in table.items() if isinstance(key, str)}
