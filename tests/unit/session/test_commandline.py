"""Simple command lines, as they travel to an endpoint that takes no script."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.protocol.pipelines import Command
from pskernel.session.commandline import simple_statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Get-Command", [[Command("Get-Command")]]),
        ("Get-Greeting -Name 'Ann'", [[Command("Get-Greeting", (("-Name", None), (None, "Ann")))]]),
        ("Get-Process -Id 1", [[Command("Get-Process", (("-Id", None), (None, 1)))]]),
        ("Get-Process -Id:1 -X:$false", [[Command("Get-Process", (("-Id:", 1), ("-X:", False)))]]),
        ("Get-Process -Id: 1,2", [[Command("Get-Process", (("-Id:", [1, 2]),))]]),
        ("/bin/echo hi", [[Command("/bin/echo", ((None, "hi"),))]]),
        (
            "Get-Greeting A; Get-Greeting B",
            [[Command("Get-Greeting", ((None, "A"),))], [Command("Get-Greeting", ((None, "B"),))]],
        ),
        ("a\r\n\nb # why\n", [[Command("a")], [Command("b")]]),
        ("a 1 | b -X | c", [[Command("a", ((None, 1),)), Command("b", (("-X", None),)), Command("c")]]),
        (
            "a 1,'b c', \"d\" -5 .5 1.5",
            [[Command("a", ((None, [1, "b c", "d"]), (None, -5), (None, 0.5), (None, 1.5)))]],
        ),
        ("a $true $False $NULL", [[Command("a", ((None, True), (None, False), (None, None)))]]),
        ('a \'it\'\'s\' "say ""x"""', [[Command("a", ((None, "it's"), (None, 'say "x"')))]]),
        ("a b#c *.log x=1", [[Command("a", ((None, "b#c"), (None, "*.log"), (None, "x=1")))]]),
        ("a \u2013WhatIf \u2014b:1 c", [[Command("a", (("-WhatIf", None), ("-b:", 1), (None, "c")))]]),
        ("# a remark\nGet-Item / `\n -Force", [[Command("Get-Item", ((None, "/"), ("-Force", None)))]]),
    ],
)
def test_commands_with_constant_arguments(text: str, expected: list[list[Command]]) -> None:
    assert expected == simple_statements(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "# only a remark", "1+1", "1", "$x", "$x = 1", "'text'", "if (1) { 2 }", "foreach ($a in 1) {}",
        "a (b)", "a { b }", "a $b", 'a "$b"', "a `x", "a @b", "a > f", "a && b", "a || b", "& a", "a &", "a |", "| a",
        "a 'b", 'a "b', "a b'c'", "a 'b'c", "a ,1", "a 1,", "a 1,,2", "a -X,1", "a -X:", "a -X: -Y", "a --% x", "[int] 1", "-not 1", "!1",
        "a=1", "return", "function f {}", "a \u2018b\u2019", "a \u201cb\u201d", "a 'b\u2019c'", "a \u20135", 'a "b\u201dc"',
    ],
)  # fmt: skip
def test_more_than_that_is_script(text: str) -> None:
    assert simple_statements(text) is None


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab -'\"$;|,\n#`(){}1=:", max_size=30))
def test_any_text_is_read_to_its_end(text: str) -> None:
    statements = simple_statements(text)

    assert statements is None or all(command.name for pipeline in statements for command in pipeline)
