"""The log as it is written: what is in it, several writers, crashes, and what is refused."""

from __future__ import annotations

import datetime as dt
import getpass
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pskernel.audit import (
    AuditLog,
    CellRan,
    CellSent,
    Digest,
    LogState,
    RunBegan,
    RunEnded,
    read_anchor,
    read_records,
    verify,
)
from pskernel.audit import files as audit_files
from pskernel.audit import log as audit_log
from pskernel.errors import AuditError
from pskernel.masking import Masker
from tests.parts.auditlogs import WHERE, cell, fill, hmac_key

ROOT = Path(__file__).parents[3]
KEY = hmac_key()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def lines(folder: Path) -> list[bytes]:
    return [line for file in sorted(folder.glob("audit-*.jsonl")) for line in file.read_bytes().splitlines()]


def writer(folder: Path, count: int, max_bytes: int = 1 << 20, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.parts.auditlogs", str(folder), str(count), str(max_bytes)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def good(folder: Path, records: int | None = None) -> list[str]:
    """Its notes."""
    found = verify(folder, KEY)
    assert LogState.GOOD is found.state, found
    assert records in (None, found.records)
    return found.notes


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_run_is_on_record_field_by_field(folder: Path) -> None:
    run = {"run_id": "r1", "notebook": "/b.ipynb", "notebook_sha256": "ab" * 32, "where": WHERE}
    before = dt.datetime.now(dt.UTC)
    with AuditLog.open(folder, KEY) as log:
        assert 2 == log.append(RunBegan(**run))
        log.append(CellSent(**run, cell_index=0, cell_id="c", source="'h\u00e9 \U0001f600'\r\n\ud800"))
        output = Digest.of([{"output_type": "stream", "name": "stdout", "text": "h\u00e9\n"}])
        done = CellRan(
            **run,
            cell_index=0,
            cell_id="c",
            source="exit 3",
            output=output,
            state="exited",
            error_id="E",
            exit_code=3,
            seconds=1.5,
        )
        log.append(done)
        log.append(RunEnded(**run, state="exited", exit_code=3, seconds=2.0))
        anchor = log.anchor

    first, began, sent, ran, ended = read_records(folder)
    assert ("file", 1, None, "start") == (first["kind"], first["seq"], first["prev"], first["why"])
    assert ["run-began", "cell-sent", "cell", "run-ended"] == [record["kind"] for record in (began, sent, ran, ended)]
    assert "'h\u00e9 \U0001f600'\r\n\ud800" == sent["source"]
    assert {"sha256": output.sha256, "length": output.length} == ran["output"]
    assert ("exit 3", "exited", "E", 3, 1.5) == tuple(
        ran[name] for name in ("source", "state", "error_id", "exit_code", "seconds")
    )
    assert ran["where"]["target"] == "ssh://admin@web01"
    assert ran["where"]["fingerprint"] == "SHA256:host"
    assert {"user", "host", "uid", "pid"} == ran["who"].keys()
    assert (os.getuid(), os.getpid()) == (ran["who"]["uid"], ran["who"]["pid"])
    assert before <= dt.datetime.fromisoformat(ran["time"]) <= dt.datetime.now(dt.UTC)
    assert ran["time"].endswith("+00:00")
    assert anchor == str(read_anchor(folder)) == verify(folder, KEY).anchor
    assert all(line.isascii() for line in lines(folder))


def test_who_is_asked_of_the_system_and_not_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = getpass.getuser()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    AuditLog.open(folder).close()

    (first,) = read_records(folder)
    assert user == first["who"]["user"]


def test_secrets_are_masked_but_digests_are_not_spoiled(folder: Path) -> None:
    masker = Masker()
    masker.add("hunter2")
    masker.add("000")
    with AuditLog.open(folder, KEY, masker=masker) as log:
        log.append(cell(1, "$p = 'hunter2'"))

    assert b"hunter2" not in b"".join(lines(folder))
    *_, record = read_records(folder)
    assert ("$p = '***'", "0" * 64) == (record["source"], record["notebook_sha256"])
    good(folder)


def test_folder_and_files_are_this_users_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        AuditLog.open(folder, KEY).close()
    finally:
        os.umask(before)

    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_an_opened_log_goes_on_where_it_was(folder: Path) -> None:
    for part in range(3):
        with AuditLog.open(folder, KEY) as log:
            fill(log, range(part * 2, part * 2 + 2))

    assert [*range(1, 8)] == [record["seq"] for record in read_records(folder)]
    assert [] == good(folder, 7)
    assert 1 == len(list(folder.glob("audit-*")))


def test_files_are_rotated_by_size_and_by_date(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AuditLog.open(folder, KEY, max_bytes=3000) as log:
        fill(log, range(10))
        sizes = [file.stat().st_size for file in sorted(folder.glob("audit-*"))]
        assert len(sizes) > 2
        assert max(sizes) < 4000
        before = len(sizes)
        tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        monkeypatch.setattr(audit_log, "_now", lambda: tomorrow.isoformat(timespec="microseconds"))
        log.append(cell(10))
        log.append(cell(11))

    names = sorted(file.name for file in folder.glob("audit-*"))
    assert before + 1 == len(names)
    assert f"{tomorrow:%Y-%m-%d}.jsonl" == names[-1][-16:]
    records = list(read_records(folder))
    assert [*range(1, len(records) + 1)] == [record["seq"] for record in records]
    assert [int(name[6:18]) for name in names] == [record["seq"] for record in records if record["kind"] == "file"]
    assert [] == good(folder)


def test_a_digest_takes_whatever_jupyter_takes_for_json() -> None:
    assert Digest.of([{"b": float("nan"), "a": "\ud800"}]) == Digest.of([{"a": "\ud800", "b": float("nan")}])
    assert Digest.of([]) == Digest("4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945", 2)


# -- several writers ---------------------------------------------------------------------------------------------------


def test_two_processes_append_at_once(folder: Path) -> None:
    processes = [writer(folder, 300, 20_000, stdin=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, problem = process.communicate(timeout=60)
        assert (0, "") == (process.returncode, problem)

    assert [] == good(folder)
    pids = [record["who"]["pid"] for record in read_records(folder) if record["kind"] == "cell"]
    assert {process.pid: 300 for process in processes} == {pid: pids.count(pid) for pid in pids}
    # They did take turns.
    assert sum(a != b for a, b in itertools.pairwise(pids)) > 1


def test_threads_and_logs_of_one_process_take_turns(folder: Path) -> None:
    with AuditLog.open(folder, KEY) as one, AuditLog.open(folder, KEY) as other:
        threads = [threading.Thread(target=fill, args=(log, range(20))) for log in (one, one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [] == good(folder, 61)


def test_a_log_that_is_held_for_too_long_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog.open(folder, KEY)
    monkeypatch.setattr(audit_files, "_LOCK_SECONDS", 0.05)
    with audit_files.locked(folder), pytest.raises(AuditError, match="held by another process"):
        log.append(cell(1))
    with pytest.raises(AuditError, match="closed, or an earlier record"):
        log.append(cell(2))


# -- crashes -----------------------------------------------------------------------------------------------------------


def test_killed_writers_leave_a_log_that_verifies_and_goes_on(folder: Path) -> None:
    seen = 0
    for turn in range(6):
        process = writer(folder, 100_000, 20_000)
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        for _ in range(3 + turn * 4):
            seen = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = verify(folder, KEY)
        assert LogState.GOOD is found.state, found
        # What the writer was told to be on record is.
        assert found.records >= seen
    with AuditLog.open(folder, KEY) as log:
        assert log.append(cell(0)) > seen
    good(folder)


def test_a_line_that_was_cut_off_is_told_of_and_stays(folder: Path) -> None:
    with AuditLog.open(folder, KEY) as log:
        fill(log, range(3))
    (file,) = folder.glob("audit-*")
    whole = file.read_bytes()
    head = (folder / "head.json").read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    # As if the power had failed while the last record was written: the head is the one before it.
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(3))
    longer = file.read_bytes()
    for cut in (1, last // 2, len(longer) - len(whole) - 1):
        for later in sorted(folder.glob("audit-*"))[1:]:
            later.unlink()
        file.write_bytes(longer[: len(whole) + cut])
        (folder / "head.json").write_bytes(head)

        (note,) = good(folder, 4)
        assert "line 5: the last line is cut off" in note
        with AuditLog.open(folder, KEY) as log:
            log.append(cell(4))

        (note,) = good(folder, 6)
        assert "the log went on after it and says so" in note
        assert longer[: len(whole) + cut] == file.read_bytes()
        begin = list(read_records(folder))[4]
        assert ("torn", cut) == (begin["why"], begin["torn"]["length"])


@pytest.mark.parametrize("records", [1, 3])
def test_a_head_that_did_not_see_the_last_record_catches_up(folder: Path, records: int) -> None:
    with AuditLog.open(folder, KEY) as log:
        fill(log, range(records))
        head = (folder / "head.json").read_bytes()
        log.append(cell(records))
    (folder / "head.json").write_bytes(head)

    (note,) = good(folder, records + 2)
    assert "does not name the last record" in note
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(9))
    (note,) = good(folder, records + 4)
    assert "before its last record was named" in note


def test_a_crash_before_the_first_head_is_gone_on_from(folder: Path) -> None:
    AuditLog.open(folder, KEY).close()
    (folder / "head.json").unlink()

    assert 1 == len(good(folder, 1))
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(0))
    good(folder, 3)


def test_a_crash_between_a_new_file_and_its_head_is_gone_on_from(folder: Path) -> None:
    with AuditLog.open(folder, KEY, max_bytes=1) as log:
        head = (folder / "head.json").read_bytes()
        log.append(cell(0))
    second = sorted(folder.glob("audit-*"))[1]
    second.write_bytes(second.read_bytes().split(b"\n")[0] + b"\n")
    (folder / "head.json").write_bytes(head)

    assert 1 == len(good(folder, 2))
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(1))
    good(folder, 4)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_crash_while_going_on_after_a_crash(folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with AuditLog.open(folder, KEY) as log:
        head = (folder / "head.json").read_bytes()
        log.append(cell(0))
    (folder / "head.json").write_bytes(head)
    original, calls = Path.replace, itertools.count(1)

    def fail(self: Path, other: Path) -> Path:
        if next(calls) == step:
            raise OSError(5, "Input/output error")
        return original(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(AuditError, match="Input/output error"):
            AuditLog.open(folder, KEY)

    good(folder)
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(1))
    good(folder)


def test_two_files_more_than_the_head_names_are_no_crash(folder: Path) -> None:
    with AuditLog.open(folder, KEY, max_bytes=1) as log:
        head = (folder / "head.json").read_bytes()
        fill(log, range(2))
    for file in sorted(folder.glob("audit-*"))[1:]:
        file.write_bytes(file.read_bytes().split(b"\n")[0] + b"\n")
    (folder / "head.json").write_bytes(head)
    with pytest.raises(AuditError, match="more behind the record that its head names"):
        AuditLog.open(folder, KEY)
    assert LogState.TAMPERED is verify(folder, KEY).state


def test_a_half_line_and_a_head_that_is_behind_are_no_one_crash(folder: Path) -> None:
    with AuditLog.open(folder, KEY) as log:
        head = (folder / "head.json").read_bytes()
        log.append(cell(0))
    (folder / "head.json").write_bytes(head)
    (file,) = folder.glob("audit-*")
    file.write_bytes(file.read_bytes() + b"half")
    assert LogState.TAMPERED is verify(folder, KEY).state
    with pytest.raises(AuditError, match="is not continued"):
        AuditLog.open(folder, KEY)


def test_a_new_file_that_never_got_its_name_is_not_in_the_way(folder: Path) -> None:
    with AuditLog.open(folder, KEY, max_bytes=1) as log:
        log.append(cell(0))
        (folder / "audit-000000000004-2026-11-23.jsonl.new").write_bytes(b"half")
        (folder / "head.json.new").write_bytes(b"half")
        for file in folder.glob("*.new"):
            file.chmod(0o600)
        log.append(cell(1))
    good(folder)


def test_a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_room(folder: Path) -> None:
    def little_room() -> None:
        # A write beyond it is cut short, as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    process = writer(folder, 100, 1 << 20, preexec_fn=little_room)
    said, problem = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert f"AuditError: The audit log {folder} cannot be written: File too large." in problem
    (note,) = good(folder, int(said.split()[-1]))
    assert "is cut off" in note
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(0))
    good(folder)


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_what_cannot_be_written_ends_the_log(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog.open(folder, KEY)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if name == "replace" else os, name, fail)
        with pytest.raises(AuditError, match="cannot be written: No space left on device"):
            log.append(cell(0))
    with pytest.raises(AuditError, match="an earlier record could not be written"):
        log.append(cell(1))
    with AuditLog.open(folder, KEY) as log:
        log.append(cell(2))
    good(folder)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_places_that_are_not_this_users_alone_are_refused(tmp_path: Path) -> None:
    opened = tmp_path / "open"
    opened.mkdir(mode=0o755)
    with pytest.raises(AuditError, match="chmod 700"):
        AuditLog.open(opened, KEY)
    (tmp_path / "link").symlink_to(opened)
    with pytest.raises(AuditError, match="is a link"):
        AuditLog.open(tmp_path / "link", KEY)
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be opened: File exists"):
        AuditLog.open(tmp_path / "file", KEY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    os.chown(other, 1234, 1234)
    with pytest.raises(AuditError, match="belongs to another user"):
        AuditLog.open(other, KEY)


@pytest.fixture
def closed(folder: Path) -> Iterator[Path]:
    with AuditLog.open(folder, KEY) as log:
        fill(log, range(3))
    yield folder


@pytest.mark.parametrize("name", ["audit", "lock", "head.json.new"])
@pytest.mark.parametrize("how", ["symbolic", "hard", "mode", "owner", "fifo"])
def test_files_that_others_could_have_put_there_are_refused(closed: Path, name: str, how: str) -> None:
    file = next(closed.glob(f"{name}*"), closed / name)
    if not file.exists():
        file.touch(0o600)
    moved = closed.parent / "moved"
    if how in ("symbolic", "fifo"):
        file.rename(moved)
        file.symlink_to(moved) if how == "symbolic" else os.mkfifo(file, 0o600)
    elif how == "hard":
        moved.hardlink_to(file)
    elif how == "mode":
        file.chmod(0o640)
    elif os.geteuid() == 0:
        os.chown(file, 1234, 1234)
    else:
        pytest.skip("only root gives files away")

    with pytest.raises(AuditError), AuditLog.open(closed, KEY) as log:
        log.append(cell(0))


def test_a_log_keeps_its_key(closed: Path, tmp_path: Path) -> None:
    for other in (None, hmac_key("other")):
        with pytest.raises(AuditError, match="was not written with this key"):
            AuditLog.open(closed, other)
    AuditLog.open(tmp_path / "plain").close()
    with pytest.raises(AuditError, match="was not written with this key"):
        AuditLog.open(tmp_path / "plain", KEY)


def test_a_damaged_log_is_not_continued(closed: Path) -> None:
    (file,) = closed.glob("audit-*")
    whole, head = file.read_bytes(), (closed / "head.json").read_bytes()
    split = whole.splitlines(keepends=True)
    later = json.loads(split[-1])["seq"] + 1
    damages = {
        "last line removed": b"".join(split[:-1]),
        "last line changed": whole[:-20] + b"x" + whole[-19:],
        "last line twice": whole + split[-1],
        "two more lines": whole + split[-1] + split[-1],
        "removed": b"",
    }
    for name, data in damages.items():
        file.write_bytes(data)
        with pytest.raises(AuditError, match="is not continued"):
            AuditLog.open(closed, KEY)
        assert data == file.read_bytes(), name
    file.write_bytes(whole)
    for data in (None, head.replace(b'"seq":4', b'"seq":3'), b""):
        (closed / "head.json").unlink(missing_ok=True)
        if data is not None:
            (closed / "head.json").write_bytes(data)
        with pytest.raises(AuditError, match="is not continued"):
            AuditLog.open(closed, KEY)
    (closed / "head.json").write_bytes(head)
    extra = closed / f"audit-{later:012d}-2026-11-23.jsonl"
    extra.write_bytes(split[0])
    with pytest.raises(AuditError, match="is not continued"):
        AuditLog.open(closed, KEY)
    extra.unlink()
    moved = file.rename(closed / "moved")
    with pytest.raises(AuditError, match="is missing"):
        AuditLog.open(closed, KEY)
    moved.rename(file)
    AuditLog.open(closed, KEY).close()


def test_a_change_behind_an_open_logs_back_is_noticed(folder: Path) -> None:
    with AuditLog.open(folder, KEY) as log:
        fill(log, range(3))
        (file,) = folder.glob("audit-*")
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
        with pytest.raises(AuditError, match="is shorter than its head says"):
            log.append(cell(3))


def test_a_file_that_waits_for_the_log_with_its_next_name_is_not_replaced(folder: Path) -> None:
    with AuditLog.open(folder, KEY, max_bytes=1) as log:
        waiting = folder / audit_files.file_name(2, dt.datetime.now(dt.UTC).isoformat())
        waiting.write_bytes(b"")
        with pytest.raises(AuditError, match="already"):
            log.append(cell(0))


def test_every_record_waits_for_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    original = os.fsync

    def watched(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name)
        original(number)

    with AuditLog.open(folder, KEY) as log:
        monkeypatch.setattr(os, "fsync", watched)
        log.append(cell(0))
    (file,) = folder.glob("audit-*")
    assert [file.name, "head.json.new", folder.name] == synced


def test_a_cell_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "MAX_LINE", 4000)
    with AuditLog.open(folder, KEY) as log, pytest.raises(AuditError, match="Divide the cell"):
        log.append(cell(0, "x" * 4000))
    good(folder, 1)
