"""The list of stored credentials: names and users in a file, whatever state that is in."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.credentials import CredentialReference, Index
from pskernel.credentials.index import IndexBroken
from pskernel.errors import TargetError

# What str.isprintable says yes to: neither controls and the like, nor separators but the blank.
characters = st.just(" ") | st.characters(exclude_categories=["C", "Z"])
names = st.text(characters, min_size=1, max_size=256)
users = st.none() | st.text(characters.filter(lambda text: text != ":"), min_size=1, max_size=256)


def named(name: str) -> CredentialReference:
    return CredentialReference("keyring", name)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "data" / "credentials.json")


@settings(max_examples=50)
@given(st.dictionaries(names, users, max_size=8))
def test_what_was_put_is_read_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, expected: dict[str, str | None]
) -> None:
    index = Index(tmp_path_factory.mktemp("index") / "credentials.json")
    for name, user in expected.items():
        assert user == index.put(named(name), user)
    assert expected == index.read()
    for name in expected:
        assert index.drop(named(name))
    assert {} == index.read()


def test_nothing_is_listed_where_nothing_was_stored(index: Index) -> None:
    assert {} == index.read()
    assert not index.path.parent.exists()
    assert not index.drop(named("web01"))


def test_a_credential_stored_again_keeps_its_user_unless_another_is_given(index: Index) -> None:
    index.put(named("web01"), "admin")
    assert "admin" == index.put(named("web01"), None)
    assert "root" == index.put(named("web01"), "root")
    assert {"web01": "root"} == index.read()


def test_only_its_owner_reads_the_file_and_nothing_else_is_left(index: Index) -> None:
    before = os.umask(0)
    try:
        index.put(named("web01"), "admin")
        index.put(named("web02"), None)
    finally:
        os.umask(before)
    assert 0o600 == stat.S_IMODE(index.path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(index.path.parent.stat().st_mode)
    assert [index.path] == list(index.path.parent.iterdir())
    assert {"credentials": {"web01": {"user": "admin"}, "web02": {}}} == json.loads(index.path.read_text())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"credentials": []}',
        b'{"credentials": {"web01": "admin"}}',
        b'{"credentials": {"web01": {"user": 1}}}',
        b'{"credentials": {"web01": {"user": "a:b"}}}',
        b'{"credentials": {"web\\n01": {}}}',
        b'{"credentials": {"\\ud800": {}}}',
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_damaged_file_is_said_and_kept(index: Index, content: bytes) -> None:
    index.path.parent.mkdir()
    index.path.write_bytes(content)
    for use in (index.read, lambda: index.put(named("x"), None), lambda: index.drop(named("x"))):
        with pytest.raises(IndexBroken, match="is damaged"):
            use()
    assert content == index.path.read_bytes()
    (index.path.parent / "credentials.json.damaged-1").write_text("an earlier one")

    aside = index.set_aside_if_broken()

    assert index.path.with_name("credentials.json.damaged-2") == aside
    assert content == aside.read_bytes()
    assert {} == index.read()
    assert "an earlier one" == (index.path.parent / "credentials.json.damaged-1").read_text()


def test_a_good_file_is_not_set_aside(index: Index) -> None:
    index.put(named("web01"), None)
    assert index.set_aside_if_broken() is None
    assert {"web01": None} == index.read()


def test_members_of_later_versions_are_no_damage(index: Index) -> None:
    index.path.parent.mkdir()
    index.path.write_text('{"since": 1, "credentials": {"web01": {"user": null, "note": "x"}}}')
    assert {"web01": None} == index.read()


def test_a_file_that_cannot_be_read_or_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").mkdir()
    with pytest.raises(TargetError, match=r"credentials\.json cannot be read: Is a directory\."):
        Index(tmp_path / "credentials.json").read()
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match=r"cannot be written: (File exists|Not a directory)\."):
        Index(tmp_path / "file" / "credentials.json").put(named("web01"), None)


def test_more_than_the_file_may_hold_is_refused_and_what_it_holds_stays(index: Index) -> None:
    index.path.parent.mkdir()
    many = {f"{number}{'x' * 250}": {"user": "y" * 256} for number in range(1935)}
    index.path.write_text(json.dumps({"credentials": many}))
    before = index.path.read_bytes()
    with pytest.raises(TargetError, match="is full"):
        index.put(named("one more"), None)
    assert before == index.path.read_bytes()
    assert [index.path] == list(index.path.parent.iterdir())


def test_two_at_a_time_do_not_lose_each_other(index: Index) -> None:
    start = threading.Barrier(4)

    def put(number: int) -> None:
        start.wait()
        for count in range(10):
            Index(index.path).put(named(f"{number}-{count}"), None)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 == len(index.read())


def test_the_index_is_where_data_of_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert tmp_path / "pskernel" / "credentials.json" == Index().path
