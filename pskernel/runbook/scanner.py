"""The pieces of PowerShell text, as far as they are the same wherever they stand.

Not a parser: it tells strings, comments, variables and brackets apart, so that it is known where a value ends.
PowerShell reads some characters differently in a command than in an expression; where that would matter, the text is
refused with the line and the reason. What is read is read as PowerShell does.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pskernel.errors import PSKernelError

__all__ = ["NOT_CONSTANT", "ParametersError", "Token", "constant", "scan"]

_SINGLE, _DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'
_CLOSERS = {"(": ")", "{": "}", "[": "]"}
_NEWLINE = re.compile(r"\r\n|\r|\n")
_BLANK = re.compile(r"(?:[^\S\r\n]|`(?:\r\n|\r|\n))+")
_PIECES = (
    ("newline", _NEWLINE),
    ("blank", _BLANK),
    ("open", re.compile(r"[@$]?\(|@?\{|\[")),
    ("close", re.compile(r"[)}\]]")),
)
_SINGLE_QUOTED = re.compile(f"[{_SINGLE}](?:[^{_SINGLE}]|[{_SINGLE}]{{2}})*+[{_SINGLE}]")
_DOUBLE_QUOTED = re.compile(f"[{_DOUBLE}](?:[^`{_DOUBLE}]|`.|[{_DOUBLE}]{{2}})*+[{_DOUBLE}]", re.DOTALL)
_HERE = re.compile(r"@(['\"])[ \t]*(?:\r\n|\r|\n)(?:.*?(?:\r\n|\r|\n))??\1@", re.DOTALL)
_BLOCK_COMMENT = re.compile(r"<#.*?#>", re.DOTALL)
_LINE_COMMENT = re.compile(r"#[^\r\n]*")
_VARIABLE = re.compile(r"\$(?:[\w:?]+|[$^]|\{[^{}`\r\n]+\})")
_WORD = re.compile(rf"(?:[^\s{_SINGLE}{_DOUBLE}(){{}}\[\];,|&=$#<>@`]|`[^\r\n])+")
_SUBEXPRESSION = re.compile(r"\$[({]")
_SIMPLE = re.compile(r"[^(){}`'\"#\u2018-\u201e\r\n]*[)}]")
_INTEGER = re.compile(r"([+-]?)(0x[0-9a-f]{1,8}|[0-9]{1,19})(?:l)?(kb|mb|gb|tb|pb)?", re.IGNORECASE)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=e))(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_EXACT = re.compile(r"([+-]?[0-9]*\.?[0-9]+)d", re.IGNORECASE)
_UNITS = ("", "kb", "mb", "gb", "tb", "pb")
_NAMED = {"$true": True, "$false": False, "$null": None}
NOT_CONSTANT = object()


class ParametersError(PSKernelError):
    """The notebook's parameters cannot be read, or not be given these values. Nothing was connected to."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text.

    ``kind`` is newline, comment, string, variable, group (from a bracket to the one that closes it), word or symbol.
    """

    kind: str
    text: str
    start: int
    line: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def last_line(self) -> int:
        return self.line + len(_NEWLINE.findall(self.text))


def scan(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """The pieces from ``start`` to ``end``, blanks left out, brackets with all that is in them as one.

    Raises:
        ParametersError: the text cannot be told apart for certain.
    """
    scanner = _Scanner(text, len(text) if end is None else end)
    tokens = []
    while start < scanner.end:
        kind, after = scanner.piece(start)
        if kind == "open":
            kind, after = "group", scanner.closing(start, after)
        if kind != "blank":
            tokens.append(Token(kind, text[start:after], start, scanner.line(start)))
        start = after
    return tokens


class _Scanner:
    def __init__(self, text: str, end: int) -> None:
        self._text = text
        self.end = end
        self._lines = [match.end() for match in _NEWLINE.finditer(text)]
        for at, character in enumerate(text):
            if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character not in "\t\r\n":
                raise self.error(at, f"it has the control character U+{ord(character):04X}; remove it")

    def line(self, at: int) -> int:
        return bisect_right(self._lines, at) + 1

    def error(self, at: int, why: str) -> ParametersError:
        return ParametersError(f"Line {self.line(at)} of the cell cannot be read: {why}.")

    def closing(self, start: int, after: int) -> int:
        """Behind the bracket that closes the one from ``start`` to ``after``."""
        open_ones = [self._text[after - 1]]
        while after < self.end:
            at = after
            kind, after = self.piece(at)
            if kind == "open":
                open_ones.append(self._text[after - 1])
            elif kind == "close":
                if _CLOSERS[open_ones.pop()] != self._text[at]:
                    raise self.error(at, f"{self._text[at]} closes another bracket than the last one opened")
                if not open_ones:
                    return after
        raise self.error(start, f"{self._text[start:after][:1]} is opened and never closed")

    def piece(self, at: int) -> tuple[str, int]:
        """The kind of the piece that begins here, and where it ends."""
        for kind, pattern in _PIECES:
            if match := pattern.match(self._text, at, self.end):
                return kind, match.end()
        character, two = self._text[at], self._text[at : at + 2]
        if character == "#" or two == "<#":
            return self._comment(at)
        if character in _SINGLE or character in _DOUBLE:
            return self._string(at, _SINGLE_QUOTED if character in _SINGLE else _DOUBLE_QUOTED)
        if character == "@" and two[1:] and two[1] in _SINGLE + _DOUBLE:
            if not self._starts(at, "="):
                raise self.error(at, f"put a blank before {two}")
            return self._string(at, _HERE)
        return self._plain(at, two)

    def _plain(self, at: int, two: str) -> tuple[str, int]:
        if two == "${" and not _VARIABLE.match(self._text, at, self.end):
            raise self.error(at, "the name in ${ } is one that only PowerShell can read")
        for kind, pattern in (("variable", _VARIABLE), ("word", _WORD)):
            if match := pattern.match(self._text, at, self.end):
                if match.group() == "--%":
                    raise self.error(at, "what follows --% is not PowerShell's")
                return kind, match.end()
        return "symbol", at + 1

    def _starts(self, at: int, more: str = "") -> bool:
        """Whether a piece begins here in commands and in expressions alike."""
        return at == 0 or self._text[at - 1].isspace() or self._text[at - 1] in "({;," + more

    def _comment(self, at: int) -> tuple[str, int]:
        if not self._starts(at):
            raise self.error(
                at, "put a blank before the comment: in a command, # would be a part of the word before it"
            )
        block = self._text[at] == "<"
        match = (_BLOCK_COMMENT if block else _LINE_COMMENT).match(self._text, at, self.end)
        if match is None:
            raise self.error(at, "the comment that begins with <# is not ended by #>")
        return "comment", match.end()

    def _string(self, at: int, pattern: re.Pattern[str]) -> tuple[str, int]:
        match = pattern.match(self._text, at, self.end)
        if match is None:
            raise self.error(at, "a string begins there that is not closed in a way that is plain to see")
        if pattern is not _SINGLE_QUOTED and match.group()[:2] != "@'":
            self._check_expanded(at, match.group())
        return "string", match.end()

    def _check_expanded(self, at: int, text: str) -> None:
        """PowerShell looks for the end of a ``$( )`` in a string by rules of its own; only what is simple is read."""
        here = text.startswith("@")
        if here and re.search(r"`[\r\n]", text):
            raise self.error(at, "a line of the here-string ends with a backtick")
        body = re.sub(r"(?s)`.", "", text[2:-2] if here else text[1:-1])
        for match in _SUBEXPRESSION.finditer(body):
            inner = _SIMPLE.match(body, match.end())
            if inner is None or inner.group()[-1] != _CLOSERS[match.group()[1]]:
                raise self.error(at, "a $( ) or ${ } in a string is nested; use -f, or + with parentheses")


def constant(token: Token) -> Any:
    """The Python value of a token that is one constant, else :data:`NOT_CONSTANT`."""
    text = token.text
    if token.kind == "variable":
        return _NAMED.get(text.casefold(), NOT_CONSTANT)
    if token.kind == "word":
        return _number(text)
    if token.kind != "string" or (text[0] not in _SINGLE and text[:2] != "@'" and re.search(r"[`$]", text)):
        return NOT_CONSTANT
    if text.startswith("@"):
        first = _NEWLINE.search(text)
        inner = "" if first is None else text[first.end() : -2]
        return re.sub(r"(?:\r\n|\r|\n)\Z", "", inner)
    quotes = _SINGLE if text[0] in _SINGLE else _DOUBLE
    # Two quotes that are not the same are one of them; which, only PowerShell needs to know.
    inner = re.sub(rf"([{quotes}])\1", lambda pair: pair[1], text[1:-1])
    return NOT_CONSTANT if re.search(rf"[{quotes}]", re.sub(rf"([{quotes}])\1", "", text[1:-1])) else inner


def _number(text: str) -> Any:
    if match := _INTEGER.fullmatch(text):
        sign, digits, unit = match.groups()
        number = int(digits, 16 if digits[1:2] in {"x", "X"} else 10) * 1024 ** _UNITS.index((unit or "").lower())
        # 0xFFFFFFFF is -1.
        if digits[1:2] in {"x", "X"} and number >= 2**31:
            return NOT_CONSTANT
        return -number if sign == "-" else number
    if _REAL.fullmatch(text):
        return float(text)
    if match := _EXACT.fullmatch(text):
        return Decimal(match[1])
    return NOT_CONSTANT
