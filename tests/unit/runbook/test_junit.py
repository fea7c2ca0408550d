"""JUnit XML is red where the run is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from pskernel.runbook.junit import Suite, suite_of, write_junit
from pskernel.runbook.report import CellState, Report, RunState

ENDS = [state for state in RunState if state is not RunState.RUNNING]


def written(*suites: Suite) -> ET.Element:
    with tempfile.TemporaryDirectory() as folder:
        write_junit(suites, Path(folder) / "junit.xml")
        return ET.parse(Path(folder) / "junit.xml").getroot()


def red(element: ET.Element) -> int:
    return int(element.get("failures", 0)) + int(element.get("errors", 0))


@given(
    st.sampled_from(ENDS),
    st.sampled_from([None, 0, 3]),
    st.lists(st.one_of(st.none(), st.sampled_from(list(CellState)))),
)
def test_a_status_that_is_not_0_is_a_failure_or_an_error(
    state: RunState, code: int | None, cells: list[CellState | None]
) -> None:
    book = new_notebook(cells=[new_code_cell("1", metadata={"pskernel": {"state": c}} if c else {}) for c in cells])
    report = Report(state=state, exit_code=code)
    root = written(suite_of("book", report, book))
    if report.exit_status:
        assert red(root) > 0
    elif not {CellState.FAILED, CellState.UNSENT, CellState.INTERRUPTED} & set(cells):
        assert red(root) == 0
    assert int(root.get("tests", 0)) == len(list(root.iter("testcase")))


@pytest.mark.parametrize("problem", ["", "The worker was lost."])
def test_a_host_without_a_report_is_an_error(problem: str) -> None:
    root = written(Suite("web01", None, (), problem))
    (error,) = root.iter("error")
    assert error.get("message")
    assert red(root) == 1


def test_what_else_is_wrong_is_a_failure() -> None:
    report = Report(state=RunState.COMPLETED)
    book = new_notebook(cells=[new_code_cell("1", metadata={"pskernel": {"state": "ok"}})])
    root = written(suite_of("book", report, book, ["A cell is gone.", "Another, too."]))
    assert [each.get("message") for each in root.iter("failure")] == ["A cell is gone.", "Another, too."]
