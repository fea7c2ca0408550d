"""Files to and from a session's host: by SFTP over a real sshd, and through PowerShell; both do the same."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from pskernel import PipelineFailed, PSSession, RemotingError, new_pssession
from pskernel.copying.errors import CopyError
from pskernel.copying.far import read_listing
from pskernel.copying.near import find, part_name
from pskernel.errors import PSKernelError, RemoteProtocolError, RunspaceStateError, TransportClosed
from pskernel.records import ProgressRecord
from pskernel.remoting.loop import LOOP
from pskernel.remoting.transfer import Transfer
from tests.parts.ipython import run
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def sftp_sshd(sshd_factory: Callable[..., Sshd], pwsh: str) -> Sshd:
    server: Sshd = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "internal-sftp"})
    return server


def ssh_target(server: Sshd) -> str:
    return f"ssh://{server.user}@127.0.0.1:{server.port}?key_file={server.key}&known_hosts={server.known_hosts}"


@pytest.fixture(scope="module", params=["SFTP", "PSRP", "no sftp"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(way: str, sftp_sshd: Sshd, engine_sshd: Sshd, pwsh: str) -> Iterator[PSSession]:
    servers = {"SFTP": ssh_target(sftp_sshd), "PSRP": f"process:{pwsh}", "no sftp": ssh_target(engine_sshd)}
    with new_pssession(servers[way]) as session:
        yield session


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("size", [0, 1, MEGABYTE, 9 * MEGABYTE + 7])
def test_a_file_goes_there_and_comes_back(session: PSSession, way: str, here: Path, there: Path, size: int) -> None:
    data = noise(size)
    (here / "file").write_bytes(data)
    os.utime(here / "file", (1_700_000_000, 1_700_000_000))

    sent = session.send(str(here / "file"), str(there))
    received = session.receive(str(there / "file"), str(here / "back"))

    assert ("SFTP" if way == "SFTP" else "PSRP", 1, size, 0) == (sent.way, sent.files, sent.bytes, sent.resumed)
    assert (1, size) == (received.files, received.bytes)
    assert data == (there / "file").read_bytes() == (here / "back").read_bytes()
    assert {1_700_000_000} == {(there / "file").stat().st_mtime, (here / "back").stat().st_mtime}
    assert ["file"] == names(there)


def test_a_folder_goes_with_all_that_is_in_it(session: PSSession, here: Path, there: Path) -> None:
    odd = [
        "with space",
        "it's",
        'a"b',
        "[1]",
        "\u00fc\u4e2d",
        "$x `n",
        "-dash",
        "line\nbreak",
        "a;b&c|d",
        "a\\b",
        "c:d",
    ]
    (here / "top" / "empty folder").mkdir(parents=True)
    for name in odd:
        (here / "top" / name).write_text(name)
    (here / "top" / "sub").mkdir()
    (here / "top" / "sub" / "zero").touch()
    (here / "top" / "link").symlink_to("/etc")

    sent = session.send(str(here / "top"), str(there), recurse=True)
    session.receive(str(there / "top"), str(here / "back"), recurse=True)

    (here / "top" / "link").unlink()
    assert tree(here / "top") == tree(there / "top") == tree(here / "back")
    assert (len(odd) + 1, 3) == (sent.files, sent.folders)
    assert [f"{here}/top/link: a link"] == sent.skipped


def test_a_folder_without_recurse_comes_empty(session: PSSession, here: Path, there: Path) -> None:
    (here / "top").mkdir()
    (here / "top" / "file").touch()

    sent = session.send(str(here / "top"), str(there))
    received = session.receive(str(there / "top"), str(here / "back"))

    assert {"top": None} == tree(there)
    assert (here / "back").is_dir()
    for result in (sent, received):
        assert str(result).startswith("No files, 1 folder, by ")
        assert "of the folder top nothing that is in it was copied. Use -Recurse" in repr(result)


@pytest.mark.parametrize("to_remote", [True, False])
def test_what_is_named_and_is_no_file_fails(session: PSSession, here: Path, there: Path, *, to_remote: bool) -> None:
    source, target = (here, there) if to_remote else (there, here)
    os.mkfifo(source / "pipe")
    copy = session.send if to_remote else session.receive

    with pytest.raises(CopyError, match="it is neither a file nor a folder"):
        copy(str(source / "pipe"), str(target))
    assert [f"{source}/pipe: no file or folder"] == copy(str(source / "p*"), str(target)).skipped
    assert [] == names(target)


def test_wildcards_and_literal_names(session: PSSession, here: Path, there: Path) -> None:
    for name in ("a1", "a2", "b1", "a[1]"):
        (here / name).write_text(name)

    session.send(str(here / "a?"), str(there))
    assert {"a1", "a2"} == set(tree(there))
    LOOP.run(Transfer(session, [str(here / "a[1]")], str(there), to_remote=True, literal=True).run())
    assert {"a1", "a2", "a[1]"} == set(tree(there))
    (here / "back").mkdir()
    session.receive(str(there / "a*"), str(here / "back"))
    assert {"a1", "a2", "a[1]"} == set(tree(here / "back"))


def test_the_sessions_location_is_where_relative_paths_begin(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("x")
    session.invoke("Set-Location -LiteralPath $args[0]", [str(there)])

    session.send(str(here / "file"), "new name")
    session.receive("new name", str(here / "back"))

    assert {"new name": b"x"} == tree(there)
    assert "x" == (here / "back").read_text()
    session.invoke("Set-Location /")


def test_a_file_that_is_there_is_replaced_and_a_folder_is_not(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("new")
    (there / "file").write_text("old and longer")
    (there / "folder" / "file").mkdir(parents=True)

    session.send(str(here / "file"), str(there / "file"))

    assert "new" == (there / "file").read_text()
    with pytest.raises(CopyError, match="a folder is there"):
        session.send(str(here / "file"), str(there / "folder"))


def test_what_is_read_only_needs_force(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("new")
    (there / "file").write_text("old")
    (there / "file").chmod(0o444)

    with pytest.raises(CopyError, match=r"Access to the path '.*file' is denied"):
        session.send(str(here / "file"), str(there))
    session.send(str(here / "file"), str(there), force=True)
    (here / "file").chmod(0o444)
    (there / "file").write_text("newer")
    with pytest.raises(CopyError, match=r"Access to the path '.*file' is denied"):
        session.receive(str(there / "file"), str(here))
    session.receive(str(there / "file"), str(here), force=True)

    # It is read-only still.
    assert ("newer", 0o444) == ((here / "file").read_text(), (here / "file").stat().st_mode & 0o777)
    assert 0o444 == (there / "file").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("path", "destination", "to_remote", "error_id"),
    [
        ("/no/such/file", "/tmp", True, "PathNotFound"),
        ("/no/such/file", "/tmp", False, "RemotePathNotFound"),
        ("/no/such*", "/tmp", True, "PathNotFound"),
        ("/no/such*", "/tmp", False, "RemotePathNotFound"),
        ("env:/PATH", "/tmp", False, "RemotePathNotFound"),
        ("/etc/hostname", "/no/such/folder/x", True, "RemotePathNotFound"),
        ("/etc/hostname", "/no/such/folder/x", False, "CopyItemRemotelyIOError"),
        ("/etc/host*", "/no-such-folder", True, "RemotePathNotFound"),
        ("/etc/host*", "/no-such-folder", False, "CopyItemRemotelyIOError"),
        ("/etc/hostname", "env:/x", True, "RemotePathNotFound"),
        ("/etc/hostname", "nodrive:/x", True, "RemotePathNotFound"),
        ("/etc/hostname", "/proc/x", True, "CopyItemRemotelyIOError"),
        ("/etc/hostname", "/proc/x", False, "CopyItemRemotelyIOError"),
        ("/etc/ssh", "/etc/hostname", True, "CopyError"),
        ("/etc/ssh", "/etc/hostname", False, "CopyError"),
    ],
)  # fmt: skip
def test_what_cannot_be_copied(
    session: PSSession, path: str, destination: str, error_id: str, *, to_remote: bool
) -> None:
    with pytest.raises(PipelineFailed) as caught:
        LOOP.run(Transfer(session, [path], destination, to_remote=to_remote).run())

    assert error_id == caught.value.record.fully_qualified_error_id.partition(",")[0]
    assert "Available" == session.availability


@pytest.mark.parametrize("to_remote", [True, False])
def test_an_interrupted_copy_goes_on_where_it_stopped(
    session: PSSession, here: Path, there: Path, *, to_remote: bool
) -> None:
    source, target = (here, there) if to_remote else (there, here)
    data = noise(20 * MEGABYTE)
    (source / "file").write_bytes(data)

    def tell(record: ProgressRecord) -> None:
        # Bytes of the file itself have arrived.
        if 0 < record.percent < 100:
            transfer.cancel()

    transfer = Transfer(session, [str(source / "file")], str(target), to_remote=to_remote, tell=tell)
    with pytest.raises(CancelledError):
        LOOP.run(transfer.run())
    (part,) = names(target)
    held = (target / part).stat().st_size
    assert part.endswith(".pskernel-part")
    assert 0 < held < len(data)

    again = LOOP.run(Transfer(session, [str(source / "file")], str(target), to_remote=to_remote).run())

    assert held == again.resumed
    assert ["file"] == names(target)
    assert data == (target / "file").read_bytes()
    assert ["works"] == session.invoke("'works'")


def test_a_part_of_another_version_or_a_broken_one_is_not_continued(
    session: PSSession, here: Path, there: Path
) -> None:
    (here / "file").write_bytes(noise(2 * MEGABYTE))
    session.send(str(here / "file"), str(there))
    (there / "file").unlink()

    # What a cut left, but not of this file.
    (source,) = find(str(here / "file"), literal=True, recurse=False, hidden=False, skipped=[])
    (there / part_name("file", source.size, source.ticks)).write_bytes(b"x" * MEGABYTE)
    (there / part_name("file", source.size + 1, source.ticks)).write_bytes(b"x")

    assert 0 == session.send(str(here / "file"), str(there)).resumed
    assert noise(2 * MEGABYTE) == (there / "file").read_bytes()
    assert {"file", part_name("file", source.size + 1, source.ticks)} == set(names(there))


def test_a_file_that_changes_while_it_is_copied_is_noticed(session: PSSession, here: Path, there: Path) -> None:
    (there / "file").write_bytes(noise(40 * MEGABYTE))

    def tell(record: ProgressRecord) -> None:
        # Where it has been read already.
        if 0 < record.percent < 100:
            with (there / "file").open("r+b") as file:
                file.write(b"changed")

    with pytest.raises(CopyError, match="not the same on both sides"):
        LOOP.run(Transfer(session, [str(there / "file")], str(here), to_remote=False, tell=tell).run())

    assert [] == names(here)


def test_a_remote_does_not_choose_where_files_go(session: PSSession, here: Path, there: Path) -> None:
    (there / "file").touch()
    # The engine itself now gives every file another name: as a remote would that means harm.
    session.invoke(
        "Update-TypeData -TypeName IO.FileInfo -MemberType ScriptProperty -MemberName Name -Value { '../evil' }"
    )
    try:
        with pytest.raises(PSKernelError, match=r"a name that is none: '\.\./evil'"):
            session.receive(str(there / "file"), str(here))
    finally:
        session.invoke("Remove-TypeData -TypeName IO.FileInfo")

    assert [] == names(here)


def test_a_remote_does_not_choose_which_file_it_is(session: PSSession, here: Path, there: Path) -> None:
    (there / "file").write_text("evil")
    (here / ".bashrc").write_text("mine")
    session.invoke(
        "Update-TypeData -TypeName IO.FileInfo -MemberType ScriptProperty -MemberName Name -Value { '.bashrc' }"
    )
    try:
        with pytest.raises(PSKernelError, match="which was not asked for"):
            session.receive(str(there / "file"), str(here))
    finally:
        session.invoke("Remove-TypeData -TypeName IO.FileInfo")

    assert "mine" == (here / ".bashrc").read_text()


def test_a_link_in_the_place_of_a_part_is_not_written_through(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("new")
    (there / "victim").write_text("untouched")
    (source,) = find(str(here / "file"), literal=True, recurse=False, hidden=False, skipped=[])
    (there / part_name("file", source.size, source.ticks)).symlink_to(there / "victim")

    session.send(str(here / "file"), str(there))

    assert ("untouched", "new") == ((there / "victim").read_text(), (there / "file").read_text())


def test_a_link_here_does_not_lead_a_folder_elsewhere(session: PSSession, here: Path, there: Path) -> None:
    (there / "top").mkdir()
    (there / "top" / "file").touch()
    (here / "elsewhere").mkdir()
    (here / "top").symlink_to(here / "elsewhere")

    with pytest.raises(CopyError, match="it is a link"):
        session.receive(str(there / "top"), str(here), recurse=True)

    assert [] == names(here / "elsewhere")


def test_the_session_stays_as_it_was(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("x")
    seen = 'Get-ChildItem function:, variable: | ForEach-Object { "$($_.PSDrive)$($_.Name)" }; [string] $ErrorActionPreference'
    before = session.invoke(seen)

    session.send(str(here / "file"), str(there))
    session.receive(str(there / "file"), str(here / "back"))

    assert set(before) == set(session.invoke(seen))


def test_settings_and_commands_of_the_user_do_not_matter(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("x")
    session.invoke("function global:Get-Item { throw 'mine' }; Set-StrictMode -Version Latest; $Error.Clear()")
    try:
        session.send(str(here / "file"), str(there))
        session.receive(str(there / "f*"), str(here / "back"))
    finally:
        session.invoke("Set-StrictMode -Off; Remove-Item function:Get-Item")

    assert "x" == (here / "back").read_text()


def test_what_may_be_run_can_be_run_and_what_is_private_stays_so(session: PSSession, here: Path, there: Path) -> None:
    made = {"run": 0o755, "private": 0o600, "open": 0o666, "read": 0o444, "mine": 0o400, "runs": 0o555}
    for name, mode in made.items():
        (here / name).write_text(name)
        (here / name).chmod(mode)
    (there / "run").write_text("old")
    (there / "run").chmod(0o640)
    (here / "back").mkdir()

    session.send(str(here / "*"), str(there), recurse=True)
    session.receive(str(there / "*"), str(here / "back"))

    modes = made | {"run": 0o750, "open": 0o644}
    assert modes == {name: (there / name).stat().st_mode & 0o777 for name in modes}
    assert modes == {name: (here / "back" / name).stat().st_mode & 0o777 for name in modes}


@pytest.mark.parametrize("to_remote", [True, False])
def test_files_that_are_there_already_are_not_carried_again(
    session: PSSession, here: Path, there: Path, *, to_remote: bool
) -> None:
    source, target = (here, there) if to_remote else (there, here)
    for name in ("a", "b", "c"):
        (source / name).write_text(name)

    def copied() -> tuple[int, int]:
        result = LOOP.run(Transfer(session, [str(source / "*")], str(target), to_remote=to_remote).run())
        return result.files, result.unchanged

    assert (3, 0) == copied()
    assert (0, 3) == copied()
    # Of the same size and time, and yet another.
    status = (target / "b").stat()
    (target / "b").write_text("x")
    os.utime(target / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (1, 2) == copied()
    assert "b" == (target / "b").read_text()


@pytest.mark.parametrize("to_remote", [True, False])
def test_links_and_pipes(session: PSSession, here: Path, there: Path, *, to_remote: bool) -> None:
    source, target = (here, there) if to_remote else (there, here)
    (source / "top").mkdir()
    (source / "top" / "circle").symlink_to(".")
    os.mkfifo(source / "top" / "pipe")
    (source / "file").write_text("behind a link")
    (source / "link").symlink_to("file")
    (source / "dangling").symlink_to("nowhere")

    tree_result = LOOP.run(
        Transfer(session, [str(source / "top")], str(target), to_remote=to_remote, recurse=True).run()
    )
    # Whoever names a link means what is behind it.
    LOOP.run(Transfer(session, [str(source / "link")], str(target), to_remote=to_remote).run())

    assert {f"{source}/top/circle: a link", f"{source}/top/pipe: no file or folder"} == set(tree_result.skipped)
    assert {"top": None, "link": b"behind a link"} == {
        name: data for name, data in tree(target).items() if name != "here"
    }


@pytest.mark.parametrize("to_remote", [True, False])
def test_a_link_in_the_place_of_a_copy_is_not_followed(
    session: PSSession, here: Path, there: Path, tmp_path: Path, *, to_remote: bool
) -> None:
    source, target = (here, there) if to_remote else (there, here)
    (source / "file").write_text("new")
    (tmp_path / "elsewhere").write_text("old")
    (target / "file").symlink_to(tmp_path / "elsewhere")

    LOOP.run(Transfer(session, [str(source / "file")], str(target), to_remote=to_remote).run())

    assert ("new", "old") == ((target / "file").read_text(), (tmp_path / "elsewhere").read_text())


def test_hidden_files_are_meant_by_force(session: PSSession, here: Path, there: Path) -> None:
    for name in (".hidden", "Seen"):
        (here / name).write_text(name)

    session.send(str(here / "*"), str(there))
    assert ["Seen"] == names(there)
    session.send(str(here / "*D*N"), str(there), force=True)
    (here / "back").mkdir()
    session.receive(str(there / "*"), str(here / "back"))
    assert ["Seen"] == names(here / "back")
    session.receive(str(there / ".hidden"), str(here / "back"))

    assert {".hidden", "Seen"} == set(names(here / "back")) == set(names(there))


def test_a_folder_that_is_to_be_made_may_be_deep(session: PSSession, here: Path, there: Path) -> None:
    (here / "top").mkdir()
    (here / "top" / "file").write_text("x")

    session.send(str(here / "top"), str(there / "no" / "such"), recurse=True)
    session.receive(str(there / "no"), str(here / "not" / "there"), recurse=True)

    assert {"such": None, "such/file": b"x"} == tree(here / "not" / "there")


def test_a_long_listing(session: PSSession, here: Path, there: Path) -> None:
    (there / "top").mkdir()
    for number in range(3000):
        (there / "top" / f"a folder with a longer name {number}").mkdir()

    assert 3001 == session.receive(str(there / "top"), str(here), recurse=True).folders


def test_what_was_damaged_on_the_way_is_noticed(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_bytes(noise(40 * MEGABYTE))

    def tell(record: ProgressRecord) -> None:
        for part in there.iterdir():
            if 0 < record.percent < 100:
                with part.open("r+b") as file:
                    file.write(b"damaged")

    with pytest.raises(CopyError, match="not the same on both sides"):
        LOOP.run(Transfer(session, [str(here / "file")], str(there), to_remote=True, tell=tell).run())

    assert [] == names(there)
    assert "Available" == session.availability


@pytest.mark.parametrize("to_remote", [True, False])
def test_a_changed_source_is_copied_anew(session: PSSession, here: Path, there: Path, *, to_remote: bool) -> None:
    source, target = (here, there) if to_remote else (there, here)
    (source / "file").write_bytes(noise(20 * MEGABYTE))

    def tell(record: ProgressRecord) -> None:
        if 0 < record.percent < 100:
            transfer.cancel()

    transfer = Transfer(session, [str(source / "file")], str(target), to_remote=to_remote, tell=tell)
    with pytest.raises(CancelledError):
        LOOP.run(transfer.run())
    # As long as before, and changed at the same time: only what is in it differs.
    status = (source / "file").stat()
    data = noise(20 * MEGABYTE)[::-1]
    (source / "file").write_bytes(data)
    os.utime(source / "file", ns=(status.st_atime_ns, status.st_mtime_ns))

    again = LOOP.run(Transfer(session, [str(source / "file")], str(target), to_remote=to_remote).run())

    assert (0, 1) == (again.resumed, again.files)
    assert data == (target / "file").read_bytes()


@pytest.mark.parametrize("to_remote", [True, False])
def test_a_part_with_gaps_is_continued_before_them(
    session: PSSession, here: Path, there: Path, *, to_remote: bool
) -> None:
    source, target = (here, there) if to_remote else (there, here)
    data = noise(12 * MEGABYTE)
    (source / "file").write_bytes(data)
    (found,) = find(str(source / "file"), literal=True, recurse=False, hidden=False, skipped=[])
    gap = bytearray(data[: 9 * MEGABYTE])
    gap[6 * MEGABYTE : 7 * MEGABYTE] = bytes(MEGABYTE)
    (target / part_name("file", found.size, found.ticks)).write_bytes(gap)

    result = LOOP.run(Transfer(session, [str(source / "file")], str(target), to_remote=to_remote).run())

    assert 5 * MEGABYTE == result.resumed
    assert data == (target / "file").read_bytes()


@pytest.mark.parametrize("to_remote", [True, False])
def test_a_lost_connection_is_one_clear_error(
    sftp_sshd: Sshd, pwsh: str, way: str, here: Path, there: Path, *, to_remote: bool
) -> None:
    target = f"process:{pwsh}" if way == "PSRP" else ssh_target(sftp_sshd)
    source, destination = (here, there) if to_remote else (there, here)
    (source / "file").write_bytes(noise(20 * MEGABYTE))
    with new_pssession(target) as session:
        (engine,) = session.invoke("$PID")

        def tell(record: ProgressRecord) -> None:
            if 0 < record.percent < 100:
                for process in ancestry(engine) if way != "PSRP" else [engine]:
                    os.kill(process, signal.SIGKILL)

        transfer = Transfer(session, [str(source / "file")], str(destination), to_remote=to_remote, tell=tell)
        with pytest.raises((TransportClosed, RunspaceStateError)) as caught:
            LOOP.run(transfer.run())

    assert caught.value.__cause__ is None
    assert [part_name("file", *size_and_ticks(source / "file"))] == names(destination)


def ancestry(process: int) -> list[int]:
    """A process and the sshd that serves its connection."""
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return [parent, process]


def size_and_ticks(path: Path) -> tuple[int, int]:
    (source,) = find(str(path), literal=True, recurse=False, hidden=False, skipped=[])
    return source.size, source.ticks


def test_sftp_that_does_not_work_is_said(sshd_factory: Callable[..., Sshd], pwsh: str, here: Path, there: Path) -> None:
    server = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "/bin/false"})
    (here / "file").write_bytes(noise(3 * MEGABYTE))
    with new_pssession(ssh_target(server)) as session:
        sent = session.send(str(here / "file"), str(there))

    assert ("PSRP", 1) == (sent.way, sent.files)
    assert ["The server offers no SFTP. The files went through PowerShell."] == sent.notices


def test_sftp_that_may_only_read(sshd_factory: Callable[..., Sshd], pwsh: str, here: Path, there: Path) -> None:
    server = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile", "sftp": "internal-sftp -R"})
    (here / "file").write_bytes(noise(3 * MEGABYTE))
    with new_pssession(ssh_target(server)) as session:
        sent = session.send(str(here / "file"), str(there))
        received = session.receive(str(there / "file"), str(here / "back"))

    assert ("PSRP", "SFTP") == (sent.way, received.way)
    assert ["SFTP could not do it: Permission denied. The rest went through PowerShell."] == sent.notices
    assert noise(3 * MEGABYTE) == (here / "back").read_bytes()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="~", data=b"")
@given(
    name=st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda text: text not in {".", ".."} and len(text.encode()) < 200
    ),
    data=st.binary(max_size=200),
)
def test_any_name_and_content_arrives(session: PSSession, here: Path, there: Path, name: str, data: bytes) -> None:
    (here / name).write_bytes(data)

    LOOP.run(Transfer(session, [str(here / name)], str(there), to_remote=True, literal=True).run())
    LOOP.run(Transfer(session, [str(there / name)], str(here / "back"), to_remote=False, literal=True).run())

    assert data == (there / name).read_bytes() == (here / "back").read_bytes()


def test_a_busy_or_closed_session_is_refused(session: PSSession) -> None:
    session.claim()
    try:
        with pytest.raises(RemotingError, match="not equal to Available"):
            session.send("/etc/hostname", "/tmp")
    finally:
        session.release()


def test_the_magic_copies_both_ways(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    session: PSSession,
    here: Path,
    there: Path,
) -> None:
    shell.user_ns["s"] = session
    (here / "file").write_bytes(b"data")

    shown, error = run(shell, capsys, f"%copy_item '{here}/file' -ToSession $s -Destination '{there}'")
    run(shell, capsys, f"result = %copy_item '{there}/*' '{here}/back' -FromSession $s")

    assert error is None
    assert "1 files, 4 bytes" in shown
    assert b"data" == (here / "back").read_bytes()
    assert hashlib.sha256(b"data").hexdigest() == hashlib.sha256((there / "file").read_bytes()).hexdigest()
    neither = run(shell, capsys, "%copy_item a -Destination b")[1]
    missing = run(shell, capsys, "%copy_item /no/such -Destination /tmp -ToSession $s")[1]
    both = run(shell, capsys, "%copy_item a b -ToSession $s -FromSession $s")[1]
    nowhere = run(shell, capsys, f"%copy_item '{here}/file' -ToSession $s")[1]
    assert ["AmbiguousParameterSet", "PathNotFound", "InvalidInput", "CopyItemRemoteDestinationIsNullOrEmpty"] == [
        type(error).__name__ for error in (neither, missing, both, nowhere)
    ]
    # As with Copy-Item, what has no destination comes into the current folder.
    (here / "current").mkdir()
    monkeypatch.chdir(here / "current")
    assert run(shell, capsys, f"%copy_item '{there}/file' -FromSession $s")[1] is None
    assert b"data" == (here / "current" / "file").read_bytes()


def test_names_of_the_remote_are_checked() -> None:
    for name in ("../evil", "/etc/passwd", "a/../b", "a/./b", "a/", "", "a\0", "/".join(["a"] * 600)):
        with pytest.raises(RemoteProtocolError, match="a name that is none"):
            read_listing(["=//x", f"f/1/0/-1/{name}"])
    for numbers in ("-1/0/-1", "1/-1/-1", f"1/{10**20}/-1", "x/0/-1", f"{2**63}/0/-1", "1/0/65535"):
        with pytest.raises(RemoteProtocolError, match="something else"):
            read_listing(["=//x", f"f/{numbers}/a"])
