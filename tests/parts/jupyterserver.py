"""A Jupyter server of the tests' own, with nothing of the user's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.parts.sshd import free_port

ROOT = Path(__file__).parents[2]
TOKEN = uuid.uuid4().hex
_OF_THE_USER = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
    "XDG_DATA_HOME", "XDG_STATE_HOME",
)  # fmt: skip


def install_spec(folder: Path, name: str, target: str, options: Sequence[str] = ()) -> None:
    """Write a kernelspec for ``target`` to where the server of this folder looks."""
    spec = folder / "data" / "kernels" / name
    spec.mkdir(parents=True)
    words = [word for option in options for word in ("--option", option)]
    argv = [sys.executable, "-m", "pskernel", "-f", "{connection_file}", f"--target={target}", *words]
    text = {"argv": argv, "display_name": "Remote PowerShell", "language": "powershell", "interrupt_mode": "message"}
    (spec / "kernel.json").write_text(json.dumps(text))


@contextlib.contextmanager
def running(module: str, folder: Path) -> Iterator[str]:
    """Run ``jupyter_server`` or ``jupyterlab`` in a folder; yield its address without the scheme."""
    port = free_port()
    words = [f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", "--no-browser", "--allow-root"]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words, f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"],
        env={
            **os.environ,
            **{name: str(folder / name.lower()) for name in _OF_THE_USER},
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(ROOT),
        },
        cwd=folder,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "Use Control-C to stop" in line:
                break
        else:
            pytest.fail(f"{module} did not start")
        # Kept drained, so that the server never blocks on its own log.
        log = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        log.wait(20)
        process.stderr.close()
