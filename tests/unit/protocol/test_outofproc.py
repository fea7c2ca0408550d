"""The out-of-process framing."""

from __future__ import annotations

from collections import Counter
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.outofproc import AckLedger, Junk, Packet, PacketDecoder, PacketKind, encode_data, encode_empty

ZERO = "00000000-0000-0000-0000-000000000000"
IDS = st.none() | st.uuids().filter(lambda u: u.int != 0)
PACKETS = st.builds(Packet, st.just(PacketKind.DATA), IDS, st.binary(min_size=1, max_size=200)) | st.builds(
    Packet, st.sampled_from([kind for kind in PacketKind if kind is not PacketKind.DATA]), IDS
)


def encode(packet: Packet) -> bytes:
    if packet.kind is PacketKind.DATA:
        return encode_data(packet.pipeline_id, packet.data)
    return encode_empty(packet.kind, packet.pipeline_id)


def test_the_form_is_powershells() -> None:
    pipeline = UUID("7cfaa5f7-961b-4fe7-a2fe-44e4961472c6")

    assert f"<Data Stream='Default' PSGuid='{ZERO}'>AAE=</Data>\n".encode() == encode_data(None, b"\0\1")
    assert b"<Data Stream='PromptResponse'" == encode_data(pipeline, b"x", prompt_response=True)[:29]
    assert f"<Command PSGuid='{pipeline}' />\n".encode() == encode_empty(PacketKind.COMMAND, pipeline)


@given(st.lists(PACKETS, max_size=6), st.lists(st.integers(1, 120), max_size=20))
def test_any_chunking_gives_the_same_packets(packets: list[Packet], cuts: list[int]) -> None:
    data = b"".join(encode(packet) for packet in packets)
    decoder, decoded = PacketDecoder(), []
    for size in [*cuts, len(data)]:
        decoded += decoder.feed(data[:size])
        data = data[size:]

    assert packets == decoded
    assert decoder.feed_eof() is None


BANNERS = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters="<"), min_size=1, max_size=40
)


@given(st.lists(PACKETS | BANNERS, max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 50))
def test_junk_between_packets_costs_nothing_but_itself(items: list[Packet | str], end: bytes, size: int) -> None:
    lines = [item.encode() if isinstance(item, str) else encode(item).rstrip() for item in items]
    data = b"".join(line + end for line in lines)
    decoder = PacketDecoder()
    decoded = [item for i in range(0, len(data), size) for item in decoder.feed(data[i : i + size])]

    assert [Junk(item) if isinstance(item, str) else item for item in items] == decoded


@given(IDS, st.binary(min_size=1, max_size=100))
def test_an_answer_to_a_prompt_is_data_like_any_other(pipeline: UUID | None, data: bytes) -> None:
    expected = [Packet(PacketKind.DATA, pipeline, data)]

    assert expected == PacketDecoder().feed(encode_data(pipeline, data, prompt_response=True))


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_junk(data: bytes) -> None:
    decoder = PacketDecoder()
    for item in [*decoder.feed(data), decoder.feed_eof()]:
        assert item is None or isinstance(item, Packet | Junk)
        if isinstance(item, Junk):
            assert item.text.isprintable()


@pytest.mark.parametrize(
    "line",
    [
        b"Welcome to web01",
        b"HTTP/1.1 400 Bad Request",
        b"<Data Stream='Default' PSGuid='" + ZERO.encode() + b"'></Data>",
        b"<Data Stream='Default' PSGuid='" + ZERO.encode() + b"' />",
        b"<Data Stream='Other' PSGuid='" + ZERO.encode() + b"'>AAE=</Data>",
        b"<Command PSGuid='" + ZERO.encode() + b"'>AAE=</Data>",
        b"<Unknown PSGuid='" + ZERO.encode() + b"' />",
        b"<CommandAck PSGuid='zzzzzzzz-0000-0000-0000-000000000000' />",
        b"<CommandAck PSGuid='------------------------------------' />",
        b"<Data Stream='Default' PSGuid='" + ZERO.encode() + b"'>A</Data>",
        b"<Data Stream='Default' PSGuid='" + ZERO.encode() + b"'>AA=A</Data>",
        b"x<CloseAck PSGuid='" + ZERO.encode() + b"' />",
        b"<CloseAck PSGuid='" + ZERO.encode() + b"' />x",
        b"<CloseAck PSGuid='" + ZERO.encode() + b"' /><CloseAck PSGuid='" + ZERO.encode() + b"' />",
        b'<CloseAck PSGuid="' + ZERO.encode() + b'" />',
    ],
)
def test_what_is_no_packet_is_junk(line: bytes) -> None:
    (item,) = PacketDecoder().feed(line + b"\n")

    assert isinstance(item, Junk)


def test_empty_lines_are_nothing_and_carriage_returns_do_not_matter() -> None:
    packet = encode_empty(PacketKind.CLOSE_ACK, None).replace(b"\n", b"\r\n")

    assert [Packet(PacketKind.CLOSE_ACK, None)] == PacketDecoder().feed(b"\n\r\n" + packet)


def test_a_line_without_end_is_told() -> None:
    with pytest.raises(RemoteProtocolError, match="without ending the line"):
        PacketDecoder(100).feed(b"y" * 101)


@given(st.lists(st.binary(min_size=1, max_size=60).map(lambda data: data.replace(b"\n", b".")), max_size=20))
def test_what_waits_for_the_end_of_its_line_is_bounded(chunks: list[bytes]) -> None:
    decoder, sent = PacketDecoder(100), 0
    for chunk in chunks:
        sent += len(chunk)
        if sent > 100:
            with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
                decoder.feed(chunk)
            return
        assert [] == decoder.feed(chunk)
        assert sent == len(decoder._rest)


def test_the_largest_line_has_room_for_any_servers_fragment() -> None:
    data = b"x" * 2_000_000

    assert [Packet(PacketKind.DATA, None, data)] == PacketDecoder().feed(encode_data(None, data))


def test_any_number_of_ids_is_read_and_few_are_remembered() -> None:
    decoder = PacketDecoder()
    for number in range(1, 2000):
        assert [Packet(PacketKind.DATA_ACK, UUID(int=number))] == decoder.feed(
            encode_empty(PacketKind.DATA_ACK, UUID(int=number))
        )

    assert len(decoder._ids) < 300
    assert [Packet(PacketKind.CLOSE_ACK, None)] == decoder.feed(encode_empty(PacketKind.CLOSE_ACK, None))


def test_what_is_left_at_the_end_is_told_once() -> None:
    decoder = PacketDecoder()
    decoder.feed(b"half a li")

    assert Junk("half a li") == decoder.feed_eof()
    assert decoder.feed_eof() is None


def test_junk_is_quoted_in_part_and_without_control_characters() -> None:
    (junk,) = PacketDecoder().feed(b"\x1b]0;title\x07" + b"x" * 5000 + b"\n")

    assert isinstance(junk, Junk)
    assert junk.text.startswith("]0;title x")
    assert len(junk.text) <= 500


def test_an_acknowledgement_settles_one_packet() -> None:
    ledger, pipeline = AckLedger(), uuid4()
    ledger.sent(PacketKind.DATA, pipeline)
    ledger.sent(PacketKind.DATA, pipeline)
    ledger.received(Packet(PacketKind.DATA_ACK, pipeline))

    assert ledger.owed(PacketKind.DATA, pipeline)
    assert not ledger.owed(PacketKind.COMMAND, pipeline)
    ledger.received(Packet(PacketKind.DATA_ACK, pipeline))
    assert not ledger.owed(PacketKind.DATA, pipeline)


def test_an_acknowledgement_of_nothing_is_told() -> None:
    with pytest.raises(RemoteProtocolError, match="SignalAck that answers nothing"):
        AckLedger().received(Packet(PacketKind.SIGNAL_ACK, None))


REQUESTS = (PacketKind.DATA, PacketKind.COMMAND, PacketKind.CLOSE, PacketKind.SIGNAL)
ACKS = {kind: PacketKind(f"{kind.value}Ack") for kind in REQUESTS}


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(REQUESTS), st.sampled_from([None, UUID(int=1), UUID(int=2)]))))
def test_the_ledger_counts_by_kind_and_id(steps: list[tuple[bool, PacketKind, UUID | None]]) -> None:
    ledger, model = AckLedger(), Counter[tuple[PacketKind, UUID | None]]()
    for sending, kind, pipeline in steps:
        if sending:
            ledger.sent(kind, pipeline)
            model[kind, pipeline] += 1
        elif model[kind, pipeline]:
            ledger.received(Packet(ACKS[kind], pipeline))
            model[kind, pipeline] -= 1
        else:
            with pytest.raises(RemoteProtocolError):
                ledger.received(Packet(ACKS[kind], pipeline))
        for key, count in model.items():
            assert (count > 0) == ledger.owed(*key)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_is_no_acknowledgement(kind: PacketKind) -> None:
    ledger = AckLedger()
    ledger.sent(kind, None)
    with pytest.raises(RemoteProtocolError, match=f"{kind.value} that answers nothing"):
        ledger.received(Packet(kind, None))
    assert ledger.owed(kind, None)


def test_a_settled_ledger_is_empty() -> None:
    ledger = AckLedger()
    for number in range(100):
        ledger.sent(PacketKind.DATA, UUID(int=number))
        ledger.received(Packet(PacketKind.DATA_ACK, UUID(int=number)))

    assert not ledger._owed
