"""The history of one target: what is kept, found, and left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pskernel.kernel.history import History


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.sqlite"


def texts(lines: list[tuple[int, int, str]]) -> list[str]:
    return [text for _, _, text in lines]


def test_it_outlives_the_kernel_and_numbers_sessions_and_lines(path: Path) -> None:
    for session in ("a", "b"):
        history = History(path, "ssh://web01")
        history.add(f"{session}1")
        history.add(f"{session}2")
        history.close()
    now = History(path, "ssh://web01")
    now.add("c1")

    assert [(1, 1, "a1"), (1, 2, "a2"), (2, 1, "b1"), (2, 2, "b2"), (3, 1, "c1")] == now.tail(10)
    assert ["b2", "c1"] == texts(now.tail(2))
    assert [] == now.tail(0)
    assert ["b1", "b2"] == texts(now.range(-1, 0, None))
    assert ["a1"] == texts(now.range(1, 1, 2))
    assert ["c1"] == texts(now.range(0, 1, 99))


def test_targets_do_not_see_each_other(path: Path) -> None:
    one, other = History(path, "ssh://web01"), History(path, "ssh://web02")
    one.add("on 01")
    other.add("on 02")

    assert (["on 01"], ["on 02"]) == (texts(one.tail(9)), texts(other.tail(9)))


def test_a_search_takes_patterns(path: Path) -> None:
    history = History(path, "t")
    for line in ("Get-Item a", "Set-Item a", "Get-Item b", "Get-Item a", "get-item x"):
        history.add(line)

    assert ["Get-Item a", "Get-Item b", "Get-Item a"] == texts(history.search("Get-*", None, unique=False))
    assert ["Get-Item b", "Get-Item a"] == texts(history.search("Get-*", None, unique=True))
    assert ["Get-Item a"] == texts(history.search("Get-Item ?", 1, unique=False))
    assert [] == history.search("'; drop table lines; --", None, unique=False)


@pytest.mark.parametrize(
    "cell", ["ConvertTo-SecureString x -AsPlainText", "$Password = 1", "-ApiKey 1", "$token", "Set-Secret a b"]
)
def test_what_may_hold_a_secret_is_not_kept(path: Path, cell: str) -> None:
    history = History(path, "t")
    history.add(cell)

    assert [] == history.tail(9)
    assert cell.encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_the_file_is_its_owners_alone(path: Path) -> None:
    History(path, "t").add("x")

    assert 0o600 == path.stat().st_mode & 0o777


def test_without_a_usable_file_everything_goes_on(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_bytes(b"no database" * 100)
    for path in (tmp_path / "history.sqlite", tmp_path / "history.sqlite" / "below"):
        history = History(path, "t")
        history.add("x")
        assert [] == history.tail(9) + history.range(0, 0, None) + history.search("*", None, unique=True)
        history.close()


def test_odd_requests_find_nothing(path: Path) -> None:
    history = History(path, "t")
    history.add("x")
    history.add("\ud83d")
    history.add("y" * 100_001)

    assert ["x"] == texts(history.tail(10**9))
    assert [] == history.range(10**30, 0, None)
    assert [] == history.tail(-5)
