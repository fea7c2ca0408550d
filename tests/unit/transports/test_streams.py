from __future__ import annotations

import asyncio

import pytest

from pskernel.errors import TransportClosed
from pskernel.transports.streams import Gate, Inbox, Tail, plain_text


class Source:
    def __init__(self) -> None:
        self.running = True
        self.inbox = Inbox(pause=self.pause, resume=self.resume)

    def pause(self) -> None:
        assert self.running
        self.running = False

    def resume(self) -> None:
        assert not self.running
        self.running = True


def test_inbox_gives_what_was_fed_and_no_more_than_asked_for() -> None:
    async def main() -> None:
        inbox = Source().inbox
        inbox.feed(b"abc")
        inbox.feed(b"def")
        assert await inbox.take(4) == b"abcd"
        assert await inbox.take(4) == b"ef"
        inbox.end()
        assert await inbox.take(4) == b""

    asyncio.run(main())


def test_inbox_stops_its_source_and_lets_it_go_on() -> None:
    async def main() -> None:
        source = Source()
        source.inbox.feed(b"x" * 262_144)
        assert source.running
        source.inbox.feed(b"x")
        assert not source.running
        assert source.inbox.paused
        await source.inbox.take(100_000)
        assert not source.running
        await source.inbox.take(100_000)
        assert source.running

    asyncio.run(main())


def test_inbox_gives_the_last_words_before_the_cut() -> None:
    async def main() -> None:
        inbox = Source().inbox
        inbox.feed(b"last words")
        inbox.end("The line was cut.")
        inbox.end()
        inbox.feed(b"too late")
        assert await inbox.take(100) == b"last words"
        for _ in range(2):
            with pytest.raises(TransportClosed, match=r"The line was cut\."):
                await inbox.take(100)

    asyncio.run(main())


def test_gate_makes_a_writer_wait_until_it_opens_or_breaks() -> None:
    async def main() -> None:
        gate = Gate()
        await gate.passed()
        gate.shut()
        waiting = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.open()
        await waiting
        gate.shut()
        waiting = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        gate.break_("first reason")
        gate.break_("second reason")
        with pytest.raises(TransportClosed, match="first reason"):
            await waiting
        with pytest.raises(TransportClosed, match="first reason"):
            gate.check()

    asyncio.run(main())


def test_tail_keeps_the_end_whatever_the_pieces() -> None:
    tail = Tail()
    assert tail.text() == ""
    for number in range(10_000):
        tail.feed(f"line {number}\n".encode())
    assert tail.text().endswith("line 9999")
    assert len(tail.text()) <= 8_192
    tail.feed(b"y" * 100_000)
    assert tail.text() == "y" * 8_192
    tail.feed("é".encode()[:1])
    assert tail.text().endswith("\ufffd")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended", ""),
        ("\x1b(Bx", "Bx"),
        ("a\x00\x08\x7f\x9bb", "ab"),
        ("\x1b", ""),
    ],
)
def test_plain_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain
