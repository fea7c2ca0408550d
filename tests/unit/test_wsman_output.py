"""The queues of the WSMan bridge: fragments are cut, given back, repeated and dropped without harm to messages."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.wsman_bridge.output import Counter, Output, Piece, split_fragments

PIPELINE_STATE = 0x41006


def message(number: int, text: bytes, kind: int = 0x41004) -> list[Piece]:
    """A message as the engine sends it, in fragments of 1,000 bytes."""
    body = struct.pack("<II", 1, kind) + bytes(32) + text
    parts = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    last = len(parts) - 1
    return [Piece(number, index, (index == 0) | (index == last) << 1, part) for index, part in enumerate(parts)]


def filled(*messages: list[Piece]) -> Output:
    output = Output()
    with output.changed:
        for pieces in messages:
            for piece in pieces:
                output.add(piece)
    return output


def joined(data: bytes) -> dict[int, bytes]:
    """The messages of a stream, by number. Fails where a fragment is out of order."""
    found: dict[int, bytes] = {}
    counts: dict[int, int] = {}
    for piece in split_fragments(data):
        assert piece.is_first == (piece.number not in found)
        assert piece.index == counts.get(piece.number, 0)
        found[piece.number] = found.get(piece.number, b"") + piece.body
        counts[piece.number] = piece.index + 1
    return found


def text_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.body for piece in pieces)


@given(
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=5),
    rooms=st.lists(st.tuples(st.integers(1000, 8000), st.integers(1, 3), st.booleans()), min_size=1, max_size=8),
)
def test_whatever_is_cut_or_given_back_messages_stay_whole(
    sizes: list[int], rooms: list[tuple[int, int, bool]]
) -> None:
    messages = [message(number, b"%d" % (number % 10) * size) for number, size in enumerate(sizes, 1)]
    output, data = filled(*messages), b""
    with output.changed:
        for turn in range(1000):
            if not output.pieces:
                break
            # The last kind of round goes on until all is out.
            room, at_most, back = rooms[turn] if turn < len(rooms) else (2000, 99, False)
            taken = output.take(room, at_most)
            assert 0 < len(taken) <= at_most
            assert sum(piece.room for piece in taken) <= room
            if back:
                output.give_back(taken)
            else:
                data += b"".join(piece.data for piece in taken)
    assert {number: text_of(pieces) for number, pieces in enumerate(messages, 1)} == joined(data)
    assert 0 == output.size


def test_the_last_answer_comes_again_as_it_was() -> None:
    output = filled(message(1, b"a" * 3000), message(2, b"b"))
    with output.changed:
        first = output.take(1500, 9)
        output.repeat_last()
        assert first == output.take(1500, 9)
        output.repeat_last()
        data = b"".join(piece.data for piece in output.take(99_999, 99))
    assert {1, 2} == set(joined(data))
    assert joined(data)[1].endswith(b"a" * 3000)


def test_only_whole_messages_are_dropped_and_never_the_last() -> None:
    output = filled(*(message(number, b"x" * 2500) for number in range(1, 6)))
    with output.changed:
        begun = output.take(1500, 1)
        output.drop_oldest(6000)
        data = b"".join(piece.data for piece in [*begun, *output.take(99_999, 99)])
    # What was begun goes on; then the youngest.
    assert [1, 5] == list(joined(data))
    only = filled(message(1, b"x" * 2500))
    with only.changed:
        only.drop_oldest(10)
        assert 3 == len(only.pieces)


@pytest.mark.parametrize("padding", [0, 2500])
@pytest.mark.parametrize(("state", "ends"), [(2, False), (3, True), (4, True), (5, True)])
def test_a_pipeline_ends_with_its_last_state(padding: int, state: int, ends: bool) -> None:
    text = b"<MS>" + b"r" * padding + b'<I32 N="PipelineState">%d</I32></MS>' % state
    *before, last = message(1, text, PIPELINE_STATE)
    output = filled(before)
    assert not output.finished
    with output.changed:
        output.add(last)
    assert ends == output.finished
    # As output it is but a text.
    assert not filled(message(2, text)).finished


def test_messages_of_the_bridges_own_shift_the_engines() -> None:
    counter = Counter()
    one, two = message(7, b"x" * 1500), message(8, b"y")
    assert [1, 1] == [counter.renumbered(piece).number for piece in one]
    assert 2 == counter.own(b"mine").number
    assert [3] == [counter.renumbered(piece).number for piece in two]
