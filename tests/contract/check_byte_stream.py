"""The contract of :class:`pskernel.transports.base.ByteStream`, as functions that check any implementation.

Each takes an opener: ``open_with(behaviour, *arguments)`` is an async context manager that gives a :class:`Subject`,
that is a fresh stream and a hold on its far side, which behaves as peer.py describes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import psutil
import pytest

from pskernel.errors import TransportClosed
from pskernel.transports.base import ByteStream

MEGABYTE = 1_048_576


class Far(Protocol):
    """The far side."""

    async def hear(self, what: str) -> int:
        """Wait for a report of the far side."""

    async def tell(self, order: str) -> None:
        """Give an order."""

    async def cut(self) -> None:
        """Break the line, as abruptly as this kind of line can break."""


@dataclass
class Subject:
    """A stream to check, and what its kind of line can do.

    ``most_buffered`` bounds the bytes on their way between the two sides. ``cut_shows``: a cut differs from an end.
    ``stderr_arrives``: what the far side writes to standard error can be seen here.
    """

    stream: ByteStream
    far: Far
    child: int | None = None
    most_buffered: int = MEGABYTE
    cut_shows: bool = True
    stderr_arrives: bool = True


Opener = Callable[..., AbstractAsyncContextManager[Subject]]


async def read_all(stream: ByteStream) -> bytes:
    parts = []
    while data := await stream.receive():
        parts.append(data)
    return b"".join(parts)


async def read_exactly(stream: ByteStream, count: int) -> bytes:
    parts: list[bytes] = []
    while (missing := count - sum(map(len, parts))) > 0:
        data = await stream.receive(missing)
        assert data, "the stream ended early"
        parts.append(data)
    return b"".join(parts)


async def check_echo(open_with: Opener) -> None:
    """20 MB there and back, in one single send."""
    data = random.Random(1).randbytes(20_000_000)
    async with open_with("echo") as subject:
        sending = asyncio.create_task(subject.stream.send(data))
        assert await read_exactly(subject.stream, len(data)) == data
        await sending


async def check_a_cancelled_send(open_with: Opener) -> None:
    """What is cut short by a cancellation is cut at its end: what is sent next does not come in the middle of it."""
    first, second = b"A" * (16 * MEGABYTE), b"B" * 100_000
    async with open_with("echo") as subject:
        sending = asyncio.create_task(subject.stream.send(first))
        # It cannot all be on its way: nobody takes it in.
        assert b"A" == await subject.stream.receive(1)
        sending.cancel()

        async def go_on() -> None:
            await asyncio.gather(sending, return_exceptions=True)
            await subject.stream.send(second)

        going_on = asyncio.create_task(go_on())
        # Whoever does not wait for the first to be over writes now.
        await asyncio.wait({going_on}, timeout=0.2)
        received = await _read_until(subject.stream, b"B", len(second))
        await going_on
        assert second == received.lstrip(b"A")


async def _read_until(stream: ByteStream, what: bytes, count: int) -> bytes:
    received = b""
    while received.count(what) < count:
        data = await stream.receive()
        assert data, "the stream ended early"
        received += data
    return received


async def check_receive_is_bounded(open_with: Opener) -> None:
    """receive() gives at least one byte and at most as many as asked for."""
    async with open_with("echo") as subject:
        await subject.stream.send(b"0123456789")
        first = await subject.stream.receive(3)
        assert 1 <= len(first) <= 3
        assert first + await read_exactly(subject.stream, 10 - len(first)) == b"0123456789"


async def check_slow_reader_stops_peer(open_with: Opener) -> None:
    """While nobody receives, the far side's writes block; nothing is lost by it."""
    total = 16 * MEGABYTE
    async with open_with("flood", str(total)) as subject:
        stalled_at = await subject.far.hear("stalled")
        assert stalled_at <= subject.most_buffered
        assert len(await read_all(subject.stream)) == total
        assert await subject.far.hear("wrote") == total


async def check_slow_peer_stops_writer(open_with: Opener) -> None:
    """While the far side does not read, send() waits; nothing is lost by it."""
    total, sent = 16 * MEGABYTE, 0
    async with open_with("sink") as subject:

        async def write() -> None:
            nonlocal sent
            while sent < total:
                await subject.stream.send(b"x" * 65_536)
                sent += 65_536

        writing = asyncio.create_task(write())
        await asyncio.wait({writing}, timeout=1)
        assert not writing.done()
        assert sent <= subject.most_buffered
        await subject.far.tell(str(total))
        await writing
        assert await subject.far.hear("read") == total


async def check_large_single_send(open_with: Opener) -> None:
    """One send() of 32 MB arrives."""
    async with open_with("sink") as subject:
        await subject.far.tell(str(32 * MEGABYTE))
        await subject.stream.send(b"x" * (32 * MEGABYTE))
        assert await subject.far.hear("read") == 32 * MEGABYTE


async def check_end(open_with: Opener) -> None:
    """When the far side leaves in good order, its last words come first, then b"", again and again."""
    async with open_with("close") as subject:
        assert await read_all(subject.stream) == b"goodbye"
        assert await subject.stream.receive() == b""
        assert await subject.stream.receive() == b""


async def check_cut(open_with: Opener) -> None:
    """When the line is cut, a pending receive() ends with an error, and so does every later call."""
    async with open_with("cut") as subject:
        await read_exactly(subject.stream, 100_000)
        await subject.far.hear("ready")
        receiving = asyncio.create_task(subject.stream.receive())
        await subject.far.cut()
        if subject.cut_shows:
            for attempt in (receiving, subject.stream.receive()):
                with pytest.raises(TransportClosed):
                    await attempt
        else:
            assert await receiving == b""
        with pytest.raises(TransportClosed):
            # Where the cut shows only when writing, it may take a moment.
            while True:
                await subject.stream.send(b"x" * 65_536)


async def check_cancelled_receive_loses_nothing(open_with: Opener) -> None:
    """However often receive() is cancelled, every byte comes, in order."""
    chance = random.Random(2)
    data = chance.randbytes(200_000)
    received: list[bytes] = []
    async with open_with("echo") as subject:
        sending = asyncio.create_task(subject.stream.send(data))
        while sum(map(len, received)) < len(data):
            receiving = asyncio.create_task(subject.stream.receive(chance.randrange(1, 2_000)))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                received.append(await receiving)
        await sending
    assert b"".join(received) == data


async def check_close(open_with: Opener) -> None:
    """aclose() ends a pending receive(), may be called often and at once, and makes every other call fail."""
    async with open_with("echo") as subject:
        await subject.stream.send(b"unread")
        receiving = asyncio.create_task(_receive_until_closed(subject.stream))
        await asyncio.sleep(0)
        await asyncio.gather(*(subject.stream.aclose() for _ in range(3)))
        await receiving
        await subject.stream.aclose()
        with pytest.raises(TransportClosed):
            await subject.stream.receive()
        with pytest.raises(TransportClosed):
            await subject.stream.send(b"x")
        if subject.child is not None:
            assert not psutil.pid_exists(subject.child)


async def _receive_until_closed(stream: ByteStream) -> None:
    with pytest.raises(TransportClosed):
        while await stream.receive():
            pass


async def check_close_ends_a_blocked_send(open_with: Opener) -> None:
    """aclose() also ends a send() that waits for a far side that does not read."""
    async with open_with("sink") as subject:
        sending = asyncio.create_task(subject.stream.send(b"x" * (32 * MEGABYTE)))
        await asyncio.wait({sending}, timeout=0.5)
        assert not sending.done()
        await subject.stream.aclose()
        with pytest.raises(TransportClosed):
            await sending


async def check_cancelled_close_closes(open_with: Opener) -> None:
    """A far side that will not leave does not survive aclose(), even if that is cancelled."""
    async with open_with("deaf") as subject:
        assert await read_exactly(subject.stream, 4) == b"deaf"
        closing = asyncio.create_task(subject.stream.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        with pytest.raises(TransportClosed):
            await subject.stream.receive()
        if subject.child is not None:
            assert not psutil.pid_exists(subject.child)


async def check_diagnostics(open_with: Opener) -> None:
    """The end of standard error is kept, without terminal control, and no more than that; and the exit status."""
    async with open_with("complain") as subject:
        assert await read_all(subject.stream) == b""
        said = subject.stream.diagnostics()
        assert ("last words\n" in said) is subject.stderr_arrives
        assert "first words" not in said
        assert "\x1b" not in said
        assert "title" not in said
        assert "exited with status 3" in said
        assert len(said) < 9_000
