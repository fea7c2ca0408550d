"""What stands in brackets before a parameter: its type, and attributes as far as they are known without PowerShell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pskernel.runbook.scanner import NOT_CONSTANT, ParametersError, Token, constant, scan

__all__ = ["Attributes", "read_attributes"]

_ATTRIBUTE = re.compile(r"\[\s*([\w.]+?)(?:Attribute)?\s*\(", re.IGNORECASE)
_TYPE = re.compile(r"[\w.+\[\],\s]+")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is demanded of a parameter's value.

    Attributes:
        type: as it is written, without the brackets; None if there is none.
        mandatory: whether PowerShell would ask for it. Not if that depends on the parameter set.
        allowed: the values of ValidateSet, or None.
        match_case: whether their case counts.
        lowest, highest: of ValidateRange, or None.
        not_empty: whether null, empty texts and empty lists are refused.
        aliases: other names.
        help_message: that of ``[Parameter()]``.
        others: the names of the attributes that only PowerShell can check.
    """

    type: str | None = None
    mandatory: bool = False
    allowed: tuple[str, ...] | None = None
    match_case: bool = False
    lowest: Any = None
    highest: Any = None
    not_empty: bool = False
    aliases: tuple[str, ...] = ()
    help_message: str = ""
    others: tuple[str, ...] = ()


def read_attributes(source: str, brackets: list[Token]) -> Attributes:
    """Read the groups ``[ ]`` before a variable.

    Raises:
        ParametersError: there are two types, or whether the parameter is mandatory cannot be told.
    """
    found: dict[str, Any] = {}
    others: list[str] = []
    for bracket in brackets:
        match = _ATTRIBUTE.match(bracket.text)
        if match is None:
            _add_type(found, bracket)
            continue
        name = match[1].rpartition(".")[2]
        opening = bracket.start + match.end() - 1
        group = scan(source, opening, bracket.end - 1)[0]
        positional, named = _arguments(source, group)
        read = _READERS.get(name.casefold())
        values = None if read is None else read(positional, named, bracket)
        if values is None:
            others.append(name)
        else:
            found.update(values)
    return Attributes(**found, others=tuple(others))


def _add_type(found: dict[str, Any], bracket: Token) -> None:
    text = "".join(bracket.text[1:-1].split())
    if not _TYPE.fullmatch(text):
        raise ParametersError(f"Line {bracket.line} of the cell cannot be read: {bracket.text[:40]} is no plain type.")
    if "type" in found:
        raise ParametersError(
            f"Line {bracket.line} of the cell cannot be read: there are two types. Leave one of them."
        )
    found["type"] = text


def _arguments(source: str, group: Token) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of an attribute: by position, and by name. What is no constant is NOT_CONSTANT."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    piece: list[Token] = []
    tokens = [t for t in scan(source, group.start + 1, group.end - 1) if t.kind not in {"comment", "newline"}]
    for token in [*tokens, Token("symbol", ",", group.end, group.line)]:
        if token.text != ",":
            piece.append(token)
            continue
        if len(piece) > 1 and piece[1].text == "=":
            named[piece[0].text.casefold()] = constant(piece[2]) if len(piece) == 3 else NOT_CONSTANT
        elif len(piece) == 1 and piece[0].kind == "word" and re.fullmatch(r"[a-z]\w*", piece[0].text, re.IGNORECASE):
            named[piece[0].text.casefold()] = True
        elif piece:
            positional.append(constant(piece[0]) if len(piece) == 1 else NOT_CONSTANT)
        piece = []
    return positional, named


def _parameter(_: list[Any], named: dict[str, Any], bracket: Token) -> dict[str, Any] | None:
    mandatory = named.get("mandatory", False)
    if not isinstance(mandatory, bool):
        raise ParametersError(f"Line {bracket.line} of the cell cannot be read: Mandatory must be $true or $false.")
    said = named.get("helpmessage")
    found: dict[str, Any] = {"help_message": said} if isinstance(said, str) else {}
    # With parameter sets, PowerShell decides when it knows which one it is.
    if mandatory and "parametersetname" not in named:
        found["mandatory"] = True
    return found


def _set(positional: list[Any], named: dict[str, Any], _: Token) -> dict[str, Any] | None:
    if not positional or not all(isinstance(value, str | int | float | Decimal) for value in positional):
        return None
    return {"allowed": tuple(map(str, positional)), "match_case": named.get("ignorecase") is False}


def _range(positional: list[Any], _named: dict[str, Any], _: Token) -> dict[str, Any] | None:
    numbers = [value for value in positional if isinstance(value, int | float | Decimal) and value is not True]
    return {"lowest": numbers[0], "highest": numbers[1]} if len(positional) == len(numbers) == 2 else None


def _aliases(positional: list[Any], _named: dict[str, Any], bracket: Token) -> dict[str, Any] | None:
    if not all(isinstance(value, str) for value in positional):
        raise ParametersError(f"Line {bracket.line} of the cell cannot be read: an alias must be a plain string.")
    return {"aliases": tuple(positional)}


_READERS = {
    "parameter": _parameter,
    "validateset": _set,
    "validaterange": _range,
    "validatenotnullorempty": lambda *_: {"not_empty": True},
    "alias": _aliases,
    # These say what is allowed beyond the usual, or where values may come from.
    "allownull": lambda *_: {},
    "allowemptystring": lambda *_: {},
    "allowemptycollection": lambda *_: {},
    "supportswildcards": lambda *_: {},
    "argumentcompleter": lambda *_: {},
}
