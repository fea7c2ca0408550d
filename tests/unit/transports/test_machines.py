"""Which virtual machine is meant, and programs that do not list any."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from uuid import UUID

import pytest

from pskernel.transports.machines import Machine, NoMachine, choose, list_machines

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
MACHINES = [Machine(ONE, "Web 01", "Running"), Machine(TWO, "db", "Running"), Machine(THREE, "DB", "Off")]


@pytest.mark.parametrize("wanted", ["Web 01", "WEB 01", str(ONE), str(ONE).upper()])
def test_by_name_in_any_case_and_by_id(wanted: str) -> None:
    assert MACHINES[0] == choose(wanted, MACHINES)


@pytest.mark.parametrize(
    ("wanted", "error_id", "message"),
    [
        (
            "db",
            "InvalidVMNameMultipleVM",
            (
                "The input VMName parameter resolves to multiple virtual machines. db is the name of: "
                f"db ({TWO}, Running), DB ({THREE}, Off). Give the id instead."
            ),
        ),
        (
            "web*",
            "InvalidVMNameNoVM",
            (
                "The input VMName parameter does not resolve to any virtual machine. None is called web*. This host has: "
                f"Web 01 ({ONE}, Running), db ({TWO}, Running), DB ({THREE}, Off)."
            ),
        ),
        (
            str(UUID(int=9)),
            "InvalidVMId",
            (
                "The input VMId parameter does not resolve to a single virtual machine. No virtual machine has the id "
                f"{UUID(int=9)}. This host has: "
            ),
        ),
        (
            str(THREE),
            "InvalidVMState",
            (
                "The virtual machine DB is not in running state. Its state is Off. Nothing was started; start it (Start-VM), "
                "and try again."
            ),
        ),
    ],
)
def test_no_machine(wanted: str, error_id: str, message: str) -> None:
    with pytest.raises(NoMachine) as caught:
        choose(wanted, MACHINES)
    assert error_id == caught.value.error_id
    assert str(caught.value).startswith(message)


def test_long_lists_are_cut() -> None:
    many = [Machine(UUID(int=number), f"m{number}", "Running") for number in range(30)]
    with pytest.raises(NoMachine, match=r"m9 \(.*\) and 20 more\."):
        choose("nope", many)


def test_where_there_is_none_the_rights_may_be_missing() -> None:
    with pytest.raises(NoMachine, match="Get-VM finds none at all: that takes an administrator"):
        choose("web", [])


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str, timeout: float = 30) -> list[Machine]:
    """What is listed by a powershell.exe that is this program."""
    path = folder / "System32" / "WindowsPowerShell" / "v1.0" / "powershell.exe"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setenv("SYSTEMROOT", str(folder))
    return asyncio.run(list_machines("My 'web\u2019", timeout))


def test_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.dumps([{"id": str(ONE), "name": "a\x1b[2Jb", "state": "Running"}])
    assert [Machine(ONE, "ab", "Running")] == listed(tmp_path, monkeypatch, f"print({rows!r})")
    assert [] == listed(tmp_path, monkeypatch, "print('[]')")


NO_HYPERV = (
    "The Hyper-V Module for PowerShell is not available on this machine. A virtual machine is entered from its Hyper-V "
    "host: go through that host, with winrm://HOST?vm=My%20%27web%E2%80%99, or enter it (%enter_pssession HOST, or a "
    "kernel for winrm://HOST) and run Enter-PSSession -VMName 'My ''web\u2019\u2019' in a cell of its own."
)


@pytest.mark.parametrize(
    ("program", "error_id", "message"),
    [
        ("print('null')", "HyperVModuleNotAvailable", NO_HYPERV),
        (
            "print('not permitted', file=sys.stderr); sys.exit(1)",
            "CreateRemoteRunspaceForVMFailed",
            "The virtual machines of this host cannot be listed. powershell.exe says: not permitted",
        ),
        ("sys.exit(3)", "CreateRemoteRunspaceForVMFailed", "The virtual machines of this host cannot be listed."),
        (
            """print('{"error": "no rights"}')""",
            "CreateRemoteRunspaceForVMFailed",
            "The virtual machines of this host cannot be listed. Get-VM says: no rights",
        ),
        ("print('{')", "CreateRemoteRunspaceForVMFailed", "The list of virtual machines cannot be read: "),
        ("print('[1]')", "CreateRemoteRunspaceForVMFailed", "The list of virtual machines cannot be read: "),
        (
            "print('x' * 9_000_000)",
            "CreateRemoteRunspaceForVMFailed",
            "The list of virtual machines cannot be read: more",
        ),
    ],
)
def test_programs_that_list_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, error_id: str, message: str
) -> None:
    with pytest.raises(NoMachine) as caught:
        listed(tmp_path, monkeypatch, program)
    assert error_id == caught.value.error_id
    assert str(caught.value).startswith(message)


def test_a_program_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoMachine, match=r"did not list the virtual machines within 0\.3 seconds"):
        listed(tmp_path, monkeypatch, "time.sleep(600)", 0.3)


def test_without_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    with pytest.raises(NoMachine) as caught:
        asyncio.run(list_machines(str(ONE), 5))
    assert "HyperVModuleNotAvailable" == caught.value.error_id
    assert f"winrm://HOST?vm={ONE}" in str(caught.value)
    assert f"Enter-PSSession -VMId {ONE} in a cell" in str(caught.value)
