"""The cell of the parameters: what is read from it, and what is refused."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pskernel.runbook.parameters import Parameter, read_cell, read_parameters
from pskernel.runbook.scanner import NOT_CONSTANT, ParametersError


def cell(source: str, *tags: str) -> Any:
    return new_code_cell(source, metadata={"tags": list(tags)})


def only(source: str) -> Parameter:
    (item,) = read_cell(source).items
    return item


BLOCK = """
<#
.SYNOPSIS
    Restarts services.
.PARAMETER Name
    The service,
    by name.
.EXAMPLE
    none
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory, HelpMessage = 'not this')] [Alias('Service', 'n')]
    [string] $Name,

    # How many to restart
    # at a time.
    [ValidateRange(1, 16)] [int] $Throttle = 4,   # beside it

    # above it
    [ValidateSet('Low', "High", IgnoreCase = $false)]
    [string] $Level = 'Low',

    [ValidateNotNullOrEmpty()] [string[]] $Servers = @('a', 'b'),
    [Parameter(HelpMessage = 'Really?')] [switch] $Force,
    [ValidatePattern('^\\d+$')] [ValidateScript({ $_ -ne ')' })] $Number
)
"""


def test_a_block() -> None:
    found = read_cell(BLOCK)

    assert found.block
    name, throttle, level, servers, force, number = found.items
    assert ("Name", "string", None, True) == (name.name, name.type, name.default, name.mandatory)
    assert ("Service", "n") == name.attributes.aliases
    assert "The service,\nby name." == name.help
    assert ("4", 4, "beside it") == (throttle.default, throttle.constant, throttle.help)
    assert (1, 16) == (throttle.attributes.lowest, throttle.attributes.highest)
    assert ("above it", ("Low", "High"), True) == (level.help, level.attributes.allowed, level.attributes.match_case)
    assert servers.attributes.not_empty
    assert ("string[]", "@('a', 'b')") == (servers.type, servers.default)
    assert ("switch", "Really?", False) == (force.type, force.help, force.mandatory)
    assert ("ValidatePattern", "ValidateScript") == number.attributes.others
    assert number.type is None
    assert found.find("THROTTLE") is throttle
    assert found.find("service") is name
    assert found.find("none") is None


def test_assignments() -> None:
    found = read_cell(
        "#% timeout 60\n"
        "# How many\n[int]$Count = 3\n"
        "$Names = 'a', # first\n    'b'   # where\n"
        "\n# not of the next one\n\n"
        "$Day = Get-Date; $Level = 'x'  # how far\n"
        "<# as\n   a block #>\n[ValidateSet('x', 'y')][string]$Kind = \"x\"\n"
    )

    assert not found.block
    assert [
        ("Count", "int", "3", "How many"),
        ("Names", None, "'a', # first\n    'b'", "where"),
        ("Day", None, "Get-Date", ""),
        ("Level", None, "'x'", "how far"),
        ("Kind", "string", '"x"', "as\na block"),
    ] == [(item.name, item.type, item.default, item.help) for item in found.items]
    assert ("x", "y") == found.items[-1].attributes.allowed


@pytest.mark.parametrize(
    ("default", "value"),
    [
        ("3", 3), ("-5", -5), ("2kb", 2048), ("0x1F", 31), ("5L", 5), ("1.5", 1.5), ("1e3", 1000.0), ("1.50d", Decimal("1.50")),
        ("$True", True), ("$false", False), ("$null", None), ("'it''s'", "it's"), ('"a"', "a"), ('"a""b"', 'a"b'), ("''", ""),
        ("@'\na'\n'@", "a'"), ("@'\n'@", ""), ('"$x"', NOT_CONSTANT), ('"a`nb"', NOT_CONSTANT), ("'a\u2019'b'", NOT_CONSTANT),
        ("0xFFFFFFFF", NOT_CONSTANT), ("$x", NOT_CONSTANT), ("@()", NOT_CONSTANT), ("'a' + 'b'", NOT_CONSTANT), ("Get-Date", NOT_CONSTANT),
    ],
)  # fmt: skip
def test_the_value_of_a_default(default: str, value: Any) -> None:
    found = only(f"$x = {default}").constant

    assert (type(value), value) == (type(found), found)


@pytest.mark.parametrize(
    ("source", "line", "why"),
    [
        ("$a = 1\nGet-Date", 2, "nothing but assignments"),
        ("$a = 1\n\n$b += 2", 3, "nothing but assignments"),
        ("$a, $b = 1, 2", 1, "nothing but assignments"),
        ("$a.b = 1", 1, "nothing but assignments"),
        ("[int]$a", 1, "nothing but assignments"),
        ("[int]\n$a = 1", 1, "nothing but assignments"),
        ("param($a)\n$b = 1", 2, "another statement"),
        ("using namespace System\nparam($a)", 1, "nothing but assignments"),
        ("$env:A = 1", 1, "plain variable"),
        ("$script:a = 1", 1, "plain variable"),
        ("${a b} = 1", 1, "plain variable"),
        ("$Host = 1", 1, "for itself"),
        ("param($true)", 1, "for itself"),
        ("$a =", 1, "no value"),
        ("param($a =)", 1, "no value"),
        ("param($a $b)", 1, "= or a comma"),
        ("param([int])", 1, "no variable"),
        ("param($a,)", 1, "comma"),
        ("param($a = Get-Date)", 1, "parentheses"),
        ("$a = if ($x) { 1 }", 1, "if is no plain value"),
        ("$a = $b = 1", 1, "= is no part"),
        ("$a = 1 &", 1, "& is no part"),
        ("$a = foo > x", 1, "> is no part"),
        ("$a = 1 -eq\n2", 1, "ends with -eq"),
        ("$a = 'x',", 1, "ends with ,"),
        ("$a = (1", 1, "never closed"),
        ("$a = (1]", 1, "closes another"),
        ("$a = 'x", 1, "a string begins"),
        ("$a = @'\nx", 1, "a string begins"),
        ("$a = 1 <# x", 1, "not ended"),
        ("$a = 5#x", 1, "blank before the comment"),
        ("$a = foo --% x", 1, "--%"),
        ("$a = \"$(')')\"", 1, "nested"),
        ("$a = 'x'\x00", 1, "U\\+0000"),
        ("$a = 'x\u2028'", 1, "U\\+2028"),
        ("$a = a`;b", 1, "what begins with|backtick"),
        ("[int][string]$a = 1", 1, "two types"),
        ("[Parameter(Mandatory = $x)]$a = 1", 1, "Mandatory must be"),
        ("[Alias($x)]$a = 1", 1, "alias"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused(source: str, line: int, why: str) -> None:
    with pytest.raises(ParametersError, match=f"Line {line} .*{why}"):
        read_cell(source)


def test_an_assignment_is_never_missing() -> None:
    assert not only("[Parameter(Mandatory)]$a = 1").mandatory


@pytest.mark.parametrize("source", ["$a = 1\n$A = 2", "param($a, [Alias('A')]$b)"])
def test_two_of_a_name_are_refused(source: str) -> None:
    with pytest.raises(ParametersError, match="belongs to two"):
        read_cell(source)


def test_a_cell_that_is_too_long_is_refused() -> None:
    with pytest.raises(ParametersError, match="64 KB"):
        read_cell("#" * 300_000)


@pytest.mark.parametrize("source", ["", "\n# only a comment\n", "param()", "param(\n # none\n)"])
def test_a_cell_without_parameters(source: str) -> None:
    assert () == read_cell(source).items


def test_deep_brackets_and_long_strings_are_no_trouble() -> None:
    assert only("$a = " + "(" * 20_000 + "1" + ")" * 20_000).default is not None
    assert only("$a = '" + "''" * 20_000 + "'").constant == "'" * 20_000
    with pytest.raises(ParametersError):
        read_cell('$a = "' + "`" * 59_999)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["#\n", "$a=1\n", "1,\n", "[a]", "<##>\n", "`\n", "'", '"$(', "@'\n", "(", ";", "{}", ".a\n"]
)
def test_no_text_takes_long(piece: str) -> None:
    for head in ("", "$a = ", "param($a = "):
        with contextlib.suppress(ParametersError):
            read_cell(head + piece * (30_000 // len(piece)))


def test_the_cell_is_found_by_its_tag() -> None:
    book = new_notebook(cells=[cell("1"), cell("$a = 1", "x", "parameters"), cell("$b = 1", "injected-parameters")])

    found = read_parameters(book)

    assert found is not None
    assert (1, ["a"]) == (found.index, [item.name for item in found.items])
    assert read_parameters(new_notebook(cells=[cell("1")])) is None


def test_several_cells_are_refused() -> None:
    with pytest.raises(ParametersError, match="several cells tagged parameters: 1, 3"):
        read_parameters(new_notebook(cells=[cell("", "parameters"), cell(""), cell("", "parameters")]))


def test_a_text_cell_is_refused() -> None:
    with pytest.raises(ParametersError, match=r"Cell 1 .* no code cell"):
        read_parameters(new_notebook(cells=[new_markdown_cell("x", metadata={"tags": ["parameters"]})]))


def test_an_error_names_the_cell() -> None:
    with pytest.raises(ParametersError, match="in cell 2 of the notebook: Line 1"):
        read_parameters(new_notebook(cells=[cell(""), cell("exit", "parameters")]))
