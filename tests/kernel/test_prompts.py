"""What a cell asks the user: through Jupyter's stdin, on the real engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.kernels import WAIT, Kernel, Run, Starter

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def kernel(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    starter = Starter(tmp_path_factory.mktemp("prompts"))
    yield starter(f"process:{pwsh}")
    starter.end_all()


def converse(kernel: Kernel, cell: str, *answers: str) -> tuple[Run, list[tuple[str, bool]]]:
    """Run a cell and answer its prompts. Returns the run and the prompts with whether each was masked."""
    request = kernel.send(cell, allow_stdin=True)
    asked = []
    for answer in answers:
        question = kernel.client.get_stdin_msg(timeout=WAIT)["content"]
        asked.append((question["prompt"].partition("] ")[2], question["password"]))
        assert question["prompt"].startswith("[")
        kernel.client.input(answer)
    return kernel.finish(request), asked


@pytest.mark.parametrize(
    ("cell", "answers", "asked", "shown"),
    [
        ("Read-Host 'Name'", ["Bob"], [("Name: ", False)], "Bob\n"),
        ("(Read-Host 'a') + (Read-Host 'b')", ["1", "2"], [("a: ", False), ("b: ", False)], "12\n"),
        ("(Read-Host 'S' -AsSecureString).Length", ["hunter2"], [("S: ", True)], "7\n"),
        ("Read-Host 'M' -MaskInput", ["abc"], [("M: ", True)], "abc\n"),
        ("$Host.UI.PromptForChoice('C','M',('&Yes','&No'),1)", ["y"], None, "0\n"),
        ("$Host.UI.PromptForChoice('C','M',('&Yes','&No'),1)", ["YES"], None, "0\n"),
        ("$Host.UI.PromptForChoice('C','M',('&Yes','&No'),1)", [""], None, "1\n"),
        ("$Host.UI.PromptForChoice('C','M',('&Yes','&No'),1)", ["what", "?", "n"], None, "1\n"),
        (
            (
                "\"$($Host.UI.PromptForChoice('C','M',[Management.Automation.Host.ChoiceDescription[]]('&A','&B','&C'),"
                '[int[]](0,2)))"'
            ),
            ["c", "b", ""],
            [("Choice[0]: ", False), ("Choice[1]: ", False), ("Choice[2]: ", False)],
            "2 1\n",
        ),
        (
            (
                "\"$($Host.UI.PromptForChoice('C','M',[Management.Automation.Host.ChoiceDescription[]]('&A','&B','&C'),"
                '[int[]](0,2)))"'
            ),
            [""],
            [("Choice[0]: ", False)],
            "0 2\n",
        ),
        (
            'function Ask { param([Parameter(Mandatory)]$Who) "hello $Who" }; Ask',
            ["Eve"],
            [("Who: ", False)],
            "hello Eve\n",
        ),
        (
            "function AskL { param([Parameter(Mandatory)][string[]]$Names) \"$($Names -join '+')\" }; AskL",
            ["a", "b", ""],
            [("Names[0]: ", False), ("Names[1]: ", False), ("Names[2]: ", False)],
            "a+b\n",
        ),
        (
            "function AskN { param([Parameter(Mandatory, HelpMessage='a number')][int]$N) $N + 1 }; AskN",
            ["!?", "41"],
            [("N: ", False), ("N: ", False)],
            "42\n",
        ),
        (
            "function AskS { param([Parameter(Mandatory)][securestring]$P) $P.Length }; AskS",
            ["zzz"],
            [("P: ", True)],
            "3\n",
        ),
        (
            (
                "function AskC { param([Parameter(Mandatory)][pscredential]$C) "
                "$C.UserName + $C.GetNetworkCredential().Password }; AskC"
            ),
            ["joe", "pw"],
            [("User: ", False), ("Password for user joe: ", True)],
            "joepw\n",
        ),
        (
            "$c = Get-Credential; $c.UserName + $c.GetNetworkCredential().Password",
            ["joe", "pw1"],
            [("User: ", False), ("Password for user joe: ", True)],
            "joepw1\n",
        ),
        (
            "$c = Get-Credential -UserName ann -Message 'why'; $c.GetNetworkCredential().Password",
            ["secret"],
            [("Password for user ann: ", True)],
            "secret\n",
        ),
        ("$Host.UI.RawUI.ReadKey().Character", ["x"], [("(one key): ", False)], "x\n"),
    ],
)
def test_prompts(
    kernel: Kernel, cell: str, answers: list[str], asked: list[tuple[str, bool]] | None, shown: str
) -> None:
    run, questions = converse(kernel, cell, *answers)
    assert run.status == "ok", run.errors
    assert run.stdout.endswith(shown)
    if asked is not None:
        assert questions == asked


def test_a_choice_shows_what_there_is_to_choose(kernel: Kernel) -> None:
    run, ((prompt, _),) = converse(
        kernel, "$Host.UI.PromptForChoice('Caption','Message',('&Yes','Yes to &All','No'),1)", "a"
    )
    assert prompt == '[Y] Yes  [A] Yes to All  [No] No  [?] Help (default is "A"): '
    assert run.stdout == "\n\x1b[97mCaption\x1b[0m\nMessage\n1\n"


def test_a_confirmation(kernel: Kernel, tmp_path: Path) -> None:
    run, ((prompt, _),) = converse(kernel, f"New-Item '{tmp_path}/made' -Confirm | Out-Null; 'done'", "n")
    assert not (tmp_path / "made").exists()
    assert "[Y] Yes" in prompt
    assert "Are you sure" in run.stdout
    assert run.stdout.endswith("done\n")


def test_secrets_are_announced(kernel: Kernel) -> None:
    run, _ = converse(kernel, "$null = Read-Host -AsSecureString", "s3cr3t")
    assert "WARNING: A script or application on the remote computer" in run.stdout
    run, _ = converse(kernel, "$null = Get-Credential -UserName a -Message 'Windows needs you'", "s3cr3t")
    assert "PowerShell Credential Request: PowerShell credential request" in run.stdout
    assert "Warning: A script or application on the remote computer" in run.stdout
    assert "s3cr3t" not in repr(kernel.seen)


def test_an_interrupt_at_an_open_prompt_stops_the_remote(kernel: Kernel) -> None:
    request = kernel.send("'before'; Read-Host 'Name'; 'after'", allow_stdin=True)
    kernel.client.get_stdin_msg(timeout=WAIT)
    began = time.monotonic()
    kernel.interrupt()
    run = kernel.finish(request)
    assert run.ename == "PipelineStopped"
    assert run.stdout == "before\n"
    assert time.monotonic() - began < WAIT
    # The session goes on, and the answer to the withdrawn question is nobody's.
    kernel.client.input("late")
    run, _ = converse(kernel, "Read-Host 'Again'", "in time")
    assert run.stdout == "in time\n"


def test_nobody_to_ask_is_an_error_on_the_remote(kernel: Kernel) -> None:
    run = kernel.run("try { Read-Host 'Name' } catch { \"caught: $_\" }; 'after'")
    assert "caught: PowerShell is in NonInteractive mode." in run.stdout
    assert run.stdout.endswith("after\n")
