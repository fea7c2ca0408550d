"""The frames of durable sessions, and what is sent again over the next link."""

from __future__ import annotations

import base64
import json
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.credentials import Secret
from pskernel.errors import RemoteProtocolError
from pskernel.protocol.durable import MAX_BODY, Frame, FrameDecoder, Left, Refusal, Resumable, encode_frame


class FakeRelay:
    """The relay's side as docs/durable.md has it, over links that lose whatever was on them."""

    def __init__(self) -> None:
        self.sent = b""
        self.first = 0
        self.taken = b""
        self._rest = b""

    def hello(self) -> Frame:
        self._rest = b""
        words = {
            "version": 1, "session": "s", "first": self.first, "passed": self.first, "sent": len(self.sent),
            "received": len(self.taken),
        }  # fmt: skip
        return Frame("H", 0, json.dumps(words).encode())

    def hear(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= 13:
            position, size = int.from_bytes(self._rest[1:9], "little"), int.from_bytes(self._rest[9:13], "little")
            if len(self._rest) < 13 + size:
                return
            kind, body = self._rest[:1], self._rest[13 : 13 + size]
            self._rest = self._rest[13 + size :]
            if kind == b"A":
                assert self.first <= position <= len(self.sent)
                self.first = position
            else:
                assert b"D" == kind
                assert position == len(self.taken)
                self.taken += body

    def frames_from(self, start: int, size: int) -> bytes:
        return b"".join(encode_frame("D", at, self.sent[at : at + size]) for at in range(start, len(self.sent), size))


def client() -> Resumable:
    return Resumable("s", Secret("hush"), "me", idle=7200.0)


LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=30)


@given(
    there=LINES,
    back=LINES,
    cuts=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(1, 50)), min_size=1, max_size=8),
)
def test_nothing_is_lost_or_doubled_wherever_links_are_cut(
    there: list[bytes], back: list[bytes], cuts: list[tuple[int, int, int]]
) -> None:
    relay, state = FakeRelay(), client()
    relay.sent = b"".join(back)
    received, unsent = b"", list(there)
    # The last link holds.
    for heard, said, size in [*cuts, (10**9, 10**9, 7)]:
        decoder = FrameDecoder()
        outgoing = b"".join(state.welcome(relay.hello()))
        outgoing += b"".join(state.send(line) for line in unsent[: 1 + said % 5] if line)
        del unsent[: 1 + said % 5]
        if heard == 10**9:
            outgoing += b"".join(state.send(line) for line in unsent)
        # The relay begins with its oldest frame, whether or not the client has some of it.
        for frame in decoder.feed(relay.frames_from(relay.first, size)[:said]):
            data = state.take(frame)
            received += data
            outgoing += state.delivered(data) + state.taken()
        relay.hear(outgoing[:heard])

    assert relay.sent == received
    assert b"".join(there) == relay.taken


@given(st.lists(st.binary(max_size=300)), st.integers(1, 40))
def test_frames_are_read_however_they_are_cut(bodies: list[bytes], size: int) -> None:
    data = b"".join(encode_frame("D", 7, body) for body in bodies)
    decoder = FrameDecoder()
    found = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert [Frame("D", 7, body) for body in bodies] == found


@given(st.binary(max_size=200))
def test_whatever_a_relay_sends_is_frames_or_an_error(data: bytes) -> None:
    state = client()
    try:
        for frame in FrameDecoder().feed(data):
            state.take(frame)
    except RemoteProtocolError:
        pass
    assert state.kept_bytes == 0


@pytest.mark.parametrize(
    "data",
    [
        encode_frame("Z"),
        encode_frame("D", -1),
        b"D" + bytes(8) + (MAX_BODY + 1).to_bytes(4, "little"),
        b"H" + bytes(8) + (16_385).to_bytes(4, "little"),
        b"D" + bytes(8) + b"\xff\xff\xff\xff",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_what_is_no_frame_ends_the_session(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="does not speak as a relay does"):
        FrameDecoder().feed(data)


@pytest.mark.parametrize(
    "frame",
    [
        Frame("D", 1, b"x"),
        Frame("E", 1, b"0"),
        Frame("A", 1),
        Frame("H", 0, b"{}"),
        Frame("X", 0, b"taken"),
    ],
)
def test_frames_out_of_turn_end_the_session(frame: Frame) -> None:
    with pytest.raises(RemoteProtocolError):
        client().take(frame)


def hello(**other: object) -> Frame:
    words = {"version": 1, "session": "s", "first": 0, "passed": 0, "sent": 0, "received": 0, **other}
    return Frame("H", 0, json.dumps(words).encode())


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (hello(session="another"), "not the relay of this session"),
        (hello(version=2), "not the relay of this session"),
        (hello(first=1, sent=1), "does not have what it should"),
        (hello(passed=1), "does not know how far it is"),
        (hello(received=1), "does not have what it should"),
        (hello(first=-1), "does not say hello"),
        (hello(sent=True), "does not say hello"),
        (hello(sent="0"), "does not say hello"),
        (hello(sent=0.5), "does not say hello"),
        (hello(sent=1 << 62), "does not say hello"),
        (Frame("H", 0, b"[" * 2_000), "does not say hello"),
        (Frame("H", 0, b"\xff"), "does not say hello"),
        (Frame("D", 0, b"x"), "does not say hello"),
    ],
)
def test_a_hello_that_does_not_fit_ends_the_session(frame: Frame, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        client().welcome(frame)


def test_a_relay_that_has_lost_output_is_not_come_back_to() -> None:
    state = client()
    state.welcome(hello())
    assert b"abc" == state.take(Frame("D", 0, b"abc"))
    with pytest.raises(RemoteProtocolError, match="does not have what it should"):
        state.welcome(hello(sent=2))


def test_a_relay_that_has_lost_input_is_not_come_back_to() -> None:
    state = client()
    state.send(b"abc")
    state.take(Frame("A", 3))
    with pytest.raises(RemoteProtocolError, match="does not have what it should"):
        state.welcome(hello(received=0))


def test_a_refusal_is_a_word() -> None:
    with pytest.raises(Refusal, match=r"^taken$"):
        client().welcome(Frame("X", 0, b"\x1b[31mtaken"[5:]))


def test_hello_says_what_was_received_and_the_token_is_not_shown() -> None:
    state = client()
    state.take(Frame("D", 0, b"abc"))
    (frame,) = FrameDecoder().feed(state.hello())
    words = {"version": 1, "token": "hush", "client": "me", "who": "", "received": 3, "take": False, "idle": 7200.0}
    assert words == json.loads(frame.body)
    assert "hush" not in repr(vars(state))


def test_the_engines_end_has_its_status() -> None:
    for body, status in ((b"3", 3), (b"-1", -1), (b"1e9", -1), (b"9" * 40, -1), (b"", -1)):
        state = client()
        assert b"" == state.take(Frame("E", 0, body))
        assert status == state.status


def test_what_was_taken_is_acknowledged_in_batches_up_to_the_end_of_a_line() -> None:
    state = client()
    line = b"x" * 9_999 + b"\n"
    acknowledged = [state.delivered(data) + state.taken() for data in [line] * 7 + [line + b"half"]]
    assert [b""] * 6 + [encode_frame("A", 70_000), b""] == acknowledged
    assert encode_frame("A", 80_000) == state.taken(at_once=True)
    assert b"" == state.taken(at_once=True)


def test_what_nobody_takes_is_acknowledged_before_the_relay_is_full_up_to_the_end_of_a_line() -> None:
    state = client()
    line = b"x" * (MAX_BODY - 1) + b"\n"
    acknowledged = [state.delivered(data) for data in [*[line] * 255, b"half a line", line]]
    assert [b""] * 256 + [encode_frame("A", 256 * MAX_BODY + 11)] == acknowledged


def test_a_session_is_left_with_all_that_was_not_taken() -> None:
    state = client()
    state.delivered(b"one\ntwo\n")
    state.taken()
    state.delivered(b"three\nfo")
    assert encode_frame("L", 8, (7_200).to_bytes(8, "little")) == state.leave(7_200.5)


def test_whoever_comes_later_begins_with_a_whole_line() -> None:
    state = Resumable("s", Secret("hush"), "me", idle=7200.0, comes_later=True, takes_over=True)
    (frame,) = FrameDecoder().feed(state.hello())
    said = json.loads(frame.body)
    assert (-1, True) == (said["received"], said["take"])
    running = [str(uuid4())]
    note = base64.b64encode(b"a note").decode()
    assert [] == state.welcome(hello(first=10, passed=14, sent=20, received=7, note=note, running=running))
    assert Left(b"a note", (UUID(running[0]),)) == state.left
    assert b"new\n" == state.take(Frame("D", 10, b"old\nnew\n"))
    replaying = []
    for data in (b"new\n..", b"."):
        state.delivered(data)
        replaying.append(state.is_replaying)
    assert [True, False] == replaying
    assert encode_frame("D", 7, b"x") == state.send(b"x")
    (frame,) = FrameDecoder().feed(state.hello())
    assert (18, False) == (json.loads(frame.body)["received"], json.loads(frame.body)["take"])


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"note": "", "running": 7},
        {"note": "", "running": [7]},
        {"note": "", "running": ["x"] * 101},
        {"note": "no base64", "running": []},
        {"note": "A" * 8_000, "running": []},
    ],
)
def test_a_relay_that_does_not_say_what_was_left(other: dict[str, object]) -> None:
    state = Resumable("s", Secret("hush"), "me", idle=7200.0, comes_later=True)
    with pytest.raises(RemoteProtocolError, match="what was left in it"):
        state.welcome(hello(**other))


def test_the_engines_end_has_its_last_words() -> None:
    state = client()
    state.take(Frame("E", 0, b"3\nIt is\nbroken."))
    assert (3, b"It is\nbroken.") == (state.status, state.last_words)
