"""The other commands' tables: what they bind, and that they are what the engine's commands take."""

from __future__ import annotations

import subprocess
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from IPython.core.completer import CompletionContext
from psmagic.arguments import ArgumentError, ScriptBlock, read_arguments
from psmagic.binding import bind
from psmagic.commands import COMMANDS
from psmagic.commands.connecting import container_parameters, ssh_parameters
from psmagic.commands.copy_item import COPY_ITEM
from psmagic.commands.host_process import ENTER_PSHOSTPROCESS, GET_PSHOSTPROCESSINFO
from psmagic.commands.invoke_command import INVOKE_COMMAND
from psmagic.commands.job import GET_JOB, RECEIVE_JOB, STOP_JOB, WAIT_JOB
from psmagic.commands.pssession import (
    CONNECT_PSSESSION,
    GET_PSSESSION,
    NEW_PSSESSION,
    RECEIVE_PSSESSION,
    REMOVE_PSSESSION,
)
from psmagic.commands.session_option import NEW_PSSESSION_OPTION
from psmagic.completion import matcher
from psmagic.parameters import Command, syntax


class PSSession:
    """Stands for one: binding only looks at the type's name."""


class Job:
    """The same of a job."""


class PSHostProcessInfo:
    """The same of a process that can be entered."""


class Process:
    """The same of a process."""

    pid = 7


SESSION, JOB, INFO, PROCESS = PSSession(), Job(), PSHostProcessInfo(), Process()
NAMES: dict[str, Any] = {
    "s": SESSION,
    "j": JOB,
    "both": [SESSION, SESSION],
    "i": INFO,
    "p": PROCESS,
    "t": {"s": SESSION, "n": [7, 8]},
    "sat": 1,
    "_hidden": 1,
}


@pytest.mark.parametrize(
    ("command", "line", "set_name", "values"),
    [
        (NEW_PSSESSION, "-HostName a,b -Name x", "SSHHost", {"HostName": ["a", "b"], "Name": ["x"]}),
        (NEW_PSSESSION, "a", "ComputerName", {"ComputerName": ["a"]}),
        (NEW_PSSESSION, "a -UserName u", "SSHHost", {"HostName": ["a"], "UserName": "u"}),
        (NEW_PSSESSION, "-VMName a,b -Credential x", "VMName", {"VMName": ["a", "b"], "Credential": "x"}),
        (NEW_PSSESSION, "-VMGuid 7c1a3b2e-0000-4000-8000-000000000000 -Credential x -ConfigurationName c", "VMId",
         {"VMId": [UUID("7c1a3b2e-0000-4000-8000-000000000000")], "Credential": "x", "ConfigurationName": "c"}),
        (INVOKE_COMMAND, "-VMName a { 1 } -Credential x", "ComputerName",
         {"VMName": ["a"], "ScriptBlock": ScriptBlock(" 1 "), "Credential": "x"}),
        (GET_PSSESSION, "", "Name", {}),
        (GET_PSSESSION, "-Name w*,x", "Name", {"Name": ["w*", "x"]}),
        (GET_PSSESSION, "1,2", "Id", {"Id": [1, 2]}),
        (GET_PSSESSION, "a", "ComputerName", {"ComputerName": ["a"]}),
        (GET_PSSESSION, "-HostName a -Name w* -Port 22", "SSHHost", {"HostName": ["a"], "Name": ["w*"], "Port": 22}),
        (CONNECT_PSSESSION, "-ContainerId c -Name x -TakeOver", "ContainerId",
         {"ContainerId": ["c"], "Name": ["x"], "TakeOver": True}),
        (RECEIVE_PSSESSION, "$s -TakeOver", "Session", {"Session": [SESSION], "TakeOver": True}),
        (REMOVE_PSSESSION, "$s", "Session", {"Session": [SESSION]}),
        (REMOVE_PSSESSION, "$both", "Session", {"Session": [SESSION, SESSION]}),
        (REMOVE_PSSESSION, "3", "Id", {"Id": [3]}),
        (INVOKE_COMMAND, "web01 { 1 }", "ComputerName", {"ComputerName": ["web01"], "ScriptBlock": ScriptBlock(" 1 ")}),
        (INVOKE_COMMAND, "$s, $s { 1 }", "Session", {"Session": [SESSION, SESSION], "ScriptBlock": ScriptBlock(" 1 ")}),
        (INVOKE_COMMAND, "-Session $s -HostName a -Args 1,'b'", "Session",
         {"Session": [SESSION], "HostName": ["a"], "ArgumentList": [1, "b"]}),
        (INVOKE_COMMAND, "-HostName a -ov +x -ea SilentlyContinue -HCN", "ComputerName",
         {"HostName": ["a"], "OutVariable": "+x", "ErrorAction": "SilentlyContinue", "HideComputerName": True}),
        (NEW_PSSESSION, "-HostName a -Name 007,1.10 -Port 0x16", "SSHHost",
         {"HostName": ["a"], "Name": ["007", "1.10"], "Port": 22}),
        (INVOKE_COMMAND, "-HostName a -Args 1.5,0x10,007,'007'", "ComputerName",
         {"HostName": ["a"], "ArgumentList": [1.5, 16, 7, "007"]}),
        (COPY_ITEM, "-Path 0042 -Destination 007", "Path", {"Path": ["0042"], "Destination": "007"}),
        (GET_JOB, "", "Id", {}),
        (GET_JOB, "2", "Id", {"Id": [2]}),
        (RECEIVE_JOB, "$j -Keep", "Job", {"Job": [JOB], "Keep": True}),
        (RECEIVE_JOB, "2", "Id", {"Id": [2]}),
        (STOP_JOB, "-Name a,b", "Name", {"Name": ["a", "b"]}),
        (WAIT_JOB, "1 -TimeoutSec 5", "Id", {"Id": [1], "Timeout": 5}),
        (INVOKE_COMMAND, "-HostName a { 1 } -ThrottleLimit 1.5 -AsJob:1", "ComputerName",
         {"HostName": ["a"], "ScriptBlock": ScriptBlock(" 1 "), "ThrottleLimit": 2, "AsJob": True}),
        (INVOKE_COMMAND, "-Session $both[0], $t.s { 1 } -HideComputerName:$null", "Session",
         {"Session": [SESSION, SESSION], "ScriptBlock": ScriptBlock(" 1 "), "HideComputerName": False}),
        (INVOKE_COMMAND, "-Session ($s) -Args ($t.n[1], 'x', 2)", "Session",
         {"Session": [SESSION], "ArgumentList": [8, "x", 2]}),
        (REMOVE_PSSESSION, "-ComputerName web01", "ComputerName", {"ComputerName": ["web01"]}),
        (GET_PSSESSION, "-InstanceId 7c1a3b2e-0000-4000-8000-000000000000", "InstanceId",
         {"InstanceId": [UUID("7c1a3b2e-0000-4000-8000-000000000000")]}),
        (ENTER_PSHOSTPROCESS, "12", "ProcessIdParameterSet", {"Id": 12}),
        (ENTER_PSHOSTPROCESS, "-Id 12 None", "ProcessIdParameterSet", {"Id": 12, "AppDomainName": "None"}),
        (ENTER_PSHOSTPROCESS, "'12'", "ProcessNameParameterSet", {"Name": "12"}),
        (ENTER_PSHOSTPROCESS, "pwsh", "ProcessNameParameterSet", {"Name": "pwsh"}),
        (ENTER_PSHOSTPROCESS, "$i", "PSHostProcessInfoParameterSet", {"HostProcessInfo": INFO}),
        (ENTER_PSHOSTPROCESS, "$p", "ProcessParameterSet", {"Process": PROCESS}),
        (ENTER_PSHOSTPROCESS, "-Cu x -HostName a", "PipeNameParameterSet", {"CustomPipeName": "x", "HostName": "a"}),
        (GET_PSHOSTPROCESSINFO, "", "ProcessNameParameterSet", {}),
        (GET_PSHOSTPROCESSINFO, "pw*, x", "ProcessNameParameterSet", {"Name": ["pw*", "x"]}),
        (GET_PSHOSTPROCESSINFO, "-Id 1,2", "ProcessIdParameterSet", {"Id": [1, 2]}),
        (GET_PSHOSTPROCESSINFO, "$p, $p", "ProcessParameterSet", {"Process": [PROCESS, PROCESS]}),
        (COPY_ITEM, "a b -ToSession $s -R", "Path",
         {"Path": ["a"], "Destination": "b", "ToSession": SESSION, "Recurse": True}),
        (COPY_ITEM, "-LP 'a[1]' -Destination b -FromSession $s", "LiteralPath",
         {"LiteralPath": ["a[1]"], "Destination": "b", "FromSession": SESSION}),
    ],
)  # fmt: skip
def test_a_line_binds(command: Command, line: str, set_name: str, values: dict[str, Any]) -> None:
    found = bind(command, read_arguments(line, NAMES))

    assert (set_name, values) == (found.set_name, dict(found.values))


@pytest.mark.parametrize(
    "value", [np.array([1, 2]), np.array([]), pd.DataFrame({"a": [1, 2]}), pd.Series([], dtype=int)]
)
def test_values_that_have_no_truth_are_bound(value: object) -> None:
    found = bind(INVOKE_COMMAND, read_arguments("-HostName a { 1 } -ArgumentList $value", {"value": value}))

    taken = found.get("ArgumentList")
    assert any(each is value for each in (taken, *taken))


@pytest.mark.parametrize(
    ("command", "line", "error_id"),
    [
        (NEW_PSSESSION, "-HostName ''", "ParameterArgumentValidationError"),
        (NEW_PSSESSION, "-HostName a -ComputerName b", "AmbiguousParameterSet"),
        (NEW_PSSESSION, "-VMName a", "MissingMandatoryParameter"),
        (NEW_PSSESSION, "-VMName a -ComputerName b -Credential x", "AmbiguousParameterSet"),
        (GET_PSSESSION, "-Id x", "CannotConvertArgumentNoMessage"),
        (CONNECT_PSSESSION, "-ComputerName a -TakeOver", "AmbiguousParameterSet"),
        (GET_PSSESSION, "-HostName a -Id 1", "AmbiguousParameterSet"),
        (REMOVE_PSSESSION, "", "MissingMandatoryParameter"),
        (REMOVE_PSSESSION, "-Session x", "CannotConvertArgumentNoMessage"),
        (REMOVE_PSSESSION, "-Session $s -Id 1", "AmbiguousParameterSet"),
        (INVOKE_COMMAND, "-ErrorAction Nope", "CannotConvertArgumentNoMessage"),
        (INVOKE_COMMAND, "-ScriptBlock 1", "CannotConvertArgumentNoMessage"),
        (INVOKE_COMMAND, "-Port 1,2", "CannotConvertArgument"),
        (STOP_JOB, "", "MissingMandatoryParameter"),
        (COPY_ITEM, "", "MissingMandatoryParameter"),
        (COPY_ITEM, "a b -ToSession x", "CannotConvertArgumentNoMessage"),
    ],
)
def test_a_line_is_refused(command: Command, line: str, error_id: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        bind(command, read_arguments(line, NAMES))

    assert error_id == caught.value.error_id


@pytest.mark.live
def test_every_parameter_is_one_of_the_engines_with_its_aliases(pwsh: str) -> None:
    ask = "; ".join(
        f"(Get-Command {command.name} -ErrorAction Ignore).Parameters.Values | "
        f"ForEach-Object {{ '{command.name} ' + $_.Name + ' ' + ($_.Aliases -join ',') }}"
        for command in COMMANDS
    )

    said = subprocess.run(
        [pwsh, "-NoProfile", "-c", f"{ask}; exit 0"], capture_output=True, text=True, check=True, timeout=100
    )

    theirs = {
        tuple(line.split(" ")[:2]): line.split(" ")[2].split(",")
        for line in said.stdout.splitlines()
        if line.split(" ")[1]
    }
    unknown = {command.name for command in COMMANDS} - {name for name, _ in theirs}
    # PowerShell has these on Windows alone, and this one is not there; the last has no parameters of its own.
    assert unknown <= {
        "Connect-PSSession",
        "Disconnect-PSSession",
        "Receive-PSSession",
        "Exit-PSSession",
        "Exit-PSHostProcess",
    }
    for command in COMMANDS:
        if command.name in unknown:
            continue
        # Outside of Windows this command has but two of its parameters; see test_session_option.py.
        for parameter in command.parameters if command is not NEW_PSSESSION_OPTION else ():
            if parameter.name in {"Durable", "TakeOver"}:
                continue
            if (command.name, parameter.name) not in theirs:
                # PowerShell's know this machine's processes only, and ask WinRM servers alone for sessions.
                assert command in (ENTER_PSHOSTPROCESS, GET_PSHOSTPROCESSINFO, GET_PSSESSION)
                hosts = [*ssh_parameters({}), *container_parameters({})]
                assert parameter.name in {each.name for each in hosts}
                continue
            assert set(parameter.aliases) <= set(theirs[command.name, parameter.name]), (command.name, parameter.name)


def test_every_command_has_its_syntax() -> None:
    for command in COMMANDS:
        lines = syntax(command)
        assert len(command.sets) == len(lines)
        assert all(line.startswith(command.magic) for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%enter_pssession -Ho", ["-HostName"]),
        ("x = %new_pssession -HostName a -Na", ["-Name"]),
        ("%%invoke_command -Session $s", ["$s", "$sat"]),
        ("%enter_pssession a -Authentication K", ["Kerberos"]),
        ("%enter_pssession -HostName a -HostN", []),
        ("%%invoke_command -Session $s\n-Ho", []),
        ("%other -Ho", []),
        ("-Ho", []),
    ],
)
def test_parameters_are_completed(text: str, expected: list[str]) -> None:
    match = matcher(COMMANDS, NAMES)
    context = CompletionContext(
        token="", full_text=text, cursor_position=len(text), cursor_line=text.count("\n"), limit=None
    )

    assert expected == [completion.text for completion in match(context)["completions"]]
