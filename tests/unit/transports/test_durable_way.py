"""The way back to a durable session, over links that do what a test tells them, by a clock of the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from pskernel.credentials import Secret
from pskernel.errors import AuthenticationFailed, PSKernelError, TransportClosed
from pskernel.protocol.durable import Resumable, encode_frame
from pskernel.transports.base import ByteStream, Interlude
from pskernel.transports.durable import link, way
from pskernel.transports.durable.stream import DurableStream, Patience


class Clock:
    """Seconds that pass only where somebody sleeps, or a test says so."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


def hello(received: int = 0) -> bytes:
    words = {"version": 1, "session": "s", "first": 0, "passed": 0, "sent": 0, "received": received}
    return encode_frame("H", 0, json.dumps(words).encode())


class Link:
    """One link: what the relay says, and then either silence until it is cut, or its end."""

    def __init__(self, *said: bytes, hangs_up: bool = False, said_last: str = "") -> None:
        self._said = list(said)
        self._ended = asyncio.Event()
        self._said_last = said_last
        if hangs_up:
            self._ended.set()

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        if self._said:
            return self._said.pop(0)[:max_bytes]
        await self._ended.wait()
        return b""

    async def send(self, data: bytes) -> None:
        """It is lost on the way."""

    async def aclose(self) -> None:
        self.cut()

    def cut(self) -> None:
        self._ended.set()

    def diagnostics(self) -> str:
        return self._said_last


class Stuck(Link):
    """It cannot even be closed."""

    async def aclose(self) -> None:
        await asyncio.Event().wait()


class Subject:
    def __init__(self, patience: float) -> None:
        self.clock = Clock()
        self.opened = 0
        # What the next attempts come to: a link, an error, or what to wait for.
        self.next: Callable[[], Awaitable[ByteStream] | ByteStream | PSKernelError] = lambda: Link(hello())
        way = Patience(patience, self.clock.now, self.clock.sleep)
        self.stream = DurableStream(Resumable("s", Secret("hush"), "me", idle=60), self.open_link, "web01", way)
        self.link: Link = Link(hello())

    async def open_link(self) -> ByteStream:
        self.opened += 1
        there = self.next()
        if isinstance(there, PSKernelError):
            raise there
        if isinstance(there, Link):
            self.link = there
            return there
        return await there  # type: ignore[misc, no-any-return]

    async def cut(self) -> None:
        self.link.cut()
        await self.stream._lost.wait()

    async def ends(self) -> str:
        with pytest.raises(TransportClosed) as caught:
            while True:
                try:
                    await self.stream.receive()
                except Interlude:
                    continue
        return str(caught.value)


def check(test: Callable[[Subject], Awaitable[None]], patience: float = 100) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            subject = Subject(patience)
            await subject.stream.begin(subject.link)
            try:
                await test(subject)
            finally:
                subject.link.cut()
                await subject.stream.aclose()

    asyncio.run(main())


def test_an_outage_hours_after_another_has_all_the_patience() -> None:
    async def test(subject: Subject) -> None:
        failures: list[PSKernelError] = [AuthenticationFailed("No."), AuthenticationFailed("No.")]
        subject.next = lambda: failures.pop() if failures else Link(hello())
        for _ in range(2):
            await subject.cut()
            await subject.stream.back()
            subject.clock.time += 7_200
            failures += [AuthenticationFailed("No."), AuthenticationFailed("No.")]
        assert not subject.stream.is_away
        # With nothing to read, nothing was said but the news.
        assert 6 == subject.opened

    check(test)


def test_time_with_a_link_is_no_time_without_one() -> None:
    async def test(subject: Subject) -> None:
        for _ in range(10):
            await subject.cut()
            await subject.stream.back()
            subject.clock.time += 20
        assert not subject.stream.is_away

    check(test, patience=15)


def test_a_relay_that_acknowledges_and_hangs_up_is_not_come_back_to_without_a_pause() -> None:
    async def test(subject: Subject) -> None:
        subject.next = lambda: Link(hello(), encode_frame("A", 0), hangs_up=True)
        await subject.cut()
        while subject.stream._error is None:
            await asyncio.sleep(0)
            assert subject.opened <= 25
        assert 25 == subject.opened
        assert len(subject.stream._news) <= 10
        assert "was lost again each time" in await subject.ends()

    check(test)


def test_a_link_that_ends_before_the_hello_is_tried_again() -> None:
    async def test(subject: Subject) -> None:
        links = [Link(hangs_up=True), Link(hangs_up=True), Link(hello())]
        subject.next = lambda: links.pop(0)
        await subject.cut()
        await subject.stream.back()
        subject.stream._check()
        assert 3 == subject.opened

    check(test)


def test_links_that_all_end_before_the_hello_say_why() -> None:
    async def test(subject: Subject) -> None:
        subject.next = lambda: Link(hangs_up=True, said_last="No such file: /tmp/s")
        await subject.cut()
        assert "ended before that answered. No such file: /tmp/s" in await subject.ends()
        assert 8 == subject.opened

    check(test, patience=7_200)


def test_a_sender_goes_on_when_the_acknowledgements_were_lost_with_the_link() -> None:
    async def test(subject: Subject) -> None:
        size = 1_048_576 + 65_536
        subject.next = lambda: Link(hello(received=size))
        sending = asyncio.create_task(subject.stream.send(bytes(size)))
        while subject.stream._state.kept_bytes <= 1_048_576:
            await asyncio.sleep(0)
        await subject.cut()
        async with asyncio.timeout(5):
            await sending

    check(test)


def test_patience_bounds_an_attempt_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "_LEAST_SECONDS", 0.01)

    async def hang() -> ByteStream:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def test(subject: Subject) -> None:
        subject.next = hang
        await subject.cut()
        async with asyncio.timeout(5):
            assert "did not answer in time" in await subject.ends()

    check(test, patience=0.125)


def test_a_lost_link_that_cannot_be_closed_is_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_CLOSE_SECONDS", 0.01)

    async def test(subject: Subject) -> None:
        subject.next = lambda: Stuck(hello())
        await subject.cut()
        await subject.stream.back()
        subject.next = lambda: Link(hello())
        await subject.cut()
        async with asyncio.timeout(5):
            await subject.stream.back()
        subject.stream._check()

    check(test)
