"""What is kept between pipelines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pskernel.records import HostText, Notice, Output
from pskernel.session.idle import IdleRecords


def test_records_are_given_once_and_in_order() -> None:
    idle = IdleRecords()
    idle.add(Notice("a"))
    idle.add(HostText("b"))

    assert [Notice("a"), HostText("b")] == idle.take()
    assert [] == idle.take()


def test_older_records_give_way() -> None:
    idle = IdleRecords()
    for number in range(5000):
        idle.add(HostText(str(number)))

    assert [HostText(str(number)) for number in range(4000, 5000)] == idle.take()


@given(st.lists(st.integers(0, 6_000_000), max_size=20))
def test_their_size_is_bounded(sizes: list[int]) -> None:
    idle = IdleRecords()
    for size in sizes:
        idle.add(Output(None), size // 4)
        assert idle._bytes <= 4 * 1024 * 1024

    assert len(idle.take()) <= len(sizes)
    assert 0 == idle._bytes


def test_what_is_our_own_is_nothing_that_another_client_waits_for() -> None:
    idle = IdleRecords()
    idle.add(Notice("a"))
    assert not idle.waits
    idle.add(HostText("b"))
    idle.take_notices()
    assert idle.waits
    idle.take()
    assert not idle.waits


def test_what_is_our_own_can_be_taken_before_the_rest() -> None:
    idle = IdleRecords()
    for record in (Notice("a"), HostText("b"), Notice("c")):
        idle.add(record, 10)
    assert idle.told.is_set()

    assert [Notice("a"), Notice("c")] == idle.take_notices()
    assert not idle.told.is_set()
    assert [HostText("b")] == idle.take()
    assert 0 == idle._bytes
