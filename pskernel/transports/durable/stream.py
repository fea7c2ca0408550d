"""A byte stream that outlives its connection: to an engine that a relay keeps, over one link after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from pskernel.errors import PSKernelError, RemoteProtocolError, TransportClosed
from pskernel.protocol.durable import MAX_BODY, Frame, FrameDecoder, Left, Resumable, encode_frame
from pskernel.transports.base import ByteStream, FileAccess, Interlude, KnowsPeer, Peer
from pskernel.transports.durable.files import ResumedFiles, open_files_of
from pskernel.transports.durable.link import drop, greet
from pskernel.transports.durable.way import Patience, Trouble, way_ended
from pskernel.transports.streams import CLOSED_HERE, plain_text

__all__ = ["DurableStream", "Patience"]

# Bytes that wait for a reader before the link is not read any more; bytes that the relay has not acknowledged before a
# writer has to wait.
_HIGH_WATER = 262_144
_MOST_KEPT = 1_048_576
_NOTICE_SECONDS = 0.2
# The relay gives the engine 2 s to leave.
_LEAVE_SECONDS = 4.0
_LAST_WORD_SECONDS = 0.5
# What was received is shown by then, unless somebody is asked something.
_TAKE_SECONDS = 1.0
# What nobody has read of outages: the last few.
_MOST_NEWS = 10


class DurableStream:
    """A :class:`pskernel.transports.base.ByteStream`; of what goes over it, nothing is lost or doubled with a link.

    Args:
        state: how far the session is.
        open_link: reaches the relay. PoolGone: there is none any more.
        label: how messages name the host.
        patience: for how long a lost connection is tried again.
    """

    def __init__(
        self, state: Resumable, open_link: Callable[[], Awaitable[ByteStream]], label: str, patience: Patience
    ) -> None:
        self._state = state
        self._open_link = open_link
        self._label = label
        self._patience = patience
        self._link: ByteStream | None = None
        self._peer = Peer()
        self._tasks: list[asyncio.Task[None]] = []
        self._returning: asyncio.Task[None] | None = None
        self._trouble = Trouble(patience, label)
        self._outbox: deque[bytes] = deque()
        self._inbox: deque[bytes] = deque()
        self._waiting = 0
        self._news: deque[str] = deque(maxlen=_MOST_NEWS)
        self._error: PSKernelError | None = None
        self._closed: asyncio.Event | None = None
        # What the next client is to know; and whether this one leaves it to that.
        self._note = b""
        self._leaving = self._is_left = False
        # Whether the session is not ended when this is closed.
        self.stays = False
        self._less_untaken = asyncio.Event()
        # What receivers wait for, the task that writes, the one that reads, senders; and whether there is a link.
        self._arrived, self._to_send, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._kept_less, self._linked, self._lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def begin(self, link: ByteStream) -> None:
        """Greet the relay over its first link. Raises as opening a session does; the link is closed then."""
        self._connect(link, *await greet(link, self._state))

    # ---- who else comes to the session ----

    @property
    def left(self) -> Left | None:
        """What another client has left, if one was there before."""
        return self._state.left

    @property
    def is_replaying(self) -> bool:
        """Whether what was received last may have been that one's already."""
        return self._state.is_replaying

    def note(self, words: bytes) -> None:
        """Have the relay keep something for whoever comes next."""
        self._note = encode_frame("N", 0, words)
        self._post(self._note)

    def taken(self, *, at_once: bool = False) -> None:
        """What was received need not be kept for another client any more. See :meth:`Resumable.taken`."""
        acknowledgement = self._state.taken(at_once=at_once)
        self._less_untaken.set()
        if acknowledgement:
            self._post(acknowledgement)

    async def leave(self, seconds: float) -> None:
        """Leave the session to whoever comes within so many seconds; to go on with it, :meth:`come_back`.

        Raises:
            TransportClosed: the relay cannot be told now.
        """
        self._check()
        link, reader = self._link, self._tasks[0]
        if link is None:
            raise TransportClosed("The connection is away just now. The session can be left when it is there again.")
        self._leaving, self._is_left = True, False
        self._room.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TAKE_SECONDS):
                # Whoever shows it now need not see it again.
                while self._inbox or not self._state.is_all_taken:
                    self._less_untaken.clear()
                    await self._less_untaken.wait()
        self._post(self._state.leave(seconds))
        # The relay confirms it, and ends the link.
        await asyncio.wait({reader}, timeout=_LEAVE_SECONDS)
        if not self._is_left:
            self._leaving = False
            self._lose(link)
            raise TransportClosed("The relay did not confirm that the session is left.")
        self._link = None
        self._linked.clear()
        self._tasks[1].cancel()
        await drop(link)

    async def come_back(self) -> None:
        """Go on with a session that was left.

        Raises:
            PoolGone: it is not there any more, or another client has had it.
            ConnectError, TransportClosed: it cannot be reached.
        """
        link = await self._open_link()
        connection = await greet(link, self._state)
        self._leaving = False
        self._connect(link, *connection)

    # ---- the contract of a byte stream ----

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the engine said."""
        while True:
            if self._closed is not None:
                raise TransportClosed(CLOSED_HERE)
            if self._inbox:
                return self._deliver(max_bytes)
            if self._news:
                raise Interlude(self._news.popleft())
            if self._error is not None:
                raise self._error
            if self._state.status is not None:
                return b""
            self._arrived.clear()
            await self._arrived.wait()

    async def send(self, data: bytes) -> None:
        """Send to the engine; while the connection is away, what fits is kept for it."""
        view = memoryview(data)
        for start in range(0, len(view), MAX_BODY):
            self._check()
            self._post(self._state.send(bytes(view[start : start + MAX_BODY])))
            while self._state.kept_bytes > _MOST_KEPT:
                self._kept_less.clear()
                await self._kept_less.wait()
                self._check()

    async def aclose(self) -> None:
        """End the session, at the relay too if that can be reached; otherwise, or if it stays, in its idle time."""
        if self._closed is not None:
            await self._closed.wait()
            return
        self._closed = asyncio.Event()
        self._wake()
        try:
            await self._close()
        finally:
            self._closed.set()

    def diagnostics(self) -> str:
        """The tail of its standard error, and how the engine ended."""
        status = self._state.status
        words = plain_text(self._state.last_words.decode("utf-8", "replace")).strip()
        return f"{words}\n{f'The remote program exited with status {status}.' if status else ''}".strip()

    @property
    def is_away(self) -> bool:
        """Whether the connection is lost, and tried again."""
        return not self._linked.is_set()

    async def back(self) -> None:
        """Wait until it is there again, or given up."""
        await self._linked.wait()

    @property
    def peer(self) -> Peer:
        """The server in between, if there is one."""
        return self._peer

    async def open_files(self) -> FileAccess | None:
        """Files of the server in between, if there is one; as the session, they outlive their connection."""
        link = self._link
        files = await open_files_of(link)
        return None if files is None else ResumedFiles(files, link, self._link_after)

    async def _link_after(self, link: ByteStream | None) -> ByteStream | None:
        """The link behind one that was lost, once it is there; None if that one was not lost, or none follows."""
        if self._link is link:
            # Whoever used the connection for something else may have noticed first.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_NOTICE_SECONDS):
                    await self._lost.wait()
        await self._linked.wait()
        return None if self._link is link else self._link

    # ---- one link ----

    def _connect(self, link: ByteStream, decoder: FrameDecoder, early: list[Frame], again: list[bytes]) -> None:
        self._link = link
        self._peer = link.peer if isinstance(link, KnowsPeer) else Peer()
        self._outbox = deque([self._note, *again] if self._note else again)
        self._to_send.set()
        self._room.set()
        # The relay may have said in its hello what it has taken.
        self._kept_less.set()
        self._trouble.linked()
        self._linked.set()
        self._lost.clear()
        self._tasks = [
            asyncio.create_task(self._read(link, decoder, early), name="pskernel-link-reader"),
            asyncio.create_task(self._write(link), name="pskernel-link-writer"),
        ]

    async def _read(self, link: ByteStream, decoder: FrameDecoder, frames: list[Frame]) -> None:
        try:
            while True:
                for frame in frames:
                    self._take(frame)
                if self._waiting > _HIGH_WATER and self._closed is None and not self._leaving:
                    self._room.clear()
                    await self._room.wait()
                data = await link.receive()
                if not data:
                    break
                frames = decoder.feed(data)
        except TransportClosed:
            pass
        except RemoteProtocolError as error:
            self._fail(error)
            return
        self._lose(link)

    async def _write(self, link: ByteStream) -> None:
        try:
            while True:
                self._to_send.clear()
                while self._outbox:
                    await link.send(self._outbox.popleft())
                await self._to_send.wait()
        except TransportClosed:
            self._lose(link)

    def _take(self, frame: Frame) -> None:
        if self._closed is not None or self._leaving:
            # It was not received then, and comes again.
            self._is_left = self._is_left or frame.kind == "L"
            return
        data = self._state.take(frame)
        if data:
            self._inbox.append(data)
            self._waiting += len(data)
        elif frame.kind == "A":
            self._kept_less.set()
        self._arrived.set()

    def _deliver(self, max_bytes: int) -> bytes:
        data = self._inbox.popleft()
        if len(data) > max_bytes:
            self._inbox.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._waiting -= len(data)
        if self._waiting <= _HIGH_WATER // 2:
            self._room.set()
        acknowledgement = self._state.delivered(data)
        if acknowledgement:
            self._post(acknowledgement)
        return data

    def _post(self, frame: bytes) -> None:
        if self._link is not None:
            self._outbox.append(frame)
            self._to_send.set()

    def _check(self) -> None:
        if self._closed is not None:
            raise TransportClosed(CLOSED_HERE)
        if self._error is not None:
            raise TransportClosed(str(self._error))
        if self._state.status is not None:
            raise TransportClosed("The remote program has ended.")

    # ---- between two links ----

    def _lose(self, link: ByteStream) -> None:
        if self._link is not link or self._closed is not None or self._state.status is not None or self._leaving:
            return
        self._link = None
        self._linked.clear()
        self._lost.set()
        self._outbox.clear()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._returning = asyncio.create_task(self._come_back(link), name="pskernel-link-return")

    async def _come_back(self, lost: ByteStream) -> None:
        self._trouble = self._trouble.lost()
        began = self._patience.now()
        self._tell(
            f"The network connection to {self._label} has been interrupted. Attempting to reconnect for up to "
            f"{self._patience.seconds:g} seconds..."
        )
        try:
            await drop(lost)
            while not await self._reached():
                pass
        except PSKernelError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whoever waits for the session must hear that it is over
            self._fail(way_ended(self._label, f"The way back failed ({type(error).__name__}).", error))
        else:
            seconds = self._patience.now() - began
            self._tell(
                f"The network connection to {self._label} has been restored after {seconds:.0f} s. Nothing was lost."
            )

    async def _reached(self) -> bool:
        """Try once, when the pause before that is over. Raises when there is no use in trying again."""
        seconds = await self._trouble.attempt()
        try:
            async with asyncio.timeout(seconds):
                link = await self._open_link()
                connection = await greet(link, self._state)
        except (PSKernelError, TimeoutError) as error:
            self._trouble.failed(error)
            return False
        self._connect(link, *connection)
        return True

    def _tell(self, news: str) -> None:
        self._news.append(news)
        self._arrived.set()

    def _fail(self, error: PSKernelError) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        for event in (self._arrived, self._room, self._kept_less, self._linked):
            event.set()

    # ---- the end ----

    async def _close(self) -> None:
        link, self._link = self._link, None
        tasks = [*self._tasks, *([self._returning] if self._returning is not None else [])]
        try:
            # Where nothing runs any more, there is nothing to keep.
            if link is not None and not (self.stays and self._state.status is None):
                self._outbox.append(encode_frame("Q"))
                self._to_send.set()
                # The relay ends the link when it has ended the rest.
                await _wait_for(tasks[0], _LEAVE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if link is not None:
                await link.aclose()


async def _wait_for(task: asyncio.Task[None], seconds: float) -> None:
    """Wait for a task's end; when cancelled, for long enough that a word gets out."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_LAST_WORD_SECONDS)
        raise
