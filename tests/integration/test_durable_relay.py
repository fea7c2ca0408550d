"""A real relay, and links to it that are cut; its engine is a program that says everything back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pskernel.errors import (
    AuthenticationFailed,
    HostKeyRejected,
    PSKernelError,
    RemoteProtocolError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.protocol.durable import Frame, FrameDecoder, encode_frame
from pskernel.transports.base import ByteStream, Interlude, PoolGone
from pskernel.transports.durable.stream import DurableStream, Patience
from pskernel.transports.unix import open_unix
from tests.parts.cuts import Clock
from tests.parts.relays import ReadStream, Relay

pytestmark = pytest.mark.live

INTERRUPTED = "The network connection to web01 has been interrupted. Attempting to reconnect for up to 100 seconds..."


class CutLink:
    """A link that is cut when so many bytes have gone over it."""

    def __init__(self, inner: ByteStream, after: int = 10**9) -> None:
        self._inner = inner
        self._left = after

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        data = await self._inner.receive(max_bytes)
        self._left -= len(data)
        if self._left > 0:
            return data
        return await self._cut(data[: max(0, len(data) + self._left)])

    async def _cut(self, rest: bytes) -> bytes:
        await self.cut()
        return rest or await self._inner.receive()

    async def send(self, data: bytes) -> None:
        part, self._left = data[: max(0, self._left)], self._left - len(data)
        await self._inner.send(part)
        if len(part) < len(data):
            await self.cut()
            raise TransportClosed("It was cut.")

    async def cut(self) -> None:
        await self._inner.aclose()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def diagnostics(self) -> str:
        return ""


class Subject:
    """A stream to a relay, and the hand on its links."""

    def __init__(self, relay: Relay, stream_of: Callable[[Callable[[], Awaitable[ByteStream]]], DurableStream]) -> None:
        self.relay = relay
        self.news: list[str] = []
        self.links: list[CutLink] = []
        # What the next attempts to reach the relay come to; then it is reached.
        self.failures: list[PSKernelError] = []
        self.cut_after: Callable[[], int] = lambda: 10**9
        self.stream = stream_of(self.open_link)

    async def open_link(self) -> ByteStream:
        if self.failures:
            raise self.failures.pop(0)
        self.links.append(CutLink(await open_unix(self.relay.path), self.cut_after()))
        return self.links[-1]

    async def cut(self) -> None:
        await self.links[-1].cut()

    async def receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            try:
                data = await self.stream.receive(count - len(received))
            except Interlude as news:
                self.news.append(str(news))
                continue
            assert data, "the stream ended"
            received += data
        return received


def check(pwsh: str, test: Callable[[Subject], Awaitable[None]], *, idle: float = 60.0, patience: float = 100) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), Relay(pwsh, "cat", idle=idle) as relay:

            def stream_of(open_link: Callable[[], Awaitable[ByteStream]]) -> DurableStream:
                clock = Clock()
                return ReadStream(relay.client(), open_link, "web01", Patience(patience, clock.now, clock.sleep))

            subject = Subject(relay, stream_of)
            await subject.stream.begin(await subject.open_link())
            try:
                await test(subject)
            finally:
                await subject.stream.aclose()

    asyncio.run(main())


# After so many bytes on a link, either way. Eight links that end in their hello are an end: few of them do.
_IN_HELLO, _ANYWHERE = st.integers(1, 300), st.integers(300, 60_000)
_CUTS = st.tuples(st.lists(_IN_HELLO, min_size=4, max_size=4), st.lists(_ANYWHERE, min_size=16, max_size=16)).flatmap(
    lambda cuts: st.permutations(cuts[0] + cuts[1])
)


# A failure is kept, and comes first the next time; to make it smaller would take minutes of real processes.
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=_CUTS, sizes=st.lists(st.integers(1, 70_000), min_size=1, max_size=30))
def test_a_hundred_cuts_anywhere_lose_and_double_nothing(pwsh: str, cuts: list[int], sizes: list[int]) -> None:
    data = random.Random(3).randbytes(600_000)

    async def test(subject: Subject) -> None:
        left = iter(cuts)
        subject.cut_after = lambda: next(left, 10**9)
        await subject.cut()

        async def send() -> None:
            at = 0
            for size in itertools.chain(sizes, itertools.repeat(20_000)):
                if at >= len(data):
                    return
                await subject.stream.send(data[at : at + size])
                at += size

        sending = asyncio.create_task(send())
        assert data == await subject.receive(len(data))
        await sending
        assert 22 == len(subject.links)

    # On some links no frame gets through, and the next is not tried at once.
    check(pwsh, test, patience=10_000)


def test_a_minute_without_a_network(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        # Pauses of 0.25, 0.5, 1, 2, 4 and then 5 seconds.
        subject.failures = [TargetUnreachable("web01 is not there.") for _ in range(16)]
        await subject.cut()
        await subject.stream.send(b"said meanwhile")
        assert b"said meanwhile" == await subject.receive(14)
        await subject.stream.send(b"and after")
        assert b"and after" == await subject.receive(9)
        assert [
            INTERRUPTED,
            "The network connection to web01 has been restored after 63 s. Nothing was lost.",
        ] == subject.news

    check(pwsh, test)


async def assert_ends(subject: Subject, kind: type[PSKernelError], *words: str) -> None:
    with pytest.raises(kind) as caught:
        await subject.receive(1)
    for word in ("The session on web01 could not be resumed.", *words):
        assert word in str(caught.value)
    with pytest.raises(TransportClosed):
        await subject.stream.send(b"x")
    assert [INTERRUPTED] == subject.news


def test_patience_has_an_end(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        subject.failures = [TargetUnreachable("web01 is not there.") for _ in range(99)]
        await subject.cut()
        await assert_ends(subject, TransportClosed, "web01 is not there.")
        # 100 seconds: 4 pauses up to 2 s, then one of 4 s, then 5 s each, and one at the end.
        assert 25 == 99 - len(subject.failures)

    check(pwsh, test)


@pytest.mark.parametrize("error", [HostKeyRejected("It shows another key."), PoolGone("There is none.")])
def test_what_trying_again_does_not_change_ends_the_session(pwsh: str, error: PSKernelError) -> None:
    async def test(subject: Subject) -> None:
        subject.failures = [error, error]
        await subject.cut()
        await assert_ends(subject, TransportClosed, str(error))
        assert [error] == subject.failures

    check(pwsh, test)


def test_a_login_that_is_refused_again_and_again_is_not_tried_for_ever(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        subject.failures = [AuthenticationFailed("It refuses the login.") for _ in range(9)]
        await subject.cut()
        await assert_ends(subject, TransportClosed, "It refuses the login.")
        assert 6 == len(subject.failures)

    check(pwsh, test)


def test_a_relay_that_was_killed_is_told_of(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        subject.relay.process.kill()
        await subject.relay.process.wait()
        with contextlib.suppress(TransportClosed):
            await subject.stream.send(b"x")
        with pytest.raises(TransportClosed, match="could not be resumed"):
            await subject.receive(1)

    check(pwsh, test)


def test_another_client_is_refused_and_the_first_goes_on(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        link = await open_unix(subject.relay.path)
        other = DurableStream(subject.relay.client("other"), subject.open_link, "web01", Patience(0))
        with pytest.raises(PoolGone, match=r"^Another client has it\.$"):
            await other.begin(link)
        await subject.stream.send(b"mine")
        assert b"mine" == await subject.receive(4)
        assert [] == subject.news

    check(pwsh, test)


def test_nobody_is_let_in_without_the_token(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        hello = subject.relay.client("client", "A" * 44).hello()
        for said in (
            hello,
            encode_frame("H", 0, b"{"),
            encode_frame("H", 0, b"x" * 5_000),
            encode_frame("Q"),
            b"GET / HTTP/1.1",
        ):
            link = await open_unix(subject.relay.path)
            await link.send(said)
            with contextlib.suppress(TransportClosed):
                assert b"" == await link.receive()
            await link.aclose()
        await subject.stream.send(b"mine")
        assert b"mine" == await subject.receive(4)
        assert [] == subject.news

    check(pwsh, test)


def test_another_version_is_told_so(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        hello = subject.relay.client().hello().replace(b'"version": 1', b'"version": 7')
        link = await open_unix(subject.relay.path)
        await link.send(hello)
        assert [Frame("X", 0, b"version")] == FrameDecoder().feed(await link.receive())
        await link.aclose()

    check(pwsh, test)


def test_a_client_that_breaks_the_protocol_is_dropped_and_may_come_back(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        for frame in (encode_frame("D", 99, b"x"), encode_frame("A", 99), encode_frame("Z"), b"D" + b"\xff" * 12):
            await subject.links[-1].send(frame)
            await subject.stream.send(b"mine")
            assert b"mine" == await subject.receive(4)
        assert 5 == len(subject.links)

    check(pwsh, test)


def test_a_relay_that_lies_ends_the_session(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            words = b'{"version":1,"session":"this","first":0,"passed":0,"sent":0,"received":99}'
            writer.write(encode_frame("H", 0, words))
            await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(lie, f"{subject.relay.folder}/liar")
        subject.relay.said["path"] = f"{subject.relay.folder}/liar"
        async with server:
            await subject.cut()
            await assert_ends(subject, RemoteProtocolError, "does not have what it should have kept")

    check(pwsh, test)


def test_closing_leaves_nothing(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        assert subject.relay.folder.exists()
        await subject.stream.aclose()
        await subject.relay.gone()
        assert not subject.relay.folder.exists()

    check(pwsh, test)


def test_closing_does_not_wait_for_a_network(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        hanging = asyncio.Event()

        async def hang() -> ByteStream:
            hanging.set()
            await asyncio.Event().wait()
            raise AssertionError

        subject.stream._open_link = hang
        await subject.cut()
        await hanging.wait()
        receiving = asyncio.create_task(subject.receive(1))
        await subject.stream.aclose()
        with pytest.raises(TransportClosed):
            await receiving

    check(pwsh, test)


def test_a_relay_ends_by_itself_when_nobody_comes_back(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        subject.failures = [PoolGone("Nobody goes back.")]
        await subject.cut()
        await subject.relay.gone()
        assert not subject.relay.folder.exists()

    check(pwsh, test, idle=0.5)


def test_how_long_it_waits_is_what_the_last_client_says(pwsh: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), Relay(pwsh, "cat", idle=60) as relay:
            relay.idle = 1
            stream = DurableStream(relay.client(), lambda: open_unix(relay.path), "web01", Patience(0))
            await stream.begin(await open_unix(relay.path))
            stream.stays = True
            await stream.aclose()
            await asyncio.wait_for(relay.process.wait(), 15)

    asyncio.run(main())


def test_a_relay_that_lets_in_and_hangs_up_does_not_keep_us_busy(pwsh: str) -> None:
    async def test(subject: Subject) -> None:
        let_in = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal let_in
            let_in += 1
            await reader.read(4096)
            writer.write(
                encode_frame("H", 0, b'{"version":1,"session":"this","first":0,"passed":0,"sent":0,"received":0}')
            )
            writer.close()

        subject.relay.said["path"] = f"{subject.relay.folder}/liar"
        async with await asyncio.start_unix_server(hang_up, subject.relay.path):
            await subject.cut()
            with pytest.raises(TransportClosed, match="was lost again each time"):
                await subject.receive(1)
        # At once, then after 0.25, 0.5, 1, 2, 4 and from then on 5 of 100 seconds.
        assert 25 == let_in

    check(pwsh, test)
