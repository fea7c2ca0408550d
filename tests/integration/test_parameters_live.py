"""What the reader of parameters says, beside what PowerShell's own parser says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel import PSSession, new_pssession
from pskernel.runbook.parameters import Parameters, read_cell
from pskernel.runbook.scanner import ParametersError

pytestmark = pytest.mark.live

# For each text: null if it has errors; what its param block and statements are; and the values of constant defaults.
PARSE = r"""
using namespace System.Management.Automation.Language
function global:ParseOne($text) {
    $tokens = $errors = $null
    $tree = [Parser]::ParseInput($text, [ref]$tokens, [ref]$errors)
    if ($errors) { return 'null' }
    $known = { param($value) if ($value -is [PipelineAst]) { $value = $value.GetPureExpression() }
        elseif ($value -is [CommandExpressionAst]) { $value = $value.Expression }
        if ($value -is [StringConstantExpressionAst] -and $value.StringConstantType -ne 'BareWord') { "s:$($value.Value)" }
        elseif ($value -is [ConstantExpressionAst] -and $value -isnot [StringConstantExpressionAst]) { "n:$($value.Value)" } }
    $found = @(
        foreach ($p in $tree.ParamBlock.Parameters) {
            ,@($p.Name.VariablePath.UserPath, "$($p.Attributes.Where{ $_ -is [TypeConstraintAst] }.TypeName.FullName)",
                $p.DefaultValue.Extent.Text, (& $known $p.DefaultValue))
        }
        foreach ($s in $tree.EndBlock.Statements) {
            if ($s -isnot [AssignmentStatementAst]) { ,@('?'); continue }
            $left, $types = $s.Left, @()
            while ($left -is [AttributedExpressionAst]) {
                if ($left -is [ConvertExpressionAst]) { $types += $left.Type.TypeName.FullName }
                $left = $left.Child
            }
            ,@("$($left.VariablePath.UserPath)", "$types", $s.Right.Extent.Text, (& $known $s.Right))
        }
    )
    ConvertTo-Json -Compress -Depth 4 @{ block = [bool]$tree.ParamBlock; items = $found }
}
"""


@pytest.fixture(scope="module")
def session(pwsh: str) -> Iterator[PSSession]:
    with new_pssession(f"process:{pwsh}") as session:
        session.invoke(PARSE)
        yield session


def parsed(session: PSSession, cells: list[str]) -> list[Any]:
    # JSON on the way there too: a text of two line ends would not survive everything.
    script = "$args[0] | ConvertFrom-Json | ForEach-Object { ParseOne $_ }"
    return [json.loads(text) for text in session.invoke(script, [json.dumps(cells)])]


def compare(cell: str, ours: Parameters, theirs: Any) -> None:
    assert theirs["block"] == ours.block, cell
    assert [
        [p.name, re.sub(r"\s", "", p.type or ""), p.default] for p in ours.items
    ] == [[name, re.sub(r"\s", "", kind), default] for name, kind, default, _ in theirs["items"]], cell  # fmt: skip
    for item, (*_, known) in zip(ours.items, theirs["items"], strict=True):
        if isinstance(item.constant, str):
            assert known == f"s:{item.constant}", cell
        elif isinstance(item.constant, int) and not isinstance(item.constant, bool):
            assert known == f"n:{item.constant}", cell
        elif isinstance(item.constant, float):
            assert known is not None, cell
            assert float(known[2:]) == item.constant, cell


NAMES = ["Count", "Name", "_x", "a1", "Gr\u00f6\u00dfe", "Server", "Path", "Level"]
TYPES = ["", "[int]", "[string]", "[string[]]", "[Nullable[int]]", "[ System.Int32 ] ", "[hashtable]", "[int]  "]
ATTRIBUTES = [
    "", "[Parameter(Mandatory)]", "[Parameter(Mandatory = $true, HelpMessage = 'a, b) ]')]", "[ValidateSet('a', \"b]\")]",
    "[ValidateRange(1, 5)]", "[ValidateScript({ $_ -gt 0 -and ')' })]", "[ValidateNotNullOrEmpty()]", "[Alias('z')]", "[AllowNull()]",
]  # fmt: skip
VALUES = [
    "3", "-5", "0x1F", "10kb", "1.5", ".5", "1e3", "5L", "1.5d", "'it''s # no'", '"a `" b $(1 + 2) c"', '"${x} $y.z"', "''", '""',
    "'a;b)'", '"a""b"', "@()", "@(1, 2)", "@{ a = 1; b = 'x' }", "@{\n  a = 1 # c )\n  b = 2\n}", "(Get-Date)", "$(1; 2)", "$true",
    "$null", "$env:HOME", "[datetime]'2026-01-02'", "[math]::PI", "{ param($x) $x }", "@'\nit's \"here\" $(\n'@", '@"\n$x "q"\n"@',
    "(1 +\n 2)", "-not $true", "$a[0]", "$a.b", "'x'.Length", "1..5", "5 - 3", "'a' + 'b'", "\u2018x\u2019", "\u201cx\u201d", "(,1)",
    "'a\u2019'b'", "[int[]](1, 2)", "'{0}' -f 5", "!$x", "2*3",
]  # fmt: skip
ASSIGNED = [
    *VALUES,
    "Get-Date",
    "Get-Item -Path /tmp",
    "'a', 'b'",
    "1, 2,\n  3",
    "'a' +\n 'b'",
    "Get-Item / |\n  Select-Object Name",
    "1 `\n + 2",
    "foo -f",
]
COMMENTS = ["", "", "  # help", " # it's (", " <# block ' #>"]
LINES = ["\n", "\n", "\n\n", "\n# above it's\n", "\n<# above\n ( #>\n", "\r\n"]


@st.composite
def assignments(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(NAMES), unique_by=str.casefold, max_size=4))
    text = draw(st.sampled_from(["", "# head\n", "#% target ssh://x\n", "\n"]))
    for name in names:
        decorations = draw(st.sampled_from(ATTRIBUTES)).replace("'z'", f"'z{name}'") + draw(st.sampled_from(TYPES))
        equals = draw(st.sampled_from([" = ", "=", " =\n  "]))
        value = draw(st.sampled_from(ASSIGNED))
        comment = draw(st.sampled_from(COMMENTS))
        ending = comment + draw(st.sampled_from(LINES if "#" in comment else [*LINES, ";", " ; "]))
        text += f"{decorations}${name}{equals}{value}{ending if value[0] != '@' else draw(st.sampled_from(LINES))}"
    return text


@st.composite
def blocks(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(NAMES), unique_by=str.casefold, max_size=4))
    parts = []
    for number, name in enumerate(names):
        attribute = draw(st.sampled_from(ATTRIBUTES)).replace("'z'", f"'z{name}'")
        between = draw(st.sampled_from(["", " ", "\n  ", "\n  # c\n"]))
        default = draw(
            st.sampled_from(["", *[f" = {value}" for value in VALUES], *[f"=\n{value}" for value in VALUES]])
        )
        comma = "" if number + 1 == len(names) else draw(st.sampled_from([",", " ,", "\n,"]))
        ending = draw(st.sampled_from(COMMENTS)) + draw(st.sampled_from(LINES)) if comma or not default else "\n"
        parts.append(f"{attribute}{between}{draw(st.sampled_from(TYPES))}${name}{default}{comma}{ending}")
    head = draw(st.sampled_from(["", "[CmdletBinding()]\n", "<#\n.PARAMETER Count\n it's\n#>\n", "# c\n"]))
    keyword = draw(st.sampled_from(["param", "Param ", "param\n"]))
    first, last = draw(st.sampled_from(LINES)), draw(st.sampled_from(COMMENTS))
    return f"{head}{keyword}({first}{''.join(parts)}){last}"


@settings(max_examples=80, deadline=None)
@given(st.lists(assignments() | blocks(), min_size=6, max_size=8))
def test_a_cell_is_read_as_powershell_reads_it(session: PSSession, cells: list[str]) -> None:
    for cell, theirs in zip(cells, parsed(session, cells), strict=True):
        assert theirs is not None, cell
        compare(cell, read_cell(cell), theirs)


PIECES = [*"'\"()[]{}$@#`,;|&=+-.:?!<>% \n", "\r\n", "$a", "\u2018", "\u201d", "<#", "#>", "@'\n", "\n'@", '@"\n', '\n"@', "$(", "@(",
          "@{", "--%", "-f", "5", "foo", "param", " = ", "\n$b = 1", "[int]", "\u00a0", "\u0085"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A cell with some changes that a typing error, or malice, could make."""
    text = draw(assignments() | blocks())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.integers(0, 2)) :]
    return text


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        damaged() | st.lists(st.sampled_from(PIECES), max_size=12).map(lambda p: "$a = " + "".join(p)),
        min_size=8,
        max_size=10,
    )
)
def test_what_is_read_at_all_is_read_as_powershell_reads_it(session: PSSession, cells: list[str]) -> None:
    for cell, theirs in zip(cells, parsed(session, cells), strict=True):
        try:
            ours = read_cell(cell)
        except ParametersError as error:
            assert str(error).endswith("."), cell
            continue
        # What PowerShell does not understand it will itself refuse when the cell is run.
        if theirs is not None:
            compare(cell, ours, theirs)


TRICKY = [
    "$a = foo#c", "$a = foo<#c#>", "$a = foo@'\nx'@\n'@", "$a = foo -f\n2", "$a = 7z", "$a = 7z -join\n'x'", "$a = foo a,\n'b'",
    "$a = foo +\n2", "$a = 1 | foo -f\n", "$a = 1\n| foo", "$a = 'x'\n.Length", "$a = 1\n&& 2", "$a = if (1) { 2 }\nelse { 3 }",
    "$a = \"$('x')\" 'y'", "$a = \"$(')')\" # \"", '$a = "${b"}" # "', '$a = @"\n`\n"@\n"@', '$a = @"\n$("\n"@\n)\n"@', "$a = 'x\u2019#'",
    "$a = foo --% ; $b = 1", "$a = foo `; $b = 1", "$a = foo `\n; $b = 1", "$a = [int]\n'5'", "$a = - # c\n5", "$a = ,\n5", "$a = foo [#c\n]",
    "$a = 5 #>\n$b = 6", "$a = <#\n'#> 5 #'", "$a = 1 + # 'x\n2", "param($a = 5 # )\n)", "param($a = ')', $b = \")\")", "param([ValidateScript({ '}' })]$a)",
    "param($a)\n# )", "$a = @{ b = '}' # }\n}", "$a = 'x',\n# c\n\n'y'", "$a = \u2018x' # \u2019\n$b = 1", "$a = foo ']'", "$a = $(foo ')' # )\n)",
]  # fmt: skip


def test_what_other_readers_stumble_over(session: PSSession) -> None:
    read = 0
    for cell, theirs in zip(TRICKY, parsed(session, TRICKY), strict=True):
        try:
            ours = read_cell(cell)
        except ParametersError:
            continue
        assert theirs is not None, cell
        compare(cell, ours, theirs)
        read += 1
    assert read >= 12
