"""What PowerShell's binder refuses, over all commands: its own engine says the same of each line, word for word."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.binding import bind
from psmagic.extension import COMMANDS

CHECKED = "ParameterArgumentValidationError"
NULL, EMPTY, ARRAY = f"{CHECKED}NullNotAllowed", f"{CHECKED}EmptyStringNotAllowed", f"{CHECKED}EmptyArrayNotAllowed"
UNCONVERTED, MISSING, SAME = "CannotConvertArgumentNoMessage", "MissingMandatoryParameter", "AmbiguousParameterSet"
SWITCH, UNSET = "CannotConvertArgument", "ParameterBindingFailed"

LINES: dict[str, list[tuple[str, str]]] = {
    "Invoke-Command": [
        ("-Session text { 1 }", UNCONVERTED), ("-Session 5 { 1 }", UNCONVERTED), ("-Session $null { 1 }", CHECKED),
        ("-Session 1.5 { 1 }", UNCONVERTED), ("-Session @() { 1 }", CHECKED), ("-Session { 1 }", UNCONVERTED),
        ("-Session", "MissingArgument"), ("-HostName x -ScriptBlock text", UNCONVERTED),
        ("-HostName x -ScriptBlock", "MissingArgument"), ("-HostName x -ScriptBlock 5", UNCONVERTED),
        ("-HostName x { 1 } -AsJob:nope", SWITCH), ("-HostName x { 1 } -Nope", "NamedParameterNotFound"),
        ("-HostName x { 1 } { 2 }", "PositionalParameterNotFound"), ("-HostName '' { 1 }", CHECKED),
        ("-HostName $null { 1 }", CHECKED), ("-HostName x,'' { 1 }", CHECKED), ("-HostName x { 1 } -HostName y", "ParameterAlreadyBound"),
        ("-HostName x -Port 0 { 1 }", CHECKED), ("-HostName x -Port 99999 { 1 }", CHECKED),
        ("-HostName x -Port abc { 1 }", UNCONVERTED), ("-HostName x -Port $null { 1 }", CHECKED),
        ("-HostName x -Port '' { 1 }", CHECKED), ("-HostName x -Port @{ a = 1 } { 1 }", UNCONVERTED),
        ("-HostName x -Port 1,2 { 1 }", SWITCH), ("-HostName x -Options 5 { 1 }", UNCONVERTED),
        ("-HostName x { 1 } -ArgumentList", "MissingArgument"), ("-ComputerName '' { 1 }", CHECKED),
        ("-ComputerName x { 1 } -ThrottleLimit abc", UNCONVERTED), ("-ComputerName x { 1 } -ThrottleLimit $null", UNSET),
        ("-ComputerName x { 1 } -ThrottleLimit 99999999999", UNCONVERTED),
        ("-HostName x { 1 } -HideComputerName:text", SWITCH),
        ("-HostName x { 1 } -Subsystem", "MissingArgument"), ("-HostName x -KeyFilePath '' { 1 }", CHECKED),
        ("-HostName x -UserName $null { 1 }", CHECKED),
    ],
    "New-PSSession": [
        ("-HostName", "MissingArgument"), ("-HostName $null", CHECKED), ("-HostName ''", CHECKED),
        ("-HostName x -Port 65536", CHECKED), ("-HostName x -UserName ''", CHECKED), ("-HostName x -KeyFilePath $null", CHECKED),
        ("-HostName x -ConnectingTimeout abc", UNCONVERTED), ("-HostName x -ConnectingTimeout $null", UNSET),
        ("-HostName x -SSHTransport:0", CHECKED), ("-HostName x -SSHTransport:text", SWITCH),
        ("-HostName x -Options $null", CHECKED), ("-HostName x -ComputerName y", SAME), ("-UserName x", MISSING),
    ],
    "Exit-PSSession": [("-foo", "NamedParameterNotFound"), ("extra", "PositionalParameterNotFound")],
    "Get-PSSession": [
        ("-Id abc", UNCONVERTED), ("-Id $null", CHECKED), ("-Id @()", ARRAY), ("-Id @{ a = 1 }", UNCONVERTED),
        ("-Id 1,abc", UNCONVERTED), ("-Name ''", CHECKED), ("-Name $null", CHECKED), ("-Name @()", CHECKED),
        ("-InstanceId abc", UNCONVERTED), ("-InstanceId ''", UNCONVERTED), ("-InstanceId 5", UNCONVERTED),
        ("-Id 1 -Name x", SAME), ("1 2", "PositionalParameterNotFound"), ("-Id", "MissingArgument"),
    ],
    "Remove-PSSession": [
        ("", MISSING), ("-Session $null", NULL), ("-Session $null,$null", NULL), ("-Session @()", ARRAY),
        ("-Session text", UNCONVERTED), ("-Id", "MissingArgument"), ("-Id $null", CHECKED), ("-Name ''", CHECKED),
        ("-InstanceId $null", CHECKED), ("-Id 1 -Name x", SAME),
    ],
    "Enter-PSSession": [
        ("-Session text", UNCONVERTED), ("-Id abc", UNCONVERTED), ("-Id $null", CHECKED), ("-InstanceId $null", CHECKED),
        ("-InstanceId ''", UNCONVERTED), ("-HostName x -Port ''", CHECKED), ("-HostName x,y", SWITCH),
        ("-ComputerName x -SessionOption text", UNCONVERTED), ("-Name x -Id 1", SAME),
    ],
    "Get-Job": [
        ("-Id abc", UNCONVERTED), ("-Name ''", CHECKED), ("-Name $null", CHECKED), ("-Job x", "NamedParameterNotFound"),
        ("-Id $null", CHECKED), ("-Id @()", CHECKED),
    ],
    "Receive-Job": [
        ("", MISSING), ("-Job text", UNCONVERTED), ("-Job $null", NULL), ("-Job @()", ARRAY), ("-Job 5", UNCONVERTED),
        ("-Id 1 -Name x", SAME), ("-Id 1 -Keep:x", SWITCH), ("-Name ''", CHECKED), ("-Id $null", CHECKED),
        ("-Id 1 -Wait:x", SWITCH),
    ],
    "Wait-Job": [
        ("", MISSING), ("-Timeout abc -Id 1", UNCONVERTED), ("-Timeout -5 -Id 1", CHECKED), ("-Timeout $null -Id 1", CHECKED),
    ],
    "Stop-Job": [("", MISSING), ("-Job text", UNCONVERTED), ("-Job $null", CHECKED), ("-Id $null", CHECKED)],
    "Remove-Job": [("", MISSING), ("-Job $null", CHECKED), ("-Id $null", CHECKED), ("-Id 1 -Force:x", SWITCH)],
    "Copy-Item": [
        ("a b -ToSession text", UNCONVERTED), ("a b -ToSession $null", CHECKED), ("'' b", EMPTY), ("$null b", NULL),
        ("@() b", ARRAY), ("-LiteralPath '' b", EMPTY), ("-LiteralPath $null b", NULL),
        ("a b c", "PositionalParameterNotFound"), ("-Path a -LiteralPath b -Destination c", SAME),
        ("a b -Recurse:x", SWITCH), ("a b -ToSession", "MissingArgument"), ("a b -FromSession 5", UNCONVERTED),
    ],
    "Enter-PSHostProcess": [
        ("-Id abc", UNCONVERTED), ("-Id $null", CHECKED), ("-Id -5", CHECKED), ("-Id 1,2", SWITCH),
        ("-Id 99999999999", UNCONVERTED), ("-Id", "MissingArgument"), ("-Name ''", CHECKED), ("-Name $null", CHECKED),
        ("-HostProcessInfo text", UNCONVERTED), ("-HostProcessInfo $null", CHECKED), ("-HostProcessInfo 5", UNCONVERTED),
        ("-CustomPipeName ''", EMPTY), ("-CustomPipeName $null", NULL), ("-Process text", UNCONVERTED),
        ("-Process $null", CHECKED), ("-Id 1 -Name x", SAME), ("-CustomPipeName x -Id 1", SAME),
        ("-Id 1 -AppDomainName ''", CHECKED), ("-Id 1 -AppDomainName $null", CHECKED),
        ("-CustomPipeName x -AppDomainName y", SAME), ("1 2 3", "PositionalParameterNotFound"), ("-Id 1 -Nope", "NamedParameterNotFound"),
    ],
    "Exit-PSHostProcess": [("-foo", "NamedParameterNotFound"), ("extra", "PositionalParameterNotFound")],
    "Get-PSHostProcessInfo": [
        ("-Id abc", UNCONVERTED), ("-Id $null", CHECKED), ("-Id @()", CHECKED), ("-Id 1,abc", UNCONVERTED), ("-Id", "MissingArgument"),
        ("-Name ''", CHECKED), ("-Name $null", CHECKED), ("-Name @()", CHECKED), ("-Process text", UNCONVERTED),
        ("-Process $null", CHECKED), ("-Process @()", CHECKED), ("-Id 1 -Name x", SAME), ("1 2", "PositionalParameterNotFound"),
    ],
}  # fmt: skip
ROWS = [(name, line, error_id) for name, lines in LINES.items() for line, error_id in lines]


def refusal(name: str, line: str) -> tuple[str, str]:
    command = next(each for each in COMMANDS if each.name == name)
    with pytest.raises(ArgumentError) as caught:
        bind(command, read_arguments(line, {}))
    return caught.value.error_id, str(caught.value)


@pytest.mark.parametrize(("name", "line", "error_id"), ROWS)
def test_a_line_is_refused_with_powershells_id(name: str, line: str, error_id: str) -> None:
    assert error_id == refusal(name, line)[0]


def test_there_are_enough_lines_of_each_command() -> None:
    assert len(ROWS) >= 120
    assert {"Disconnect-PSSession", "Connect-PSSession", "Receive-PSSession", "New-PSSessionOption"} == {
        command.name for command in COMMANDS
    } - set(LINES)


@pytest.mark.live
def test_the_engine_says_the_same(pwsh: str, tmp_path: Path) -> None:
    ask = (
        "try { %s -ErrorAction Stop %s; 'it took it' } "
        "catch { ($_.FullyQualifiedErrorId -split ',')[0] + ' ' + ($_ -replace '\\s+', ' ') }"
    )
    script = tmp_path / "ask.ps1"
    script.write_text("\n".join(ask % (name, line) for name, line, _ in ROWS), encoding="utf-8")

    said = subprocess.run(
        [pwsh, "-NoProfile", "-NonInteractive", "-File", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )

    ours = [" ".join(refusal(name, line)) for name, line, _ in ROWS]
    assert [text.strip() for text in said.stdout.splitlines()] == ours
