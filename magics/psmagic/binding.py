"""Arguments to parameters: which set is meant, and with what values; or the error that PowerShell gives.

PowerShell binds names first, then positions; what is left of the sets must be one, or hold the default one. Nothing is
asked for: where its console would prompt for a mandatory parameter, this says which one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psmagic.arguments import Argument, ArgumentError, ScriptBlock
from psmagic.conversion import convert, is_of_kind
from psmagic.parameters import COMMON, Command, Kind, Parameter

__all__ = ["Bound", "bind"]


@dataclass(frozen=True, slots=True)
class Bound:
    """The set, and the values of its parameters that were given, by name."""

    set_name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a parameter, or ``default``."""
        return self.values.get(name, default)


def bind(command: Command, arguments: Sequence[Argument]) -> Bound:
    """Bind arguments to a command's parameters.

    Raises:
        ArgumentError: as PowerShell would refuse them, with its message and id.
    """
    values: dict[str, Any] = {}
    positional: list[Any] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.name:
            positional.append(argument.value)
            continue
        parameter = _named(command, argument.name)
        if parameter.name in values:
            raise ArgumentError(
                f"Cannot bind parameter because parameter '{parameter.name}' is specified more than once. To provide "
                "multiple values to parameters that can accept multiple values, use the array syntax. For example, "
                '"-parameter value1,value2,value3".',
                "ParameterAlreadyBound",
            )
        values[parameter.name] = _given(parameter, argument, rest)
    by_name = {parameter.name: parameter for parameter in command.parameters}
    sets = [name for name in command.sets if all(name in by_name[given].sets for given in values)]
    if not sets:
        raise _ambiguous()
    sets = _bind_positions(command, positional, values, sets)
    return Bound(_one_set(command, sets, values), values)


def _named(command: Command, name: str) -> Parameter:
    """A parameter by its name, an alias, or the beginning of either that only one has."""
    wanted = name.casefold()
    for parameter in command.parameters:
        if wanted in {text.casefold() for text in (parameter.name, *parameter.aliases)}:
            return parameter
    found = [
        parameter
        for parameter in command.parameters
        if any(text.casefold().startswith(wanted) for text in (parameter.name, *parameter.aliases))
    ]
    common = [] if found else [text for text in COMMON if text.casefold().startswith(wanted)]
    if len(found) + len(common) > 1:
        matches = " ".join(f"-{text}" for text in [*(p.name for p in found), *common])
        raise ArgumentError(
            f"Parameter cannot be processed because the parameter name '{name}' is ambiguous. Possible matches "
            f"include: {matches}.",
            "AmbiguousParameter",
        )
    if common:
        raise ArgumentError(f"The common parameter -{common[0]} has no meaning here.", "CommonParameterNotSupported")
    if not found:
        raise ArgumentError(
            f"A parameter cannot be found that matches parameter name '{name}'.", "NamedParameterNotFound"
        )
    return found[0]


def _given(parameter: Parameter, argument: Argument, rest: list[Argument]) -> Any:
    if argument.has_value:
        return convert(parameter, argument.value)
    if parameter.kind is Kind.SWITCH:
        return True
    if not rest or rest[0].name:
        raise ArgumentError(
            f"Missing an argument for parameter '{parameter.name}'. Specify a parameter of type "
            f"'{parameter.type_name}' and try again.",
            "MissingArgument",
        )
    return convert(parameter, rest.pop(0).value)


def _bind_positions(command: Command, positional: list[Any], values: dict[str, Any], sets: list[str]) -> list[str]:
    """Give values to positions, each to the first set that takes it as it is; PowerShell converts only if none does."""
    takes_script = any(parameter.kind is Kind.SCRIPT_BLOCK for parameter in command.parameters)
    for value in positional:
        # A block is the script, wherever the hosts stand: PowerShell has a set for each kind of them.
        is_script = takes_script and isinstance(value, ScriptBlock)
        candidates = [
            (name, parameter)
            for name in sets
            for parameter in command.parameters
            if name in parameter.sets and parameter.sets[name].position is not None and parameter.name not in values
            if not is_script or parameter.kind is Kind.SCRIPT_BLOCK
        ]
        lowest = {name: min(p.sets[name].position or 0 for n, p in candidates if n == name) for name, _ in candidates}
        # A set that has nothing at the first position has lost it to the others.
        first = min(lowest.values(), default=0)
        open_now = [(n, p) for n, p in candidates if p.sets[n].position == first]
        chosen = _taker(open_now, value, command.default_set)
        if chosen is None:
            raise ArgumentError(
                f"A positional parameter cannot be found that accepts argument '{getattr(value, 'text', value)}'.",
                "PositionalParameterNotFound",
            )
        values[chosen.name] = convert(chosen, value)
        sets = [name for name in sets if name in chosen.sets and chosen.sets[name].position == first]
    return sets


def _taker(candidates: list[tuple[str, Parameter]], value: Any, default_set: str) -> Parameter | None:
    of_its_type = [(n, p) for n, p in candidates if is_of_kind(p, value)]
    for group in (of_its_type, candidates):
        of_default = [p for name, p in group if name == default_set]
        if group:
            return (of_default or [group[0][1]])[0]
    return None


def _one_set(command: Command, sets: list[str], values: Mapping[str, Any]) -> str:
    # PowerShell takes the default set wherever it is possible, complete or not.
    complete = [name for name in sets if not _missing(command, name, values)]
    only = sets if len(sets) == 1 else complete
    chosen = command.default_set if command.default_set in sets else only[0] if len(only) == 1 else None
    if chosen is None:
        raise _ambiguous()
    missing = _missing(command, chosen, values)
    if missing:
        raise ArgumentError(
            f"Cannot process command because of one or more missing mandatory parameters: {' '.join(missing)}.",
            "MissingMandatoryParameter",
        )
    return chosen


def _missing(command: Command, set_name: str, values: Mapping[str, Any]) -> list[str]:
    """The parameters that a set cannot do without, and that are not given."""
    return [
        parameter.name
        for parameter in command.parameters
        if set_name in parameter.sets and parameter.sets[set_name].mandatory and parameter.name not in values
    ]


def _ambiguous() -> ArgumentError:
    return ArgumentError(
        "Parameter set cannot be resolved using the specified named parameters. One or more parameters issued cannot "
        "be used together or an insufficient number of parameters were provided.",
        "AmbiguousParameterSet",
    )
