from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import ConnectError
from pskernel.transports.pipes import (
    CannotAttach,
    HostProcess,
    choose,
    custom_pipe,
    find_pipe,
    has_ended,
    list_pipes,
    read_pipe_name,
    read_temp_folder,
    start_in_name,
)

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells more of a process")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this process, with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path)


# ---- names ----


def test_a_name_as_the_engine_gives_it() -> None:
    path = "/tmp/CoreFxPipe_PSHost.DD803085.7436.None.pwsh"
    assert HostProcess(7436, "pwsh", "None", path, 0xDD803085) == read_pipe_name(path)


def test_a_name_as_windows_has_it() -> None:
    path = r"\\.\pipe\PSHost.133752301234567890.4120.DefaultAppDomain.pwsh"
    found = HostProcess(4120, "pwsh", "DefaultAppDomain", path, 133752301234567890)
    assert found == read_pipe_name(path, windows=True)
    assert read_pipe_name(path) is None
    assert read_pipe_name("/tmp/CoreFxPipe_PSHost.DD803085.7436.None.pwsh", windows=True) is None


@pytest.mark.parametrize("cut", ["CoreFxPipe_PSHost.DD803085.7436.None.pw", "CoreFxPipe_PSHost.DD803085.7436."])
def test_a_name_that_was_cut_after_the_id(cut: str) -> None:
    found = read_pipe_name(f"/tmp/{cut}")
    assert found is not None
    assert (7436, "None") == (found.pid, found.domain)


@pytest.mark.parametrize(
    "name",
    [
        "CoreFxPipe_mine",
        "CoreFxPipe_PSHost.DD803085.7436",
        "CoreFxPipe_PSHost.DD803085.0.None.pwsh",
        "CoreFxPipe_PSHost.DD80308512.74.None.pwsh",
        "xCoreFxPipe_PSHost.DD803085.7436.None.pwsh",
        "CoreFxPipe_PSHost..7436.None.pwsh",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert read_pipe_name(f"/tmp/{name}") is None


def test_a_start_is_what_the_engine_makes_of_it() -> None:
    """FILETIME 1DD8030850A816E, as .NET printed it for the process above."""
    seconds = 0x1DD8030850A816E / 10_000_000 - 11_644_473_600
    assert 0xDD803085 == start_in_name(seconds)
    assert abs(0x1DD8030850A816E - start_in_name(seconds, windows=True)) < 100


@given(st.integers(1, 2**31), st.integers(0, 2**32 - 1), st.from_regex(r"\A[^/\0\n]{1,30}\Z"))
def test_names_are_read_back(pid: int, start: int, name: str) -> None:
    found = read_pipe_name(f"/a/b/CoreFxPipe_PSHost.{start:08X}.{pid}.None.{name}")
    assert found is not None
    assert (pid, start, "None", name) == (found.pid, found.start, found.domain, found.name)


@given(st.text(max_size=80))
def test_any_name_is_one_or_none(text: str) -> None:
    for windows in (False, True):
        found = read_pipe_name(text, windows=windows)
        assert found is None or (found.path == text and found.pid > 0)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 50))), st.none() | st.integers(0, 50))
def test_of_several_the_nearest_or_the_newest(starts: list[tuple[int, int]], start: int | None) -> None:
    pipes = [HostProcess(pid, "pwsh", "None", f"/{pid}/{each}", each) for pid, each in starts]
    found = choose(pipes, 1, start)
    ours = [each for pid, each in starts if pid == 1]
    assert (found is None) == (not ours)
    if found is not None:
        best = max(ours) if start is None else min(abs(each - start) for each in ours)
        assert best == (found.start if start is None else abs(found.start - start))


def test_the_temporary_folder_of_an_environment() -> None:
    assert "/var/x" == read_temp_folder(b"A=1\0TMPDIR=/var/x\0B=TMPDIR=/no\0")
    assert "/tmp" == read_temp_folder(b"A=1\0TMPDIR=\0XTMPDIR=/no\0")
    assert "/tmp" == read_temp_folder(b"")


# ---- this machine ----


@contextlib.contextmanager
def a_process(**environment: str) -> Iterator[int]:
    """The id of a process that runs, named sh."""
    with subprocess.Popen(
        ["sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def pipe(folder: Path, pid: int, *, start: int | None = None, name: str = "sh") -> str:
    start = start_in_name(psutil.Process(pid).create_time()) if start is None else start
    path = folder / f"CoreFxPipe_PSHost.{start:08X}.{pid}.None.{name}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return str(path)


def test_pipe_is_found_among_others(folder: Path) -> None:
    with a_process() as pid:
        ours = pipe(folder, pid, name="pwsh-preview")
        pipe(folder, 1, start=1)
        pipe(folder, int(f"{pid}1"), start=1)
        (folder / f"CoreFxPipe_{pid}").write_text("")
        assert ours == find_pipe(pid).path


@only_linux
def test_pipes_of_earlier_processes_with_the_same_id(folder: Path) -> None:
    with a_process() as pid:
        now = start_in_name(psutil.Process(pid).create_time())
        for start in (now - 40_000, now + 40_000):  # the clock may have been set back since
            pipe(folder, pid, start=start)
        ours = pipe(folder, pid)
        assert ours == find_pipe(pid).path


@only_linux
def test_the_folder_of_the_process_itself(folder: Path, tmp_path: Path) -> None:
    with a_process(TMPDIR=f"{tmp_path}/") as pid:
        name = f"CoreFxPipe_PSHost.00000001.{pid}.None.sh"
        (tmp_path / name).write_text("")
        assert f"{tmp_path}/{name}" == find_pipe(pid).path
    assert list(folder.iterdir()) == []


def test_process_without_a_pipe(folder: Path) -> None:
    with a_process() as pid, pytest.raises(CannotAttach) as caught:
        find_pipe(pid)
    assert ("EnterPSHostProcessNoPowerShell", True) == (caught.value.error_id, caught.value.passing)
    assert str(caught.value) == (
        f"Cannot enter process with Id '{pid}' because it has not loaded the PowerShell engine or the named-pipe "
        f"listener was disabled: there is no pipe of it in {folder}. PowerShell 6 or newer has one, unless "
        "POWERSHELL_DIAGNOSTICS_OPTOUT=1 is set; if it is elsewhere, give its path as in pipe:/path."
    )


@pytest.mark.usefixtures("folder")
def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    for pid in (process.pid, 9_999_999_999):
        with pytest.raises(CannotAttach, match=f"^No process was found with Id: {pid}") as caught:
            find_pipe(pid)
        assert ("EnterPSHostProcessNoProcessFoundWithId", False) == (caught.value.error_id, caught.value.passing)


def test_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such")
    with pytest.raises(ConnectError, match=r"^The folder /no/such cannot be searched: No such file or directory\."):
        list_pipes()


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
            find_pipe(os.getppid())
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


def test_custom_names_and_paths(folder: Path) -> None:
    (folder / "CoreFxPipe_mine").write_text("")
    assert f"{folder}/CoreFxPipe_mine" == custom_pipe("mine") == custom_pipe(f"{folder}/CoreFxPipe_mine")
    with pytest.raises(CannotAttach, match=r"^No named pipe was found with CustomPipeName: other\.") as caught:
        custom_pipe("other")
    assert ("EnterPSHostProcessNoNamedPipeFound", True) == (caught.value.error_id, caught.value.passing)


@only_linux
def test_what_is_listed_runs_and_is_ours(folder: Path) -> None:
    with a_process() as pid, a_process() as other:
        ours = pipe(folder, pid)
        pipe(folder, os.getpid(), start=1, name="pwsh")  # of an earlier process with our id
        theirs = pipe(folder, other)
        assert {ours, theirs} == {each.path for each in list_pipes()}
        if os.geteuid() == 0:
            os.chown(theirs, 12_345, -1)
            assert [ours] == [each.path for each in list_pipes()]
    assert [] == list_pipes()


def test_whether_a_process_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not has_ended(process.pid)
        process.kill()
        deadline = time.monotonic() + 20
        while not has_ended(process.pid):  # before anybody has waited for it
            assert time.monotonic() < deadline
    assert has_ended(process.pid)
