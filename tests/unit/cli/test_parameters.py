"""Parameters on the command line: `pskernel inspect`, and the notebook that a run is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from pskernel.cli.parameters import given_parameters
from pskernel.runbook.scanner import ParametersError

CELL = "#% target ssh://web01\nparam([Parameter(Mandatory)][Alias('n')][string]$Name, # who\n [ValidateRange(1, 5)][int]$Count = 3,\n [ValidateSet('a', 'b')][ValidatePattern('x')]$Kind)"


def book(source: str, *tags: str) -> Any:
    return new_notebook(
        cells=[new_code_cell(source, metadata={"tags": list(tags)}), new_code_cell("1", metadata={"tags": ["always"]})]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    nbformat.write(book(CELL, "parameters"), tmp_path / "book.ipynb")
    return tmp_path / "book.ipynb"


def test_the_parameters_are_shown(invoke: Any, path: Path) -> None:
    shown = invoke("inspect", path)

    assert [
        ["Name, n", "string", "", "yes", "", "who"],
        ["Count", "int", "3", "", "1 to 5", ""],
        ["Kind", "", "", "", "a, b; ValidatePattern", ""],
    ] == shown.rows
    assert (
        "Its target: ssh://web01\n2 cells with code. Tags, with the cells that have them: parameters (1), always (2).\n"
        == shown.stderr
    )
    assert 0 == shown.status


def test_they_are_shown_to_programs(invoke: Any, path: Path) -> None:
    found = json.loads(invoke("inspect", path, "--json").stdout)

    assert ("ssh://web01", 2, {"parameters": [1], "always": [2]}) == (found["target"], found["cells"], found["tags"])
    assert {
        "name": "Count",
        "type": "int",
        "default": "3",
        "mandatory": False,
        "aliases": [],
        "allowed": None,
        "range": ["1", "5"],
        "checked_by_powershell": [],
        "help": "",
    } == found["parameters"][1]
    assert (["n"], True) == (found["parameters"][0]["aliases"], found["parameters"][0]["mandatory"])


def test_a_notebook_without_parameters_is_shown(invoke: Any, tmp_path: Path) -> None:
    nbformat.write(book("1"), tmp_path / "book.ipynb")

    shown = invoke("inspect", tmp_path / "book.ipynb")

    assert (0, "") == (shown.status, shown.stdout)
    assert "No cell of the notebook is tagged parameters." in shown.stderr


def test_what_cannot_be_read_is_said(invoke: Any, tmp_path: Path) -> None:
    nbformat.write(book("$a = 1\nGet-Date", "parameters"), tmp_path / "book.ipynb")

    shown = invoke("inspect", tmp_path / "book.ipynb")

    assert 2 == shown.status
    assert "in cell 1 of the notebook: Line 2" in shown.stderr


def test_what_is_given_is_put_in(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("Name: x\nCount: 1\n")
    notebook = book(CELL, "parameters")

    given_parameters(notebook, ["count=2"], [tmp_path / "p.yaml"])

    assert notebook.cells[1].source.endswith("} -Name:('x') -Count:(2)\n} catch { throw }")


@pytest.mark.parametrize(("source", "tag"), [("1", "other"), ("Get-Date", "parameters"), ("$a = 1", "parameters")])
def test_where_nothing_is_given_nothing_changes(source: str, tag: str) -> None:
    notebook = book(source, tag)

    given_parameters(notebook, None, None)

    assert 2 == len(notebook.cells)


def test_what_was_put_in_before_stays_if_nothing_is_given() -> None:
    notebook = book(CELL, "parameters")
    given_parameters(notebook, ["Name=x"], None)
    before = [cell.source for cell in notebook.cells]

    given_parameters(notebook, None, None)

    assert before == [cell.source for cell in notebook.cells]


@pytest.mark.parametrize(
    ("source", "tag", "pairs", "why"),
    [
        ("1", "other", ["a=1"], "no cell of it is tagged parameters"),
        ("Get-Date", "parameters", ["a=1"], "nothing but assignments"),
        ("$a = 1", "parameters", ["b=1"], "no parameter 'b'"),
        (CELL, "parameters", [], "Name needs a value"),
    ],
)
def test_what_cannot_be_given_is_refused(source: str, tag: str, pairs: list[str], why: str) -> None:
    with pytest.raises(ParametersError, match=why):
        given_parameters(book(source, tag), pairs, [])
