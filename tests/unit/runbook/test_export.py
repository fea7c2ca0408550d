"""A notebook as a script: the text, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from pskernel.runbook.export import EXPORTED, to_ps1
from pskernel.runbook.notebook import NotebookError
from tests.unit.cli.conftest import Invoke, invoke

__all__ = ["invoke"]


def tagged(source: str, *tags: str) -> Any:
    return new_code_cell(source, metadata={"tags": list(tags)})


def exported(*cells: Any) -> str:
    made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    script = to_ps1(new_notebook(cells=made), "book.ipynb")
    head = f"{EXPORTED}book.ipynb\n#>\n\n"
    assert script.startswith(head)
    return script.removeprefix(head)


def test_cells_in_order_with_their_kind_and_tags() -> None:
    assert exported(
        new_markdown_cell("# Title\n\ntext"),
        "#% timeout 60\n1\n",
        "  \n",
        tagged("2", "always", 'a"\u00e9\n'),
        tagged("3 <# x #>", "skip-execution"),
        new_raw_cell("raw"),
    ) == (
        "# %% [markdown]\n<#\n# Title\n\ntext\n#>\n\n"
        "# %%\n. {\n#% timeout 60\n1\n} | Out-Default\n\n"
        '# %% tags=["always", "a\\"\\u00e9\\n"]\n. {\n2\n} | Out-Default\n\n'
        '# %% tags=["skip-execution"]\n<#\n3 <# x # >\n#>\n\n'
        "# %% [raw]\n<#\nraw\n#>\n"
    )


def test_a_cell_that_is_expected_to_fail_is_a_pipeline_of_its_own() -> None:
    script = exported(tagged("throw 'x'", "raises-exception"))
    assert "AddScript({ . {\nthrow 'x'\n} 2>&1 | Out-Default }).Invoke() } catch {" in script


@pytest.mark.parametrize(
    "source",
    [
        "param([int]$n = 3)",
        "# text\n<# more\n#> \n[CmdletBinding(DefaultParameterSetName = 'a')]\n [Alias('x')] # why\nPARAM (\n[ValidateSet('a')]$n)",
    ],
)
def test_a_param_block_comes_first(source: str) -> None:
    script = exported(
        new_markdown_cell("text"), "1", tagged(source, "parameters"), tagged("$n = 4", "injected-parameters")
    )
    assert script.startswith(f'# %% tags=["parameters"]\n{source}\n\n# %% [markdown]\n')
    assert ". {\n1\n} | Out-Default" in script
    assert script.endswith(". {\n$n = 4\n} | Out-Default\n")


@pytest.mark.parametrize(
    "source", ["$n = 3", "[int]$n = 3", "# param(\n$n = 3", "parameter(1)", "'param('", "[" * 500, "#" * 500]
)
def test_other_parameters_stay_where_they_are(source: str) -> None:
    assert exported("1", tagged(source, "parameters")).endswith(
        f'tags=["parameters"]\n. {{\n{source}\n}} | Out-Default\n'
    )


def test_using_goes_to_the_top_once() -> None:
    script = exported(
        "# why\nusing namespace System.Text # remark\n\nUsing module 'a b.psm1';\n1",
        "using namespace System.Text # remark\n<# x\nusing namespace Not.This\n#>\nusing assembly System.Web\n2\nusing x",
        tagged("using namespace System.IO\nparam($a)", "parameters"),
        tagged("using namespace Not.That", "skip-execution"),
    )
    assert script.startswith(
        "using namespace System.Text # remark\nUsing module 'a b.psm1';\nusing assembly System.Web\n"
        "using namespace System.IO\n\n"
        '# %% tags=["parameters"]\n# At the top: using namespace System.IO\nparam($a)\n\n'
    )
    assert (
        "# why\n# At the top: using namespace System.Text # remark\n\n# At the top: Using module 'a b.psm1';\n1\n"
        in script
    )
    assert "2\nusing x\n}" in script


@pytest.mark.parametrize(
    "line",
    [
        "using namespace System.Text; 1",
        "using module @{",
        "using module `",
        'using module "$a"',
        "using assembly a b",
        "using namespace X | y",
    ],
)
def test_using_that_cannot_be_moved_is_refused(line: str) -> None:
    with pytest.raises(NotebookError, match="Cell 2 has a `using` statement that cannot be moved"):
        exported("1", f"{line}\n2")


def test_a_notebook_without_code_is_refused() -> None:
    with pytest.raises(NotebookError, match="nothing to export"):
        exported(new_markdown_cell("text"), " ")


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("'gr\u00fcn'\r\n1")]), path)
    return path


def test_the_script_is_written_beside_the_notebook_with_a_mark_for_windows(invoke: Invoke, book: Path) -> None:
    result = invoke("export", book, "--to", "ps1")

    script = book.with_suffix(".ps1")
    assert (0, f"Written to {script}.\n", "") == (result.status, result.stdout, result.stderr)
    assert script.read_bytes().startswith(b"\xef\xbb\xbf<#\n")
    assert "'gr\u00fcn'\r\n1\n".encode() in script.read_bytes()
    assert 0 == invoke("export", book).status


def test_other_files_are_not_replaced(invoke: Invoke, book: Path) -> None:
    book.with_suffix(".ps1").write_text("mine")
    result = invoke("export", book)
    assert (2, "mine") == (result.status, book.with_suffix(".ps1").read_text())
    assert "is no earlier export" in result.stderr
    assert 0 == invoke("export", book, "-o", book.with_name("other.ps1")).status
    assert 2 == invoke("export", book, "-o", book.parent).status
    assert "cannot be written: No such file" in invoke("export", book, "-o", book.parent / "no" / "x.ps1").stderr


def test_what_is_no_powershell_is_refused(invoke: Invoke, book: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("1")], metadata={"language_info": {"name": "python"}}), book)
    assert "its language is python" in invoke("export", book).stderr
    assert 2 == invoke("export", book, "--to", "sh").status
    assert not book.with_suffix(".ps1").exists()
