"""What somebody with the folder and without the key may do to a log, all of it found; and what only an anchor finds."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pskernel.audit import Anchor, AuditKey, AuditLog, LogState, SshKey, Verification, load_key, verify
from pskernel.audit.head import Head
from pskernel.audit.keys import NoKey
from pskernel.audit.records import canonical, digest_of_line, sealed
from pskernel.errors import AuditError
from tests.parts.auditlogs import fill, hmac_key
from tests.unit.audit.conftest import ssh_key_pair

Files = dict[str, bytes]
KEY = hmac_key()
HEAD = "head.json"
RECORDS = 40


@pytest.fixture(scope="module")
def base(in_memory: Path) -> Path:
    return in_memory


def make(folder: Path, key: AuditKey | None, numbers: range = range(RECORDS)) -> Files:
    with AuditLog.open(folder, key, max_bytes=9000) as log:
        fill(log, numbers)
    return load(folder)


def load(folder: Path) -> Files:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "lock"}


def check(base: Path, files: Files, key: AuditKey | None, *expect: str) -> Verification:
    folder = base / "checked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return verify(folder, key, [Anchor.parse(text) for text in expect])


def found(base: Path, files: Files, key: AuditKey | None, *expect: str) -> Verification:
    result = check(base, files, key, *expect)
    assert LogState.TAMPERED is result.state
    assert result.problem.endswith(".")
    assert result.place
    return result


@pytest.fixture(scope="module", params=["hmac", "ssh", "none"])
def log(request: pytest.FixtureRequest, base: Path) -> tuple[Files, AuditKey | None]:
    private, public = ssh_key_pair(base)
    key: AuditKey | None = {"hmac": KEY, "ssh": load_key(f"ssh:{private}"), "none": None}[request.param]
    files = make(base / request.param, key)
    assert len(files) > 4
    assert LogState.GOOD is check(base, files, key).state
    return files, load_key(f"ssh:{public}") if request.param == "ssh" else key


@pytest.fixture(scope="module")
def other(base: Path, log: tuple[Files, AuditKey | None]) -> Files:
    """Another log of the same key, with the same cells."""
    key = load_key(f"ssh:{base / 'id'}") if isinstance(log[1], SshKey) else log[1]
    return make(base / f"other-{'none' if key is None else key.kind}", key)


def split(files: Files) -> list[tuple[str, bytes]]:
    return [(name, line) for name in log_names(files) for line in files[name].splitlines(keepends=True)]


def joined(files: Files, lines: list[tuple[str, bytes]]) -> Files:
    together: dict[str, list[bytes]] = {name: [] for name in log_names(files)}
    for name, line in lines:
        together[name].append(line)
    return {name: b"".join(pieces) for name, pieces in together.items()} | {HEAD: files[HEAD]}


def log_names(files: Files) -> list[str]:
    return [name for name in files if name.startswith("audit-")]


MANY = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@MANY
@given(data=st.data())
def test_any_byte_changed_put_in_or_taken_out(
    base: Path, log: tuple[Files, AuditKey | None], data: st.DataObject
) -> None:
    files, key = dict(log[0]), log[1]
    name = data.draw(st.sampled_from(sorted(files)))
    old = files[name]
    at = data.draw(st.integers(0, len(old) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != old[at]))
    how = data.draw(st.sampled_from(["change", "insert", "remove"]))
    middle = {"change": bytes([new]), "insert": bytes([new, old[at]]), "remove": b""}[how]
    files[name] = old[:at] + middle + old[at + 1 :]

    if key is None and b'"key":{' in old[:at] and at < old.index(b"\n"):
        # It may say now that it has a key, which is then asked for.
        try:
            found(base, files, key)
        except AuditError:
            return
    result = found(base, files, key)

    # The first bad place is the line, or without a key the one behind it: there, one is what another says it is.
    if name != HEAD and (key is not None or how != "change"):
        before = sum(len(split({other: files[other]})) for other in log_names(files) if other < name)
        assert result.records in {before + old[:at].count(b"\n"), before + old[:at].count(b"\n") + 1}


@MANY
@given(data=st.data())
def test_lines_removed_repeated_moved_or_swapped(
    base: Path, log: tuple[Files, AuditKey | None], data: st.DataObject
) -> None:
    files, key = log
    lines = split(files)
    index = st.integers(0, len(lines) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        a, b = data.draw(index), data.draw(index)
        how = data.draw(st.sampled_from(["remove", "repeat", "move", "swap", "cut"]))
        a, b = min(a, len(lines) - 1), min(b, len(lines) - 1)
        if how == "remove":
            del lines[a]
        elif how == "repeat":
            lines.insert(b, (lines[b][0], lines[a][1]))
        elif how == "move":
            name, line = lines.pop(a)
            lines.insert(b, (name, line))
        elif how == "swap":
            lines[a], lines[b] = (lines[a][0], lines[b][1]), (lines[b][0], lines[a][1])
        else:
            del lines[min(a, b) : max(a, b) + 1]
        if not lines:
            break
    changed = joined(files, lines)

    if changed == files:
        assert LogState.GOOD is check(base, changed, key).state
    else:
        found(base, changed, key)


@MANY
@given(data=st.data())
def test_files_cut_off_removed_renamed_or_swapped(
    base: Path, log: tuple[Files, AuditKey | None], data: st.DataObject
) -> None:
    files, key = dict(log[0]), log[1]
    a, b = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=2, max_size=2, unique=True))
    how = data.draw(st.sampled_from(["cut", "remove", "rename", "swap", "copy", "empty"]))
    if how == "cut":
        files[a] = files[a][: data.draw(st.integers(0, len(files[a]) - 1))]
    elif how == "remove":
        del files[a]
    elif how == "rename":
        files["audit-000000000999-2026-11-23.jsonl" if a != HEAD else "moved"] = files.pop(a)
    elif how == "swap":
        files[a], files[b] = files[b], files[a]
    elif how == "copy":
        files[a] = files[b]
    else:
        files[a] = b""

    found(base, files, key)


def test_every_truncation_of_the_end(base: Path, log: tuple[Files, AuditKey | None]) -> None:
    files, key = log
    lines = split(files)
    for keep in range(1, len(lines)):
        kept = joined(files, lines[:keep])
        remaining = {name: data for name, data in kept.items() if data}
        result = found(base, remaining, key)
        assert (keep, "the end is missing" in result.problem) == (result.records, True)


def test_the_first_bad_place_is_said_as_what_it_is(base: Path, log: tuple[Files, AuditKey | None]) -> None:
    files, key = log
    lines = split(files)
    first, second = log_names(files)[:2]
    for changed, place, problem in (
        ([*lines[:2], *lines[3:]], f"{first}, line 3", "Record 4 stands where record 3 belongs"),
        ([*lines[:2], lines[1], *lines[2:]], f"{first}, line 3", "Record 2 stands where record 3 belongs"),
        ([line for line in lines if line[0] != first], f"{second}, line 1", "stands where record 1 belongs"),
        ([(first if line[0] == second else line[0], line[1]) for line in lines], first, "files were joined or divided"),
    ):
        result = found(base, {name: data for name, data in joined(files, changed).items() if data}, key)
        assert result.place.startswith(place)
        assert problem in result.problem
    renamed = {"audit-000000000001-2020-01-01.jsonl" if name == first else name: data for name, data in files.items()}
    assert "it was renamed" in found(base, renamed, key).problem


def test_what_nobody_has_touched_is_good_and_only_bytes_behind_the_end_pass_as_a_crash(
    base: Path, log: tuple[Files, AuditKey | None]
) -> None:
    files, key = dict(log[0]), log[1]
    anchor = check(base, files, key).anchor
    last = log_names(files)[-1]
    files[last] += b"half a li"

    result = check(base, files, key, anchor)

    # Nothing is missing, and it is told.
    assert (LogState.GOOD, anchor, 1) == (result.state, result.anchor, len(result.notes))
    files[last] += b"ne\n"
    found(base, files, key)


def test_what_is_put_in_where_no_crash_leaves_anything(base: Path, log: tuple[Files, AuditKey | None]) -> None:
    files, key = log
    first = log_names(files)[0]
    assert "not what a crash had left" in found(base, files | {first: files[first] + b"half"}, key).problem
    later = "audit-000000000999-2026-11-23.jsonl"
    assert "The file is empty" in found(base, files | {later: b""}, key).problem
    found(base, files | {later: b"half"}, key)
    found(base, files | {HEAD: files[HEAD].rstrip()}, key)
    found(base, files | {HEAD: files[HEAD] + b"\n"}, key)
    headless = {name: data for name, data in files.items() if name != HEAD}
    assert "The head is missing: it was removed." == found(base, headless, key).problem
    # Behind the end, while the head is older than a crash leaves it.
    *_, (name, line) = lines = split(files)
    without = joined(files, lines[:-1])
    found(base, {name: data for name, data in without.items() if data} | {name: without[name] + line[:9]}, key)


def test_a_half_line_that_a_crash_left_cannot_be_changed_later(base: Path) -> None:
    folder = base / "crashed"
    make(folder, KEY, range(3))
    (file,) = folder.glob("audit-*")
    file.write_bytes(file.read_bytes() + b"half")
    files = make(folder, KEY, range(3, 5))
    assert LogState.GOOD is check(base, files, KEY).state
    for end in (b"", b"hal", b"halF", b"half2"):
        assert "crash" in found(base, files | {file.name: files[file.name][:-4] + end}, KEY).problem


# -- made anew ---------------------------------------------------------------------------------------------------------


def remake(files: Files, key: AuditKey | None, change: Callable[[dict[str, object]], None], *, said: bool) -> Files:
    """All records and the head again, each following the other; sealed by ``key``, and saying so or not."""
    made: Files = {}
    prev: str | None = None
    head = None
    key = key or NoKey()
    for name in log_names(files):
        made[name] = b""
        for line in files[name].splitlines():
            record = json.loads(line)
            del record["seal"]
            change(record)
            record["prev"] = prev
            if said and record["kind"] == "file":
                record["key"] = {"kind": key.kind, "id": key.id}
            fresh = sealed(record, key)
            head = Head.of(record, fresh, name, len(made[name]))
            prev = digest_of_line(fresh)
            made[name] += fresh + b"\n"
    assert head is not None
    return made | {HEAD: head.line(key)}


def forge(record: dict[str, object]) -> None:
    if record.get("source"):
        record["source"] = "Get-Date"


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("forger", ["no key", "another key"])
def test_a_log_made_anew_without_the_key(
    base: Path, log: tuple[Files, AuditKey | None], forger: str, said: bool
) -> None:
    files, key = log
    forged = remake(files, None if forger == "no key" else hmac_key("forger"), forge, said=said)

    if key is None and forger == "no key":
        # What an unkeyed chain cannot show, unless somebody has kept an anchor.
        anchor = check(base, files, key).anchor
        assert LogState.GOOD is check(base, forged, key).state
        assert "made anew" in found(base, forged, key, anchor).problem
        return
    if key is None and said:
        with pytest.raises(AuditError, match="sealed by a key"):
            check(base, forged, key)
        return
    found(base, forged, key)


def test_the_seals_kept_and_everything_else_made_anew(base: Path, log: tuple[Files, AuditKey | None]) -> None:
    files, key = log
    made: Files = {}
    prev: str | None = None
    for name in log_names(files):
        made[name] = b""
        for line in files[name].splitlines():
            record = json.loads(line)
            forge(record)
            record["prev"] = prev
            fresh = canonical(record)
            prev = digest_of_line(fresh)
            made[name] += fresh + b"\n"
    head = json.loads(files[HEAD])
    head["digest"] = prev
    made[HEAD] = canonical(head) + b"\n"

    found(base, made, key)


@MANY
@given(data=st.data())
def test_records_of_another_log_of_the_same_key(
    base: Path, log: tuple[Files, AuditKey | None], other: Files, data: st.DataObject
) -> None:
    files, key = log
    lines, foreign = split(files), split(other)
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first + 1, len(lines)))
    spliced = [(lines[at][0], foreign[at][1]) for at in range(first, last)]
    changed = lines[:first] + spliced + lines[last:]

    # With its own head: all of the other log is another log, which only an anchor tells.
    found(base, joined(files, changed), key)
    if first > 0:
        found(base, joined(files, changed) | {HEAD: other[HEAD]}, key)


# -- what only an anchor finds -----------------------------------------------------------------------------------------


def test_an_older_copy_of_everything_is_only_found_by_an_anchor(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    old = make(folder, KEY, range(5))
    kept = check(tmp_path, old, KEY).anchor
    new = make(folder, KEY, range(5, 9))
    anchor = check(tmp_path, new, KEY).anchor

    assert LogState.GOOD is check(tmp_path, new, KEY, kept, anchor).state
    assert LogState.GOOD is check(tmp_path, old, KEY).state
    assert LogState.GOOD is check(tmp_path, old, KEY, kept).state
    assert "Record 10, which an expected anchor names, is missing." == found(tmp_path, old, KEY, anchor).problem
    other = make(tmp_path / "other", KEY, range(9))
    assert LogState.GOOD is check(tmp_path, other, KEY).state
    assert "is not the one that the expected anchor names" in found(tmp_path, other, KEY, anchor).problem
    # An old head alone does not help: it is not that of these records.
    assert "it is older" in found(tmp_path, new | {HEAD: old[HEAD]}, KEY).problem
    wrong = "10:" + "0" * 64
    assert LogState.TAMPERED is check(tmp_path, new, KEY, anchor, wrong).state
    assert "different records 10" in found(tmp_path, new, KEY, wrong, anchor).problem


def test_a_folder_without_a_log_is_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(AuditError, match="it was removed"):
        verify(tmp_path, KEY)
    with pytest.raises(AuditError, match="cannot be read: No such file"):
        verify(tmp_path / "none", KEY)


def test_a_sealed_log_without_its_key_is_neither_good_nor_bad(tmp_path: Path) -> None:
    files = make(tmp_path / "log", KEY, range(2))
    with pytest.raises(AuditError, match=f"sealed by a key \\(hmac-sha256 {KEY.id}\\)"):
        check(tmp_path, files, None)
    assert "or this is not its key" in found(tmp_path, files, hmac_key("wrong")).problem


def test_a_link_to_records_is_not_read(tmp_path: Path) -> None:
    make(tmp_path / "log", KEY, range(2))
    (file,) = (tmp_path / "log").glob("audit-*")
    file.symlink_to(file.rename(tmp_path / "elsewhere"))
    with pytest.raises(AuditError, match="cannot be read"):
        verify(tmp_path / "log", KEY)


def test_who_verifies_need_not_be_who_wrote(tmp_path: Path) -> None:
    files = make(tmp_path / "log", KEY, range(2))
    # No lock, wrong modes: a copy.
    check(tmp_path, files, KEY)
    (tmp_path / "checked").chmod(0o755)
    assert LogState.GOOD is verify(tmp_path / "checked", KEY).state
    assert set(files) == {file.name for file in (tmp_path / "checked").iterdir()}


def test_10_000_records_and_whatever_is_done_to_them(base: Path) -> None:
    with AuditLog.open(base / "large", KEY, max_bytes=2_000_000) as log:
        fill(log, range(10_000))
    files = load(base / "large")
    lines = split(files)
    whole = check(base, files, KEY)
    assert (LogState.GOOD, len(lines), []) == (whole.state, whole.records, whole.notes)
    chance = random.Random(7)
    for _ in range(3):
        at = chance.randrange(1, len(lines) - 1)
        name, line = lines[at]
        where = chance.randrange(len(line) - 1)
        edited = line[:where] + bytes([line[where] ^ 1]) + line[where + 1 :]
        for changed, records in (
            ([*lines[:at], (name, edited), *lines[at + 1 :]], at),
            ([*lines[:at], *lines[at + 1 :]], at),
            ([*lines[:at], (name, line), *lines[at:]], at + 1),
            ([*lines[: at - 1], (name, line), lines[at - 1], *lines[at + 1 :]], at - 1),
            (lines[:-at], len(lines) - at),
        ):
            remaining = {name: data for name, data in joined(files, changed).items() if data}
            assert records == found(base, remaining, KEY).records
    for forger in (None, hmac_key("forger")):
        found(base, remake(files, forger, forge, said=False), KEY)
