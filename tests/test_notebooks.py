"""The notebooks of this project do what their saved outputs show: on their recording, and live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.container import started_container
from tests.parts.sshd import running_sshd
from tests.parts.winrm import PASSWORD, USER

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
RECORDED = sorted(path.stem for path in (NOTEBOOKS / "recordings").glob("*.jsonl"))


def _nbval(notebook: Path, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Check a notebook against its saved outputs."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", *words),
        *("--nbval-sanitize-with", str(ROOT / "pskernel" / "runbook" / "data" / "nbval_sanitize.cfg")),
        str(notebook),
    ]
    # From outside the project, so that its own pytest settings (timeouts, markers) do not apply to nbval's items.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "magics")]), **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def _with_our_kernel(notebook: str, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a notebook of the kernel for ``target``."""
    spec = folder / "kernels" / "under-test"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "pskernel", "-f", "{connection_file}", f"--target={target}"]
    text = {"argv": argv, "display_name": "under test", "language": "powershell", "interrupt_mode": "message"}
    (spec / "kernel.json").write_text(json.dumps(text))
    return _nbval(
        NOTEBOOKS / f"{notebook}.ipynb", folder, "--nbval-kernel-name", "under-test", JUPYTER_PATH=str(folder)
    )


@pytest.mark.parametrize("notebook", RECORDED)
def test_the_recording_gives_the_saved_outputs(notebook: str, tmp_path: Path) -> None:
    recording = NOTEBOOKS / "recordings" / f"{notebook}.jsonl"

    result = _with_our_kernel(notebook, f"replay:{recording}?speed=0&strict=true", tmp_path)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.live
@pytest.mark.parametrize("notebook", RECORDED)
def test_reality_gives_the_saved_outputs(notebook: str, tmp_path: Path, pwsh: str) -> None:
    result = _with_our_kernel(notebook, f"process:{pwsh}", tmp_path)

    assert 0 == result.returncode, f"recording and reality have drifted apart:\n{result.stdout}{result.stderr}"
    assert " passed" in result.stdout


@pytest.mark.live
def test_the_notebook_of_the_magics_gives_its_saved_outputs(tmp_path: Path, pwsh: str) -> None:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        (tmp_path / ".ssh").mkdir(mode=0o700)
        (tmp_path / ".ssh" / "config").write_text(
            f"Host web01\nHostName 127.0.0.1\nPort {server.port}\nUser {server.user}\n{server.config.read_text()}"
        )
        result = _nbval(NOTEBOOKS / "02-enter-pssession.ipynb", tmp_path, HOME=str(tmp_path))

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.live
def test_the_notebook_of_sessions_that_survive_gives_its_saved_outputs(tmp_path: Path, pwsh: str) -> None:
    # What is listed is what this notebook keeps there; a socket's path must be short.
    kept = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}, options=[f"SetEnv TMPDIR={kept}"]) as server:
        (tmp_path / ".ssh").mkdir(mode=0o700)
        (tmp_path / ".ssh" / "config").write_text(
            f"Host web01\nHostName 127.0.0.1\nPort {server.port}\nUser {server.user}\n{server.config.read_text()}"
        )
        result = _nbval(NOTEBOOKS / "07-sessions-that-survive.ipynb", tmp_path, HOME=str(tmp_path))
    shutil.rmtree(kept)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.live
def test_the_notebook_of_fleets_gives_its_saved_outputs(tmp_path: Path, pwsh: str) -> None:
    for name in ("04-runbook.ipynb", "05-fleet.ipynb"):
        shutil.copy(NOTEBOOKS / name, tmp_path)
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        (tmp_path / ".ssh").mkdir(mode=0o700)
        (tmp_path / ".ssh" / "config").write_text(
            f"Host web01\nHost web02\nHost db01\nHost *\nHostName 127.0.0.1\nPort {server.port}\nUser {server.user}\n"
            f"{server.config.read_text()}"
        )
        result = _nbval(tmp_path / "05-fleet.ipynb", tmp_path, HOME=str(tmp_path))

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.live
def test_the_notebook_of_windows_hosts_gives_its_saved_outputs(tmp_path: Path, pwsh: str) -> None:
    copy = tmp_path / "03-windows-hosts.ipynb"
    keyring = {
        "PYTHON_KEYRING_BACKEND": "tests.parts.keyrings.FileKeyring",
        "PSKERNEL_TEST_KEYRING": str(tmp_path / "keyring.json"),
        "XDG_DATA_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    set_it = [sys.executable, "-m", "pskernel.cli", "credential", "set", "web01", "--user", USER]
    with WsmanBridge([pwsh, "-s", "-NoLogo", "-NoProfile"], {USER: PASSWORD}) as bridge:
        # Nothing listens on WinRM's own port here, and the name means nothing.
        where = f"-ComputerName 127.0.0.1 -Port {bridge.port}"
        text = (NOTEBOOKS / copy.name).read_text()
        copy.write_text(text.replace("-ComputerName web01", where))
        subprocess.run(
            set_it, input=PASSWORD, env={**os.environ, **keyring}, text=True, check=True, capture_output=True
        )
        result = _nbval(copy, tmp_path, **{name: value for name, value in keyring.items() if name != "PYTHONPATH"})

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout
    assert PASSWORD not in text


@pytest.mark.live
def test_the_notebook_of_containers_gives_its_saved_outputs(tmp_path: Path, pwsh: str) -> None:
    copy = tmp_path / "06-containers.ipynb"
    container = started_container(pwsh)
    try:
        # A container of this name may be somebody's, and another engine be installed.
        text = (NOTEBOOKS / copy.name).read_text()
        copy.write_text(text.replace("-ContainerId web", f"-ContainerId podman/{container.name}"))
        result = _nbval(copy, tmp_path)
    finally:
        container.remove()

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_there_is_a_recording_for_the_quickstart() -> None:
    assert "01-quickstart" in RECORDED


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_name_our_kernel_and_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    ours = "python3" if "%load_ext psmagic" in path.read_text() or path.stem == "05-fleet" else "remote-powershell"
    assert ours == notebook.metadata.kernelspec.name
    text = path.read_text()
    assert "/root/" not in text
    assert "/home/" not in text
