"""An IPython shell in this process, with the magics, as tests use it."""

from __future__ import annotations

import _thread
import atexit
import builtins
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from psmagic import load_ipython_extension, unload_ipython_extension

from pskernel.render.ansi import strip
from tests.parts.sshd import Sshd

__all__ = ["ctrl_c", "entering", "run", "shell", "ssh_parameters", "state"]


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.history_manager.enabled = False
    load_ipython_extension(shell)
    # A shell that has run a cell, and one that failed, has attributes that a new one has not.
    shell.run_cell("0\n1/0")
    yield shell
    unload_ipython_extension(shell)
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()


@pytest.fixture
def entering(engine_sshd: Sshd) -> str:
    """The line that enters."""
    return f"%enter_pssession {ssh_parameters(engine_sshd)}"


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl+C; where tests run in the background, it is ignored from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield _thread.interrupt_main
    signal.signal(signal.SIGINT, before)


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
    """All that a shell consists of: every attribute and trait of it and of its parts, and what its hooks hold."""
    parts = {
        "shell": shell,
        "transformer": shell.input_transformer_manager,
        "completer": shell.Completer,
        "magics": shell.magics_manager,
        "events": shell.events,
        "displayhook": shell.displayhook,
        "display_pub": shell.display_pub,
        "prefilter": shell.prefilter_manager,
    }
    found: dict[str, Any] = {"hooks": dict(shell.hooks), "sys": (sys.displayhook, sys.excepthook, builtins.input)}
    for name, part in parts.items():
        members = {**vars(part), **getattr(part, "_trait_values", {})}
        for member, value in members.items():
            if member not in _LIVELY:
                # A list's items, and a table's names: what is put in or taken out. Anything else by itself.
                found[f"{name}.{member}"] = _content(value)
    # IPython loads its own magics when they are first called.
    found["magics.magics"] = {kind: sorted(names) for kind, names in shell.magics_manager.magics.items()}
    return found


# What every cell changes, whoever runs it.
_LIVELY = {
    "execution_count", "_trait_values", "_last_traceback", "last_execution_succeeded", "last_execution_result",
    "exec_result", "_reply_content", "is_publishing", "_is_publishing", "_exit_code", "user_ns", "user_ns_hidden",
    "namespace", "_compile_names", "_cross_validation_lock", "_notify_trait", "_Completer__", "last_syntax_error",
    "suppressed_completer_warnings", "unicode_names", "_main_mod_cache", "custom_exceptions", "tempfiles",
    "_last_input_line", "_in_post_execute",
}  # fmt: skip


def _content(value: Any) -> Any:
    if isinstance(value, list):
        return [_content(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _content(item) for key, item in value.items() if key != "_dh"}
    # A method is made anew each time it is asked for, and equals itself.
    return value if callable(value) or isinstance(value, str | int | float | bool | None | tuple) else id(value)
