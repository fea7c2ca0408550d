"""Runs of notebooks in a session that stays when they have ended."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from pskernel.cli.app import app

pytestmark = pytest.mark.live


@pytest.fixture
def night(pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A session of this machine, apart from those of other tests."""
    folder = tempfile.mkdtemp(prefix="psk-", dir="/tmp")
    monkeypatch.setenv("TMPDIR", folder)
    yield f"process:{pwsh}?durable=1&session=night"
    shutil.rmtree(folder)


def ran(folder: Path, target: str, *cells: str) -> tuple[str, object, str]:
    """What a run says, its record, and what the last cell shows."""
    book, out = folder / "book.ipynb", folder / "out.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), book)
    done = CliRunner().invoke(app, ["run", str(book), "--target", target, "-o", str(out)])
    assert 0 == done.exit_code, done.output
    executed = nbformat.read(out, 4)
    outputs = executed.cells[-1].outputs
    shown = "".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stdout")
    return " ".join(done.output.split()), executed.metadata["pskernel"]["came_back"], shown


def test_a_run_says_whether_its_session_was_there(tmp_path: Path, night: str, pwsh: str) -> None:
    said, came_back, engine = ran(tmp_path, f"{night}&keep=1", "$x = 42", "$PID")
    assert ("The session night was not there: a new one was opened." in said, came_back) == (True, False)
    said, came_back, shown = ran(tmp_path, f"{night}&keep=1", '"$x $PID"')
    assert ("The session night was there already." in said, came_back) == (True, True)
    assert f"42 {engine}" == shown

    said, came_back, _ = ran(tmp_path, night, "1")
    assert came_back is True
    assert not psutil.pid_exists(int(engine))
    # The session is gone before it is asked.
    said, came_back, _ = ran(tmp_path, night, "exit 0")
    assert ("The session night was not there" in said, came_back) == (True, False)
    said, came_back, _ = ran(tmp_path, f"process:{pwsh}", "1")
    assert ("session" in said, came_back) == (False, None)
