"""The text behind a magic's name, read as PowerShell reads arguments: names, values, quotes, Python variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pskernel.remoting.members import INDEX, MEMBER, follow, steps

__all__ = ["Argument", "ArgumentError", "Number", "ScriptBlock", "read_arguments", "read_number"]

_SINGLE = "'\u2018\u2019\u201a\u201b"
_DASH = "-\u2013\u2014\u2015"
_DOUBLE = '"\u201c\u201d\u201e'
_QUOTED = (
    rf"[{_SINGLE}](?:[^{_SINGLE}]|[{_SINGLE}]{{2}})*[{_SINGLE}]"
    rf"|[{_DOUBLE}](?:[^{_DOUBLE}`]|`.|[{_DOUBLE}]{{2}})*[{_DOUBLE}]"
)
_STEPS = re.sub("[?]P<[a-z]+>", "?:", rf"{MEMBER}|{INDEX}")
_TOKEN = re.compile(
    rf"""(?P<space>\s+|(?<!\S)\#[^\n]*)
    |[{_SINGLE}](?P<single>(?:[^{_SINGLE}]|[{_SINGLE}]{{2}})*)[{_SINGLE}]
    |[{_DOUBLE}](?P<double>(?:[^{_DOUBLE}`]|`.|[{_DOUBLE}]{{2}})*)[{_DOUBLE}]
    |@\{{(?P<table>[^{{}}]*)\}}
    |(?P<comma>,\s*)
    |(?P<list>@?\((?:[^(){{}}{_SINGLE}{_DOUBLE}]|{_QUOTED})*\))
    |\$(?P<variable>[A-Za-z_][A-Za-z0-9_]*(?:{_STEPS})*)
    |(?P<name>[{_DASH}][A-Za-z_?][A-Za-z0-9_]*)(?P<colon>:?)
    |(?P<word>[^\s{_SINGLE}{_DOUBLE}$@(){{}};|&<>,`#\u2013\u2014\u2015][^\s{_SINGLE}{_DOUBLE}(){{}};|&<>,`]*)""",
    re.VERBOSE | re.DOTALL,
)
_PAIR = re.compile(
    r"\s*(?:'([^']*)'|\"([^\"`$]*)\"|([A-Za-z0-9_-]+))\s*=\s*(?:'([^']*)'|\"([^\"`$]*)\"|([^\s;]+))\s*(?:;|\Z)"
)
# What decides where a script block ends.
_IN_BLOCK = re.compile(
    rf"{_QUOTED}"
    r"|<#.*?#>|(?<![^\s;{}()|])#[^\n]*|`.|[{}]"
    rf"|(?P<open>[{_SINGLE}{_DOUBLE}])",
    re.DOTALL,
)
_IN_PARENTHESES = (
    "In parentheses there may be values with commas between them, or one $name. No command is run there, and nothing "
    "is calculated: give the value a name in Python first."
)
_CONSTANTS = {"true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"}
# PowerShell's numbers: about_Numeric_Literals, without the suffixes of types.
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:0x(?P<hex>[0-9a-f]{1,16})|(?P<whole>[0-9]{1,28})|(?P<real>(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=e))"
    r"(?:e[+-]?[0-9]{1,3})?))(?P<unit>kb|mb|gb|tb|pb)?\Z",
    re.IGNORECASE,
)
_UNITS = {"kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


class ArgumentError(Exception):
    """The line cannot be read, or does not fit the parameters.

    Attributes:
        error_id: PowerShell's id for it, without the name of the command.
    """

    def __init__(self, message: str, error_id: str) -> None:
        super().__init__(message)
        self.error_id = error_id


@dataclass(frozen=True, slots=True)
class Number:
    """A bare word that is a number to whoever wants one, and its text to whoever wants a text."""

    text: str
    value: int | float


@dataclass(frozen=True, slots=True)
class ScriptBlock:
    """The text between braces, which nobody but the remote reads."""

    text: str


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter's name, a value, or both where a colon joins them. ``has_value`` tells a value that is None.

    Values with commas between them are one value: their list.
    """

    name: str = ""
    value: Any = None
    has_value: bool = False


class _Joined(list[Any]):
    """Values with commas between them."""


def read_arguments(line: str, variables: Mapping[str, Any]) -> list[Argument]:
    """Read a line.

    Args:
        line: what stands behind the magic's name.
        variables: the namespace that ``$name`` is looked up in, as an object, never as text.

    Raises:
        ArgumentError: it is no list of names and values, or a variable does not exist.
    """
    found: list[Argument] = []
    waiting, joins = "", False
    for kind, text in _tokens(line):
        if kind == "comma":
            if joins or not found or not found[-1].has_value:
                raise ArgumentError("Missing argument in parameter list.", "MissingArgument")
            joins = True
        elif kind == "name":
            if waiting or joins:
                raise _missing(waiting or found[-1].name)
            if text.endswith(":"):
                waiting = text[1:-1]
            else:
                found.append(Argument(name=text[1:]))
        elif joins:
            found[-1] = _extended(found[-1], _value(kind, text, variables))
            joins = False
        else:
            found.append(Argument(waiting, _value(kind, text, variables), has_value=True))
            waiting = ""
    if waiting or joins:
        raise _missing(waiting or found[-1].name)
    return found


def _extended(argument: Argument, value: Any) -> Argument:
    # A list of Python's in front of a comma is one value of several.
    before = argument.value if isinstance(argument.value, _Joined) else _Joined([argument.value])
    return Argument(argument.name, _Joined([*before, value]), has_value=True)


def _tokens(line: str) -> Iterator[tuple[str, str]]:
    at, glued = 0, False
    while at < len(line):
        if line[at] == "{" and not glued:
            end = _end_of_block(line, at)
            yield "block", line[at + 1 : end - 1]
            at, glued = end, True
            continue
        match = _TOKEN.match(line, at)
        if match is None or (glued and match.lastgroup not in {"space", "comma"}):
            raise _unreadable(line, line[at:])
        at = match.end()
        if match["name"] is not None:
            glued = not match["colon"]
            yield "name", match["name"] + match["colon"]
            continue
        glued = match.lastgroup not in {"space", "comma"}
        if match.lastgroup != "space":
            yield str(match.lastgroup), match[str(match.lastgroup)]


def _end_of_block(line: str, start: int) -> int:
    """The position behind the brace that closes the one at ``start``; braces in strings and comments do not count."""
    depth = 0
    for match in _IN_BLOCK.finditer(line, start):
        if match["open"]:
            raise ArgumentError("The string is missing its terminator.", "TerminatorExpectedAtEndOfString")
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    raise ArgumentError("Missing closing '}' in statement block or type definition.", "MissingEndCurlyBrace")


def _unreadable(line: str, rest: str) -> ArgumentError:
    if rest.startswith(("(", "@(", "$(")):
        called = re.search(r"\$[\w.]+\Z", line[: len(line) - len(rest)])
        why = f"Nothing is called here: {called[0]} is read, and no more." if called else _IN_PARENTHESES
        return ArgumentError(why, "ParserError")
    if rest[0] in f"{_SINGLE}{_DOUBLE}" and rest[0] not in rest[1:]:
        return ArgumentError(f"The string is missing the terminator: {rest[0]}.", "TerminatorExpectedAtEndOfString")
    if rest.startswith("["):
        return ArgumentError("An index is a number, or a text in quotes: $name[0], $name['key'].", "ParserError")
    return ArgumentError(
        f"The argument at column {len(line) - len(rest) + 1} cannot be read: {rest[:20]!r}. Put text with special "
        "characters between single quotes.",
        "ParserError",
    )


def _value(kind: str, text: str, variables: Mapping[str, Any]) -> Any:
    match kind:
        case "single":
            return re.sub(rf"([{_SINGLE}])[{_SINGLE}]", r"\1", text)
        case "double":
            return _expand(text, variables)
        case "table":
            return _table(text)
        case "block":
            return ScriptBlock(text)
        case "variable" | "list":
            return (_followed if kind == "variable" else _listed)(text, variables)
        case _:
            return read_number(text) or text


def read_number(text: str) -> Number | None:
    """A text as the number that PowerShell takes it for; None for what is none."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    value: int | float
    if match["hex"] is not None:
        value = int(match["hex"], 16)
    else:
        value = int(match["whole"]) if match["whole"] is not None else float(match["real"])
    value *= _UNITS.get((match["unit"] or "").lower(), 1)
    return Number(text, -value if match["sign"] == "-" else value)


def _expand(text: str, variables: Mapping[str, Any]) -> str:
    def one(match: re.Match[str]) -> str:
        if match["escape"] is not None:
            return _ESCAPES.get(match["escape"], match["escape"])
        if match["quote"] is not None:
            return match["quote"][0]
        return str(_variable(match["variable"], variables))

    pattern = rf"`(?P<escape>.)|(?P<quote>[{_DOUBLE}]{{2}})|\$(?P<variable>[A-Za-z_][A-Za-z0-9_]*)"
    return re.sub(pattern, one, text, flags=re.DOTALL)


def _variable(name: str, variables: Mapping[str, Any]) -> Any:
    if name.casefold() in _CONSTANTS:
        return _CONSTANTS[name.casefold()]
    try:
        return variables[name]
    except KeyError:
        raise ArgumentError(
            f"There is no Python variable {name}. A literal dollar sign goes between single quotes.",
            "VariableIsUndefined",
        ) from None


def _followed(text: str, variables: Mapping[str, Any]) -> Any:
    """A variable, or what is behind it: PowerShell's words and ids are those of its strict mode."""
    name = re.split(r"[.\[]", text, maxsplit=1)[0]
    value = _variable(name, variables)
    for step in steps(text[len(name) :]):
        try:
            value = follow(value, step)
        except Exception:  # noqa: BLE001 - the user's own objects may raise what they like
            if step.is_index:
                raise ArgumentError(
                    f"Index was outside the bounds of the array: ${text} has no {step.key!r}.",
                    "System.IndexOutOfRangeException",
                ) from None
            raise ArgumentError(
                f"The property '{step.key}' cannot be found on this object, ${text}. Verify that the property exists.",
                "PropertyNotFoundStrict",
            ) from None
    return value


def _listed(text: str, variables: Mapping[str, Any]) -> Any:
    """Values between parentheses: of several their list, of one it itself; with ``@`` in front always a list."""
    always = text.startswith("@")
    inner = text[2 if always else 1 : -1].strip()
    if not inner and always:
        return _Joined()
    found = read_arguments(inner, variables)
    is_one = len(found) == 1 and found[0].has_value and not found[0].name
    if not is_one or (isinstance(found[0].value, str) and inner[0] not in f"{_SINGLE}{_DOUBLE}$"):
        raise ArgumentError(_IN_PARENTHESES, "ParserError")
    value = found[0].value
    # A list of Python's is as many values as it has; in a list it would be one of them.
    return _Joined([value]) if always and not isinstance(value, list | tuple) else value


def _table(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        match = _PAIR.match(text, at)
        if match is None:
            raise ArgumentError("A table is written @{ Name = 'value'; Name2 = 'value2' }.", "ParserError")
        key, value = (
            next(group for group in groups if group is not None) for groups in (match.groups()[:3], match.groups()[3:])
        )
        found[key] = value
        at = match.end()
    return found


def _missing(name: str) -> ArgumentError:
    return ArgumentError(
        f"Missing an argument for parameter '{name}'. Specify a parameter and try again.", "MissingArgument"
    )
