"""`pskernel sessions` on real relays, and on a WinRM service."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.connect import connect, relays
from pskernel.connect.kept import find_shells
from pskernel.connect.opening import open_stream
from pskernel.connect.relays import Relays
from pskernel.protocol.durable import Resumable
from pskernel.questions import NobodyToAsk
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.unix import open_unix
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.winrm_magics import left_by_another

pytestmark = pytest.mark.live


@pytest.fixture
def url(pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This machine, with no other relays than the test's."""
    # The path must be short enough for a socket.
    folder = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield f"process:{pwsh}"
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in " ".join(process.info["cmdline"] or ()):
            process.kill()
    shutil.rmtree(folder)


def sessions(*words: str) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(app, ["sessions", *words])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
    return outcome.exit_code, outcome.stdout, outcome.stderr


def listed(*words: str) -> list[dict[str, Any]]:
    status, said, _ = sessions(*words, "--json")
    assert 0 == status
    found: list[dict[str, Any]] = json.loads(said)["sessions"]
    return found


def of_another(work: Coroutine[Any, Any, Any]) -> Any:
    """What another client does, on a loop of its own."""
    return asyncio.run(work)


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work)


async def left(url: str, name: str, script: str = "") -> UUID:
    runspace = await connect(Target.parse(url, {"durable": True}), name=name)
    if script:
        await runspace.leave(script)
    await runspace.disconnect()
    await runspace.aclose()
    return runspace.instance_id


def folders() -> list[Path]:
    return sorted(Path(os.environ["TMPDIR"]).glob("pskernel-session-*"))


def test_what_is_left_is_listed_and_ended(url: str) -> None:
    work, job, other = of_another(together(left(url, "work"), left(url, "job", "1..3"), left(url, "job")))

    rows = {each["id"]: each for each in listed(url)}

    assert {str(work): "work", str(job): "job", str(other): "job"} == {
        number: each["name"] for number, each in rows.items()
    }
    assert [("away", False), ("away", True)] == [
        (each["state"], each["running"]) for each in (rows[str(work)], rows[str(job)])
    ]
    assert rows[str(job)]["client"].endswith(f"process {os.getpid()}")
    assert datetime.now(UTC) - datetime.fromisoformat(rows[str(job)]["opened"]) < timedelta(minutes=5)
    status, _, error = sessions(url, "--end", "job")
    assert (2, True) == (status, str(job) in error and str(other) in error)
    for name in ("work", str(other).upper()):
        status, said, _ = sessions(url, "--end", name)
        assert (0, True) == (status, said.startswith("Ended the session "))
    status, said, _ = sessions(url)
    ((_, *row),) = [line.split("\t") for line in said.splitlines()]
    assert (0, [str(job), "away, command left"]) == (status, row[:2])
    assert 0 == sessions(url, "--end", "job")[0]
    status, said, error = sessions(url)
    assert (0, "", True) == (status, said, error.startswith("No session is kept on "))
    assert [] == folders()


def test_a_session_that_another_client_has_is_ended_on_demand_only(url: str) -> None:
    async def main() -> None:
        runspace = await connect(Target.parse(url, {"durable": True}), name="theirs")
        (row,) = await asyncio.to_thread(listed, url)
        assert ("connected", None) == (row["state"], row["alone"])

        status, _, error = await asyncio.to_thread(sessions, url, "--end", "theirs")
        assert 2 == status
        assert "Another client has the session theirs on" in error
        assert f"process {os.getpid()}. It was not ended. --take-over ends it" in error
        assert [7] == await runspace.query("7")

        assert 0 == (await asyncio.to_thread(sessions, url, "--end", "theirs", "--take-over"))[0]
        await runspace.wait_ended()
        assert "Another client has it" in str(runspace.error) or "gone" in str(runspace.error)

    of_another(main())
    assert [] == folders()


async def begun_and_left_unopened(url: str) -> None:
    """A client greets a relay, and is gone before it opens anything."""
    there = await Relays.at(await open_stream(Target.parse(url), NobodyToAsk()), 60)
    relay = await there.start("0" * 32, "", 60)
    await there.aclose()
    link = await open_unix(relay.path)
    await link.send(Resumable(relay.session, relay.token, "client", idle=60, who="a client").hello())
    assert b"H" == (await link.receive())[:1]
    await link.aclose()


async def killed(url: str) -> Path:
    """A relay is killed, some time ago; its folder stays."""
    runspace = await connect(Target.parse(url, {"durable": True}))
    (engine,) = await runspace.query("$PID")
    relay = psutil.Process(engine).parent()
    assert relay is not None
    folder = Path(relay.cmdline()[-1])
    relay.kill()
    await runspace.wait_ended()
    os.utime(folder, (0, 0))
    return folder


def test_what_is_of_no_use_is_removed_and_what_is_left_stays(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, kept, dead = of_another(together(begun_and_left_unopened(url), left(url, "kept"), killed(url)))
    rows = {each["state"]: each for each in listed(url)}
    assert {"never opened", "dead", "away"} == set(rows)
    assert (f"{dead}/s", "0" * 32) == (rows["dead"]["id"], rows["never opened"]["id"])
    assert "a client" == rows["never opened"]["client"]
    # Its client may be about to come.
    assert ["never opened"] == [each["state"] for each in listed(url, "--clean") if each["id"] == "0" * 32]
    assert not dead.exists()

    monkeypatch.setattr(relays, "_COMING_SECONDS", 0)
    # Both may have been opened in the same second.
    assert ["away", "removed"] == sorted(each["state"] for each in listed(url, "--clean"))

    assert [str(kept)] == [each["id"] for each in listed(url)]
    assert 1 == len(folders())


def test_one_of_another_version_is_ended_by_its_id_and_none_that_is_connected_by_the_way(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "_COMING_SECONDS", 0)

    async def main() -> Runspace:
        of_others = await connect(Target.parse(url, {"durable": True}), name="theirs")
        monkeypatch.setattr(relays, "VERSION", 2)
        (row,) = await asyncio.to_thread(listed, url, "--clean")
        assert ("another version", None) == (row["state"], row["running"])
        assert 2 == (await asyncio.to_thread(sessions, url, "--end", row["id"]))[0]
        assert [7] == await of_others.query("7")
        assert 0 == (await asyncio.to_thread(sessions, url, "--end", row["id"], "--take-over"))[0]
        await of_others.wait_ended()
        return of_others

    assert "gone" in str(of_another(main()).error)
    assert [] == folders()


def test_what_a_socket_says_of_its_process_is_not_believed(url: str) -> None:
    """Whoever lists relays as root asks sockets of others."""
    folder = Path(os.environ["TMPDIR"]) / "pskernel-session-liar"
    folder.mkdir()
    bystander = psutil.Popen(["sleep", "60"])

    async def main() -> None:
        said = {"version": 1, "session": "1" * 32, "process": bystander.pid, "linked": False, "alone": 99}
        body = json.dumps(said).encode()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(13)
            writer.write(b"W" + bytes(8) + len(body).to_bytes(4, "little") + body)
            await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(answer, folder / "s"):
            assert ["never opened"] == [each["state"] for each in await asyncio.to_thread(listed, url, "--clean")]
            status, _, error = await asyncio.to_thread(sessions, url, "--end", "1" * 32)
            assert (2, True) == (status, "could not be ended" in error)

    of_another(main())
    assert psutil.STATUS_ZOMBIE != bystander.status()
    bystander.kill()
    bystander.wait()


def test_sessions_of_a_winrm_server(winrm: WsmanBridge, target: Target) -> None:
    pool_id = left_by_another(target)
    url = str(target)

    (row,) = [each for each in listed(url) if each["id"] == str(pool_id)]

    assert ("left", "away", False) == (row["name"], row["state"], row["running"])
    assert 0 == sessions(url, "--end", str(pool_id))[0]
    shells = asyncio.run(find_shells(target, NobodyToAsk()))
    assert pool_id not in [each.pool_id for each in shells]
