"""Simple command lines, read on this side: what an endpoint without a language takes instead of script.

PowerShell's own console does the same for such endpoints (ScriptBlock.GetPowerShell): commands with constant arguments
travel as commands; whatever needs a language goes as script, and is refused by the endpoint in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pskernel.protocol.pipelines import Command, Statements

__all__ = ["simple_statements"]

# PowerShell takes typographic quotes for quotes, and such dashes for the one before a parameter's name. No bare word
# has such a quote in it, or begins with such a dash.
_DASH = "-\u2013\u2014\u2015"
_SINGLE = "'\u2018\u2019\u201a\u201b"
_DOUBLE = '"\u201c\u201d\u201e'
_SPECIAL = rf"\s;|,$`(){{}}@&<>{_SINGLE}{_DOUBLE}"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t]+|`\r?\n|\#[^\r\n]*)
    |(?P<end>;|\r?\n)
    |(?P<pipe>\|(?!\|))
    |(?P<comma>,)
    |'(?P<single>(?:[^{_SINGLE}]|'')*)'
    |"(?P<double>(?:[^{_DOUBLE}$`]|"")*)"
    |(?P<name>[{_DASH}][A-Za-z_?][A-Za-z0-9_?-]*:?)
    |(?P<constant>\$(?:true|false|null)\b)
    |(?P<word>[^{_SPECIAL}{_DASH[1:]}\#][^{_SPECIAL}]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_CONSTANTS = {"$true": True, "$false": False, "$null": None}
_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")
_REAL = re.compile(r"-?(?:[0-9]{1,15}\.[0-9]{1,15}|\.[0-9]{1,15})\Z")
_KEYWORDS = frozenset(
    [
        "begin",
        "break",
        "catch",
        "class",
        "continue",
        "data",
        "do",
        "dynamicparam",
        "else",
        "elseif",
        "end",
        "enum",
        "exit",
        "filter",
        "finally",
        "for",
        "foreach",
        "from",
        "function",
        "if",
        "in",
        "param",
        "process",
        "return",
        "switch",
        "throw",
        "trap",
        "try",
        "until",
        "using",
        "while",
    ]
)
_EXPRESSION = re.compile(r"[-+]?[0-9.]|[\[!+%-]|.*[=*+]")

_Token = tuple[str, str]


class _NotSimple(Exception):
    pass


def simple_statements(text: str) -> Statements | None:
    """The commands a text consists of, or None if it is more than commands with constant arguments."""
    try:
        statements = [
            [_command(part) for part in _split(tokens, "pipe")]
            for tokens in _split(list(_tokens(text)), "end")
            if tokens
        ]
    except _NotSimple:
        return None
    return statements or None


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens but white space; a parameter's colon stands for the space behind it."""
    at, glued = 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _NotSimple
        kind = match.lastgroup or ""
        is_argument = kind in {"single", "double", "name", "constant", "word"}
        if is_argument and glued:
            raise _NotSimple  # one argument made of several: a'b'
        glued = is_argument and not match[0].endswith(":")
        if kind != "space":
            yield kind, match[kind]
        at = match.end()


def _split(tokens: list[_Token], kind: str) -> Iterator[list[_Token]]:
    cuts = [-1, *(index for index, token in enumerate(tokens) if token[0] == kind), len(tokens)]
    for before, after in pairwise(cuts):
        yield tokens[before + 1 : after]


def _command(tokens: list[_Token]) -> Command:
    if not tokens or tokens[0][0] != "word" or _is_no_command(tokens[0][1]):
        raise _NotSimple
    arguments: list[tuple[str | None, Any]] = []
    # Whether a value stands before, a comma, or a name with a colon that a value must follow.
    has_value = in_list = bound = False
    for kind, text in tokens[1:]:
        if kind == "comma":
            if in_list or not has_value:
                raise _NotSimple
            in_list = True
        elif kind == "name":
            if in_list or bound:
                raise _NotSimple
            arguments.append((f"-{text[1:]}", None))
            has_value, bound = False, text.endswith(":")
        elif text.startswith("--"):
            raise _NotSimple
        else:
            value = _value(kind, text)
            if in_list or bound:
                name, before = arguments.pop()
                value = [*(before if isinstance(before, list) else [before]), value] if in_list else value
                arguments.append((name, value))
            else:
                arguments.append((None, value))
            has_value, in_list, bound = True, False, False
    if in_list or bound:
        raise _NotSimple
    return Command(tokens[0][1], tuple(arguments))


def _is_no_command(word: str) -> bool:
    return word.casefold() in _KEYWORDS or _EXPRESSION.match(word) is not None


def _value(kind: str, text: str) -> Any:
    if kind in {"single", "double"}:
        quote = "'" if kind == "single" else '"'
        return text.replace(quote * 2, quote)
    if kind == "constant":
        return _CONSTANTS[text.casefold()]
    if _WHOLE.match(text):
        return int(text)
    return float(text) if _REAL.match(text) else text
