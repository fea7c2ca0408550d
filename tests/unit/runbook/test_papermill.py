"""What papermill is told, without a kernel."""

from __future__ import annotations

import subprocess
import sys

import papermill
import pytest
from nbformat.v4 import new_code_cell
from papermill.translators import papermill_translators

from pskernel.papermill import PowerShellTranslator


@pytest.mark.parametrize("first", ["papermill", "pskernel.papermill", "pskernel.papermill.engine"])
def test_it_does_not_matter_who_is_imported_first(first: str) -> None:
    script = f"import {first}; from papermill.engines import papermill_engines as e; print(e.get_engine('remote-powershell'))"

    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "<class 'pskernel.papermill.engine.Engine'>\n" == shown.stdout


@pytest.mark.parametrize(("kernel", "language"), [("web01", "powershell"), ("remote-powershell", "x"), ("x", "pwsh")])
def test_the_translator_is_found(kernel: str, language: str) -> None:
    assert PowerShellTranslator is papermill_translators.find_translator(kernel, language)


def test_others_keep_theirs() -> None:
    assert PowerShellTranslator is not papermill_translators.find_translator(".net-powershell", "x")
    assert papermill.__version__


def test_a_cell() -> None:
    text = PowerShellTranslator.codify({"a": "it's", "b": None}, "from\nhere")

    assert "# from here\ntry {\n$a = 'it''s'\n$b = $null\n} catch { throw }" == text
    assert "$x = 5" == PowerShellTranslator.assign("x", PowerShellTranslator.translate(5))
    assert "# a b" == PowerShellTranslator.comment("a\nb")


def test_the_parameters() -> None:
    cell = new_code_cell("[int]$a = 1 # one\n$b = 'x'")

    assert [("a", "int", "1", "one"), ("b", "None", "'x'", "")] == [
        tuple(found) for found in PowerShellTranslator.inspect(cell)
    ]


def test_a_cell_that_cannot_be_read_has_none_and_the_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert [] == PowerShellTranslator.inspect(new_code_cell("Get-Date"))
    assert "Line 1 of the cell cannot be read" in caplog.text
