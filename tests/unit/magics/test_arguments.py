"""Lists and script blocks in a magic's line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psmagic.arguments import ArgumentError, Number, ScriptBlock, read_arguments


class Host:
    """A user's object."""

    name = "web01"
    _password = "hunter2"

    def drop(self) -> None:
        raise AssertionError


NAMES = {"x": 5, "l": [1, 2], "s": "text", "h": Host(), "t": {"Key": {"b": [3, 4]}, 7: "seven"}}


def values(line: str) -> list[Any]:
    return [_plain(argument.value) for argument in read_arguments(line, NAMES)]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Number) else value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,b", [["a", "b"]]),
        ("a, b , 'c d'", [["a", "b", "c d"]]),
        ("-X a,$x,3 b", [None, ["a", 5, 3], "b"]),
        ("$l", [[1, 2]]),
        ("$l,3", [[[1, 2], 3]]),
        ("-X:1,2", [[1, 2]]),
        ("{ 1 }", [ScriptBlock(" 1 ")]),
        ('{ if ($a) { \'}\' } else { "}`"}" } # }\n }', [ScriptBlock(' if ($a) { \'}\' } else { "}`"}" } # }\n ')]),
        ("{ <# } #> 1 } x", [ScriptBlock(" <# } #> 1 "), "x"]),
        ("{ `} }", [ScriptBlock(" `} ")]),
        ("{ 'it''s }' } -Y", [ScriptBlock(" 'it''s }' "), None]),
        ("{ a#b } c", [ScriptBlock(" a#b "), "c"]),
        ("a#b -Y  # a remark, 'with' $things }", ["a#b", None]),
        ("# nothing else", []),
        ("'#a' #b", ["#a"]),
        ("$l[0] $l[-1],$x", [1, [2, 5]]),
        ("$h.name -X", ["web01", None]),
        ("$t.key.b[1] $t['KEY']['b'].Count", [4, 2]),
        ("$t['none'] $t[7] $t[8]", [None, "seven", None]),
        ("$s.Length $s[0]", [4, "t"]),
        ("(1, $x,'a b') ($x) @($l) @(1) @()", [[1, 5, "a b"], 5, [1, 2], [1], []]),
        ("-X:($l[1], a) ('(')", [[2, "a"], "("]),
    ],
)
def test_lists_and_script_blocks(line: str, expected: list[Any]) -> None:
    assert expected == values(line)


@pytest.mark.parametrize(
    ("line", "error_id"),
    [
        (",a", "MissingArgument"),
        ("a,,b", "MissingArgument"),
        ("a,", "MissingArgument"),
        ("-X ,a", "MissingArgument"),
        ("a, -X", "MissingArgument"),
        ("{ 1", "MissingEndCurlyBrace"),
        ("{ '} ", "TerminatorExpectedAtEndOfString"),
        ("{1}{2}", "ParserError"),
        ("}", "ParserError"),
        ("$l[2]", "System.IndexOutOfRangeException"),
        ("$s['a']", "System.IndexOutOfRangeException"),
        ("$h.none", "PropertyNotFoundStrict"),
        ("$t['none'].x", "PropertyNotFoundStrict"),
        ("$h._password", "PropertyNotFoundStrict"),
        ("$h.__class__", "PropertyNotFoundStrict"),
        ("$h.drop", "PropertyNotFoundStrict"),
        ("$h.name()", "ParserError"),
        ("$l[x]", "ParserError"),
        ("$l[$x]", "ParserError"),
        ("$l[0]x", "ParserError"),
        ("(a)", "ParserError"),
        ("(Get-Date)", "ParserError"),
        ("(a b)", "ParserError"),
        ("(1 + 1)", "ParserError"),
        ("($x", "ParserError"),
        ("()", "ParserError"),
        ("((1))", "ParserError"),
        ("(-X)", "ParserError"),
        ("($l)[0]", "ParserError"),
        ("$(1)", "ParserError"),
        ("(1,)", "MissingArgument"),
    ],
)
def test_what_is_no_list_and_no_block(line: str, error_id: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_arguments(line, NAMES)

    assert error_id == caught.value.error_id


@given(st.text(alphabet="ab {}'\"#<>`\n$(),", max_size=30))
def test_a_block_is_read_as_it_is_or_refused(text: str) -> None:
    rest = "{" + text + "}"
    try:
        (argument,) = read_arguments(rest, {})
    except (ArgumentError, ValueError):
        return
    for block in argument.value if isinstance(argument.value, list) else [argument.value]:
        assert isinstance(block, ScriptBlock)
        rest = rest.lstrip(" \n`,")
        assert rest.startswith("{" + block.text + "}")
        rest = rest.removeprefix("{" + block.text + "}")
    # Behind them there may be a comment, with the last brace in it.
    assert rest == "" or rest.lstrip(" \n`").startswith(("#", "<#"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("007", 7),
        ("0x1F", 31),
        ("-0x10", -16),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5e-3", 0.0015),
        ("10kb", 10240),
        ("1.5MB", 1572864.0),
        ("12345678901234567890", 12345678901234567890),
    ],
)
def test_a_number_is_one_and_keeps_its_text(text: str, value: float) -> None:
    (argument,) = read_arguments(text, {})

    assert Number(text, value) == argument.value
    assert type(value) is type(argument.value.value)


@pytest.mark.parametrize("text", ["10.0.0.5", "1.2.3", "5x", "0xg", "e3", "1e", "--5", "5kbx"])
def test_what_only_looks_like_a_number_is_text(text: str) -> None:
    (argument,) = read_arguments(f"x, {text}", {})

    assert ["x", text] == argument.value
