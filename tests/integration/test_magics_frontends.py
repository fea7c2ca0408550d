"""``%enter_pssession`` where people use it: an IPython terminal, and a Python notebook run headless."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from pskernel.render.ansi import strip
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
REMOTE = r"\[127\.0\.0\.1\]: PS [^>]*>"
PYTHON = r"In \[\d+\]:"


@pytest.fixture(scope="module")
def entering(sshd_factory: Callable[..., Sshd], pwsh: str) -> str:
    """The line that enters."""
    sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})
    return (
        f"%enter_pssession -HostName {sshd.user}@127.0.0.1:{sshd.port} -KeyFilePath '{sshd.key}' "
        f"-Options @{{ UserKnownHostsFile = '{sshd.known_hosts}' }}"
    )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    own = {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "magics")])
    return {**os.environ, **own, "PYTHONPATH": path, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[pexpect.spawn[str]]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor"],
        env=environment,  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=40,
        dimensions=(40, 200),
        # Where tests run in the background, Ctrl+C is ignored from the start, by children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    child.expect(PYTHON)
    yield child
    child.close(force=True)


def test_a_terminal_is_the_remotes_until_exit(terminal: pexpect.spawn[str], entering: str) -> None:
    def types(line: str, *shown: str) -> None:
        terminal.send(f"{line}\r")
        for pattern in shown:
            terminal.expect(pattern)

    types("%load_ext psmagic", PYTHON)
    types(entering, REMOTE)
    # Expected texts are never those that are typed: the terminal shows these too.
    types("$x = 40; $x + 2", "42", REMOTE)
    types("if ($true) {", ">>")
    types("'in ' + 'block'")
    types("}", "in block", REMOTE)
    types("while ($true) { 'ti' + 'ck'; Start-Sleep -Milliseconds 50 }", "tick")
    terminal.sendintr()
    terminal.expect("The pipeline has been stopped")
    terminal.expect(REMOTE)
    types("%%local")
    types("print('py' + 'thon')")
    # Two empty lines end it, as IPython ends every cell of a magic.
    types("")
    types("", "python", REMOTE)
    types("'hello ' + (Read-Host 'Name')", r"\[127\.0\.0\.1\] Name:")
    types("Ann", "hello Ann", REMOTE)
    # An editor waits a second for its completions; a machine that is at work elsewhere may take longer the first time.
    for _ in range(10):
        terminal.send("\x15Get-ChildIt\t")
        # The line is drawn anew, or only what is new of it.
        if terminal.expect([r"Get-ChildIt(?:\x1b\[[^a-zA-Z]*[a-zA-Z])*em", pexpect.TIMEOUT], timeout=4) == 0:
            break
    else:
        pytest.fail(f"no completion: {terminal.before[-1500:]!r}")
    types("\x15$x", "40", REMOTE)
    types("exit", PYTHON)
    types("6 * 7", "42", PYTHON)
    types("exit")
    terminal.expect(pexpect.EOF)


def test_control_d_leaves_the_remote_and_not_the_terminal(terminal: pexpect.spawn[str], entering: str) -> None:
    terminal.send("%load_ext psmagic\r")
    terminal.expect(PYTHON)
    terminal.send(f"{entering}\r")
    terminal.expect(REMOTE)

    terminal.sendcontrol("d")

    terminal.expect(PYTHON)
    terminal.send("6 * 7\r")
    terminal.expect("42")


def run_notebook(environment: dict[str, str], *cells: str) -> nbformat.NotebookNode:
    """Run cells in a Python kernel without a person."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    client = NotebookClient(notebook, kernel_name="python3", timeout=100)
    with contextlib.suppress(CellExecutionError):
        client.execute(env=environment)
    return notebook


def shown(cell: nbformat.NotebookNode) -> str:
    return strip("".join(output.get("text", output.get("evalue", "")) for output in cell.outputs))


def test_a_notebook_runs_headless(environment: dict[str, str], entering: str) -> None:
    notebook = run_notebook(
        environment,
        "%load_ext psmagic\nx = 'python'",
        entering,
        "$x = 'remote'\n\"$x $(1 + 1)\"",
        "%%local\nprint(x)",
        "Read-Host 'Name'",
        "exit",
        "print(x)",
    )

    texts = [shown(cell) for cell in notebook.cells]
    assert ["remote 2\n", "python\n"] == texts[2:4]
    assert re.search("NonInteractive", texts[4])
    assert "python\n" == texts[6]


def test_an_error_of_the_remote_stops_a_headless_run(environment: dict[str, str], entering: str) -> None:
    notebook = run_notebook(environment, "%load_ext psmagic", entering, "throw 'bad'", "'never'")

    (error,) = notebook.cells[2].outputs
    assert ("error", "bad") == (error.output_type, error.evalue)
    assert "Traceback" not in "".join(error.traceback)
    assert [] == notebook.cells[3].outputs
