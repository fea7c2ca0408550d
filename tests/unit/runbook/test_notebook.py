"""Notebooks as files: read strictly, written in one step."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from pskernel.runbook.notebook import (
    NotebookError,
    counts,
    digest,
    join_streams,
    parameters_digest,
    read_notebook,
    runs,
    title_of,
    write_notebook,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def test_what_is_written_is_read_back(path: Path) -> None:
    written = new_notebook(cells=[new_code_cell("'grün 😀'"), new_markdown_cell("# x")], metadata={"a": [1]})
    write_notebook(written, path)
    assert read_notebook(path) == written


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b'{"cells": [', "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "does not say which nbformat"),
        (b"{}", "does not say which nbformat"),
        (b'{"nbformat": "4"}', "does not say which nbformat"),
        (b'{"nbformat": 9, "nbformat_minor": 0}', "not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "cells": 3, "metadata": {}}', "not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a valid notebook"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
            "not a valid notebook",
        ),
        (b'{"nbformat": 4, "nbformat_minor": "x", "metadata": {}, "cells": []}', "does not say which nbformat"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": 1}, "cells": []}',
            "its kernelspec is not an object",
        ),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": 1, "cells": []}', "not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1]}', "not a valid notebook"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {"tags": 1}, "source": ""}]}',
            "the tags of cell 1",
        ),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}, "source": 1}]}',
            "source or the tags of cell 1",
        ),
        (b'{"nbformat": 2, "nbformat_minor": 0}', "not a valid notebook"),
    ],
)
def test_what_is_not_a_notebook_is_said_in_one_line(path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotebookError, match=message) as caught:
        read_notebook(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_folder_is_not_a_notebook(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="Is a directory"):
        read_notebook(tmp_path)


def test_half_a_character_is_refused_before_it_can_stop_a_run(path: Path) -> None:
    content = new_notebook(cells=[new_code_cell("1"), new_code_cell("XX")])
    path.write_text(nbformat.writes(content).replace("XX", "\\ud83d"))
    with pytest.raises(NotebookError, match=r"Cell 2 of .* half a character"):
        read_notebook(path)


def test_older_formats_and_cells_without_ids_are_taken(path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "source": ["1"], "outputs": [], "execution_count": None}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell, cell]}))
    first, second = read_notebook(path).cells
    assert first.id != second.id
    old = {
        "cell_type": "code",
        "input": "1",
        "language": "powershell",
        "outputs": [],
        "collapsed": False,
        "metadata": {},
    }
    path.write_text(json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [old]}]}))
    assert [cell.source for cell in read_notebook(path).cells] == ["1"]


def test_what_breaks_the_schema_but_no_run_is_taken(path: Path) -> None:
    cell = {"id": "a", "cell_type": "code", "metadata": {}, "source": "1", "extra": True}
    metadata = {"kernelspec": {"name": "x"}}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}))
    assert [cell.source for cell in read_notebook(path).cells] == ["1"]


def test_writing_leaves_nothing_else_behind_and_keeps_mode_and_link(tmp_path: Path) -> None:
    (tmp_path / "real.ipynb").write_text("old")
    (tmp_path / "real.ipynb").chmod(0o640)
    (tmp_path / "link.ipynb").symlink_to("real.ipynb")
    write_notebook(new_notebook(), tmp_path / "link.ipynb")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.ipynb", "real.ipynb"]
    assert (tmp_path / "link.ipynb").is_symlink()
    assert stat.S_IMODE((tmp_path / "real.ipynb").stat().st_mode) == 0o640
    assert read_notebook(tmp_path / "real.ipynb").cells == []


def test_a_link_that_others_have_put_beside_it_is_not_followed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / f".{path.name}.{os.getpid()}.part").symlink_to(other)
    write_notebook(new_notebook(), path)
    assert other.read_text() == "kept"
    assert path.is_file()


def test_the_digest_holds_what_a_run_obeys() -> None:
    def of(*tags: str, source: str = "1") -> tuple[str, str]:
        notebook = new_notebook(cells=[new_code_cell("0"), new_code_cell(source, metadata={"tags": list(tags)})])
        return digest(notebook), parameters_digest(notebook)

    assert of() == of("mine") != of(source="2")
    for tag in ("skip-execution", "raises-exception", "always", "assert", "parameters"):
        assert of() != of(tag)
    # Where a param() block is bound, its own cell is skipped.
    assert of("parameters") == of("parameters", "skip-execution")
    injected = of("injected-parameters")
    assert injected[0] == of("injected-parameters", source="2")[0]
    assert (
        len({injected[1], of("injected-parameters", source="2")[1], of("injected-parameters", "skip-execution")[1]})
        == 3
    )


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotebookError, match="No space left on device"):
        write_notebook(new_notebook(), path)
    assert [file.name for file in path.parent.iterdir()] == ["a.ipynb"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("place", ["nosuch/a.ipynb", "."])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    with pytest.raises(NotebookError):
        write_notebook(new_notebook(), tmp_path / place)


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotebookError, match="not a regular file"):
        write_notebook(new_notebook(), tmp_path / "fifo")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_half_a_character_in_an_output_does_not_cost_the_notebook(path: Path) -> None:
    write_notebook(new_notebook(cells=[new_markdown_cell("a\ud83db")]), path)
    assert read_notebook(path).cells[0].source == "a?b"


def test_pieces_of_a_stream_are_joined_and_their_order_kept() -> None:
    def stream(name: str, text: str) -> Any:
        return new_output("stream", name=name, text=text)

    display = new_output("display_data", {"text/plain": "x"})
    joined = join_streams(
        [stream("stdout", "a"), stream("stdout", "b"), stream("stderr", "c"), display, display, stream("stderr", "d")]
    )
    assert joined == [stream("stdout", "ab"), stream("stderr", "c"), display, display, stream("stderr", "d")]


def test_which_cells_run() -> None:
    skipped = new_code_cell("1", metadata={"tags": ["skip-execution"]})
    cells = [new_code_cell("1"), new_code_cell(" \n"), new_markdown_cell("1"), skipped]
    assert [counts(cell) for cell in cells] == [True, False, False, True]
    assert [runs(cell) for cell in cells] == [True, False, False, False]


def test_a_title_is_the_first_line_without_terminal_control() -> None:
    assert title_of("#% timeout 5\n#% width 99\n1 + 1") == "1 + 1"
    assert title_of("#% target process:") == "#% target process:"
    assert title_of("\n   \n  Get-\x1b]0;x\x07Service\x1b[31m | more  \nrest") == "Get-Service | more"
