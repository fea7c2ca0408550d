"""Fragments that come twice, late or never."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.fragments import fragment
from pskernel.transports.winrm.arrivals import Arrivals

MESSAGES = {number: fragment(number, b"message %d" % number * number, 60) for number in range(1, 9)}


def whole(number: int) -> bytes:
    return b"".join(MESSAGES[number])


def lost(arrivals: Arrivals) -> int:
    """After an interruption for which nobody has to be waited."""
    arrivals.suspect([None])
    return arrivals.heard(None)


def test_what_comes_again_is_dropped_and_what_comes_late_is_not() -> None:
    arrivals = Arrivals()
    assert whole(3) == arrivals.take(whole(3))
    assert b"" == arrivals.take(whole(3))
    assert 2 == lost(arrivals)
    assert 0 == lost(arrivals)
    # It was counted as lost, and is shown all the same; once.
    assert whole(1) == arrivals.take(whole(1))
    assert b"" == arrivals.take(whole(1))
    assert whole(2) == arrivals.take(whole(2))
    assert 0 == lost(arrivals)


def test_half_a_message_again_is_half_a_message() -> None:
    arrivals, (first, *rest) = Arrivals(), MESSAGES[7]
    assert first == arrivals.take(first)
    assert b"".join(rest) == arrivals.take(first + b"".join(rest))
    with pytest.raises(RemoteProtocolError, match="A part of a message was lost"):
        arrivals.take(MESSAGES[8][1])


def test_half_a_message_is_not_lost() -> None:
    arrivals, (first, *rest) = Arrivals(), MESSAGES[1]
    arrivals.take(first)
    arrivals.take(whole(2))
    assert 0 == lost(arrivals)
    assert b"".join(rest) == arrivals.take(b"".join(rest))


def test_a_client_that_comes_late_misses_nothing_of_its_own() -> None:
    arrivals = Arrivals()
    arrivals.start_late()
    for number in (6, 4, 5):
        assert arrivals.take(whole(number))
    assert 0 == lost(arrivals)
    arrivals.take(whole(8))
    assert 1 == lost(arrivals)


def test_a_server_that_numbers_otherwise_is_bounded() -> None:
    arrivals = Arrivals()
    arrivals.take(b"".join(fragment(1 << 62, b"x", 60)))
    assert (1 << 62) - 1 == lost(arrivals)
    assert b"".join(fragment((1 << 62) - 1, b"x", 60)) == arrivals.take(b"".join(fragment((1 << 62) - 1, b"x", 60)))


@given(order=st.lists(st.integers(1, 8), max_size=40), late=st.booleans())
def test_each_message_comes_once_however_often_it_is_sent(order: list[int], late: bool) -> None:
    arrivals = Arrivals()
    if late:
        arrivals.start_late()
    taken = b"".join(arrivals.take(whole(number)) for number in order)
    assert taken == b"".join(whole(number) for number in dict.fromkeys(order))
    if order:
        lowest = min(order) if late else 1
        assert lost(arrivals) == max(order) - lowest + 1 - len(set(order))


RECEIVERS = (None, UUID(int=1), UUID(int=2))


@given(
    # Whose each message is, and whether it was lost on its way.
    sent=st.lists(st.tuples(st.sampled_from(RECEIVERS), st.booleans()), min_size=1, max_size=8),
    before=st.lists(st.sampled_from(RECEIVERS), max_size=8),
    after=st.permutations(RECEIVERS),
    again=st.booleans(),
)
def test_only_what_is_lost_is_said_to_be_and_nothing_that_comes_is_dropped(
    sent: list[tuple[UUID | None, bool]], before: list[UUID | None], after: list[UUID | None], again: bool
) -> None:
    """Each receiver's come in order, and one receiver's long before the others'."""
    arrivals, told, taken = Arrivals(), 0, []
    coming = {
        who: [number for number, (whose, gone) in enumerate(sent, 1) if whose == who and not gone] for who in RECEIVERS
    }
    for who in before:
        for number in coming[who][:1]:
            taken.append(arrivals.take(whole(coming[who].pop(0))))
            assert taken[-1] == whole(number)
    horizon = max((number for number in MESSAGES if whole(number) in taken), default=0)
    arrivals.suspect(RECEIVERS)
    for who in after:
        for number in coming[who]:
            assert arrivals.take(whole(number)) == whole(number)
            if again:
                assert arrivals.take(whole(number)) == b""
        told += arrivals.heard(who)
        assert told == 0 or who == after[-1]
    gone = [number for number, (_, is_gone) in enumerate(sent, 1) if is_gone]
    assert told == sum(number < horizon for number in gone)
    for number in gone:
        assert arrivals.take(whole(number)) == whole(number)
    assert lost(arrivals) == 0
