"""Files to and from a session's host: by SFTP over a real sshd, and through PowerShell; both do the same."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from pskernel import PipelineFailed, PSObject, PSSession, RemotingError, new_pssession
from pskernel.copying.far import CopyError, _item
from pskernel.copying.near import find, part_name
from pskernel.errors import PSKernelError, RemoteProtocolError
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
    odd = ["with space", "it's", 'a"b', "[1]", "\u00fc\u4e2d", "$x `n", "-dash", "line\nbreak", "a;b&c|d"]
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

    session.send(str(here / "top"), str(there))

    assert {"top": None} == tree(there)


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
    with pytest.raises(CopyError, match="is a folder"):
        session.send(str(here / "file"), str(there / "folder"))


def test_what_is_read_only_needs_force(session: PSSession, here: Path, there: Path) -> None:
    (here / "file").write_text("new")
    (there / "file").write_text("old")
    (there / "file").chmod(0o444)

    with pytest.raises(CopyError, match="read-only"):
        session.send(str(here / "file"), str(there))
    session.send(str(here / "file"), str(there), force=True)

    assert "new" == (there / "file").read_text()


@pytest.mark.parametrize(
    ("path", "destination", "to_remote", "error_id"),
    [
        ("/no/such/file", "/tmp", True, "PathNotFound"),
        ("/no/such/file", "/tmp", False, "PathNotFound"),
        ("/etc/hostname", "/no/such/folder/x", True, "CopyItemRemoteDestinationIsNoFolder"),
        ("/etc/hostname", "/no/such/folder/x", False, "CopyItemRemoteDestinationIsNoFolder"),
        ("/etc/host*", "/no-such-folder", True, "CopyItemRemoteDestinationIsNoFolder"),
        ("/etc/hostname", "env:/x", True, "The path env:/x is not one of the file system."),
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
    (source,) = find(str(here / "file"), literal=True, recurse=False, skipped=[])
    (there / part_name("file", source.size, source.modified)).write_bytes(b"x" * MEGABYTE)
    (there / part_name("file", source.size + 1, source.modified)).write_bytes(b"x")

    assert 0 == session.send(str(here / "file"), str(there)).resumed
    assert noise(2 * MEGABYTE) == (there / "file").read_bytes()
    assert {"file", part_name("file", source.size + 1, source.modified)} == set(names(there))


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
    # The session's own command, replaced: as a remote would that means harm.
    session.invoke(
        "function global:Get-Item { $f = [IO.FileInfo]::new($args[0]); "
        "$f | Add-Member -Force NoteProperty Name '../../evil' -PassThru }"
    )
    try:
        with pytest.raises(PSKernelError):
            session.receive(str(there / "file"), str(here))
    finally:
        session.invoke("Remove-Item function:Get-Item")

    assert [] == names(here)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda text: text not in {".", ".."} and len(text.encode()) < 200 and not set(text) & set(":\\")
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
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], session: PSSession, here: Path, there: Path
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
    assert ("AmbiguousParameterSet", "PathNotFound") == (type(neither).__name__, type(missing).__name__)


def test_names_of_the_remote_are_checked() -> None:
    for name in ("../evil", "/etc/passwd", "a/../b", "a\\b", "c:evil", "a//b", ""):
        with pytest.raises(RemoteProtocolError, match="a name that is none"):
            _item(PSObject(properties={"Relative": name, "Path": "/x", "Size": 1, "IsFolder": False}))
