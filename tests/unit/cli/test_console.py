"""Texts from users and remotes reach the terminal as text."""

from __future__ import annotations

import io

import pytest

from pskernel.cli import console
from pskernel.cli.console import parse_options, parse_target, show_rows
from pskernel.errors import TargetError


def test_options_are_split_at_the_first_equals_sign() -> None:
    assert parse_options(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    assert parse_options(None) == {}


@pytest.mark.parametrize("texts", [["hunter2"], ["password", "x=y"], [""]])
def test_an_option_without_a_value_is_refused_and_not_repeated(texts: list[str]) -> None:
    with pytest.raises(TargetError) as caught:
        parse_options(texts)
    assert "name=value" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(TargetError, match="width is given twice"):
        parse_options(["width=1", "width=2"])


def test_options_count_more_than_those_of_the_target() -> None:
    assert parse_target("process:?width=80", ["width=90"]).options.width == 90


def test_rows_are_lines_with_tabs_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    show_rows(("A", "B"), [("[bold]a[/bold]", long), ("b\x1b]0;title\x07", "")])
    assert capsys.readouterr().out == f"[bold]a[/bold]\t{long}\nb\t\n"


def test_rows_are_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    real = console.output()
    terminal = type(real)(
        file=file, force_terminal=True, width=40, markup=False, highlight=False, soft_wrap=True, color_system=None
    )
    monkeypatch.setattr(console, "output", lambda: terminal)
    show_rows(("Name", "What"), [("[red]", "word " * 20)])
    lines = file.getvalue().splitlines()
    assert lines[0].split() == ["Name", "What"]
    assert lines[1].startswith("[red]")
    assert len(lines) > 3
    assert max(map(len, lines)) <= 40
