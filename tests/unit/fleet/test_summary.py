"""Outputs of many hosts, compared within bounds."""

from __future__ import annotations

import random
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from pskernel.fleet.host import HostResult, file_stem
from pskernel.fleet.summary import compare, write_page
from pskernel.runbook.report import Report, RunState


def results(folder: Path, *texts: str) -> list[HostResult]:
    found = []
    for number, text in enumerate(texts):
        cell = new_code_cell("1", outputs=[new_output("stream", text=text)], metadata={"pskernel": {"state": "ok"}})
        out = folder / f"{number}.ipynb"
        nbformat.write(new_notebook(cells=[cell]), out)
        found.append(
            HostResult(
                f"host{number}", f"ssh://host{number}", "completed", Report(state=RunState.COMPLETED), 1, str(out)
            )
        )
    return found


def page(folder: Path, *texts: str) -> str:
    write_page(results(folder, *texts), {}, folder / "summary.html")
    return (folder / "summary.html").read_text()


def shuffled(count: int, width: int = 1) -> str:
    return "\n".join(str(random.randrange(100)) * width for _ in range(count))


@pytest.mark.parametrize("count", [2_000, 26_000])
def test_long_outputs_are_compared_in_little_time(tmp_path: Path, count: int) -> None:
    random.seed(1)
    one, other = shuffled(count), shuffled(count)
    began = time.process_time()
    made = page(tmp_path, one, other)
    assert time.process_time() - began < 5
    assert ("too long to be compared" in made) == (count > 2_000)
    assert "lines are left out" in made


def test_long_lines_are_cut(tmp_path: Path) -> None:
    made = page(tmp_path, "x" * 100_000, "x" * 100_000 + "y", "z" * 100_000)
    assert len(made) < 10_000
    assert "too long to be shown" in made


def test_the_largest_group_is_shown_and_twenty_others(tmp_path: Path) -> None:
    texts = [f"output {number}\n" for number in range(30)] + ["the most\n"] * 3
    made = results(tmp_path, *texts)
    (cell,) = compare(made)
    assert cell.groups[0].hosts == ("host30", "host31", "host32")
    assert [group.text is None for group in cell.groups] == [False] * 21 + [True] * 10
    assert sorted(host for group in cell.groups for host in group.hosts) == sorted(each.name for each in made)
    assert page(tmp_path, *texts).count("another output, which is in") == 10


def test_files_of_long_names_differ() -> None:
    stems = [file_stem("\u00fc" * number) for number in (20, 40, 254, 255)]
    assert len(set(stems)) == 4
    assert max(map(len, stems)) <= 200
    assert file_stem("web01") == "web01"


def test_a_host_with_parameters_of_its_own_is_compared_cell_by_cell_with_one_without(tmp_path: Path) -> None:
    made = results(tmp_path, "same\n", "same\n")
    notebook = nbformat.read(str(made[1].out), as_version=4)
    injected = new_code_cell("$Role = 'db'", metadata={"tags": ["injected-parameters"], "pskernel": {"state": "ok"}})
    notebook.cells.insert(0, injected)
    nbformat.write(notebook, str(made[1].out))

    (cell,) = compare(made)

    assert (cell.index, cell.source, [group.hosts for group in cell.groups]) == (0, "1", [("host0", "host1")])
