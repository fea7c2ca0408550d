"""Values to the types of parameters, and the checks that PowerShell makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from psmagic.arguments import ArgumentError, Number, ScriptBlock, read_number
from psmagic.emptiness import NULL_OR_EMPTY, empty_error, invalid, null_error
from psmagic.parameters import Kind, Parameter

__all__ = ["convert", "is_of_kind"]

# What a number is text for.
_TEXTS = {Kind.STRING, Kind.URI, Kind.GUID, Kind.CREDENTIAL, Kind.AUTHENTICATION, Kind.CHOICE}
_MAX_SHOWN = 100

# Known by their names: whoever makes them is not imported here.
_NAMED_TYPES = {Kind.CREDENTIAL, Kind.SESSION, Kind.SESSION_OPTION, Kind.JOB, Kind.HOST_PROCESS}
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
        items = _flat(parameter.kind, value)
        return bool(items) and all(_has_type(parameter.kind, item) for item in items)
    return _has_type(parameter.kind, value)


def _flat(kind: Kind, value: Any) -> list[Any]:
    """The values of a parameter that takes several. A list of sessions or jobs is as many as are in it."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if kind not in {Kind.SESSION, Kind.JOB, Kind.HOST_PROCESS}:
        return values
    return [item for one in values for item in (one if isinstance(one, list | tuple) else [one])]


def _has_type(kind: Kind, value: Any) -> bool:
    value = value.value if isinstance(value, Number) else value
    if kind in _NAMED_TYPES:
        return bool(type(value).__name__ == kind.value.rsplit(".", 1)[-1])
    if kind is Kind.PROCESS:
        # Of subprocess, asyncio, multiprocessing or psutil.
        return not isinstance(value, str | int) and isinstance(getattr(value, "pid", None), int)
    types = _TYPES.get(kind)
    return types is not None and isinstance(value, types) and not (kind is Kind.INT and isinstance(value, bool))


def convert(parameter: Parameter, value: Any) -> Any:
    """The value as the parameter's type.

    Raises:
        ArgumentError: it cannot be one, or is not allowed.
    """
    if parameter.many:
        if value is None and (parameter.not_empty or parameter.is_mandatory or parameter.kind.is_value):
            raise null_error(parameter)
        values = _flat(parameter.kind, value)
        if not values and (parameter.not_empty or parameter.is_mandatory):
            raise empty_error(parameter, "an empty array", in_list=True)
        return [_one(parameter, item, in_list=True) for item in values]
    if isinstance(value, list | tuple) and parameter.kind is not Kind.OBJECT:
        raise ArgumentError(
            f"Cannot convert 'System.Object[]' to the type '{parameter.kind.value}' required by parameter "
            f"'{parameter.name}'. Specified method is not supported.",
            "CannotConvertArgument",
        )
    return _one(parameter, value)


def _one(parameter: Parameter, value: Any, *, in_list: bool = False) -> Any:
    if isinstance(value, Number):
        # 007 and 1.10 are names as they are written.
        value = value.text if parameter.kind in _TEXTS else value.value
    if value is None and parameter.kind.is_value:
        raise null_error(parameter)
    if value is not None or parameter.kind is Kind.SWITCH:
        try:
            value = _READERS.get(parameter.kind, _as_is)(parameter, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _unconvertible(parameter, value, error) from None
    _validate(parameter, value, in_list=in_list)
    return value


def _validate(parameter: Parameter, value: Any, *, in_list: bool) -> None:
    if value is None and (parameter.not_empty or parameter.is_mandatory):
        raise empty_error(parameter, "null", in_list=in_list)
    # Of values that users bring along, some compare with anything, and have no truth.
    if isinstance(value, str) and not value and (parameter.not_empty or parameter.is_mandatory):
        raise empty_error(parameter, "an empty string", in_list=in_list)
    if isinstance(value, dict) and not value and parameter.not_empty:
        raise invalid(parameter, NULL_OR_EMPTY)
    if parameter.kind is Kind.SWITCH and parameter.choices and not value:
        raise invalid(
            parameter,
            'The argument "False" does not belong to the set "true" specified by the ValidateSet attribute. Supply an '
            "argument that is in the set and then try the command again.",
        )
    if parameter.lowest is not None and value < parameter.lowest:
        raise invalid(
            parameter,
            f"The {value} argument is less than the minimum allowed range of {parameter.lowest}. Supply an argument "
            f"that is greater than or equal to {parameter.lowest} and then try the command again.",
        )
    if parameter.highest is not None and value > parameter.highest:
        raise invalid(
            parameter,
            f"The {value} argument is greater than the maximum allowed range of {parameter.highest}. Supply an "
            f"argument that is less than or equal to {parameter.highest} and then try the command again.",
        )


def _unconvertible(parameter: Parameter, value: Any, error: Exception) -> ArgumentError:
    """What PowerShell says of a value that cannot be the parameter's; ``error`` has its reason where there is one."""
    wanted, given = parameter.kind.value, _type_name(value)
    if parameter.kind is Kind.SWITCH:
        return ArgumentError(
            f"Cannot convert '{given}' to the type '{wanted}' required by parameter '{parameter.name}'.",
            "CannotConvertArgument",
        )
    shown = given
    if isinstance(value, str | int | float | ScriptBlock) or given == Kind.SESSION.value:
        shown = _string(parameter, value)[:_MAX_SHOWN]
    reason = str(error) if isinstance(error, _Refused) else ""
    what = f'value "{shown}"' if reason else f'the "{shown}" value of type "{given}"'
    return ArgumentError(
        f"Cannot bind parameter '{parameter.name}'. Cannot convert {what} to type \"{wanted}\"."
        + (f' Error: "{reason}"' if reason else ""),
        "CannotConvertArgumentNoMessage",
    )


def _type_name(value: Any) -> str:
    """A value's type as .NET calls it, where it has a counterpart; else as Python does."""
    if type(value).__name__ == "PSSession":
        return Kind.SESSION.value
    names = {str: "String", bool: "Boolean", int: "Int32", float: "Double", dict: "Collections.Hashtable"}
    if isinstance(value, ScriptBlock):
        return Kind.SCRIPT_BLOCK.value
    return f"System.{names[type(value)]}" if type(value) in names else type(value).__name__


# Each raises ValueError or TypeError where the value cannot be read.


def _as_is(parameter: Parameter, value: Any) -> Any:
    if not _has_type(parameter.kind, value):
        raise TypeError
    return value


class _Refused(ValueError):
    """With the reason that PowerShell gives."""


def _string(_parameter: Parameter, value: Any) -> str:
    return value.text if isinstance(value, ScriptBlock) else str(value)


def _int(_parameter: Parameter, value: Any) -> int:
    if isinstance(value, str):
        number = read_number(value.strip() or "0")
        if number is None:
            raise _Refused(f"The input string '{value[:_MAX_SHOWN]}' was not in a correct format.")
        value = number.value
    if not isinstance(value, int | float) and not hasattr(value, "__index__"):
        raise TypeError
    # As .NET: of two that are equally near, the even one.
    whole = round(value) if isinstance(value, float) else int(value)
    if not -(2**31) <= whole < 2**31:
        raise _Refused("Value was either too large or too small for an Int32.")
    return whole


def _switch(_parameter: Parameter, value: Any) -> bool:
    if value is not None and not isinstance(value, bool | int | float):
        raise TypeError
    return bool(value)


def _guid(_parameter: Parameter, value: Any) -> uuid.UUID:
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))
    except ValueError:
        raise _Refused("Unrecognized Guid format.") from None


def _uri(_parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    uri = value if not value or urlsplit(value).scheme else f"http://{value}"
    if uri and not urlsplit(uri).netloc:
        raise _Refused("Invalid URI: The hostname could not be parsed.")
    return uri


def _choice(parameter: Parameter, value: Any) -> str:
    found = [name for name in parameter.choices if value and name.casefold().startswith(str(value).casefold())]
    exact = [name for name in found if name.casefold() == str(value).casefold()]
    if not exact and len(found) != 1:
        raise _Refused(
            f"Unable to match the identifier name {str(value)[:_MAX_SHOWN]} to a valid enumerator name. Specify one of "
            f"the following enumerator names and try again: {', '.join(parameter.choices)}"
        )
    return (exact or found)[0]


def _credential(_parameter: Parameter, value: Any) -> Any:
    # A user's name, or where the password is, or the thing itself: whoever connects asks for the rest.
    return value


def _object(_parameter: Parameter, value: Any) -> Any:
    if isinstance(value, ScriptBlock):
        raise _Refused("A script block arrives on the host as text: give the text, between quotes, or call it there.")
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
    Kind.OBJECT: _object,
}
