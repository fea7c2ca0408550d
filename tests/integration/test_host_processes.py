"""PowerShell processes that run already, by the magics, the command and the library, here and at a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.connect import connect, find_processes
from pskernel.errors import ConnectError, NotPowerShell
from pskernel.questions import NobodyToAsk
from pskernel.records import Output
from pskernel.target import Target
from pskernel.transports.pipes import CannotAttach
from tests.parts.host_process import HostProcess
from tests.parts.ipython import run, ssh_parameters
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live

Factory = Callable[..., HostProcess]


def asked(url: str, script: str) -> list[object]:
    async def main() -> list[object]:
        async with await connect(Target.parse(url)) as opened:
            return [record.value async for record in await opened.invoke(script) if isinstance(record, Output)]

    return asyncio.run(main())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


# ---- reaching them ----


def test_again_and_again_by_every_way(
    host_process_factory: Factory, forwarded: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One leaves, the next comes at once, while the process has no pipe for a moment."""
    process = host_process_factory("psk-mine")
    monkeypatch.setenv("TMPDIR", str(process.folder))
    custom = process.folder / "CoreFxPipe_psk-mine"
    ways = (process.url, "pipe:psk-mine", f"pipe:{process.socket}", forwarded(process.pid), forwarded(custom))
    assert [[process.pid]] * 10 == [asked(url, "$PID") for url in ways * 2]
    assert process.is_running


def test_what_earlier_processes_have_left(host_process_factory: Factory) -> None:
    process = host_process_factory()
    for start in ("00000001", "FFFFFFFF"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{process.folder}/CoreFxPipe_PSHost.{start}.{process.pid}.None.pwsh")
    assert [process.pid] == asked(process.url, "$PID")


def test_a_second_client_is_told_so(host_process_factory: Factory, forwarded: Callable[[object], str]) -> None:
    process = host_process_factory()

    async def main() -> None:
        async with await connect(Target.parse(process.url)):
            with pytest.raises(CannotAttach, match="takes one client at a time: somebody else is attached") as caught:
                await connect(Target.parse(forwarded(process.pid)))
            assert "EnterPSHostProcessCannotConnectToProcess" == caught.value.error_id

    asyncio.run(main())
    assert [process.pid] == asked(forwarded(process.pid), "$PID")


@pytest.mark.parametrize("answer", [b"hello\n", b"<Data PSGuid='x", b"x" * 100_000])
def test_what_is_not_powershell(folder: Path, answer: bytes) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer + b"\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        left.set()

    async def main() -> None:
        async with await asyncio.start_unix_server(serve, f"{folder}/s"):
            with pytest.raises(NotPowerShell, match="does not answer as PowerShell does"):
                await connect(Target.parse(f"pipe:{folder}/s"))
            await left.wait()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (99_999_999, r"No process was found with Id: 99999999\."),
        (1, r"Cannot enter process with Id '1' because it has not loaded the PowerShell engine"),
        ("psk-nosuch", r"There is no /tmp/CoreFxPipe_psk-nosuch on 127\.0\.0\.1"),
        ("/etc/passwd", r"/etc/passwd on 127\.0\.0\.1 is not a socket\."),
    ],
)
def test_what_is_not_there(forwarded: Callable[[object], str], place: object, message: str) -> None:
    with pytest.raises(ConnectError, match=message):
        asked(forwarded(place), "1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
def test_a_socket_of_another_user_at_the_server(forwarded: Callable[[object], str], folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()
        os.chown(folder / "s", 12_345, -1)
        with pytest.raises(ConnectError, match="belongs to user id 12345, not to 0 who has logged in"):
            asked(forwarded(f"{folder}/s"), "1")


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_name_of_a_socket_proves_nothing(
    host_process_factory: Factory, forwarding_sshd: Sshd, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    process, other = host_process_factory(), host_process_factory()
    other.socket.unlink()
    other.socket.hardlink_to(process.socket)
    monkeypatch.setenv("TMPDIR", str(other.folder))
    place = other.url if where == "here" else at(forwarding_sshd, f"pid={other.pid}")
    with pytest.raises(ConnectError, match=rf"the id {other.pid} in its name.* is that of process {process.pid}\."):
        asked(place, "1")


def at(server: Sshd, place: str) -> str:
    return f"ssh://{server.user}@{server.host}:{server.port}?{place}&key_file={server.key}&ssh_config={server.config}"


def test_a_server_that_forwards_no_sockets(sshd_factory: Callable[..., Sshd], host_process: HostProcess) -> None:
    server = sshd_factory({"sftp": "internal-sftp"}, options=["AllowStreamLocalForwarding no"])
    with pytest.raises(CannotAttach, match="must not say AllowStreamLocalForwarding no"):
        asked(at(server, f"pid={host_process.pid}"), "1")


def test_a_server_without_sftp(sshd_factory: Callable[..., Sshd], host_process: HostProcess) -> None:
    server = sshd_factory({})
    with pytest.raises(ConnectError, match=r"offers no SFTP, by which a process's socket is found\. Give the path"):
        asked(at(server, f"pid={host_process.pid}"), "1")
    assert [host_process.pid] == asked(at(server, f"pipe={host_process.socket}"), "$PID")


def test_listing(host_process_factory: Factory, forwarding_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    process, other = host_process_factory(), host_process_factory()
    monkeypatch.setenv("TMPDIR", str(process.folder))
    # What a killed process leaves behind.
    ended = psutil.Popen(["true"])
    ended.wait()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(process.folder / process.socket.name.replace(f".{process.pid}.", f".{ended.pid}.")))

    async def main() -> None:
        assert [process.pid] == [each.pid for each in await find_processes(None, NobodyToAsk())]
        both = await find_processes(None, NobodyToAsk(), [other.pid])
        assert {process.pid, other.pid} == {each.pid for each in both}
        assert {("pwsh", "None")} == {(each.name, each.domain) for each in both}
        there = Target.parse(at(forwarding_sshd, "width=120"))
        # Both have folders of their own, and others may be in /tmp.
        found = {each.pid: each.path for each in await find_processes(there, NobodyToAsk(), [process.pid])}
        assert str(process.socket) == found[process.pid]
        assert str(other.socket) != found.get(other.pid)
        assert ended.pid not in found

    asyncio.run(main())


# ---- the command ----


def test_doctor_goes_step_by_step(host_process: HostProcess, forwarded: Callable[[object], str]) -> None:
    found = CliRunner().invoke(app, ["doctor", "--json", host_process.url])
    steps = {step["name"]: step for step in json.loads(found.stdout)["steps"]}
    assert list(steps) == ["target", "process", "connection", "runspace", "PowerShell", "line", "speed"]
    assert {"ok"} == {step["state"] for step in steps.values()}
    assert [f"It is pwsh, and its pipe is {host_process.socket}."] == steps["process"]["lines"]

    found = CliRunner().invoke(app, ["doctor", "--json", forwarded(host_process.pid)])
    steps = {step["name"]: step for step in json.loads(found.stdout)["steps"]}
    assert {"ok"} == {step["state"] for step in steps.values()}
    assert f"the socket of process {host_process.pid} on " in steps["login"]["lines"][0]

    found = CliRunner().invoke(app, ["doctor", "--json", forwarded(99_999_999)])
    last = json.loads(found.stdout)["steps"][-1]
    assert ("process", "failed") == (last["name"], last["state"])


# ---- the magics ----


@pytest.fixture
def listed(host_process_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> HostProcess:
    """The one process of this temporary folder, with a custom pipe."""
    process = host_process_factory("psk-mine")
    monkeypatch.setenv("TMPDIR", str(process.folder))
    return process


@pytest.mark.parametrize(
    "words", ["$pid", "-Id $pid None", "pwsh", "-Name pw*", "$p", "-HostProcessInfo $i", "-CustomPipeName psk-mine"]
)
def test_entering_and_leaving(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], listed: HostProcess, words: str
) -> None:
    shell.user_ns.update(pid=listed.pid, p=psutil.Process(listed.pid))
    assert run(shell, capsys, "i = %get_pshostprocessinfo")[1] is None
    assert run(shell, capsys, f"%enter_pshostprocess {words}") == ("", None)
    enter = shell.find_line_magic("enter_pssession").__self__
    assert re.fullmatch(rf"\[Process:{listed.pid}\]: PS /.*> ", enter._remote.prompt())
    assert (f"{listed.pid}\n", None) == run(shell, capsys, "$PID")
    for leave in ("Exit-PSHostProcess", "%exit_pshostprocess", "exit"):
        assert ("", None) == run(shell, capsys, leave)
        assert ("3\n", None) == run(shell, capsys, "print(1 + 2)")
        assert run(shell, capsys, f"%enter_pshostprocess {words}")[1] is None
    run(shell, capsys, "exit 7")
    assert listed.is_running


def test_at_a_host(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], listed: HostProcess, forwarding_sshd: Sshd
) -> None:
    shell.user_ns["pid"] = listed.pid
    where = ssh_parameters(forwarding_sshd)
    assert run(shell, capsys, f"%enter_pshostprocess {where} -Id $pid")[1] is None
    enter = shell.find_line_magic("enter_pssession").__self__
    assert enter._remote.prompt().startswith(f"[127.0.0.1]: [Process:{listed.pid}]: PS /")
    assert (f"{listed.pid}\n", None) == run(shell, capsys, "$PID")
    error = run(shell, capsys, f"#% target ssh://{forwarding_sshd.user}@127.0.0.1:{forwarding_sshd.port}\n$PID")[1]
    assert "It was not run." in str(error)
    run(shell, capsys, "exit")
    shown, error = run(shell, capsys, f"i = %get_pshostprocessinfo {where} -Id $pid\ni")
    assert error is None
    assert re.search(
        rf"^ProcessName ProcessId AppDomainName MainWindowTitle\n.*\npwsh +{listed.pid} +None$", shown, re.MULTILINE
    )
    assert run(shell, capsys, "%enter_pshostprocess $i")[1] is None
    assert (f"{listed.pid}\n", None) == run(shell, capsys, "$PID")
    info = shell.user_ns["i"]
    assert (listed.pid, "pwsh", "") == (info.ProcessId, info.ProcessName, info.MainWindowTitle)


@pytest.mark.parametrize(
    ("words", "name", "message"),
    [
        ("-Id 99999999", "EnterPSHostProcessNoProcessFoundWithId", "No process was found with Id: 99999999."),
        ("-Id 0", "EnterPSHostProcessNoPowerShell", "Cannot enter process with Id '0'"),
        ("-Name nosuch", "EnterPSHostProcessNoProcessFoundWithName", "No process was found with Name: nosuch."),
        (
            "-CustomPipeName no",
            "EnterPSHostProcessNoNamedPipeFound",
            "No named pipe was found with CustomPipeName: no.",
        ),
        ("-CustomPipeName 'a/b'", "TargetError", "A pipe's name has letters, digits"),
        ("-Id $pid x", "EnterPSHostProcessCannotConnectToProcess", "has no application domain x; it has None."),
        ("", "MissingMandatoryParameter", "Id"),
    ],
)
def test_refusals(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], listed: HostProcess, words: str, name: str, message: str
) -> None:  # fmt: skip
    shell.user_ns["pid"] = listed.pid
    error = run(shell, capsys, f"%enter_pshostprocess {words}")[1]
    assert name == type(error).__name__
    assert message in str(error)
    assert ("3\n", None) == run(shell, capsys, "print(1 + 2)")


def test_several_of_one_name(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], host_process_factory: Factory, folder: Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("TMPDIR", str(folder))
    one, two = host_process_factory(), host_process_factory()
    for each in (one, two):
        (folder / each.socket.name).symlink_to(each.socket)
    error = run(shell, capsys, "%enter_pshostprocess pwsh")[1]
    assert "EnterPSHostProcessMultipleProcessesFoundWithName" == type(error).__name__
    assert all(str(each.pid) in str(error) for each in (one, two))


def test_what_stands_below_is_refused(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], listed: HostProcess
) -> None:
    error = run(shell, capsys, f"%enter_pshostprocess {listed.pid}\nprint('here')")[1]
    assert "MagicNotAlone" == type(error).__name__
    assert run(shell, capsys, f"%enter_pshostprocess {listed.pid}")[1] is None
    error = run(shell, capsys, "1\n%get_pshostprocessinfo")[1]
    assert "MagicNotAlone" == type(error).__name__


def test_sessions_and_files(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    listed: HostProcess,
    tmp_path: Path,
    forwarded: Callable[[object], str],
) -> None:
    import pskernel  # noqa: PLC0415 - as a user would

    with pskernel.new_pssession(listed.url) as session:
        shell.user_ns["s"] = session
        assert ("NamedPipe", "localhost") == (session.transport, session.computer_name)
        (tmp_path / "here").write_bytes(bytes(range(256)) * 1_000)
        assert (
            run(shell, capsys, f"%copy_item '{tmp_path}/here' -Destination '{tmp_path}/there' -ToSession $s")[1] is None
        )
        assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
        assert [listed.pid] == list(session.invoke("$PID"))
    with pskernel.new_pssession(forwarded(listed.pid)) as session:  # whose files go by SFTP
        session.send(str(tmp_path / "here"), str(tmp_path / "again"))
        assert (tmp_path / "again").read_bytes() == (tmp_path / "here").read_bytes()
    assert listed.is_running


def test_a_process_that_ends_while_it_is_entered(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], listed: HostProcess
) -> None:
    run(shell, capsys, f"%enter_pshostprocess {listed.pid}")
    listed.kill()
    error = run(shell, capsys, "Start-Sleep 600; 'end'")[1]
    assert type(error).__name__ in {"ConnectionLost", "SessionLost"}
    assert f"Process {listed.pid} has ended." in str(error)
    error = run(shell, capsys, "print('here')")[1]
    assert "SessionLost" == type(error).__name__
