"""An IPython shell in this process, with the magics, as tests use it."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from psmagic import load_ipython_extension, unload_ipython_extension

from pskernel.render.ansi import strip
from tests.parts.sshd import Sshd

__all__ = ["entering", "run", "shell", "ssh_parameters", "state"]


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.history_manager.enabled = False
    load_ipython_extension(shell)
    yield shell
    unload_ipython_extension(shell)
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()


@pytest.fixture
def entering(engine_sshd: Sshd) -> str:
    """The line that enters."""
    return f"%enter_pssession {ssh_parameters(engine_sshd)}"


def ssh_parameters(server: Sshd) -> str:
    """What names a server."""
    return (
        f"-HostName {server.user}@127.0.0.1:{server.port} -KeyFilePath '{server.key}' "
        f"-Options @{{ UserKnownHostsFile = '{server.known_hosts}' }}"
    )


def run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> tuple[str, Any]:
    """Run a cell; return what it showed, and its error."""
    capsys.readouterr()
    result = shell.run_cell(cell)
    return strip(capsys.readouterr().out), result.error_in_exec or result.error_before_exec


def state(shell: InteractiveShell) -> dict[str, Any]:
    """What entering changes."""
    manager = shell.input_transformer_manager
    return {
        "transforms": list(shell.input_transformers_cleanup),
        "complete": "check_complete" in vars(manager),
        "completer": shell.Completer,
        "magics": {kind: set(names) for kind, names in shell.magics_manager.magics.items()},
        "names": {name for name in vars(shell) if not name.startswith("_")},
    }
