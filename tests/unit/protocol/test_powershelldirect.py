"""The handshake of PowerShell Direct with a scripted peer, in every branch and however the bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.credentials import Secret
from pskernel.errors import LocalProtocolError
from pskernel.protocol.powershelldirect import (
    CredentialRefused,
    Handshake,
    HandshakeFailed,
    Login,
    split_user,
    to_broker,
    to_server,
)

TOKEN = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm8="
LEGACY = "?<PSDirectVMLegacy>"


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


def login(user: str = "CORP\\admin", password: str = "pässword", configuration: str = "") -> Login:
    return Login(user, Secret(password).reveal, configuration)


def talk(handshake: Handshake, answers: Sequence[bytes], sizes: Sequence[int] = ()) -> list[bytes]:
    """Give the answers, one at a time, in pieces of the given sizes; return what was said."""
    said = [handshake.start()]
    for answer in answers:
        rest, next_said = answer, b""
        for size in [*sizes, len(answer)]:
            piece, rest = rest[:size], rest[size:]
            if piece:
                assert b"" == next_said
                next_said = handshake.feed(piece)
        if not next_said and handshake.awaits_silence:
            next_said = handshake.silence()
        said.append(next_said)
    return said


V2 = [b"VERSION_2", b"PASS", b"PASS", b"PASS", b"PASS", b"CONF", f"TOKEN {TOKEN}".encode()]
SAID_V2 = [b"VERSION", b"VERSION_2", wide("CORP"), wide("admin"), b"NONEMPTYPW", wide("pässword"), b"EMPTYCF", b"PASS"]


def test_version_2() -> None:
    handshake = to_broker(login())
    assert SAID_V2 == talk(handshake, V2)
    assert (True, TOKEN, False, None) == (handshake.over, handshake.token, handshake.is_old, handshake.refusal)


def test_a_configuration_is_named_once_it_is_asked_for() -> None:
    handshake = to_broker(login(configuration="jea"))
    said = talk(handshake, [*V2[:6], b"PASS", V2[6]])
    assert [b"NONEMPTYCF", wide("jea"), b"PASS"] == said[6:]
    assert TOKEN == handshake.token


def test_an_empty_password_is_said_to_be_empty() -> None:
    handshake = to_broker(login("admin", ""))
    said = talk(handshake, [b"VERSION_3", b"PASS", b"PASS", b"PASS", b"CONF", V2[6]])
    assert [wide("localhost"), wide("admin"), b"EMPTYPW", b"EMPTYCF", b"PASS"] == said[2:]


def test_a_broker_that_asks_for_no_configuration() -> None:
    handshake = to_broker(login(configuration="jea"))
    assert [b"PASS", b"PASS"] == talk(handshake, [*V2[:5], b"PASS", V2[6]])[6:]
    assert handshake.over


@pytest.mark.parametrize("first", [b"PASS", b"FAIL", b"PASS\0"])
@pytest.mark.parametrize("last", [b"FAIL", b"CONF", b"PASS"])
def test_a_broker_of_version_1_is_talked_to_its_end(first: bytes, last: bytes) -> None:
    handshake = to_broker(login())
    assert [b"VERSION", wide(LEGACY), b"EMPTYPW", b"FAIL"] == talk(handshake, [first, b"PASS", last])
    assert (True, True, "", None) == (handshake.over, handshake.is_old, handshake.token, handshake.refusal)


@pytest.mark.parametrize(
    ("configuration", "answers", "last"),
    [
        ("", [b"CONF"], [b"EMPTYCF"]),
        ("", [b"PASS"], [b"PASS"]),
        ("jea", [b"CONF", b"PASS"], [b"NONEMPTYCF", wide("jea")]),
        ("jea", [b"PASS"], [b"PASS"]),
    ],
)
def test_version_1(configuration: str, answers: list[bytes], last: list[bytes]) -> None:
    handshake = to_broker(login(configuration=configuration), version=1)
    said = talk(handshake, [b"PASS", b"PASS", b"PASS", *answers])
    assert [wide("CORP"), wide("admin"), b"NONEMPTYPW", wide("pässword"), *last] == said
    assert (True, "", None) == (handshake.over, handshake.token, handshake.refusal)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("passed", [0, 1, 2, 3])
def test_a_credential_that_is_refused(version: int, passed: int) -> None:
    handshake = to_broker(login(), version=version)
    said = talk(handshake, [*(V2[:2] if version == 2 else []), *[b"PASS"] * passed, b"FAIL"])
    assert b"FAIL" == said[-1]
    assert handshake.over
    assert isinstance(handshake.refusal, CredentialRefused)
    assert str(handshake.refusal).startswith("The credential is invalid. ")
    assert "pässword" not in str(handshake.refusal)
    assert (wide("pässword") in said) is (passed == 3)


def test_the_second_connection() -> None:
    handshake = to_server(TOKEN)
    assert [b"VERSION", b"VERSION_2", f"TOKEN {TOKEN}".encode(), b""] == talk(
        handshake, [b"VERSION_2", b"PASS", b"PASS"]
    )
    assert (True, None) == (handshake.over, handshake.refusal)


def test_a_token_that_is_refused() -> None:
    handshake = to_server(TOKEN)
    assert b"" == talk(handshake, [b"VERSION_2", b"PASS", b"FAIL"])[-1]
    assert str(handshake.refusal).startswith("The credential is invalid.")
    assert TOKEN not in str(handshake.refusal)


BAD_BROKER = [
    ([b"CONF "], "TransportVersion"),
    ([b"HELLO"], "TransportVersion"),
    ([b"VERSION_x"], "TransportVersion"),
    ([b"VERSION_2 PASS"], "TransportVersion"),
    ([b"VERSION_2", b"FAIL"], "TransportVersion"),
    ([b"VERSION_2", b"CONF"], "TransportVersion"),
    ([b"PASS", b"WHAT"], "Credential"),
    ([*V2[:2], b"TOKEN x"], "Credential"),
    ([*V2[:2], b"PASSPASS"], "Credential"),
    ([*V2[:2], b"pass"], "Credential"),
    ([*V2[:5], b"CONT"], "Credential"),
    ([*V2[:6], b"PASS"], "Token"),
    ([*V2[:6], b"FAIL"], "Token"),
    ([*V2[:6], b"TOKEN a b"], "Token"),
    ([*V2[:6], "TOKEN é".encode()], "Token"),
    ([*V2[:6], b"TOKEN " + b"a" * 2000], "Token"),
]


@pytest.mark.parametrize(("answers", "what"), BAD_BROKER)
def test_what_is_no_answer_is_refused(answers: list[bytes], what: str) -> None:
    with pytest.raises(HandshakeFailed) as caught:
        talk(to_broker(login()), answers)
    assert str(caught.value).startswith(
        f"Hyper-V Broker sent an invalid {what} response during the connection negotiation. "
    )
    assert "CreateRemoteRunspaceForVMFailed" == caught.value.error_id


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ([b"PASS"], "TransportVersion"),
        ([b"VERSION_2", b"FAIL"], "TransportVersion"),
        ([b"VERSION_2", b"PASS", b"CONF"], "Token"),
        ([b"VERSION_2", b"PASS", b"PASS<Data"], "Credential"),
    ],
)
def test_what_is_no_answer_of_the_server_is_refused(answers: list[bytes], what: str) -> None:
    with pytest.raises(HandshakeFailed, match=f"Hyper-V Server sent an invalid {what} response"):
        talk(to_server(TOKEN), answers)


def test_a_configuration_that_may_not_be_named() -> None:
    with pytest.raises(HandshakeFailed, match="Credential"):
        talk(to_broker(login(configuration="jea")), [*V2[:6], b"FAIL"])


def test_a_connection_that_is_cut() -> None:
    handshake = to_broker(login())
    talk(handshake, V2[:4])
    assert "It ended the connection before its Credential response." in str(handshake.cut())


def test_without_a_user_nothing_is_said() -> None:
    for user in ("", "CORP\\", "@corp"):
        with pytest.raises(CredentialRefused, match=r"^The input username cannot be empty\.$"):
            to_broker(login(user))


def test_nothing_is_taken_after_the_end() -> None:
    handshake = to_broker(login())
    talk(handshake, V2)
    with pytest.raises(LocalProtocolError):
        handshake.feed(b"PASS")


def test_a_password_that_is_no_proper_unicode_is_sent_as_it_is() -> None:
    said = talk(to_broker(login(password="a\ud800b"), version=1), [b"PASS", b"PASS", b"PASS", b"CONF"])
    assert b"a\0\0\xd8b\0" == said[3]


def test_the_password_is_in_no_repr() -> None:
    assert "pässword" not in repr(login()) + repr(to_broker(login())) + repr(vars(to_broker(login())))


@given(st.lists(st.integers(1, 12), max_size=40), st.sampled_from([TOKEN, "abc", "abcd", "a==", "x" * 900]))
def test_it_does_not_matter_how_the_bytes_arrive(sizes: list[int], token: str) -> None:
    answers = [b"VERSION_10", *V2[1:6], f"TOKEN {token}".encode()]
    handshake = to_broker(login())
    said = []
    data = handshake.start()
    for answer in answers:
        said.append(data)
        data = b""
        rest = answer
        for size in [*sizes, len(answer)]:
            if rest:
                data += handshake.feed(rest[:size])
                rest = rest[size:]
        if handshake.awaits_silence and not handshake.over:
            data += handshake.silence()
    assert [*SAID_V2[:-1], b"PASS"] == [*said, data]
    assert token == handshake.token


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_any_bytes_are_an_answer_or_the_one_error(pieces: list[bytes]) -> None:
    handshake = to_broker(login())
    handshake.start()
    try:
        for piece in pieces:
            if not handshake.over:
                handshake.feed(piece)
    except HandshakeFailed:
        return
    assert len(handshake._buffer) <= 1024


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("", "a")), ("D\\a", ("D", "a")), ("a@b", ("b", "a")), ("a@b.c", ("", "a@b.c")),
        ("a@b.c@d.e", ("d.e", "a@b.c")), ("D\\a@b", ("D", "a@b")), ("\\a", ("", "a")), (".\\a", (".", "a")),
        ("a@", ("", "a")), ("a.b@c", ("c", "a.b")),
    ],
)  # fmt: skip
def test_a_user_is_split_as_by_powershell(name: str, expected: tuple[str, str]) -> None:
    assert expected == split_user(name)
