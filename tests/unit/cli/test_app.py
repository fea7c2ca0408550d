"""Every verb ends with a status and at most one message, whatever went wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

import pskernel
import pskernel.cli.list as listing
from pskernel.cli.app import app
from pskernel.options import describe
from tests.unit.cli.conftest import Invoke

VERBS = ("install", "list", "remove", "run", "record", "doctor", "options", "credential", "audit", "export")


def test_the_version_is_shown(invoke: Invoke) -> None:
    result = invoke("--version")
    assert (result.status, result.stdout, result.stderr) == (0, f"pskernel {pskernel.__version__}\n", "")


def test_all_verbs_are_in_the_help_and_explain_themselves(invoke: Invoke) -> None:
    shown = invoke("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in shown
        assert f" {verb} " in invoke(verb, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("run", "a.ipynb", "b.ipynb"),
        ("list", "--bogus"),
        ("record", "x.ipynb"),
        ("remove",),
        ("install", "a", "b"),
    ],
)
def test_bad_use_is_status_2_and_says_so_on_stderr(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.status == 2
    assert "Error" in result.stderr
    assert result.stdout == ""


def test_an_error_is_one_line_with_its_brackets_and_without_terminal_control(invoke: Invoke) -> None:
    result = invoke("run", "no[red]such\x1b[2J\x07.ipynb", "--target", "process:")
    assert result.status == 2
    assert result.stdout == ""
    assert result.stderr == "pskernel: The notebook no[red]such.ipynb cannot be read: No such file or directory.\n"


def test_a_keyboard_interrupt_is_status_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> list[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "installed_specs", interrupted)
    result = invoke("list")
    assert result.status == 130
    assert "Traceback" not in result.stderr


def test_an_error_that_nobody_foresaw_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(listing, "installed_specs", broken)
    with pytest.raises(ZeroDivisionError):
        typer.main.get_command(app)(["list"], standalone_mode=False)


def test_options_lists_every_option_once_with_its_default(invoke: Invoke) -> None:
    result = invoke("options")
    assert result.status == 0
    assert [row[0] for row in result.rows] == [option.name for option in describe()]
    rows = {row[0]: row for row in result.rows}
    assert rows["subsystem"][1:3] == ["ssh", "powershell"]
    assert rows["width"][1:3] == ["all", "120"]


def test_a_verb_that_runs_nothing_does_not_pay_for_nbclient() -> None:
    script = "import sys, pskernel.cli.app; print(sorted({'nbclient', 'nbformat', 'jupyter_client', 'asyncssh', 'keyring'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_a_terminal_without_unicode_is_no_reason_to_fail() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from pskernel.cli.app import main; main()", "doctor", "nonsense"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (shown.returncode, shown.stderr) == (2, "")
    assert shown.stdout.endswith("This target does not work: the step ?target? failed.\n")


def test_a_reader_that_leaves_is_no_reason_for_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from pskernel.cli.app import main; main()", "options"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
