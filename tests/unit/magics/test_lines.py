"""Whose a cell is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psmagic.commands import COMMANDS
from psmagic.lines import Whose, magic_in, runs_on_after_entering, whose


@pytest.mark.parametrize("magic", [command.magic.lstrip("%") for command in COMMANDS])
def test_every_magic_is_ours_alone_and_nobodys_among_other_lines(magic: str) -> None:
    for line in (f"%{magic}", f"  %{magic} -Id 3  \n\n", f"x = %{magic} $a", f"a, b.c[0] = %{magic}"):
        assert Whose.OURS is whose(line)
        assert Whose.NOBODYS is whose(f"{line}\nGet-Date")
        assert Whose.NOBODYS is whose(f"Get-Date\n{line}")


@pytest.mark.parametrize(
    "text",
    [
        "$x = %get_pssession",  # what a % is to PowerShell: ForEach-Object
        "1, 2 | %{ $_ }",
        "1 | %new",
        "%get_pssessions",
        "exit; Get-Date",
        "Get-Date\nexit",
        "exit | more",
        "exit $code",
        "<# exit",
        "Get-Item?; 1",
        "'%exit_pssession'",
    ],
)
def test_all_else_is_the_remotes(text: str) -> None:
    assert Whose.REMOTES is whose(text)


@pytest.mark.parametrize(("text", "its"), [("%%local\n%get_job\n1", Whose.OURS), ("exit 3 # x", Whose.LEAVES),
                                           ("Get-Item?", Whose.ASKS_HELP)])  # fmt: skip
def test_cells_of_python_leaving_and_help(text: str, its: Whose) -> None:
    assert its is whose(text)


@pytest.mark.parametrize(
    ("text", "its"),
    [
        ("exit " + "#" * 100_000, Whose.LEAVES),
        ("exit # " + "# " * 50_000 + "\n # x #\n\n", Whose.LEAVES),
        ("exit 3 ; " + "#" * 100_000 + "\nGet-Date", Whose.REMOTES),
        ("#\n" * 20_000 + "exit;;", Whose.REMOTES),
        ("exit" + "\n" * 50_000 + "x", Whose.REMOTES),
    ],
    ids=["banner", "blanks", "more code", "above", "lines"],
)
def test_a_long_comment_takes_no_time(text: str, its: Whose) -> None:
    assert its is whose(text)


@given(st.text(), st.text())
def test_text_around_a_magics_name_in_a_line_changes_nothing(before: str, after: str) -> None:
    text = f"'{before.replace(chr(10), '')}%exit_pssession{after}"
    assert Whose.REMOTES is whose(text) or "\n" in after


def test_only_code_below_entering_counts() -> None:
    enter = "get_ipython().run_line_magic('enter_pssession', 'web01')\n"

    assert runs_on_after_entering([enter, "\n", "  x = 1\n"])
    assert not runs_on_after_entering(["x = 1\n", enter, "\n", "  # x\n"])
    assert not runs_on_after_entering(["x = 1\n", "y = 2\n"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%%time\n1", ("%%time", 1)),
        ("\n  %%Invoke-Command -HostName x\n1", ("%%Invoke-Command", 2)),
        ("# note\n%%invoke_command -HostName x\n1", ("%%invoke_command", 2)),
        ("1\n2\n  %%LOCAL\n3", ("%%LOCAL", 3)),
        ("%exit_pssession; 'more'", ("%exit_pssession", 1)),
        ("1\nx = %get_pssession", ("%get_pssession", 2)),
    ],
)
def test_which_magic_makes_a_cell_nobodys(text: str, found: tuple[str, int]) -> None:
    assert Whose.NOBODYS is whose(text)
    assert found == magic_in(text)


@pytest.mark.parametrize("text", ["'%%local'", "1 | %%{ 1 }", "%% 1", "# 100%%time"])
def test_what_only_looks_like_a_cell_magic_is_the_remotes(text: str) -> None:
    assert Whose.REMOTES is whose(text)
