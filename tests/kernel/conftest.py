"""Kernels for the tests of this folder."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.container import container, container_url
from tests.parts.host_process import (
    forwarded,
    forwarded_url,
    forwarding_sshd,
    host_process,
    host_process_factory,
    host_process_url,
)
from tests.parts.ipython import ctrl_c
from tests.parts.kernels import Gate, Kernel, Relay, Starter
from tests.parts.sshd import sshd_factory
from tests.parts.winrm import winrm, winrm_url

__all__ = [
    "container",
    "container_url",
    "ctrl_c",
    "forwarded",
    "forwarded_url",
    "forwarding_sshd",
    "host_process",
    "host_process_factory",
    "host_process_url",
    "sshd_factory",
    "winrm",
    "winrm_url",
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts kernels that end with the test."""
    starter = Starter(tmp_path)
    yield starter
    starter.end_all()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What a cell is, is the same over WinRM, in a container and in a process that runs already."""
    if "kernel" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in {
        "test_cells",
        "test_prompts",
    }:
        metafunc.parametrize(
            "kernel", ["process", "winrm", "container", "host_process", "forwarded"], indirect=True, scope="module"
        )


@pytest.fixture(scope="module")
def kernel(request: pytest.FixtureRequest, pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel on the real engine for a whole module: for tests that leave it as it was."""
    over = getattr(request, "param", "process")
    target = f"process:{pwsh}" if over == "process" else request.getfixturevalue(f"{over}_url")
    starter = Starter(tmp_path_factory.mktemp("kernel"))
    yield starter(target, "stop_timeout=20")
    starter.end_all()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Something a cell waits for until the test lets it go on."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def relay(pwsh: str) -> Iterator[Relay]:
    """An engine behind a socket whose way back the test governs."""
    relay = Relay(pwsh)
    yield relay
    relay.close()


@pytest.fixture
def silent_socket() -> Iterator[str]:
    """A socket on which every connection is taken, and nothing is ever said."""
    with tempfile.TemporaryDirectory(prefix="psk-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/silent"
        listener.bind(path)
        listener.listen()
        yield path
