"""The whole way: a notebook through the command and a real sshd to the real engine, with both SSH clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from pskernel.connect import connect, opener
from pskernel.questions import NobodyToAsk
from pskernel.records import HostText
from pskernel.render.ansi import strip
from pskernel.session.interactive import InteractiveSession
from pskernel.target import Target
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = ROOT / "notebooks" / "01-quickstart.ipynb"
BACKENDS = ["asyncssh", "openssh"]


@pytest.fixture(scope="module")
def sshd(sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    # Two endpoints: the second has no language, and tells nothing about itself.
    folder = tmp_path_factory.mktemp("restricted")
    configuration = folder / "restricted.pssc"
    configuration.write_text(
        "@{ SchemaVersion = '2.0.0.0'; GUID = 'a1f2c3d4-0000-4000-8000-000000000001'; LanguageMode = 'NoLanguage'\n"
        "SessionType = 'RestrictedRemoteServer'; VisibleCmdlets = 'Get-Date' }\n"
    )
    server = f"{pwsh} -sshs -NoLogo -NoProfile"
    return sshd_factory({"powershell": server, "restricted": f"{server} -ConfigurationFile {configuration}"})


def target(sshd: Sshd, backend: str) -> Target:
    return Target.parse(
        f"ssh://{sshd.user}@127.0.0.1:{sshd.port}",
        {"backend": backend, "ssh_config": "none", "key_file": str(sshd.key), "known_hosts": str(sshd.known_hosts)},
    )


def shown(path: Path) -> list[str]:
    """What each code cell of a notebook shows, without colours."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [strip("".join(o.get("text", o.get("evalue", "")) for o in cell.outputs)) for cell in cells]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_quickstart_runs_over_ssh(sshd: Sshd, backend: str, tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "pskernel.cli", "run", str(QUICKSTART), "--target", str(target(sshd, backend))]
    result = subprocess.run(
        [*command, "-o", str(out)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert 0 == result.returncode, result.stdout + result.stderr
    assert shown(QUICKSTART) == shown(out)
    record = nbformat.read(out, as_version=4).metadata.pskernel
    assert "ssh://" in record.target
    # What ssh-keygen says of the server's key is what the run has noted.
    listed = subprocess.run(["ssh-keygen", "-lf", str(sshd.known_hosts)], capture_output=True, text=True, check=True)
    assert record.identity.key in listed.stdout.split()
    assert record.identity.auth == "publickey"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_session_works_and_closes(sshd: Sshd, backend: str) -> None:
    async def main() -> None:
        async with await connect(target(sshd, backend)) as runspace:
            text = "'" + "é" * 100_000 + "'"
            pipeline = await runspace.run_cell(f"({text}).Length")
            assert ["100000\n"] == [r.text async for r in pipeline if isinstance(r, HostText)]
            (pid,) = await runspace.query("$PID")
        await _gone(int(pid))

    asyncio.run(main())


async def _gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            await asyncio.sleep(0)


def test_a_second_hop_is_noticed_and_undone(sshd: Sshd) -> None:
    enter = (
        f"Enter-PSSession -HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath {sshd.key} "
        f"-Options @{{ UserKnownHostsFile = '{sshd.known_hosts}' }}"
    )

    async def main() -> None:
        session = InteractiveSession(opener(target(sshd, "asyncssh")), "web01")
        runspace = await session.ready(NobodyToAsk())
        (home,) = await runspace.query("$PID")
        for cell, told_at_once in (
            (enter, True),
            (f"{enter} -Subsystem restricted", True),
            (f"& {{ {enter.replace('Enter-PSSession', '& (gcm ente*-PSSes*)')} }}", False),
        ):
            pipeline = await (await session.ready(NobodyToAsk())).run_cell(cell)
            async for _ in pipeline:
                pass
            told = await session.after_cell(cell)
            assert told_at_once == (told is not None)
            if not told_at_once:
                with pytest.raises(Exception, match="another host"):
                    await session.ready(NobodyToAsk())
            assert [home] == await (await session.ready(NobodyToAsk())).query("$PID")
        await session.aclose()

    asyncio.run(main())
