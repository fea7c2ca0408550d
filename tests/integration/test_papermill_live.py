"""papermill, by its API and its command, with our kernel on the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook
from papermill.execute import PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from pskernel import PSSession, new_pssession
from pskernel.runbook.literals import LiteralError
from pskernel.runbook.scanner import ParametersError
from tests.parts.described import DESCRIBE, PLAIN_ATOMS, TEXTS, describe, nested
from tests.parts.kernels import CHECKOUT

pytestmark = pytest.mark.live

VALUES = nested(PLAIN_ATOMS, TEXTS | st.integers(-(2**40), 2**40))
BLOCK = "param([Parameter(Mandatory)][ValidatePattern('^w')][string]$Name, [int]$Count = 3) # end"


def book(*sources: str) -> Any:
    cells = [
        new_code_cell(source, metadata={"tags": ["parameters"] if not number else []})
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "remote-powershell", "language": "powershell", "display_name": "Remote PowerShell"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def text_of(cell: Any) -> str:
    assert all(output.output_type == "stream" and output.name == "stdout" for output in cell.outputs), cell.outputs
    return "".join(output.text for output in cell.outputs)


@pytest.fixture(scope="module")
def session(pwsh: str) -> Iterator[PSSession]:
    with new_pssession(f"process:{pwsh}") as session:
        session.invoke(DESCRIBE)
        yield session


@pytest.fixture
def machine(tmp_path: Path, pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and an environment with our kernel in it and nothing else of Jupyter's."""
    kernels = tmp_path / "jupyter" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "remote-powershell").symlink_to(CHECKOUT / "kernelspec" / "remote-powershell")
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PSKERNEL_TARGET", f"process:{pwsh}")
    return tmp_path


def execute(notebook: Any, parameters: dict[str, Any], **more: Any) -> Any:
    return papermill.execute_notebook(notebook, more.pop("out", None), parameters, progress_bar=False, **more)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_hostile_values_arrive_as_they_are(session: PSSession, value: Any) -> None:
    # A notebook that papermill has loaded has the metadata that it expects.
    made = parameterize_notebook(load_notebook_node(book("$Value = 1")), {"Value": value})

    assert [describe(value)] == session.invoke(f"{made.cells[1].source}\nDescribe $Value")


def test_hostile_values_arrive_through_the_kernel(machine: Path) -> None:
    values: list[Any] = []

    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate])
    # papermill keeps them in the notebook's metadata too, as JSON with sorted keys.
    @given(nested(PLAIN_ATOMS, TEXTS))
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    parameters = {f"v{number}": value for number, value in enumerate(values)}
    show = "\n".join(f"Describe $v{number}" for number in range(len(values)))

    done = execute(book("\n".join(f"${name} = 0" for name in parameters), DESCRIBE, show), parameters)

    assert 300 <= len(values)
    assert list(map(describe, values)) == text_of(done.cells[-1]).splitlines()


def test_a_value_stays_in_its_type_and_a_wrong_one_ends_the_run(machine: Path) -> None:
    notebook = book("[int]$Count = 3 # how many", "$Count.GetType().Name; $Count")

    assert "Int64" not in text_of(execute(notebook, {"Count": 5}).cells[-1])
    with pytest.raises(PapermillExecutionError, match="Cannot convert value"):
        execute(notebook, {"Count": "x"}, out=machine / "out.ipynb")
    assert [] == nbformat.read(machine / "out.ipynb", as_version=4).cells[-1].outputs


@pytest.mark.parametrize("name", ["Host", "pid", "x; exit 3", "a b"])
def test_a_name_of_powershells_is_refused(machine: Path, name: str) -> None:
    with pytest.raises(LiteralError):
        execute(book("$a = 1"), {name: 1})


def test_a_block_runs_with_papermills_own_engine(machine: Path) -> None:
    done = execute(
        book("param([int]$Count = 3, [string]$Name = 'a')", '"$Count $Name $($Count.GetType().Name)"'), {"Count": 5}
    )

    assert "5 a Int32\n" == text_of(done.cells[-1])


def test_a_block_is_bound_by_our_engine(machine: Path) -> None:
    notebook = book(BLOCK, '"$Name $Count"')

    done = execute(notebook, {"name": "web01"}, engine_name="remote-powershell", out=machine / "out.ipynb")

    assert "web01 3\n" == text_of(done.cells[-1])
    assert 3 == len(done.cells)
    # What papermill wrote can be run again, with other values.
    again = execute(str(machine / "out.ipynb"), {"Name": "www", "Count": 7}, engine_name="remote-powershell")
    assert "www 7\n" == text_of(again.cells[-1])
    assert 3 == len(again.cells)


@pytest.mark.parametrize(
    ("parameters", "error", "why"),
    [
        ({"Count": 5}, ParametersError, "Name needs a value"),
        ({"Name": "web", "Cuont": 5}, ParametersError, "Did you mean Count"),
        ({"Name": "web", "Count": "5"}, ParametersError, "whole number"),
        ({"Name": "db"}, PapermillExecutionError, "Cannot validate argument on parameter 'Name'"),
    ],
)
def test_our_engine_refuses(machine: Path, parameters: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        execute(book(BLOCK, "'ran'"), parameters, engine_name="remote-powershell", out=machine / "out.ipynb")
    if error is PapermillExecutionError:
        assert [] == nbformat.read(machine / "out.ipynb", as_version=4).cells[-1].outputs


def test_a_secret_is_asked_for_and_not_written(machine: Path, pwsh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = book(
        "param([Parameter(Mandatory)][pscredential]$Login, [hashtable]$Map = @{})",
        '"$($Login.UserName) $($Login.GetNetworkCredential().Password.Length) $($Map.key)"',
    )
    answers = "- prompt: User\n  answer: admin\n- prompt: Password for\n  secret: env:HOMEPW\n"
    (machine / "answers.yaml").write_text(answers)

    with pytest.raises(PapermillExecutionError, match="NonInteractive"):
        execute(notebook, {"Map": {"Key": 5}}, engine_name="remote-powershell")

    monkeypatch.setenv("HOMEPW", "hunter2")
    monkeypatch.setenv("PSKERNEL_TARGET", f"process:{pwsh}?answers={machine / 'answers.yaml'}")
    # A value is given to say that a hashtable's keys have no regard to case, as if it stood in the notebook.
    done = execute(notebook, {"Map": {"Key": 5}}, engine_name="remote-powershell", out=machine / "out.ipynb")

    assert "admin 7 5\n" == text_of(done.cells[-1])
    assert "hunter2" not in (machine / "out.ipynb").read_text()


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "papermill", *arguments]
    return subprocess.run(
        argv, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=100, check=False
    )


def test_the_command(machine: Path) -> None:
    hostile = "it's \u2019$(throw 'x')`n\u00e9 \"q\"; exit 3"
    nbformat.write(
        book(
            "[string]$Name = 'a'\n[int]$Count = 3\n$List = @()",
            DESCRIBE,
            "Describe $Name; Describe $Count; Describe $List",
        ),
        machine / "book.ipynb",
    )
    (machine / "p.yaml").write_text("List: [1, two, {k: null}]\nCount: 1\n")

    ran = command(
        machine,
        "book.ipynb",
        "out.ipynb",
        "-f",
        "p.yaml",
        "-r",
        "Name",
        hostile,
        "-p",
        "Count",
        "5",
        "--no-progress-bar",
    )

    assert 0 == ran.returncode, ran.stderr
    assert "unknown parameter" not in ran.stderr
    done = nbformat.read(machine / "out.ipynb", as_version=4)
    assert [describe(hostile), "i5", describe([1, "two", {"k": None}])] == text_of(done.cells[-1]).splitlines()


def test_the_help_of_a_notebook(machine: Path) -> None:
    nbformat.write(book("[string]$Name = 'a'  # which one\n$Count = 3"), machine / "book.ipynb")

    shown = command(machine, "--help-notebook", "book.ipynb")

    assert 0 == shown.returncode, shown.stderr
    assert "Name: string (default 'a')      which one" in shown.stdout
    assert "Count: Unknown type (default 3)" in shown.stdout
    assert ["Name", "Count"] == list(papermill.inspect_notebook(str(machine / "book.ipynb")))
