from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pskernel.errors import ConnectError, TargetError, TargetUnreachable
from pskernel.transports.process import open_process
from pskernel.transports.unix import find_pipe, open_unix

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def fails(path: object) -> str:
    with pytest.raises((ConnectError, TargetError)) as caught:
        asyncio.run(open_unix(str(path)))
    return f"{type(caught.value).__name__}: {caught.value}"


def test_no_socket(folder: Path) -> None:
    assert fails(folder / "x") == f"TargetUnreachable: There is no socket {folder}/x."


def test_not_a_socket(folder: Path) -> None:
    (folder / "file").write_text("")
    assert fails(folder / "file") == f"TargetError: {folder}/file is not a socket."


def test_path_below_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    assert fails(folder / "file/x") == f"ConnectError: The socket {folder}/file/x cannot be opened: Not a directory."


def test_link_is_not_followed(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "real"))
        listener.listen()
        (folder / "link").symlink_to(folder / "real")
        assert fails(folder / "link") == f"TargetError: {folder}/link is not a socket."


def test_nobody_listens(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "x"))
    assert fails(folder / "x") == (
        f"TargetUnreachable: Nobody listens on the socket {folder}/x: the process that made it is gone. Delete the "
        "file, or start the process again."
    )


@only_root
def test_socket_of_another_user(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "x"))
        listener.listen()
        os.chown(folder / "x", 12_345, -1)
        assert fails(folder / "x") == (
            f"ConnectError: The socket {folder}/x belongs to user id 12345, not to 0 who runs this. It was not opened: "
            "its owner could read and answer everything."
        )


@only_root
def test_peer_of_another_user_on_our_socket(folder: Path) -> None:
    """The file is ours, but another user's process listens on it."""
    code = f"import os, socket; s = socket.socket(socket.AF_UNIX); os.setuid(12345); s.bind({str(folder / 'x')!r}); s.listen(); print(flush=True); s.accept(); input()"
    folder.chmod(0o777)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.chown(folder / "x", 0, 0)
        assert fails(folder / "x").startswith(f"ConnectError: The socket {folder}/x belongs to user id 12345, not to 0")
        process.kill()


def pipe(folder: Path, pid: int, *, start: str = "1DC5A0B1", name: str = "pwsh") -> str:
    path = folder / f"CoreFxPipe_PSHost.{start}.{pid}.None.{name}"
    path.write_text("")
    return str(path)


def test_pipe_is_found_among_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = pipe(folder, os.getpid(), name="pwsh-preview")
    pipe(folder, 1)
    pipe(folder, int(f"{os.getpid()}1"))
    (folder / f"CoreFxPipe_{os.getpid()}").write_text("")
    assert find_pipe(os.getpid(), temp_dir=str(folder)) == ours
    monkeypatch.setenv("TMPDIR", str(folder))
    assert find_pipe(os.getpid()) == ours


def test_process_without_a_pipe(folder: Path) -> None:
    with pytest.raises(TargetUnreachable) as caught:
        find_pipe(os.getpid(), temp_dir=str(folder))
    assert str(caught.value) == (
        f"Process {os.getpid()} has no PowerShell pipe in {folder}. Either it is not PowerShell 6 or newer, or it was "
        "started with POWERSHELL_DIAGNOSTICS_OPTOUT=1, or its TMPDIR differs from this one's: then give the socket's "
        "own path (unix:PATH)."
    )


def test_no_such_process(folder: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    pipe(folder, process.pid)
    with pytest.raises(TargetUnreachable, match=f"^There is no process with the id {process.pid} on this machine"):
        find_pipe(process.pid, temp_dir=str(folder))


def test_several_pipes(folder: Path) -> None:
    first, second = pipe(folder, os.getpid(), start="AAAA"), pipe(folder, os.getpid(), start="BBBB")
    with pytest.raises(TargetError) as caught:
        find_pipe(os.getpid(), temp_dir=str(folder))
    assert f"{first}, {second}" in str(caught.value)
    assert "Give the path of the newest (unix:PATH), or delete the others." in str(caught.value)


def test_no_folder(folder: Path) -> None:
    with pytest.raises(ConnectError, match=f"^The folder {folder}/x cannot be searched: No such file or directory"):
        find_pipe(os.getpid(), temp_dir=f"{folder}/x")


@only_root
def test_process_of_another_user(folder: Path) -> None:
    folder.chmod(0o755)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: the child does next to nothing
        child = os.fork()
    if child == 0:
        try:
            os.setuid(12_345)
            find_pipe(os.getppid(), temp_dir=str(folder))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shall see it
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        said = result.read()
    os.waitpid(child, 0)
    assert said == (
        f"ConnectError: Process {os.getpid()} belongs to another user. PowerShell lets only its own user attach: run as that user."
    )


@pytest.mark.live
def test_attach_to_a_running_powershell(pwsh: str, folder: Path) -> None:
    async def main() -> None:
        command = [pwsh, "-NoLogo", "-NoProfile", "-Command", "'up'; Start-Sleep 60"]
        process = await open_process(command, env={"TMPDIR": str(folder)})
        # Its pipe is made before the command runs.
        assert await process.receive() == b"up\n"
        stream = await open_unix(find_pipe(process.pid, temp_dir=str(folder)))
        await stream.send(b"<Signal PSGuid='00000000-0000-0000-0000-000000000001' />\n")
        assert await stream.receive() == b"<SignalAck PSGuid='00000000-0000-0000-0000-000000000001' />\n"
        assert stream.diagnostics() == ""
        await stream.aclose()
        await process.aclose()

    asyncio.run(main())
