"""Fragments and message headers."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.fragments import (
    MAX_MESSAGE_BYTES,
    MAX_UNFINISHED,
    Message,
    MessageType,
    Reassembler,
    build_message,
    fragment,
    parse_message,
)


def from_server(message_type: int, pipeline_id: UUID | None, body: bytes) -> bytes:
    """A message as a server sends it."""
    mine = bytearray(build_message(message_type, uuid4(), pipeline_id, body))
    mine[0:4] = struct.pack("<I", 1)
    return bytes(mine)


@given(st.binary(max_size=500), st.integers(22, 200))
def test_what_is_cut_is_joined(message: bytes, size: int) -> None:
    pieces = fragment(7, message, size)

    assert all(len(piece) <= size for piece in pieces)
    assert [message] == Reassembler().feed(b"".join(pieces))


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(22, 60), st.randoms(use_true_random=False)
)
def test_messages_may_be_interleaved(messages: list[bytes], size: int, order: random.Random) -> None:
    lanes = [fragment(number, message, size) for number, message in enumerate(messages)]
    reassembler, joined = Reassembler(), []
    while any(lanes):
        lane = order.choice([lane for lane in lanes if lane])
        joined += reassembler.feed(lane.pop(0))

    assert sorted(messages) == sorted(joined)


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=5),
    st.integers(22, 60),
    st.lists(st.integers(1, 9), max_size=40),
)
def test_a_payload_may_hold_any_number_of_fragments(messages: list[bytes], size: int, groups: list[int]) -> None:
    pieces = [piece for number, message in enumerate(messages) for piece in fragment(number, message, size)]
    reassembler, joined = Reassembler(), []
    for count in [*groups, len(pieces)]:
        joined += reassembler.feed(b"".join(pieces[:count]))
        del pieces[:count]

    assert messages == joined


def test_an_object_id_may_come_again() -> None:
    reassembler = Reassembler()

    assert [b"first"] == reassembler.feed(b"".join(fragment(1, b"first", 24)))
    assert [b"second"] == reassembler.feed(b"".join(fragment(1, b"second", 24)))


@given(st.binary(max_size=300))
def test_any_bytes_are_fragments_or_an_error(data: bytes) -> None:
    try:
        Reassembler().feed(data)
    except RemoteProtocolError:
        return
    assert data == b"" or len(data) >= 21


SMALL = st.integers(0, 3)
BLOBS = st.lists(st.tuples(SMALL, SMALL, st.integers(0, 5), st.binary(max_size=40)), max_size=30)


@given(BLOBS)
def test_any_order_of_fragments_is_messages_or_an_error(blobs: list[tuple[int, int, int, bytes]]) -> None:
    reassembler, sent, got = Reassembler(100), 0, 0
    for object_id, fragment_id, flags, blob in blobs:
        sent += len(blob)
        try:
            got += sum(
                map(len, reassembler.feed(struct.pack(">QQBI", object_id, fragment_id, flags, len(blob)) + blob))
            )
        except RemoteProtocolError:
            return
        assert sent - got == sum(len(begun.data) for begun in reassembler._unfinished.values()) <= 100


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0" * 20, "incomplete header"),
        (struct.pack(">QQBI", 1, 0, 3, 5) + b"1234", "shorter than it says"),
        (struct.pack(">QQBI", 1, 1, 2, 0), "out of sequence"),
        (struct.pack(">QQBI", 1, 0, 1, 0) + struct.pack(">QQBI", 1, 2, 2, 0), "out of sequence"),
        (struct.pack(">QQBI", 1, 0, 2, 0), "out of sequence"),
    ],
)
def test_damage_is_told(data: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        Reassembler().feed(data)


def test_a_message_has_a_size_limit() -> None:
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        Reassembler(100).feed(b"".join(fragment(1, b"x" * 101, 40)))
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        Reassembler(100).feed(fragment(1, b"x" * 101, 400)[0])


def test_unfinished_messages_count_together() -> None:
    reassembler = Reassembler(100)
    reassembler.feed(fragment(1, b"x" * 60, 71)[0])
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        reassembler.feed(fragment(2, b"x" * 60, 80)[0])


def test_the_limit_is_powershells() -> None:
    assert 200 * 1024 * 1024 == MAX_MESSAGE_BYTES


def held_after(work: Callable[[], object]) -> int:
    """Bytes of memory that are still in use after the work."""
    tracemalloc.start()
    try:
        kept = work()
        held, _ = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return held


@pytest.mark.parametrize("blob", [b"", b"ab"])
def test_many_tiny_fragments_hold_no_more_than_they_carry(blob: bytes) -> None:
    def work() -> Reassembler:
        reassembler = Reassembler()
        for number in range(20_000):
            reassembler.feed(struct.pack(">QQBI", 1, number, number == 0, len(blob)) + blob)
        return reassembler

    assert held_after(work) < 20_000 * len(blob) * 2 + 10_000


def test_finished_messages_do_not_count_against_the_limit() -> None:
    reassembler = Reassembler(100)
    for number in range(10):
        assert [b"x" * 90] == reassembler.feed(b"".join(fragment(number, b"x" * 90, 40)))


def test_unfinished_messages_are_bounded() -> None:
    reassembler = Reassembler()
    for number in range(MAX_UNFINISHED):
        reassembler.feed(fragment(number, b"xx", 22)[0])
    with pytest.raises(RemoteProtocolError, match="without ending them"):
        reassembler.feed(fragment(MAX_UNFINISHED, b"xx", 22)[0])


@given(st.sampled_from(list(MessageType)), st.none() | st.uuids().filter(lambda u: u.int != 0), st.binary(max_size=50))
def test_headers_round_trip(kind: MessageType, pipeline: UUID | None, body: bytes) -> None:
    expected = Message(kind, pipeline, body.removeprefix(b"\xef\xbb\xbf"))

    assert expected == parse_message(from_server(kind, pipeline, body))


def test_the_byte_order_mark_is_taken_off() -> None:
    assert b"<S>x</S>" == parse_message(from_server(MessageType.PIPELINE_OUTPUT, None, b"\xef\xbb\xbf<S>x</S>")).body


def test_an_echo_of_our_own_is_not_powershell() -> None:
    with pytest.raises(RemoteProtocolError, match="sends back what it was sent"):
        parse_message(build_message(MessageType.CREATE_PIPELINE, uuid4(), uuid4(), b""))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except RemoteProtocolError:
        return
    assert data[40:].removeprefix(b"\xef\xbb\xbf") == message.body


def test_a_short_message_is_told() -> None:
    with pytest.raises(RemoteProtocolError, match="incomplete header"):
        parse_message(b"\1\0\0\0")
