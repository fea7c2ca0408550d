"""Virtual machines by the library, the command and the magics, on a system without Hyper-V: Get-VM is a function of the
real engine, and a machine speaks PowerShell Direct's published protocol over a Unix socket, with a real engine behind.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.connect import connect
from pskernel.credentials import GivenCredential, Secret
from pskernel.errors import AuthenticationFailed, PromptUnavailable, TargetError, TransportClosed
from pskernel.protocol.powershelldirect import split_user
from pskernel.records import Output
from pskernel.target import Target
from pskernel.transports.machines import Machine, NoMachine, list_machines
from tests.fakes.hyperv import VirtualMachine
from tests.parts.hyperv import HyperVHost
from tests.parts.ipython import run

pytestmark = pytest.mark.live

Hosts = tuple[HyperVHost, Callable[..., VirtualMachine]]
URL = "vm://admin@web%2001"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", "pässword")
    monkeypatch.setenv("WRONG_PASSWORD", "wrong")


def asked(url: str, script: str, **options: object) -> list[object]:
    async def main() -> list[object]:
        async with await connect(Target.parse(url, {"credential": "env:VM_PASSWORD", **options})) as runspace:
            pipeline = await runspace.invoke(script)
            return [record.value async for record in pipeline if isinstance(record, Output)]

    return asyncio.run(main())


# ---- the host's list ----


def test_get_vm_is_asked_without_a_name(hyperv_host: Hosts) -> None:
    host, _ = hyperv_host
    numbers = [uuid4(), uuid4()]
    host.has(("Wéb \u201901'; exit", numbers[0], "Running"), ("b", numbers[1], "Saved"))
    found = asyncio.run(list_machines("'; Remove-Item / -Recurse #", 30))
    assert [Machine(numbers[0], "Wéb \u201901'; exit", "Running"), Machine(numbers[1], "b", "Saved")] == found
    *options, script = host.called()
    assert ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command"] == options
    assert "Remove-Item" not in script


def test_one_and_none(hyperv_host: Hosts) -> None:
    host, _ = hyperv_host
    number = uuid4()
    host.has(("a", number, "Running"))
    assert [Machine(number, "a", "Running")] == asyncio.run(list_machines("a", 30))
    host.set_up("function Get-VM { }")
    assert [] == asyncio.run(list_machines("a", 30))


def test_a_host_without_hyperv_and_one_that_refuses(hyperv_host: Hosts) -> None:
    host, _ = hyperv_host
    with pytest.raises(NoMachine, match="The Hyper-V Module for PowerShell is not available on this machine"):
        asyncio.run(list_machines("a", 30))
    host.set_up("function Get-VM { throw 'You do not have the required permission.' }")
    with pytest.raises(NoMachine, match=r"Get-VM says: You do not have the required permission\."):
        asyncio.run(list_machines("a", 30))


@pytest.mark.parametrize("user", ["a", "D\\a", "a@b", "a@b.c", "a@b.c@d.e", "D\\a@b", "\\a", ".\\a", "a@", "a.b@c"])
def test_users_are_split_as_by_the_engine(pwsh: str, user: str) -> None:
    script = (
        f"$c = [pscredential]::new('{user}', (ConvertTo-SecureString x -AsPlainText -Force)).GetNetworkCredential(); "
        "$c.Domain; $c.UserName"
    )
    assert list(split_user(user)) == asked_here(pwsh, script)


def asked_here(pwsh: str, script: str) -> list[object]:
    async def main() -> list[object]:
        async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
            pipeline = await runspace.invoke(script)
            return [record.value async for record in pipeline if isinstance(record, Output)]

    return asyncio.run(main())


# ---- the library ----


@pytest.mark.parametrize("version", [1, 2])
def test_by_name_and_by_id(hyperv_host: Hosts, version: int) -> None:
    machine = hyperv_host[1](version=version)
    assert [42] == asked(URL, "6 * 7")
    assert [42] == asked(f"vm://admin@{machine.id}", "6 * 7", vm_configuration="jea")
    assert "jea" == machine.configuration


def test_a_wrong_password(hyperv_host: Hosts) -> None:
    hyperv_host[1]()
    with pytest.raises(AuthenticationFailed, match=r"^The credential is invalid\. .*the user admin"):
        asked(URL, "1", credential="env:WRONG_PASSWORD")


def test_a_user_is_needed_and_a_password(hyperv_host: Hosts) -> None:
    machine = hyperv_host[1]()
    with pytest.raises(TargetError, match="Say who you are in the virtual machine web 01: -Credential USER"):
        asked("vm://web%2001", "1")

    async def main() -> None:
        with pytest.raises(PromptUnavailable, match="Password for admin in the virtual machine web 01 is needed"):
            await connect(Target.parse(URL))
        given = GivenCredential("admin", Secret("pässword"))
        async with await connect(Target.parse(URL), credential=given):
            pass

    asyncio.run(main())
    assert 1 == len(machine.heard)


def test_a_machine_that_ends_in_mid_command(hyperv_host: Hosts) -> None:
    machine = hyperv_host[1]()

    async def main() -> None:
        async with await connect(Target.parse(URL, {"credential": "env:VM_PASSWORD"})) as runspace:
            pipeline = await runspace.invoke("'begun'; Start-Sleep 600")
            with pytest.raises(TransportClosed):
                async for _ in pipeline:
                    machine.children[0].kill()

    asyncio.run(main())


# ---- the command ----


def test_doctor_goes_step_by_step(hyperv_host: Hosts, pwsh: str) -> None:
    host, start = hyperv_host
    machine = start()
    words = ["doctor", "--json", URL, "--option", "credential=env:VM_PASSWORD"]
    found = CliRunner().invoke(app, words)
    steps = {step["name"]: step for step in json.loads(found.stdout)["steps"]}
    assert list(steps) == ["target", "machine", "connection", "runspace", "PowerShell", "line", "speed"]
    assert {"ok"} == {step["state"] for step in steps.values()}
    assert [f"It is Web 01 ({machine.id}, Running)."] == steps["machine"]["lines"]
    host.set_up("")
    last = json.loads(CliRunner().invoke(app, words).stdout)["steps"][-1]
    assert ("machine", "failed") == (last["name"], last["state"])
    assert "winrm://HOST?vm=web%2001" in last["lines"][0]


def test_a_run(hyperv_host: Hosts, tmp_path: Path) -> None:
    hyperv_host[1]()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")])
    nbformat.write(book, tmp_path / "check.ipynb")
    words = ["run", str(tmp_path / "check.ipynb"), "--target", URL, "-o", str(tmp_path / "out.ipynb")]
    found = CliRunner().invoke(app, [*words, "--option", "credential=env:VM_PASSWORD"])
    assert 0 == found.exit_code, found.output
    out = (tmp_path / "out.ipynb").read_text()
    assert "42" in out
    assert "pässword" not in out


# ---- the magics ----

CREDENTIAL = "-Credential admin@env:VM_PASSWORD"


def test_entering(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], hyperv_host: Hosts) -> None:
    machine = hyperv_host[1]()
    entered = run(shell, capsys, f"%enter_pssession 'Web 01' {CREDENTIAL} -ConfigurationName jea")
    assert "PSSessionInvalidComputerName" == type(entered[1]).__name__  # the first position is -ComputerName's
    assert run(shell, capsys, f"%enter_pssession -VMName 'Web 01' {CREDENTIAL} -ConfigurationName jea")[1] is None
    assert "jea" == machine.configuration
    assert ("42\n", None) == run(shell, capsys, "$x = 42; $x")
    enter = shell.find_line_magic("enter_pssession").__self__
    assert enter._remote.prompt().startswith("[Web 01]: PS /")
    refused = run(shell, capsys, "#% target vm://admin@other\n$x")[1]
    assert "asks for vm://admin@other" in str(refused)
    assert ("", None) == run(shell, capsys, "exit")
    assert run(shell, capsys, f"%enter_pssession -VMId {machine.id} {CREDENTIAL}")[1] is None
    assert ("1\n", None) == run(shell, capsys, "1")


def test_sessions_and_invocations(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], hyperv_host: Hosts
) -> None:
    hyperv_host[1]()
    assert run(shell, capsys, f"s = %new_pssession -VMName 'web 01' {CREDENTIAL} -Name inside")[1] is None
    session = shell.user_ns["s"]
    assert ("VMBus", "VirtualMachine", "web 01") == (session.transport, session.computer_type, session.computer_name)
    assert run(shell, capsys, "%enter_pssession -Session $s")[1] is None
    assert ("7\n", None) == run(shell, capsys, "3 + 4")
    run(shell, capsys, "exit")
    error = run(shell, capsys, "%disconnect_pssession $s")[1]
    assert "CannotDisconnectVMContainerSession" == type(error).__name__
    assert "virtual machine web 01, which keeps no sessions" in str(error)
    assert run(shell, capsys, f"o = %invoke_command -VMName 'web 01' {CREDENTIAL} -ScriptBlock {{ 6 * 7 }}")[1] is None
    assert [42] == shell.user_ns["o"]
    run(shell, capsys, "%remove_pssession $s")


@pytest.mark.parametrize(
    ("line", "name", "message"),
    [
        ("%enter_pssession -VMName nope " + CREDENTIAL, "InvalidVMNameNoVM", "None is called nope."),
        ("%enter_pssession -VMId 00000000-0000-0000-0000-000000000001 " + CREDENTIAL, "InvalidVMId", "does not resolve to a single"),
        ("%enter_pssession -VMName 'Web 01' -Credential admin@env:WRONG_PASSWORD",
            "CreateRemoteRunspaceForVMFailed", "The credential is invalid."),
        ("%enter_pssession -VMName 'Web 01'", "MissingMandatoryParameter", "Credential"),
        ("%enter_pssession -VMName web -HostName a " + CREDENTIAL, "AmbiguousParameterSet", ""),
        ("%enter_pssession -VMName web -ComputerName a " + CREDENTIAL, "AmbiguousParameterSet", ""),
        ("%new_pssession -VMName 'Web 01'", "MissingMandatoryParameter", "Credential"),
        ("%invoke_command -VMName 'Web 01' -ScriptBlock { 1 }", "MissingMandatoryParameter", "Credential"),
        ("%enter_pssession -VMName 'Web 01' -Credential env:VM_PASSWORD", "TargetError", "Say who you are"),
    ],
)  # fmt: skip
def test_refusals(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], hyperv_host: Hosts, line: str, name: str, message: str
) -> None:
    hyperv_host[1]()
    error = run(shell, capsys, line)[1]
    assert name == type(error).__name__
    assert message in str(error)


def test_without_hyperv_the_way_is_said(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    error = run(shell, capsys, f"%enter_pssession -VMName 'Web 01' {CREDENTIAL}")[1]
    assert "HyperVModuleNotAvailable" == type(error).__name__
    assert "Enter-PSSession -VMName 'Web 01' in a cell of its own" in str(error)
