"""What `pip install` puts where."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = "share/jupyter/kernels/remote-powershell"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = out.glob("pskernel-*.whl")
    return zipfile.ZipFile(file)


def _data(wheel: zipfile.ZipFile, name: str) -> bytes:
    (found,) = (entry for entry in wheel.namelist() if entry.endswith(f".data/data/{SPEC}/{name}"))
    return wheel.read(found)


def test_the_kernelspec_is_shipped_as_data(wheel: zipfile.ZipFile) -> None:
    spec = json.loads(_data(wheel, "kernel.json"))

    assert "Remote PowerShell" == spec["display_name"]
    assert "message" == spec["interrupt_mode"]
    # Jupyter replaces a plain "python" by its own interpreter; any path would be the builder's.
    assert ["python", "-m", "pskernel"] == spec["argv"][:3]
    assert all(_data(wheel, logo) for logo in ("logo-32x32.png", "logo-64x64.png", "logo-svg.svg"))


def test_the_remote_scripts_and_the_type_marker_are_shipped(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    assert {"pskernel/py.typed", "pskernel/session/scripts/facts.ps1", "pskernel/session/scripts/where.ps1"} <= names
    assert "pskernel/transports/scripts/machines.ps1" in names
    assert "pskernel/runbook/data/nbval_sanitize.cfg" in names


def test_nothing_of_the_tests_is_shipped(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {"pskernel", "psmagic"} == {top for top in tops if not top.startswith("pskernel-")}


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))

    assert "pskernel = pskernel.cli.app:main" in wheel.read(entry_points).decode()
