"""Types of parameters as far as they are known without PowerShell: what fits them, and what a text means for them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pskernel.runbook.parameters import Parameter
from pskernel.runbook.scanner import NOT_CONSTANT, ParametersError, scan

__all__ = ["ANYTHING", "Kind", "is_hashtable", "is_secret", "kind_of", "kind_of_default"]

_ARRAY = re.compile(r"(.+)\[\]")
_NULLABLE = re.compile(r"nullable\[(.+)\]")
_SHORT = re.compile(r"^system\.(?:management\.automation\.|security\.|collections\.|numerics\.)?")
_SECRETS = {"securestring", "pscredential", "credential", "securestring[]", "pscredential[]"}
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_TRUTH = {"true": True, "$true": True, "false": False, "$false": False}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type takes.

    Attributes:
        says: in words.
        fits: returns the value as it is to be sent; raises ValueError if it does not fit.
        read: the value that a text means; raises ValueError if it means none.
        many: whether it is a list.
    """

    says: str
    fits: Callable[[Any], Any]
    read: Callable[[str], Any]
    many: bool = False


def _if(condition: bool, value: Any) -> Any:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ValueError
    return value


def _integer(low: int | None, high: int | None) -> Kind:
    says = "a whole number" if low is None else f"a whole number from {low} to {high}"

    def fits(value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return int(_if(whole and (low is None or high is None or low <= value <= high), value))

    def read(text: str) -> int:
        return fits(int(_if(re.fullmatch(r"[+-]?[0-9]{1,1000}", text.strip()) is not None, text)))

    return Kind(says, fits, read)


def _real(value: Any) -> Any:
    return _if(isinstance(value, int | float | Decimal) and not isinstance(value, bool), value)


def _real_of(text: str) -> float:
    number = float(_if(_REAL.fullmatch(text.strip()) is not None, text))
    return float(_if(math.isfinite(number), number))


def _decimal(value: Any) -> Decimal:
    _real(value)
    try:
        # The float that is written 0.1 is meant as 0.1.
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ValueError from None
    return Decimal(_if(number.is_finite(), number))


def _moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


def _no_text(_: str) -> Any:
    raise ValueError


def _truth_of(text: str) -> bool:
    found = _TRUTH.get(text.strip().casefold())
    return bool(_if(found is not None, found))


_TEXT = Kind("text", lambda value: _if(isinstance(value, str), value), str)
_TRUE_OR_FALSE = Kind("true or false", lambda value: _if(isinstance(value, bool), value), _truth_of)
_NUMBER = Kind("a number", _real, _real_of)
_EXACT = Kind("a number", _decimal, lambda text: _decimal(Decimal(str(_if(_real_of(text) is not None, text.strip())))))
_DATE = Kind(
    "a date, with or without a time, like 2026-01-02T03:04:05",
    lambda value: _if(isinstance(value, date), value),
    _moment_of,
)
_TABLE = Kind("names with values, from a YAML file", lambda value: _if(isinstance(value, dict), value), _no_text)
ANYTHING = Kind("any value", lambda value: value, str)
_KINDS = {
    "string": _TEXT,
    "char": Kind("one character", lambda v: _if(isinstance(v, str) and len(v) == 1, v), lambda t: _if(len(t) == 1, t)),
    "bool": _TRUE_OR_FALSE,
    "boolean": _TRUE_OR_FALSE,
    "switch": _TRUE_OR_FALSE,
    "switchparameter": _TRUE_OR_FALSE,
    "double": _NUMBER,
    "float": _NUMBER,
    "single": _NUMBER,
    "decimal": _EXACT,
    "datetime": _DATE,
    "datetimeoffset": _DATE,
    "hashtable": _TABLE,
    "idictionary": _TABLE,
    "bigint": _integer(None, None),
    "biginteger": _integer(None, None),
}
for _names, _bits in (("byte", 8), ("ushort uint16", 16), ("uint uint32", 32), ("ulong uint64", 64)):
    _KINDS |= dict.fromkeys(_names.split(), _integer(0, 2**_bits - 1))
for _names, _bits in (("sbyte", 7), ("short int16", 15), ("int int32", 31), ("long int64", 63)):
    _KINDS |= dict.fromkeys(_names.split(), _integer(-(2**_bits), 2**_bits - 1))


def _short(parameter: Parameter) -> str:
    return _SHORT.sub("", (parameter.type or "").casefold())


def is_secret(parameter: Parameter) -> bool:
    """Whether its type holds a password."""
    return _short(parameter) in _SECRETS


def is_hashtable(parameter: Parameter) -> bool:
    """Whether its type is the one whose keys, made from an ordered dictionary, would have regard to case."""
    return _short(parameter) == "hashtable"


def kind_of(parameter: Parameter) -> Kind:
    """What a parameter's type takes. Of a type that is not known here, PowerShell decides."""
    return _kind(_short(parameter))


def _kind(name: str) -> Kind:
    if match := _NULLABLE.fullmatch(name):
        inner = _kind(_SHORT.sub("", match[1]))
        return Kind(inner.says, lambda value: None if value is None else inner.fits(value), inner.read)
    if match := _ARRAY.fullmatch("object[]" if name == "array" else name):
        return _list_of(_kind(_SHORT.sub("", match[1])))
    return _KINDS.get(name, ANYTHING)


def _list_of(inner: Kind) -> Kind:
    def fits(value: Any) -> Any:
        if isinstance(value, bytes):
            return value
        # One value is a list of one, as for PowerShell.
        return [inner.fits(element) for element in (value if isinstance(value, list | tuple) else [value])]

    def read(text: str) -> Any:
        return [inner.read(element) for element in text.split(",")] if text else []

    return Kind(f"a list, each {inner.says}", fits, read, many=True)


def kind_of_default(parameter: Parameter) -> Kind:
    """What a text means for a parameter without a type: a value of the kind that its default has, else text.

    Raises:
        ParametersError: the default is a list or has names, and a text does not say how it is to be taken apart.
    """
    default, constant = parameter.default or "", parameter.constant
    if default.startswith(("@(", "@{", ",")) or any(token.text == "," for token in scan(default)):
        raise ParametersError(
            f"What a text means for the parameter {parameter.name} is not clear: its default is a list or a table. "
            "Give it a type, as in [string[]], or give the value in a YAML file with -y."
        )
    if constant is NOT_CONSTANT or constant is None:
        return ANYTHING
    by_type = {bool: "bool", int: "long", float: "double", Decimal: "decimal", str: "string"}
    return _KINDS[by_type[type(constant)]]
