"""scripts/quickstart where it cannot do its work: it says what is missing, and leaves nothing half made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "quickstart"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with nothing but the script."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    return tmp_path


def quickstart(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts" / "quickstart"],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_python_without_ensurepip_is_told_which_package_to_install(checkout: Path) -> None:
    # As on Debian and Ubuntu without python3-venv: the module is not there.
    (checkout / "ensurepip.py").write_text("raise ModuleNotFoundError(\"No module named 'ensurepip'\")")
    result = quickstart(checkout, PYTHON=sys.executable, PYTHONPATH=str(checkout))
    assert result.returncode == 2
    assert result.stderr.startswith(f"quickstart: {sys.executable} cannot make virtual environments")
    assert result.stderr.endswith("apt install python3-venv\n")
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("there_before", [False, True])
def test_a_virtual_environment_that_fails_half_way_is_removed_if_it_is_ours(
    checkout: Path, *, there_before: bool
) -> None:
    # Stands for a full disk: begins, and fails.
    python = checkout / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in "-m venv "*) mkdir -p .venv && echo no space >&2 && exit 1 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    if there_before:
        (checkout / ".venv").mkdir()
    result = quickstart(checkout, PYTHON=str(python))
    assert result.returncode == 2
    assert result.stderr.startswith("no space\nquickstart: the virtual environment ")
    assert (checkout / ".venv").exists() is there_before
