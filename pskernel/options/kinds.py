"""How text and JSON values become the values of options. A value is never repeated in an error."""

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import Any, TypeVar

from pskernel.credentials import CredentialReference
from pskernel.errors import TargetError

__all__ = [
    "BYTES", "CREDENTIAL", "MAX_TEXT", "PATH", "SECONDS", "SWITCH", "Kind", "choice", "number", "option", "read",
    "read_path", "string", "whole",
]  # fmt: skip

T = TypeVar("T")

MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """How text or a JSON value becomes the value.

    ``read`` raises ValueError, and maps its own results to themselves.
    """

    expects: str
    read: Callable[[object], object]
    unit: str = ""


def string(value: object) -> str:
    """Return a text of one line; raises ValueError for anything else, as all readers do."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise ValueError
    return value


def number(low: float, high: float, unit: str) -> Kind:
    """A number in a range."""

    def read(value: object) -> float:
        # bool is an int; float() also takes "1_0" and, in other scripts' digits, much else.
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - the one error of all readers
        if isinstance(value, str) and (not value.isascii() or "_" in value or len(value) > 40):
            raise ValueError
        number = float(value) if isinstance(value, str) or abs(value) < 1e18 else math.inf
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(f"a number of {unit} from {low:g} to {high:g}", read, unit)


def whole(low: int, high: int, unit: str) -> Kind:
    """A whole number in a range."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(f"a whole number of {unit} from {low} to {high}", read, unit)


def choice(*names: str) -> Kind:
    """One of several words."""

    def read(value: object) -> str:
        name = string(value).lower()
        if name not in names:
            raise ValueError
        return name

    return Kind(" or ".join(names), read)


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    name = string(value).lower()
    if name not in words:
        raise ValueError
    return words[name]


def read_path(value: object) -> str:
    """A path, with ``~`` expanded."""
    return os.path.expanduser(string(value))  # noqa: PTH111 - pathlib would raise for an unknown user


def _read_credential(value: object) -> str:
    return str(CredentialReference.parse(string(value)))


SECONDS = number(0.1, 3600, "seconds")
BYTES = whole(0, 1_000_000_000, "bytes")
SWITCH = Kind("true or false", _read_switch)
CREDENTIAL = Kind("keyring:NAME, env:NAME, file:PATH or prompt", _read_credential)
PATH = Kind("the path of a file", read_path)


def option(default: T, kind: Kind, text: str, *schemes: str) -> T:
    """Declare one option; no ``schemes`` means all. Typed as its default, as dataclasses.field itself is."""
    return field(default=default, metadata={"kind": kind, "help": text, "schemes": schemes})


def read(field_: Field[Any], value: object) -> object:
    """The value of an option.

    Raises:
        TargetError: it can be none.
    """
    if value is None and field_.default is None:
        return None
    kind: Kind = field_.metadata["kind"]
    try:
        return kind.read(value)
    except TargetError as error:
        raise TargetError(f"The option {field_.name} is wrong. {error}") from None
    except (ValueError, TypeError):  # its text would repeat the value
        raise TargetError(f"The option {field_.name} must be {kind.expects}.") from None
