"""The contract of :class:`pskernel.transports.base.Transport`, as functions that check any implementation.

Each takes an opener: ``open_with()`` is an async context manager that gives a :class:`Subject`, whose far side is a
real engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self
from uuid import UUID, uuid4

import pytest

from pskernel.errors import TransportClosed
from pskernel.protocol.pipelines import PipelineShape
from pskernel.protocol.runspace import Outgoing, PoolOpened, PoolSettings, RunspaceProtocol
from pskernel.records import HostCall, Output, PipelineEnd, PipelineState
from pskernel.transports.base import Gone, Payload, Transport

MEGABYTE = 1_048_576
# A far side that is alive answers within this; one that is not is noticed within it.
SECONDS = 60.0


@dataclass
class Subject:
    """A transport that nobody has used yet, and how to break its connection."""

    transport: Transport
    cut: Callable[[], Awaitable[None]]


Opener = Callable[[], AbstractAsyncContextManager[Subject]]


class Client:
    """The part of a session: what it says, and a record of what it hears, by pipeline."""

    def __init__(self, transport: Transport, max_payload: int = 0) -> None:
        self.transport = transport
        self.heard: dict[UUID | None, list[object]] = {}
        self.ended: Exception | None = None
        self._protocol = RunspaceProtocol(PoolSettings(), max_payload or transport.max_payload)
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        for message in self._protocol.open():
            for fragment in message.fragments:
                await self.transport.open(fragment)
        await self.until(lambda: PoolOpened() in self.heard.get(None, []))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.aclose()
        await asyncio.wait_for(self._reading, SECONDS)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def start(self, script: str) -> UUID:
        pipeline_id, create = self._protocol.start(PipelineShape.QUERY, script)
        await self.transport.command(pipeline_id, create.fragments[0])
        for fragment in create.fragments[1:]:
            await self.transport.send(pipeline_id, fragment)
        return pipeline_id

    async def end_of(self, pipeline_id: UUID) -> PipelineEnd:
        await self.until(lambda: any(isinstance(each, PipelineEnd) for each in self.heard.get(pipeline_id, [])))
        return next(each for each in self.heard[pipeline_id] if isinstance(each, PipelineEnd))

    def values(self, pipeline_id: UUID) -> list[object]:
        return [each.value for each in self.heard.get(pipeline_id, []) if isinstance(each, Output)]

    async def run(self, script: str) -> list[object]:
        pipeline_id = await self.start(script)
        end = await self.end_of(pipeline_id)
        assert end.state is PipelineState.COMPLETED
        async with asyncio.timeout(SECONDS):
            await self.transport.close_pipeline(pipeline_id)
        return self.values(pipeline_id)

    async def answer(self, pipeline_id: UUID, value: object) -> None:
        await self.until(lambda: any(isinstance(each, HostCall) for each in self.heard.get(pipeline_id, [])))
        call = next(each for each in self.heard[pipeline_id] if isinstance(each, HostCall))
        assert call.call_id is not None
        await self._say(self._protocol.answer(call.call_id, value))

    async def _say(self, messages: list[Outgoing]) -> None:
        for message in messages:
            for fragment in message.fragments:
                await self.transport.send(message.pipeline_id, fragment, prompt_response=message.prompt_response)

    async def _read(self) -> None:
        while self.ended is None:
            try:
                items = await self.transport.receive()
                assert items
            except Exception as error:  # noqa: BLE001 - which one it is, is for the check to say
                self.ended = error
                items = []
            async with self._changed:
                for item in items:
                    self._take(item)
                self._changed.notify_all()

    def _take(self, item: object) -> None:
        if isinstance(item, Payload):
            for pipeline_id, record in self._protocol.receive(item.data):
                self.heard.setdefault(pipeline_id, []).append(record)
        elif isinstance(item, Gone):
            self.heard.setdefault(item.pipeline_id, []).append(item)


async def check_commands(open_with: Opener) -> None:
    """The pool opens, and pipelines run in it one after the other."""
    async with open_with() as subject, Client(subject.transport) as client:
        for number in range(3):
            assert await client.run(f"{number}; 'a'") == [number, "a"]


async def check_a_command_in_fragments(open_with: Opener) -> None:
    """A command, and an answer, of many payloads arrive whole and in order."""
    async with open_with() as subject, Client(subject.transport, 2_000) as client:
        words = " ".join(str(number) for number in range(20_000))
        assert await client.run(f"$text = '{words}'; $text.Length; $text") == [len(words), words]


async def check_the_largest_payload(open_with: Opener) -> None:
    """What ``max_payload`` says can be sent."""
    async with open_with() as subject, Client(subject.transport) as client:
        assert await client.run(f"'{'x' * (3 * client.transport.max_payload)}'.Length") == [
            3 * client.transport.max_payload
        ]


async def check_much_output(open_with: Opener) -> None:
    """Nothing of a large answer is lost or doubled."""
    async with open_with() as subject, Client(subject.transport) as client:
        (text,) = await client.run("-join (1..400000)")
        assert text == "".join(map(str, range(1, 400_001)))
        assert await client.run("1..3000") == list(range(1, 3001))


async def check_answers_to_the_host(open_with: Opener) -> None:
    """Host responses reach a pipeline that waits for them."""
    async with open_with() as subject, Client(subject.transport) as client:
        pipeline_id = await client.start("'heard ' + $Host.UI.ReadLine()")
        await client.answer(pipeline_id, "it")
        assert (await client.end_of(pipeline_id)).state is PipelineState.COMPLETED
        assert client.values(pipeline_id) == ["heard it"]


async def check_signal(open_with: Opener) -> None:
    """A stop reaches a pipeline that runs; one for a pipeline that has ended, or never was, harms nobody."""
    async with open_with() as subject, Client(subject.transport) as client:
        pipeline_id = await client.start("'begun'; Start-Sleep 600")
        await client.until(lambda: client.values(pipeline_id) == ["begun"])
        async with asyncio.timeout(SECONDS):
            await client.transport.signal(pipeline_id)
        assert (await client.end_of(pipeline_id)).state is PipelineState.STOPPED
        async with asyncio.timeout(SECONDS):
            await client.transport.close_pipeline(pipeline_id)
            await client.transport.signal(pipeline_id)
        assert await client.run("1") == [1]


async def check_close_pipeline(open_with: Opener) -> None:
    """When it returns, another pipeline may start at once; again, or for one that never was, it returns too."""
    async with open_with() as subject, Client(subject.transport) as client:
        for number in range(5):
            assert await client.run(str(number)) == [number]
        assert client.ended is None


async def check_close_pool(open_with: Opener) -> None:
    """It returns when the server has ended the pool, of which nothing more comes than how it ended."""
    async with open_with() as subject, Client(subject.transport) as client:
        assert await client.run("1") == [1]
        async with asyncio.timeout(SECONDS):
            await client.transport.close_pool()
            # Some servers end the connection then, others leave that to us.
            await client.transport.aclose()
        await client.until(lambda: client.ended is not None)
        assert isinstance(client.ended, TransportClosed)


async def check_calls_from_many_tasks(open_with: Opener) -> None:
    """Sends of several tasks do not disturb each other."""
    async with open_with() as subject, Client(subject.transport, 2_000) as client:
        pipeline_id = await client.start("'begun'; Start-Sleep 600")
        await client.until(lambda: client.values(pipeline_id) == ["begun"])
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(client.transport.signal(pipeline_id) for _ in range(3)))
        assert (await client.end_of(pipeline_id)).state is PipelineState.STOPPED
        async with asyncio.timeout(SECONDS):
            await client.transport.close_pipeline(pipeline_id)
        assert await client.run(f"'{'x' * 20_000}'.Length") == [20_000]


async def check_close(open_with: Opener) -> None:
    """aclose() ends whoever waits, may be called often and at once, and makes every other call fail."""
    async with open_with() as subject:
        client = Client(subject.transport)
        async with client:
            pipeline_id = await client.start("'begun'; Start-Sleep 600")
            await client.until(lambda: client.values(pipeline_id) == ["begun"])
            closing = asyncio.create_task(client.transport.close_pipeline(pipeline_id))
            await asyncio.sleep(0)
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(client.transport.aclose() for _ in range(3)))
                with contextlib.suppress(TransportClosed):
                    await closing
            await client.until(lambda: client.ended is not None)
            assert isinstance(client.ended, TransportClosed)
        await _check_gone(subject.transport, pipeline_id)


async def check_cut(open_with: Opener) -> None:
    """When the connection breaks for good, receive() ends with an error, and so does every later call."""
    async with open_with() as subject, Client(subject.transport) as client:
        pipeline_id = await client.start("'begun'; Start-Sleep 600")
        await client.until(lambda: client.values(pipeline_id) == ["begun"])
        await subject.cut()
        await client.until(lambda: client.ended is not None)
        assert isinstance(client.ended, TransportClosed)
        assert str(client.ended).endswith((".", "!"))
        await _check_gone(subject.transport, pipeline_id)


async def _check_gone(transport: Transport, pipeline_id: UUID) -> None:
    async with asyncio.timeout(SECONDS):
        for _ in range(2):
            with pytest.raises(TransportClosed):
                await transport.receive()
            with pytest.raises(TransportClosed):
                await transport.command(uuid4(), b"x")
            with pytest.raises(TransportClosed):
                await transport.send(pipeline_id, b"x")
        await transport.aclose()
