"""Runs as JUnit XML, which continuous integration reads: a suite for each run, a case for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pskernel.runbook.notebook import NotebookError, counts, plain, title_of
from pskernel.runbook.report import CellState, Report

__all__ = ["Suite", "suite_of", "write_junit"]

# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_TEXT = 20_000
_FAILURES = {CellState.FAILED, CellState.UNSENT}


@dataclass(frozen=True, slots=True)
class Suite:
    """One run.

    Attributes:
        name: what it is called.
        report: its report; None where it did not come to one.
        cells: the executed notebook's cells; empty where there is none.
        problem: what went wrong where no cell says it.
        more: what else is wrong, though no cell failed by it: a failure each.
    """

    name: str
    report: Report | None
    cells: tuple[Any, ...] = ()
    problem: str = ""
    more: tuple[str, ...] = ()


def suite_of(name: str, report: Report, notebook: Any, more: Iterable[str] = ()) -> Suite:
    """The suite of an executed notebook."""
    return Suite(name, report, tuple(notebook.cells), report.problem, tuple(more))


def write_junit(suites: Iterable[Suite], path: Path) -> None:
    """Write suites to a file.

    Raises:
        NotebookError: it cannot be written.
    """
    root = ET.Element("testsuites")
    for suite in suites:
        root.append(_suite(suite))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(each.get(name, "0")) for each in root)))
    try:
        path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
    except OSError as error:
        raise NotebookError(f"The JUnit file {path} cannot be written: {error.strerror or error}.") from None


def _suite(suite: Suite) -> ET.Element:
    element = ET.Element("testsuite", name=_clean(suite.name))
    if suite.report is not None:
        element.set("timestamp", suite.report.started)
        element.set("time", f"{suite.report.duration:.3f}")
    cases = [_case(suite.name, index, cell, suite.report) for index, cell in enumerate(suite.cells) if counts(cell)]
    for problem in suite.more:
        case = ET.Element("testcase", classname=_clean(suite.name), name="run")
        ET.SubElement(case, "failure", message=_clean(problem))
        cases.append(case)
    # A run that did not go well is red, whether or not a cell can be named for it.
    said = any(case.find(tag) is not None for case in cases for tag in ("failure", "error"))
    if not cases or (not said and not _is_good(suite)):
        cases.append(_whole(suite))
    element.extend(cases)
    element.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(tag) is not None for case in cases)))
    return element


def _case(suite: str, index: int, cell: Any, report: Report | None) -> ET.Element:
    record = cell.metadata.get("pskernel", {})
    state = record.get("state")
    case = ET.Element(
        "testcase",
        classname=_clean(suite),
        name=_clean(f"cell {index + 1}: {title_of(cell.source)[:200]}"),
        time=f"{float(record.get('seconds', 0.0)):.3f}",
    )
    text = _text_of(cell)
    if state in _FAILURES:
        message = (
            report.problem if report is not None and report.failed_cell == index else str(record.get("error_id", ""))
        )
        ET.SubElement(
            case, "failure", message=_clean(message), type=_clean(str(record.get("error_id", "")))
        ).text = text
    elif state == CellState.INTERRUPTED:
        ET.SubElement(case, "error", message="interrupted").text = text
    elif state is None:
        ET.SubElement(case, "skipped")
    elif text:
        ET.SubElement(case, "system-out").text = text
    return case


def _is_good(suite: Suite) -> bool:
    return suite.report is not None and suite.report.exit_status == 0


def _whole(suite: Suite) -> ET.Element:
    """The case of a run as a whole."""
    case = ET.Element("testcase", classname=_clean(suite.name), name="run")
    if not _is_good(suite):
        report = suite.report
        state = "there is no report of a run" if report is None else str(report.state)
        code = f" with {report.exit_code}" if report is not None and report.exit_code else ""
        ET.SubElement(case, "error", message=_clean(suite.problem or f"{state}{code}"))
    return case


def _text_of(cell: Any) -> str:
    texts = [
        output.get("text", "") or "\n".join(output.get("traceback", [])) or output.get("evalue", "")
        for output in cell.outputs
    ]
    return _clean(plain("".join(texts)))[-_MAX_TEXT:]


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
