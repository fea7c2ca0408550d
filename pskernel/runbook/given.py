"""Values for parameters as a command line has them: ``-p Name=value``, and YAML files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pskernel.runbook.kinds import is_secret, kind_of, kind_of_default
from pskernel.runbook.parameters import Parameter, Parameters
from pskernel.runbook.scanner import ParametersError
from pskernel.userfiles import read_user_file

__all__ = ["read_values"]

_MAX_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML's own kinds of values, and nothing said twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key is there twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_values(pairs: Iterable[str], files: Iterable[Path], parameters: Parameters) -> dict[str, Any]:
    """The values, by the parameters' names. Later files count more than earlier ones, and pairs more than files.

    The text of a pair becomes what the parameter's type says, or the kind of its default if it has no type. Commas
    separate the elements of a list. In files, values are what YAML takes them for.

    Raises:
        ParametersError: a pair has no ``=``, a file cannot be read, a name is given twice in one file or in the pairs,
            or a text does not mean anything for the parameter's type.
    """
    values: dict[str, Any] = {}
    for file in files:
        values |= _one_level(parameters, _load(file), f"in {file}")
    given: list[tuple[str, Any]] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            # Not repeated: it may be a secret.
            raise ParametersError("A parameter is given as -p Name=value. One has no name, or no =.")
        given.append((name.strip(), text))
    for name, text in _one_level(parameters, given, "on the command line").items():
        parameter = parameters.find(name)
        values[name] = text if parameter is None else _meant(parameter, text)
    return values


def _one_level(parameters: Parameters, entries: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """The entries by the parameters' own names; what is unknown keeps its own, for whoever binds it to refuse."""
    level: dict[str, Any] = {}
    for name, value in entries:
        parameter = parameters.find(name)
        own = name if parameter is None else parameter.name
        if own in level:
            raise ParametersError(f"The parameter {own[:60]} is given twice {where}. Give it once.")
        level[own] = value
    return level


def _meant(parameter: Parameter, text: str) -> Any:
    if is_secret(parameter):
        # Refused where it is bound, without being read.
        return text
    kind = kind_of(parameter) if parameter.type else kind_of_default(parameter)
    try:
        return kind.read(text)
    except (ValueError, ArithmeticError):
        of = f"the type [{parameter.type}]" if parameter.type else f"its default, {(parameter.default or '')[:40]},"
        shown = repr(text if len(text) <= 60 else f"{text[:60]}…")
        raise ParametersError(f"The parameter {parameter.name} cannot be {shown}: {of} takes {kind.says}.") from None


def _load(path: Path) -> list[tuple[str, Any]]:
    data = read_user_file(path, "The parameters file", at_most=_MAX_BYTES, error=ParametersError)
    try:
        content = yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None)
        # What PyYAML says of a problem quotes at most a character.
        why = f": {problem}" if isinstance(problem, str) and problem.isprintable() else ""
        raise ParametersError(f"The parameters file {path} is not valid YAML{where}{why}.") from None
    if content is None:
        return []
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ParametersError(f"The parameters file {path} is not a YAML mapping of names to values, Name: value.")
    return list(content.items())
