"""Fragments that come twice, late or never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.fragments import fragment
from pskernel.transports.winrm.arrivals import Arrivals

MESSAGES = {number: fragment(number, b"message %d" % number * number, 60) for number in range(1, 9)}


def test_what_comes_again_is_dropped() -> None:
    arrivals = Arrivals()
    whole = b"".join(MESSAGES[3])
    assert whole == arrivals.take(whole)
    assert b"" == arrivals.take(whole)
    assert 2 == arrivals.missing()
    assert 0 == arrivals.missing()
    # Nobody waits for what was counted as missing.
    assert b"" == arrivals.take(MESSAGES[1][0])


def test_half_a_message_again_is_half_a_message() -> None:
    arrivals, (first, *rest) = Arrivals(), MESSAGES[7]
    assert first == arrivals.take(first)
    assert b"".join(rest) == arrivals.take(first + b"".join(rest))
    with pytest.raises(RemoteProtocolError, match="A part of a message was lost"):
        arrivals.take(MESSAGES[8][1])


def test_a_client_that_comes_late_misses_nothing_of_its_own() -> None:
    arrivals = Arrivals()
    arrivals.start_late()
    for number in (6, 4, 5):
        assert arrivals.take(b"".join(MESSAGES[number]))
    assert 0 == arrivals.missing()
    arrivals.take(b"".join(MESSAGES[8]))
    assert 1 == arrivals.missing()


@given(order=st.lists(st.integers(1, 8), max_size=40), late=st.booleans())
def test_each_message_comes_once_however_often_it_is_sent(order: list[int], late: bool) -> None:
    arrivals = Arrivals()
    if late:
        arrivals.start_late()
    taken = b"".join(arrivals.take(b"".join(MESSAGES[number])) for number in order)
    assert taken == b"".join(b"".join(MESSAGES[number]) for number in dict.fromkeys(order))
    if order:
        lowest = min(order) if late else 1
        assert arrivals.missing() == max(order) - lowest + 1 - len(set(order))
