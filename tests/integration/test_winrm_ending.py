"""A process that ends leaves no session at its server but those that it has left there on purpose."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from pskernel.connect import connect, find_shells, reopen
from pskernel.questions import NobodyToAsk
from pskernel.target import Target
from tests.fakes.wsman_bridge import Hold, WsmanBridge
from tests.parts.winrm import url_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
# What is waited for at the end, and what the interpreter needs on a busy machine.
BOUND, SLACK = 2.0, 6.0
SCRIPT = """
import sys
from pskernel import new_pssession
from pskernel.remoting.jobs import JOBS
from pskernel.remoting.work import Work
from pskernel.target import Target

opened, left = (new_pssession(sys.argv[1], name=name) for name in ("opened", "left"))
left.disconnect()
JOBS.start([Target.parse(sys.argv[1])], Work("Start-Sleep 60"))
opened.invoke("'begun'")
print("ready", flush=True)
"""


def child(program: str, url: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "magics")])
    return subprocess.Popen(
        [sys.executable, "-c", program, url],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def names(bridge: WsmanBridge) -> list[str]:
    return sorted(shell.terms.name for shell in bridge.service.shells.values())


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit(3)", 3), ("1/0", 1)], ids=["its end", "exit", "an error"]
)
def test_a_program_closes_what_it_has_open(
    bridge_factory: Callable[..., WsmanBridge], tmp_path: Path, end: str, status: int
) -> None:
    bridge = bridge_factory()
    # How long it may take is another test's question.
    patient = "import pskernel.remoting.ending; pskernel.remoting.ending._SECONDS = 30\n"
    program = child(patient + SCRIPT + end, url_of(bridge, tmp_path, "auth=ntlm"))
    _, said = program.communicate(timeout=60)

    assert program.returncode == status, said
    assert ["left"] == names(bridge)
    assert not said or "ZeroDivisionError" in said


def test_a_server_that_does_not_answer_does_not_hold_up_the_end(
    bridge_factory: Callable[..., WsmanBridge], tmp_path: Path
) -> None:
    bridge = bridge_factory()
    bridge.always("Delete", Hold())
    program = child(SCRIPT, url_of(bridge, tmp_path, "auth=ntlm"))
    assert program.stdout is not None
    assert "ready" in program.stdout.readline()
    began = time.monotonic()
    program.communicate(timeout=60)

    assert time.monotonic() - began < BOUND + SLACK
    assert program.returncode == 0


def test_a_python_kernel_closes_what_its_magics_have_open(
    bridge_factory: Callable[..., WsmanBridge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "magics")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    bridge = bridge_factory()
    where = f"-ComputerName 127.0.0.1 -Port {bridge.port} -Credential 'CORP\\admin@file:{tmp_path}/password'"
    url_of(bridge, tmp_path)  # which writes the file
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for cell in (
            "%load_ext psmagic",
            f"kept = %new_pssession {where} -Name kept",
            f"left = %new_pssession {where} -Name left",
            "%disconnect_pssession $left",
            f"%enter_pssession {where}",
            "'entered'",
        ):
            reply = client.execute_interactive(cell, timeout=60, output_hook=lambda _: None, allow_stdin=False)
            assert reply["content"]["status"] == "ok", reply["content"]
        assert 3 == len(names(bridge))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()

    assert ["left"] == names(bridge)


# ---- what is given up ----


def test_a_session_that_is_not_wanted_any_more_while_it_is_opened(
    bridge_factory: Callable[..., WsmanBridge], tmp_path: Path
) -> None:
    bridge, hold = bridge_factory(), Hold()
    bridge.next("Create", hold)

    async def main() -> None:
        opening = asyncio.create_task(connect(Target.parse(url_of(bridge, tmp_path, "auth=ntlm"))))
        await asyncio.to_thread(hold.held.wait, 30)
        assert 1 == len(bridge.service.shells)
        opening.cancel()
        asyncio.get_running_loop().call_soon(hold.release)
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(main())
    assert {} == bridge.service.shells


def test_a_session_that_is_given_up_ends_with_what_runs_in_it(winrm: WsmanBridge, winrm_url: str) -> None:
    async def main() -> None:
        runspace = await connect(Target.parse(winrm_url))
        await runspace.invoke("[Threading.Thread]::Sleep(60000)")
        await runspace.abandon("It does not stop.")

    asyncio.run(main())
    assert {} == winrm.service.shells


def test_a_session_of_another_client_is_left_when_it_is_given_up(winrm: WsmanBridge, winrm_url: str) -> None:
    async def main() -> None:
        theirs = await connect(Target.parse(winrm_url))
        await theirs.disconnect()
        (shell,) = await find_shells(Target.parse(winrm_url), NobodyToAsk())
        ours = await reopen(Target.parse(winrm_url), shell, NobodyToAsk())
        await ours.abandon("It is not wanted after all.")
        (kept,) = winrm.service.shells.values()
        assert not kept.connected
        await theirs.aclose()

    asyncio.run(main())
    winrm.service.close()
