"""Into a virtual machine through its host (option ``vm``): a real session on the host, whose Get-VM and Enter-PSSession
-VMId are functions that go to a real SSH server in the machine's stead.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pskernel.connect import connect, opener
from pskernel.errors import ConnectError, PromptUnavailable, PSKernelError, TargetError
from pskernel.questions import NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.sessions import SESSIONS
from pskernel.session.interactive import InteractiveSession, SessionLost
from pskernel.target import Target
from pskernel.transports.machines import NoMachine
from tests.parts.sshd import Answers, Sshd, enter_line

__all__ = ["machine"]

pytestmark = [pytest.mark.live, pytest.mark.sshd]

WEB, OFF, TWIN, NONE = (UUID(int=number << 96) for number in range(1, 5))
PASSWORD = "p\u00e4ss' $x"


@pytest.fixture(scope="module")
def machine(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    return sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})


@pytest.fixture(scope="module")
def host(sshd_factory: Callable[..., Sshd], pwsh: str, machine: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    """The Hyper-V host, and under the name ``plain`` one that is none."""
    machines = "".join(
        f"[pscustomobject]@{{ Id = '{number}'; Name = '{name}'; State = '{state}' }}; "
        for name, number, state in (("Web 01", WEB, "Running"), ("off", OFF, "Off"), ("web 01", TWIN, "Running"))
    )
    enter = enter_line(machine).replace("Enter-PSSession", "Microsoft.PowerShell.Core\\Enter-PSSession")
    wrong = "Write-Error -Message 'The credential is invalid.' -ErrorId 'CreateRemoteRunspaceForVMFailed'; return"
    body = (
        "param([guid] $VMId, [pscredential] $Credential, [string] $ConfigurationName) "
        f"if ($Credential.GetNetworkCredential().Password -ne $env:STAND_IN -or $Credential.UserName -ne 'D\\admin') {{ {wrong} }} "
        f'$env:ENTERED = "$VMId $ConfigurationName"; {enter}'
    )
    file = tmp_path_factory.mktemp("host") / "host.pssc"
    file.write_text(
        "@{ SchemaVersion = '2.0.0.0'; GUID = 'a1f2c3d4-0000-4000-8000-000000000002'; LanguageMode = 'FullLanguage'\n"
        f"EnvironmentVariables = @{{ STAND_IN = '{PASSWORD.replace(chr(39), chr(39) * 2)}' }}\n"
        f"FunctionDefinitions = @{{ Name = 'Get-VM'; ScriptBlock = {{ {machines} }} }},\n"
        f"@{{ Name = 'Enter-PSSession'; ScriptBlock = {{ {body} }} }} }}\n",
        encoding="utf-8",
    )
    server = f"{pwsh} -sshs -NoLogo -NoProfile"
    return sshd_factory({"powershell": f"{server} -ConfigurationFile {file}", "plain": server})


def target(host: Sshd, vm: object = WEB, **options: object) -> Target:
    where = {"ssh_config": "none", "key_file": str(host.key), "known_hosts": str(host.known_hosts)}
    chosen = {"vm": str(vm), "vm_user": "D\\admin", "vm_credential": "env:VM_PASSWORD", **where, **options}
    return Target.parse(
        f"ssh://{host.user}@127.0.0.1:{host.port}", {name: each for name, each in chosen.items() if each is not None}
    )


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG_PASSWORD", "wrong")


def with_session(target: Target, work: Callable[[InteractiveSession], Any]) -> None:
    async def main() -> None:
        session = InteractiveSession(opener(target), target.label, "hyperv01")
        try:
            await work(session)
        finally:
            await session.aclose()

    asyncio.run(main())


async def cell(session: InteractiveSession, text: str) -> str | None:
    pipeline = await (await session.ready(NobodyToAsk())).run_cell(text)
    async for _ in pipeline:
        pass
    moved = await session.after_cell(text)
    return None if moved is None else moved.text


async def pid(session: InteractiveSession) -> int:
    (number,) = await (await session.ready(NobodyToAsk())).query("$PID")
    return int(number)


def test_cells_run_in_the_machine_and_never_on_its_host(host: Sshd, machine: Sshd) -> None:
    async def work(session: InteractiveSession) -> None:
        assert session.label.endswith(f" \N{RIGHTWARDS ARROW} {WEB}")
        assert session.label == session.place
        runspace = await session.ready(NobodyToAsk())
        there = await pid(session)
        assert f"{machine.port}" == (await runspace.query("($env:SSH_CONNECTION -split ' ')[3]"))[0]
        # The files that the connection offers are the host's.
        assert await runspace.open_files() is None
        assert await cell(session, "$x = 1") is None

        left = await cell(session, "Exit-PSSession")
        assert left is not None
        assert "has ended" in left
        with pytest.raises(SessionLost):
            await session.ready(NobodyToAsk())
        assert there != await pid(session)

        # Lost while nothing runs.
        os.kill(await pid(session), signal.SIGKILL)
        with pytest.raises(SessionLost, match="has ended"):
            await session.ready(NobodyToAsk())
        # And from there to the next host.
        assert "cells run on" in (await cell(session, enter_line(machine)) or "")
        assert session.is_away
        back = await cell(session, "Exit-PSSession") or ""
        # The engine may take the machine's session for broken when the one behind it ends.
        assert "again" in back or "has ended" in back
        assert session.is_open == ("again" in back)

    with_session(target(host, vm_configuration="jea"), work)


@pytest.mark.parametrize(
    ("vm", "error_id", "text"),
    [
        (
            "web 01",
            "InvalidVMNameMultipleVM",
            f"web 01 is the name of: Web 01 ({WEB}, Running), web 01 ({TWIN}, Running)",
        ),
        ("off", "InvalidVMState", "Its state is Off."),
        ("nosuch", "InvalidVMNameNoVM", "This host has: Web 01"),
        (NONE, "InvalidVMId", "does not resolve to a single virtual machine"),
    ],
)
def test_a_machine_that_is_not_to_be_entered(host: Sshd, vm: object, error_id: str, text: str) -> None:
    with pytest.raises(NoMachine) as caught:
        # Nobody is asked for a password before.
        asyncio.run(connect(target(host, vm, vm_credential=None)))
    assert error_id == caught.value.error_id
    assert text in str(caught.value)


def test_what_the_host_says_is_told(host: Sshd) -> None:
    with pytest.raises(
        ConnectError,
        match=r"did not get into .* Web 01\. The credential is invalid\. \(CreateRemoteRunspaceForVMFailed\)",
    ):
        asyncio.run(connect(target(host, vm_credential="env:WRONG_PASSWORD")))
    with pytest.raises(NoMachine, match="is no Hyper-V host"):
        asyncio.run(connect(target(host, subsystem="plain")))
    with pytest.raises(TargetError, match="the option vm_user"):
        asyncio.run(connect(target(host, vm_user=None)))


def test_the_password_is_asked_for(host: Sshd) -> None:
    async def main() -> None:
        asker = Answers(PASSWORD)
        async with await connect(target(host, vm_credential=None), asker=asker):
            assert [f"Password for D\\admin in the virtual machine {WEB}: "] == asker.texts
            assert asker.questions[0].secret

    asyncio.run(main())
    with pytest.raises(PromptUnavailable):
        asyncio.run(connect(target(host, vm_credential=None)))


def test_a_session_of_the_list_is_not_left_to_the_host(host: Sshd, tmp_path: Path) -> None:
    session = LOOP.run(SESSIONS.open(target(host), NobodyToAsk()))
    (tmp_path / "here").write_text("for the machine")
    try:
        with pytest.raises(RemotingError, match="It ends with its connection"):
            LOOP.run(leaving.disconnect(session))
        assert [2] == list(session.invoke("1 + 1"))
        (number,) = session.invoke("$PID")
        os.kill(number, signal.SIGKILL)
        # Neither is a file that is meant for the machine written on its host, however often it is tried.
        for _ in range(2):
            with pytest.raises(PSKernelError):
                session.send(tmp_path / "here", str(tmp_path / "there"))
        assert not (tmp_path / "there").exists()
    finally:
        session.close()
