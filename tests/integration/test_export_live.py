"""Exported scripts in the real engine: they show what the cells show one after another."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pskernel import Target, connect
from pskernel.records import HostText, PipelineState, TextKind
from pskernel.render.ansi import strip
from pskernel.runbook.export import to_ps1
from tests.unit.runbook.test_export import tagged

pytestmark = pytest.mark.live


def export(folder: Path, *cells: Any) -> Path:
    made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    path = folder / "book.ps1"
    path.write_text(to_ps1(new_notebook(cells=made), "book.ipynb"), encoding="utf-8", newline="")
    return path


def run(pwsh: str, script: Path, *arguments: str) -> tuple[int, str, str]:
    command = [pwsh, "-NoProfile", "-NonInteractive", "-File", script, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, encoding="utf-8", errors="replace")
    return done.returncode, strip(done.stdout), strip(done.stderr)


async def cells_show(pwsh: str, *cells: Any) -> list[str]:
    """What the cells show on standard output, until one fails that is not expected to."""
    shown = []
    async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
        for cell in cells:
            tags = [] if isinstance(cell, str) else cell.metadata.get("tags", [])
            if "skip-execution" in tags or (not isinstance(cell, str) and cell.cell_type != "code"):
                continue
            pipeline = await runspace.run_cell(cell if isinstance(cell, str) else cell.source)
            async for record in pipeline:
                if isinstance(record, HostText) and record.kind is TextKind.OUTPUT:
                    shown.append(strip(record.text))
            assert pipeline.end is not None
            if pipeline.end.state is PipelineState.FAILED and "raises-exception" not in tags:
                break
    return shown


CELLS = [
    new_markdown_cell(
        "# Title #>\n'not run'\n# SIG # Begin signature block\n#requires -Version 99\n\u2028'ls' \x0b'vt'"
    ),
    "#% timeout 60\n$name = 'gr\u00fcn \U0001f600'\n$name",
    "using namespace System.Text\n[StringBuilder]::new('built').ToString()",
    "[pscustomobject]@{ One = 1 }",
    "[pscustomobject]@{ Two = 2 }\n[pscustomobject]@{ Three = 3 }",
    "function Get-Answer { 42 }\nclass Thing { [int] $Size = 7 }",
    "Get-Answer\n[Thing]::new().Size",
    "return\n'not reached'",
    "1/0\n'after an error that PowerShell goes on after'",
    "trap { 'trapped'; continue }\nthrow 'in the trap'",
    tagged("$seen = 1\n1/0\n'still in the cell'\nthrow 'expected'\n'not reached'", "raises-exception"),
    '"seen $seen"',
    tagged("'skipped' <# with a comment #>\n#>\n'not run'", "skip-execution"),
    "@'\nhere\n  string\n'@\nWrite-Host 'host'",
    "foreach ($n in 1..2) { $n }  # remark",
    "throw 'the end'",
    "'not reached'",
]


def test_a_script_shows_what_the_cells_show(pwsh: str, tmp_path: Path) -> None:
    status, shown, errors = run(pwsh, export(tmp_path, *CELLS))

    expected = "".join(asyncio.run(cells_show(pwsh, *CELLS)))
    before, after = shown.split("still in the cell\n")
    # The error of the cell that is expected to fail is shown among the output.
    message, rest = after.split("seen 1\n")
    # So does this host with the one that ends the script, and others on standard error.
    rest = rest.split("Exception: ")[0]
    assert "expected" in message
    assert expected == f"{before}still in the cell\nseen 1\n{rest}"
    assert "not r" not in shown
    assert "built" in shown
    assert 1 == status
    assert "the end" in shown + errors


def test_parameters_are_the_scripts(pwsh: str, tmp_path: Path) -> None:
    cells = [
        new_markdown_cell("text"),
        "using namespace System.IO\n'first'",
        tagged("#% width 100\n[CmdletBinding()]\nparam(\n  [ValidateRange(1, 9)][int] $Count = 3\n)", "parameters"),
        '"count $Count"',
    ]
    script = export(tmp_path, *cells)

    assert (0, "first\ncount 3\n", "") == run(pwsh, script)
    assert (0, "first\ncount 7\n", "") == run(pwsh, script, "-Count", "7")
    status, shown, errors = run(pwsh, script, "-Count", "70")
    assert (1, "") == (status, shown)
    assert "Cannot validate argument on parameter 'Count'" in errors


def test_injected_parameters_come_after_the_defaults(pwsh: str, tmp_path: Path) -> None:
    cells = [tagged("$Count = 3", "parameters"), tagged("$Count = 4", "injected-parameters"), '"count $Count"']
    assert (0, "count 4\n", "") == run(pwsh, export(tmp_path, *cells))


def test_exit_is_the_scripts(pwsh: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.ps1"
    plain.write_text("'a'\nexit 3\n'b'\n")
    # Not every host of the engine returns the number itself: this is about the script being no different.
    assert run(pwsh, plain) == run(pwsh, export(tmp_path, "'a'\nexit 3", "'b'"))
    assert "a\n" == run(pwsh, plain)[1]


@pytest.mark.parametrize("second", ["| ForEach-Object { 'joined' }", "if ("])
def test_cells_do_not_join_and_what_cannot_be_parsed_stops_all_of_it(pwsh: str, tmp_path: Path, second: str) -> None:
    _, shown, errors = run(pwsh, export(tmp_path, "'first'", second))
    assert "" == shown
    assert "ParserError" in errors


def test_an_else_of_another_cell_is_not_of_the_if(pwsh: str, tmp_path: Path) -> None:
    _, shown, errors = run(pwsh, export(tmp_path, "if ($false) { 'a' }", "else { 'joined' }", "'on'"))
    assert "on\n" == shown
    assert "The term 'else' is not recognized" in errors


def test_the_notebooks_of_this_project_can_be_exported() -> None:
    paths = (Path(__file__).parents[2] / "notebooks").glob("*.ipynb")
    books = {path.name: nbformat.read(path, as_version=4) for path in paths}
    ours = {
        name: book for name, book in books.items() if book.metadata.get("language_info", {}).get("name") == "powershell"
    }
    assert {"01-quickstart.ipynb", "04-runbook.ipynb"} <= set(ours)
    for name, book in ours.items():
        assert to_ps1(book, name).count("# %%") == len(book.cells)
