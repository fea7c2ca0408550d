"""Values for parameters: found by name, and refused before anything is connected if they cannot be right."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pskernel.runbook.kinds import is_secret, kind_of
from pskernel.runbook.literals import LiteralError, literal
from pskernel.runbook.parameters import Parameter, Parameters
from pskernel.runbook.scanner import ParametersError

__all__ = ["bind"]


def bind(parameters: Parameters, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the parameters' own names, in the parameters' order, each of the kind that its type takes.

    Names are found in any case, and by alias. Checked are the simple types, ValidateSet, ValidateRange and
    ValidateNotNullOrEmpty; everything else is checked by PowerShell.

    Raises:
        ParametersError: there is no such parameter, one is given twice, a mandatory one is missing, or a value cannot
            be right.
        LiteralError: a value cannot be written in PowerShell.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        parameter = parameters.find(name)
        if parameter is None:
            raise ParametersError(_unknown(parameters, name))
        if parameter.name in found:
            raise ParametersError(f"The parameter {parameter.name} is given twice, once as {name}. Give it once.")
        found[parameter.name] = _checked(parameter, value)
    # PowerShell asks for secrets itself, when the cell runs.
    missing = [p.name for p in parameters.items if p.mandatory and p.name not in found and not is_secret(p)]
    if missing:
        one = len(missing) == 1
        raise ParametersError(
            f"The parameter{'' if one else 's'} {', '.join(missing)} need{'s' if one else ''} a value: give "
            f"-p {missing[0]}=VALUE, or a YAML file with -y."
        )
    return {item.name: found[item.name] for item in parameters.items if item.name in found}


def _unknown(parameters: Parameters, name: str) -> str:
    names = {item.name.casefold(): item.name for item in parameters.items}
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    hint = f" Did you mean {names[near[0]]}?" if near else ""
    have = f" There are {', '.join(names.values())}." if names else " It has none."
    return f"The notebook has no parameter {name[:60]!r}.{hint}{have}"


def _checked(parameter: Parameter, value: Any) -> Any:
    if is_secret(parameter):
        raise ParametersError(
            f"The parameter {parameter.name} is a secret, which no notebook ever holds. Leave it out; if it is "
            "mandatory, PowerShell asks for it when the cell runs, and a file given with --answers says where the "
            "secret is: see docs/runbooks.md."
        )
    kind = kind_of(parameter)
    try:
        fitting = kind.fits(value)
    except (ValueError, ArithmeticError):
        hint = " In YAML, text that looks like something else stands in quotes." if kind.says == "text" else ""
        raise _wrong(parameter, value, f"the type [{parameter.type}] takes {kind.says}.{hint}") from None
    elements = fitting if kind.many and isinstance(fitting, list) else [fitting]
    for element in elements:
        _check_element(parameter, element)
    if parameter.attributes.not_empty and fitting in (None, "", [], (), {}):
        raise _wrong(parameter, value, "it may not be empty.")
    try:
        literal(fitting)
    except LiteralError as error:
        raise LiteralError(f"The parameter {parameter.name} cannot be given. {error}") from None
    return fitting


def _check_element(parameter: Parameter, value: Any) -> None:
    rules = parameter.attributes
    if rules.allowed is not None and isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        text = str(value)
        same = text in rules.allowed or (
            not rules.match_case and text.casefold() in {allowed.casefold() for allowed in rules.allowed}
        )
        if not same:
            raise _wrong(parameter, value, f"allowed are {', '.join(rules.allowed)}.")
    if rules.lowest is None or isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return
    if not rules.lowest <= value <= rules.highest:
        raise _wrong(parameter, value, f"it must be from {rules.lowest} to {rules.highest}.")


def _wrong(parameter: Parameter, value: Any, why: str) -> ParametersError:
    try:
        # Not repr: a few lines of YAML can be a value that takes a year to write out.
        shown = reprlib.repr(value)
    except ValueError:
        shown = "an integer of thousands of digits"
    return ParametersError(f"The parameter {parameter.name} cannot be {shown}: {why}")
