"""The parameters of a notebook: what its cell tagged ``parameters`` says, read without any host.

The cell has either assignments, one a line::

    # How many services to look at
    [int]$Count = 3
    $Names = 'web01', 'web02'   # where

or one ``param( ... )`` block, with types, attributes, defaults and help as in a script. Nothing else may be in it: what
is not certain to be read as PowerShell reads it is refused, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pskernel.runbook.attributes import Attributes, read_attributes
from pskernel.runbook.helptexts import HelpTexts
from pskernel.runbook.literals import LiteralError, check_name
from pskernel.runbook.scanner import NOT_CONSTANT, ParametersError, Token, constant, scan
from pskernel.runbook.tags import PARAMETERS_TAG, tags_of

__all__ = ["Parameter", "Parameters", "read_cell", "read_parameters", "tagged"]

_MAX_CHARS = 64 * 1024

_NUMBER = r"[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?(?:[kmgtp]b|[dl])?"
# What only an expression begins with; 7z and 3d-model are commands.
_EXPRESSION = re.compile(
    rf"[+-]?(?:0x[0-9a-f]+|{_NUMBER}(?:(?:[-+*/%]|\.\.){_NUMBER})*)|[-+!]|-not|-join|-split", re.IGNORECASE
)
_COMMAND = re.compile(r"[a-z][\w.\\-]*", re.IGNORECASE)
_STATEMENTS = """
begin break catch class clean configuration continue data default define do dynamicparam else elseif end enum exit
filter finally for foreach from function hidden if in inlinescript parallel param process return sequence static switch
throw trap try until using var while workflow
"""
_NAME = re.compile(r"\$\w+")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        name: without the ``$``, as it is written.
        default: the text of its value in the cell, None if it has none.
        constant: the Python value of that text, NOT_CONSTANT if only PowerShell knows it.
        attributes: its type, and what its attributes demand.
        help: what is said of it, one line or more.
    """

    name: str
    default: str | None
    constant: Any
    attributes: Attributes
    help: str

    @property
    def type(self) -> str | None:
        """The type as it is written, without brackets."""
        return self.attributes.type

    @property
    def mandatory(self) -> bool:
        """Whether it needs a value: PowerShell passes over the default of such a parameter."""
        return self.attributes.mandatory


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a notebook.

    Attributes:
        items: in their order.
        block: whether they are a ``param()`` block; otherwise they are assignments.
        index: that of the cell, from 0.
    """

    items: tuple[Parameter, ...]
    block: bool
    index: int = 0

    def find(self, name: str) -> Parameter | None:
        """The parameter of this name, or with this alias, in any case."""
        wanted = name.casefold()
        by_name = (item for item in self.items if item.name.casefold() == wanted)
        by_alias = (item for item in self.items if wanted in map(str.casefold, item.attributes.aliases))
        return next(by_name, None) or next(by_alias, None)


def tagged(notebook: Any, tag: str) -> list[int]:
    """The indices of the cells with a tag."""
    return [index for index, cell in enumerate(notebook.cells) if tag in tags_of(cell)]


def read_parameters(notebook: Any) -> Parameters | None:
    """The parameters of a notebook; None if no cell is tagged so.

    Raises:
        ParametersError: there are several such cells, or the cell cannot be read.
    """
    found = tagged(notebook, PARAMETERS_TAG)
    if not found:
        return None
    if len(found) > 1:
        numbers = ", ".join(str(index + 1) for index in found)
        raise ParametersError(
            f"The notebook has several cells tagged {PARAMETERS_TAG}: {numbers}. Leave the tag on one of them."
        )
    cell = notebook.cells[found[0]]
    if cell.cell_type != "code":
        raise ParametersError(f"Cell {found[0] + 1} is tagged {PARAMETERS_TAG}, but it is no code cell.")
    try:
        return replace(read_cell(cell.source), index=found[0])
    except ParametersError as error:
        raise ParametersError(f"The parameters in cell {found[0] + 1} of the notebook: {error}") from None


def read_cell(source: str) -> Parameters:
    """The parameters that a cell's text declares.

    Raises:
        ParametersError: it has something else too, or something that cannot be read for certain.
    """
    if len(source) > _MAX_CHARS:
        raise ParametersError(f"The cell is longer than {_MAX_CHARS >> 10} KB.")
    reader = _Reader(source)
    block = reader.block()
    items = tuple(reader.assignments() if block is None else reader.declarations(block))
    _refuse_doubles(items)
    return Parameters(items, block is not None)


def _refuse_doubles(items: tuple[Parameter, ...]) -> None:
    seen: set[str] = set()
    for item in items:
        for name in {item.name.casefold(), *map(str.casefold, item.attributes.aliases)}:
            if name in seen:
                raise ParametersError(f"The name {name} belongs to two parameters. Rename or remove one of them.")
            seen.add(name)


class _Reader:
    """Reads one cell."""

    def __init__(self, source: str) -> None:
        self._source = source
        pieces = scan(source)
        self._help = HelpTexts(source, pieces)
        self._tokens = [token for token in pieces if token.kind != "comment"]

    def _error(self, token: Token, why: str) -> ParametersError:
        return ParametersError(f"Line {token.line} of the cell cannot be read: {why}.")

    def block(self) -> Token | None:
        """The brackets of the ``param`` block, if the cell is one. Its own attributes may stand before it."""
        tokens = [token for token in self._tokens if token.kind != "newline"]
        while tokens and _in_brackets(tokens[0]):
            tokens.pop(0)
        if len(tokens) < 2 or tokens[0].text.casefold() != "param" or not tokens[1].text.startswith("("):
            return None
        if len(tokens) > 2:
            raise self._error(
                tokens[2], "beside the param block there is another statement; a cell of parameters has nothing else"
            )
        return tokens[1]

    def declarations(self, block: Token) -> Iterator[Parameter]:
        """The parameters in the brackets of ``param( )``."""
        inner = scan(self._source, block.start + 1, block.end - 1)
        self._help.add(inner)
        tokens = [token for token in inner if token.kind != "comment"]
        pieces = _split(tokens)
        if pieces == [[]]:
            return
        for piece in pieces:
            if not piece:
                raise self._error(block, "there is a comma in the param block with no parameter beside it")
            yield self._parameter(piece)

    def _parameter(self, tokens: list[Token]) -> Parameter:
        decorations = []
        while tokens and _in_brackets(tokens[0]):
            decorations.append(tokens.pop(0))
            tokens = _after_newlines(tokens)
        if not tokens:
            raise self._error(decorations[-1], "a type or attribute has no variable behind it")
        name, *rest = tokens
        rest = _after_newlines(rest)
        if rest and rest[0].text != "=":
            raise self._error(rest[0], f"after {name.text[:40]} there should be = or a comma")
        value = _after_newlines(rest[1:])
        if rest and not value:
            raise self._error(rest[0], "there is no value behind the =")
        value = self._checked_value(value)
        if value and value[0].kind == "word" and not _EXPRESSION.match(value[0].text):
            raise self._error(value[0], "a command as a default stands in parentheses in a param block")
        return self._made(decorations, name, value, [*decorations, name, *rest, *value][-1])

    def assignments(self) -> Iterator[Parameter]:
        """The parameters of a cell of assignments."""
        tokens = self._tokens
        while tokens := _from(tokens, lambda token: token.kind != "newline" and token.text != ";"):
            decorations = []
            while tokens and _in_brackets(tokens[0]):
                decorations.append(tokens[0])
                tokens = tokens[1:]
            first = (decorations or tokens)[0]
            if len(tokens) < 2 or tokens[0].kind != "variable" or tokens[1].text != "=":
                raise self._error(
                    first,
                    "a cell of parameters has nothing but assignments, $Name = value or [type]$Name = value, each on a "
                    "line, or one param( ) block",
                )
            name, equals = tokens[0], tokens[1]
            tokens = _after_newlines(tokens[2:])
            length = self._length(tokens)
            if not length:
                raise self._error(equals, "there is no value behind the =")
            value, tokens = self._checked_value(tokens[:length]), tokens[length:]
            made = self._made(decorations, name, value, value[-1])
            # An assignment has its value, whatever stands before it.
            yield replace(made, attributes=replace(made.attributes, mandatory=False))

    def _length(self, tokens: list[Token]) -> int:
        """How many of the tokens are the value: up to a line break that does not continue it."""
        for number, (token, goes_on) in enumerate(zip(tokens, _continued(tokens), strict=True)):
            if token.text == ";" or (token.kind == "newline" and not goes_on):
                return number
        return len(tokens)

    def _checked_value(self, tokens: list[Token]) -> list[Token]:
        """The value without line breaks at its end, if it is one whose extent is certain."""
        while tokens and tokens[-1].kind == "newline":
            tokens = tokens[:-1]
        if not tokens:
            return tokens
        first = tokens[0]
        is_expression = first.kind != "word" or _EXPRESSION.fullmatch(first.text) is not None
        if not is_expression and not (
            _COMMAND.fullmatch(first.text) and first.text.casefold() not in _STATEMENTS.split()
        ):
            raise self._error(first, f"what begins with {first.text[:40]} is no plain value; put it in $( )")
        for token, goes_on in zip(tokens, _continued(tokens), strict=True):
            if token.kind == "symbol" and token.text not in {",", "|"}:
                raise self._error(token, f"{token.text} is no part of a plain value; put it in parentheses")
            if token.kind == "word" and "`" in token.text:
                raise self._error(token, "a backtick in a word is not read; use a string in quotes")
            if token.kind == "newline" and not goes_on:
                raise self._error(token, "the value goes on in the next line; put it in parentheses")
        if (tokens[-1].kind == "symbol") or (is_expression and _dangles(tokens[-1])):
            raise self._error(tokens[-1], f"the value ends with {tokens[-1].text}; put it in parentheses")
        return tokens

    def _made(self, decorations: list[Token], variable: Token, value: list[Token], last: Token) -> Parameter:
        if not _NAME.fullmatch(variable.text):
            raise self._error(variable, f"{variable.text[:40]} is not a plain variable like $Name")
        name = variable.text[1:]
        try:
            check_name(name)
        except LiteralError as error:
            raise ParametersError(f"Line {variable.line} of the cell: {error}") from None
        attributes = read_attributes(self._source, decorations)
        said = self._help.of(name, (decorations or [variable])[0], last) or attributes.help_message
        text = self._source[value[0].start : value[-1].end] if value else None
        known = constant(value[0]) if len(value) == 1 else NOT_CONSTANT
        return Parameter(name, text, known, attributes, said)


def _in_brackets(token: Token) -> bool:
    return token.kind == "group" and token.text.startswith("[")


def _split(tokens: list[Token]) -> list[list[Token]]:
    """The tokens between commas, without line breaks around them."""
    pieces: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ",":
            pieces.append([])
        elif token.kind != "newline" or pieces[-1]:
            pieces[-1].append(token)
    for piece in pieces:
        while piece and piece[-1].kind == "newline":
            piece.pop()
    return pieces


def _after_newlines(tokens: list[Token]) -> list[Token]:
    return _from(tokens, lambda token: token.kind != "newline")


def _from(tokens: list[Token], wanted: Callable[[Token], bool]) -> list[Token]:
    return next((tokens[number:] for number, token in enumerate(tokens) if wanted(token)), [])


def _continued(tokens: list[Token]) -> Iterator[bool]:
    """For each token: whether the value goes on behind a line break in its place."""
    # In a command, a comma or plus at the end of a line is nothing of the kind.
    expression = bool(tokens) and (tokens[0].kind != "word" or _EXPRESSION.fullmatch(tokens[0].text) is not None)
    last = ""
    for token in tokens:
        yield last == "|" or (last in {",", "+"} and expression)
        if token.kind != "newline":
            last = token.text
            expression = expression and last != "|"


def _dangles(token: Token) -> bool:
    """Whether what stands at the end of an expression may be an operator that wants something behind it."""
    return token.kind == "word" and re.search(r"(?:^-[a-z]+|[-+*/%.:?!])$", token.text, re.IGNORECASE) is not None
