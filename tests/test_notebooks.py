"""The notebooks of this project do what their saved outputs show: on their recording, and live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
RECORDED = sorted(path.stem for path in (NOTEBOOKS / "recordings").glob("*.jsonl"))


def _nbval(notebook: str, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a notebook against its saved outputs with a kernel for ``target``."""
    spec = folder / "kernels" / "under-test"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "pskernel", "-f", "{connection_file}", f"--target={target}"]
    text = {"argv": argv, "display_name": "under test", "language": "powershell", "interrupt_mode": "message"}
    (spec / "kernel.json").write_text(json.dumps(text))
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--nbval",
            "--nbval-kernel-name",
            "under-test",
        ),
        *("--nbval-sanitize-with", str(NOTEBOOKS / "nbval_sanitize.cfg")),
        str(NOTEBOOKS / f"{notebook}.ipynb"),
    ]
    # From outside the project, so that its own pytest settings (timeouts, markers) do not apply to nbval's items.
    environment = {**os.environ, "JUPYTER_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.mark.parametrize("notebook", RECORDED)
def test_the_recording_gives_the_saved_outputs(notebook: str, tmp_path: Path) -> None:
    recording = NOTEBOOKS / "recordings" / f"{notebook}.jsonl"

    result = _nbval(notebook, f"replay:{recording}?speed=0&strict=true", tmp_path)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.live
@pytest.mark.parametrize("notebook", RECORDED)
def test_reality_gives_the_saved_outputs(notebook: str, tmp_path: Path, pwsh: str) -> None:
    result = _nbval(notebook, f"process:{pwsh}", tmp_path)

    assert 0 == result.returncode, f"recording and reality have drifted apart:\n{result.stdout}{result.stderr}"
    assert " passed" in result.stdout


def test_there_is_a_recording_for_the_quickstart() -> None:
    assert "01-quickstart" in RECORDED


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_name_our_kernel_and_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    assert "remote-powershell" == notebook.metadata.kernelspec.name
    text = path.read_text()
    assert "/root/" not in text
    assert "/home/" not in text
