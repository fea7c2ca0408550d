"""Values to the types of parameters, and the checks that PowerShell makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from psmagic.arguments import ArgumentError, Number, ScriptBlock
from psmagic.parameters import Kind, Parameter

__all__ = ["convert", "is_of_kind"]

# What cannot be null.
_VALUE_TYPES = {Kind.INT, Kind.GUID, Kind.SWITCH, Kind.AUTHENTICATION, Kind.CHOICE}

# Known by their names: whoever makes them is not imported here.
_NAMED_TYPES = {Kind.CREDENTIAL, Kind.SESSION, Kind.SESSION_OPTION, Kind.JOB}
_TYPES: dict[Kind, type] = {
    Kind.STRING: str,
    Kind.INT: int,
    Kind.GUID: uuid.UUID,
    Kind.SCRIPT_BLOCK: ScriptBlock,
    Kind.OBJECT: object,
}


def is_of_kind(parameter: Parameter, value: Any) -> bool:
    """Whether a value has the parameter's type already."""
    if parameter.many and isinstance(value, list):
        return bool(value) and all(_has_type(parameter.kind, item) for item in value)
    return _has_type(parameter.kind, value)


def _has_type(kind: Kind, value: Any) -> bool:
    value = value.value if isinstance(value, Number) else value
    if kind in _NAMED_TYPES:
        return bool(type(value).__name__ == kind.value.rsplit(".", 1)[-1])
    types = _TYPES.get(kind)
    return types is not None and isinstance(value, types) and not (kind is Kind.INT and isinstance(value, bool))


def convert(parameter: Parameter, value: Any) -> Any:
    """The value as the parameter's type.

    Raises:
        ArgumentError: it cannot be one, or is not allowed.
    """
    if parameter.many:
        values = list(value) if isinstance(value, list | tuple) else [value]
        if parameter.not_empty and not values:
            raise _empty(parameter)
        return [_one(parameter, item) for item in values]
    if isinstance(value, list | tuple) and parameter.kind is not Kind.OBJECT:
        raise ArgumentError(
            f"Cannot convert 'System.Object[]' to the type '{parameter.kind.value}' required by parameter "
            f"'{parameter.name}'. Specified method is not supported.",
            "CannotConvertArgument",
        )
    return _one(parameter, value)


def _one(parameter: Parameter, value: Any) -> Any:
    if isinstance(value, Number):
        # 007 and 1.10 are names as they are written.
        value = value.value if parameter.kind in {Kind.INT, Kind.OBJECT} else value.text
    if value is not None or parameter.kind in _VALUE_TYPES:
        try:
            value = _READERS.get(parameter.kind, _as_is)(parameter, value)
        except (TypeError, ValueError):
            shown = value if isinstance(value, str | int) else type(value).__name__
            raise ArgumentError(
                f"Cannot bind parameter '{parameter.name}'. Cannot convert value \"{shown}\" to type "
                f'"{parameter.kind.value}".',
                "CannotConvertArgumentNoMessage",
            ) from None
    _validate(parameter, value)
    return value


def _validate(parameter: Parameter, value: Any) -> None:
    if parameter.not_empty and (value is None or value in ("", {})):
        raise _empty(parameter)
    if parameter.kind is Kind.SWITCH and parameter.choices and not value:
        raise _invalid(
            parameter,
            'The argument "False" does not belong to the set "true" specified by the ValidateSet attribute. Supply an '
            "argument that is in the set and then try the command again.",
        )
    if parameter.lowest is not None and value < parameter.lowest:
        raise _invalid(parameter, f"The {value} argument is less than the minimum allowed range of {parameter.lowest}.")
    if parameter.highest is not None and value > parameter.highest:
        raise _invalid(
            parameter, f"The {value} argument is greater than the maximum allowed range of {parameter.highest}."
        )


def _empty(parameter: Parameter) -> ArgumentError:
    return _invalid(
        parameter,
        "The argument is null or empty. Provide an argument that is not null or empty, and then try the command again.",
    )


def _invalid(parameter: Parameter, why: str) -> ArgumentError:
    return ArgumentError(
        f"Cannot validate argument on parameter '{parameter.name}'. {why}", "ParameterArgumentValidationError"
    )


# Each raises ValueError or TypeError where the value cannot be read.


def _as_is(parameter: Parameter, value: Any) -> Any:
    if not _has_type(parameter.kind, value):
        raise TypeError
    return value


def _string(_parameter: Parameter, value: Any) -> str:
    return str(value)


def _int(_parameter: Parameter, value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    number = int(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError
    return number


def _switch(_parameter: Parameter, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _guid(_parameter: Parameter, value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


def _uri(_parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value if not value or urlsplit(value).scheme else f"http://{value}"


def _choice(parameter: Parameter, value: Any) -> str:
    found = [name for name in parameter.choices if value and name.casefold().startswith(str(value).casefold())]
    exact = [name for name in found if name.casefold() == str(value).casefold()]
    if not exact and len(found) != 1:
        raise ValueError
    return (exact or found)[0]


def _credential(_parameter: Parameter, value: Any) -> Any:
    # A user's name, or where the password is, or the thing itself: whoever connects asks for the rest.
    return value


def _table(_parameter: Parameter, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError
    return value


_READERS: dict[Kind, Callable[[Parameter, Any], Any]] = {
    Kind.STRING: _string,
    Kind.INT: _int,
    Kind.SWITCH: _switch,
    Kind.GUID: _guid,
    Kind.URI: _uri,
    Kind.AUTHENTICATION: _choice,
    Kind.CHOICE: _choice,
    Kind.CREDENTIAL: _credential,
    Kind.HASHTABLE: _table,
}
