"""The documents say what is true: examples run, tables match the code, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from psmagic.commands import COMMANDS
from psmagic.parameters import syntax

from pskernel.options import describe

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def option_rows() -> list[str]:
    """The rows of the table in docs/targets.md."""
    rows = []
    for option in describe():
        schemes = ", ".join(option.schemes) or "all"
        expects = option.expects.replace("|", "\\|")
        rows.append(f"| `{option.name}` | {schemes} | {option.default} | {expects} | {option.help} |")
    return rows


@pytest.mark.live
def test_the_library_example_runs(pwsh: str) -> None:
    text = (ROOT / "docs" / "library.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    result = subprocess.run(
        [sys.executable, "-c", program.replace('main("process:")', f'main("process:{pwsh}")')],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert 0 == result.returncode, result.stderr
    assert "[2, 4, 6]" in result.stdout
    assert "Year" in result.stdout
    assert "ended: COMPLETED" in result.stdout


def test_the_table_of_options_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "targets.md").read_text()

    assert option_rows() == re.findall(r"^\| `\w+` \|.*\|$", text, re.MULTILINE)


def test_the_syntax_of_the_magics_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "magics.md").read_text()

    assert text.endswith("\n".join(line for command in COMMANDS for line in syntax(command)) + "\n```\n")


def test_the_tests_that_are_named_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "winrm.md").read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "integration").glob("test_*.py"))
    assert named
    assert [] == sorted(name for name in named if f"def {name}(" not in tests)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in link:
            assert (document.parent / link).exists(), link
