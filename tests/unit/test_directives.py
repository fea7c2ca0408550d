"""Directives: the lines ``#% name value`` at the head of a cell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.directives import DirectiveError, Directives, read_directives


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("#% target ssh://web01", "ssh://web01"),
        ("#% TARGET   ssh://web01  \nGet-Date", "ssh://web01"),
        ("#%target process:", "process:"),
        ("#% target\tprocess:\r\n'x'", "process:"),
        ("\n\n  # a remark\n#\n  #% target pid:1\n1", "pid:1"),
        ("# a remark\r#% target pid:1\r1", "pid:1"),
        ("#% target replay:my file.jsonl", "replay:my file.jsonl"),
        ("#% target", ""),
        ("#% target   \n1", ""),
        ("", None),
        ("Get-Date\n#% target ssh://web01", None),
        ("<# x #>\n#% target ssh://web01", None),
        ("1 #% target ssh://web01", None),
        ("## % target ssh://web01", None),
        ("# % target ssh://web01", None),
        ("# a remark\u2028#% target ssh://evil", None),
        ("# a remark\x0c#% target ssh://evil", None),
        ("# only\n# remarks", None),
        ("#%% a cell of a script\n#%%\n#% target pid:1", "pid:1"),
    ],
)
def test_the_target(cell: str, expected: str | None) -> None:
    assert expected == read_directives(cell).target


def test_all_of_them() -> None:
    cell = "#% timeout 1.5\n#% width 200\n# why\n#% answers my answers.yaml\n#% stop-on-error-record\nGet-Item"

    assert Directives(None, 1.5, 200, "my answers.yaml", stop_on_error_record=True) == read_directives(cell)


def test_what_comes_after_the_head_is_powershell() -> None:
    assert Directives() == read_directives("1\n#% nonsense\n#% timeout x")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("#% targets x", "no directive `#% targets`. Did you mean `#% target`?"),
        ("#% 50", "no directive `#% 50`"),
        ("#%", "no directive `#% `"),
        ("#% timeout", "takes a number of seconds"),
        ("#% timeout 0", "takes a number of seconds"),
        ("#% timeout -1", "takes a number of seconds"),
        ("#% timeout 1e9", "takes a number of seconds"),
        ("#% timeout nan", "takes a number of seconds"),
        ("#% timeout 999999", "takes a number of seconds"),
        ("#% width 19", "from 20 to 1000"),
        ("#% width ١٢٠", "from 20 to 1000"),
        ("#% answers", "needs a value"),
        ("#% answers a\x07b", "needs a value"),
        ("#% stop-on-error-record yes", "takes no value"),
        ("#% timeout 1\n#% TIMEOUT 2", "given twice"),
        # Whoever runs a kernel could not come back to it.
        ("#% disconnect", "is for sessions that were entered with %enter_pssession"),
    ],
)
def test_a_wrong_one_says_what_is_wrong(cell: str, message: str) -> None:
    with pytest.raises(DirectiveError, match=message.replace("?", r"\?")):
        read_directives(cell)


def test_a_cell_that_is_left_has_no_other_directive() -> None:
    cell = "#% target winrm://web01\n#% disconnect\n1"
    assert Directives("winrm://web01", disconnect=True) == read_directives(cell, entered=True)
    for other in ("timeout 5", "stop-on-error-record", "width 100", "answers a.yaml", "assert"):
        with pytest.raises(DirectiveError, match="is only started here"):
            read_directives(f"#% disconnect\n#% {other}\n1", entered=True)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["", "  ", "# x", "#%% other", "#"])), st.text())
def test_what_follows_the_head_does_not_matter(head: list[str], tail: str) -> None:
    assert "ssh://web01" == read_directives("\n".join([*head, "#% target ssh://web01", "1", tail])).target
