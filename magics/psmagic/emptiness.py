"""What PowerShell says of values that are null, empty, or not allowed."""

from __future__ import annotations

from psmagic.arguments import ArgumentError
from psmagic.parameters import Kind, Parameter

__all__ = ["NULL_OR_EMPTY", "empty_error", "invalid", "null_error"]

NULL_OR_EMPTY = (
    "The argument is null or empty. Provide an argument that is not null or empty, and then try the command again."
)
_NULL = "The argument is null. Provide a valid value for the argument, and then try running the command again."
_ELEMENT = (
    "The argument is null, empty, or an element of the argument collection contains a null value. Supply a collection "
    "that does not contain any null values and then try the command again."
)
_NOT_ALLOWED = {
    "null": "ParameterArgumentValidationErrorNullNotAllowed",
    "an empty string": "ParameterArgumentValidationErrorEmptyStringNotAllowed",
    "an empty array": "ParameterArgumentValidationErrorEmptyArrayNotAllowed",
}


def null_error(parameter: Parameter) -> ArgumentError:
    """The error for ``$null`` where a value must be."""
    if parameter.not_empty:
        return invalid(parameter, NULL_OR_EMPTY)
    if parameter.lowest is not None:
        return invalid(parameter, _ELEMENT)
    if parameter.name in parameter.sets:
        # What chooses an object has a set of its own.
        return invalid(parameter, _NULL) if parameter.kind.is_value else empty_error(parameter, "null", in_list=True)
    if parameter.is_mandatory:
        return empty_error(parameter, "null", in_list=False)
    return ArgumentError(
        f'Cannot bind parameter \'{parameter.name}\' to the target. Exception setting "{parameter.name}": "Cannot '
        f'convert null to type "{parameter.kind.value}"."',
        "ParameterBindingFailed",
    )


def empty_error(parameter: Parameter, what: str, *, in_list: bool) -> ArgumentError:
    """The error for a value that is ``what``: null, an empty string or an empty array, alone or in a list."""
    if parameter.not_empty:
        # Of a process, only null is looked for.
        why = _NULL if parameter.kind in {Kind.PROCESS, Kind.HOST_PROCESS} else NULL_OR_EMPTY
        return invalid(parameter, _ELEMENT if in_list else why)
    return ArgumentError(
        f"Cannot bind argument to parameter '{parameter.name}' because it is {what}.", _NOT_ALLOWED[what]
    )


def invalid(parameter: Parameter, why: str) -> ArgumentError:
    """The error for a value that an attribute of the parameter refuses."""
    return ArgumentError(
        f"Cannot validate argument on parameter '{parameter.name}'. {why}", "ParameterArgumentValidationError"
    )
