"""The out-of-process framing."""

from __future__ import annotations

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
        b"<CommandAck PSGuid='00000000000000000000000000000000----' />"[:60] + b" />",
        b"<Data Stream='Default' PSGuid='" + ZERO.encode() + b"'>A</Data>",
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
