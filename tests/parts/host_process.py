"""PowerShell processes that run already, for tests that attach to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

__all__ = ["HostProcess", "host_process", "host_process_factory", "host_process_url"]


class HostProcess:
    """A process with a temporary folder of its own, and a custom pipe where ``pipe`` names one."""

    def __init__(self, engine: str, pipe: str = "") -> None:
        # A socket's path has 104 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
        words = ["-CustomPipeName", pipe] if pipe else []
        self._process = subprocess.Popen(
            [engine, "-NoLogo", "-NoProfile", *words, "-Command", "'up'; while ($true) { Start-Sleep 600 }"],
            env={**os.environ, "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        # Its pipes are made before the command runs.
        assert b"up\n" == self._process.stdout.readline()
        self.pid = self._process.pid

    @property
    def url(self) -> str:
        return f"pid:{self.pid}"

    @property
    def socket(self) -> Path:
        """The socket that is named after the process."""
        (found,) = self.folder.glob(f"CoreFxPipe_PSHost.*.{self.pid}.*")
        return found

    @property
    def is_running(self) -> bool:
        return psutil.pid_exists(self.pid) and self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def remove(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def host_process(pwsh: str) -> Iterator[HostProcess]:
    """One process for a whole session: for tests that leave it as it was."""
    process = HostProcess(pwsh)
    yield process
    process.remove()


@pytest.fixture(scope="session")
def host_process_url(host_process: HostProcess) -> str:
    """Its target."""
    return host_process.url


@pytest.fixture
def host_process_factory(pwsh: str) -> Iterator[Callable[..., HostProcess]]:
    """Starts processes that end with the test."""
    started: list[HostProcess] = []

    def start(pipe: str = "") -> HostProcess:
        started.append(HostProcess(pwsh, pipe))
        return started[-1]

    yield start
    for each in started:
        each.remove()
