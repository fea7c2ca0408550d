"""One pipeline's queue: order, limits, the end, and a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.errors import TransportClosed
from pskernel.protocol.clixml import PSObject
from pskernel.records import ErrorRecord, HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, Record
from pskernel.session.pipeline import Pipeline, weigh

MEGABYTE = 1024 * 1024
END = PipelineEnd(PipelineState.COMPLETED)
CALL = HostCall("ReadLine", 11, (), 1)


class Owner:
    """Takes down what a pipeline asks for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.may_signal = asyncio.Event()
        self.may_signal.set()

    async def signal(self, pipeline: Pipeline) -> None:
        self.asked.append("signal")
        await self.may_signal.wait()

    async def answer(self, call: HostCall, value: Any) -> None:
        self.asked.append((call, value))

    def was_read(self) -> None:
        """Nobody asks."""

    async def refuse(self, call: HostCall, message: str) -> None:
        self.asked.append((call, message))


def check(test: Callable[[Pipeline, Owner], Awaitable[None]]) -> None:
    async def main() -> None:
        owner = Owner()
        await test(Pipeline(owner, uuid4()), owner)

    asyncio.run(main())


async def everything(pipeline: Pipeline) -> list[Record]:
    return [record async for record in pipeline]


@settings(max_examples=50)
@given(st.lists(st.lists(st.text(max_size=5), max_size=5), max_size=6))
def test_records_come_in_order_however_they_arrive(groups: list[list[str]]) -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        following = asyncio.create_task(everything(pipeline))
        for group in groups:
            for text in group:
                pipeline.deliver(HostText(text))
            await asyncio.sleep(0)
        pipeline.deliver(END)
        assert [*(HostText(text) for group in groups for text in group), END] == await following
        assert pipeline.ended
        assert END is pipeline.end

    check(test)


def test_a_batch_is_what_has_arrived() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        for text in "ab":
            pipeline.deliver(HostText(text))
        batches = pipeline.batches()
        assert [HostText("a"), HostText("b")] == await anext(batches)
        pipeline.deliver(END)
        assert [[END]] == [batch async for batch in batches]

    check(test)


def test_the_end_can_be_waited_for_without_reading() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        waiting = asyncio.create_task(pipeline.wait_ended())
        pipeline.deliver(HostText("x"))
        await asyncio.sleep(0)
        assert not waiting.done()
        pipeline.deliver(END)
        await waiting
        assert [HostText("x"), END] == await everything(pipeline)

    check(test)


def test_a_loss_is_told_after_what_had_arrived() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        pipeline.deliver(HostText("x"))
        pipeline.fail(TransportClosed("cut"))
        pipeline.fail(TransportClosed("later"))
        found = []
        with pytest.raises(TransportClosed, match="cut"):
            async for record in pipeline:
                found.append(record)
        assert [HostText("x")] == found
        assert pipeline.ended
        assert pipeline.end is None

    check(test)


def test_a_loss_wakes_who_waits() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        waiting = [
            asyncio.create_task(work)
            for work in (everything(pipeline), pipeline.wait_ended(), asyncio.wait_for(pipeline.wait_drained(), 5))
        ]
        pipeline.deliver(HostText("x" * 5 * MEGABYTE))
        pipeline.fail(TransportClosed("cut"))
        error, *rest = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(error, TransportClosed)
        assert [None, None] == rest

    check(test)


def test_after_the_end_a_loss_is_nothing() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        pipeline.deliver(END)
        pipeline.fail(TransportClosed("cut"))
        assert [END] == await everything(pipeline)

    check(test)


def test_a_slow_reader_makes_the_source_wait() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        for _ in range(4):
            pipeline.deliver(HostText("x" * MEGABYTE))
            assert pipeline._drained.is_set() == (pipeline._queued_bytes <= 4 * MEGABYTE)
        waiting = asyncio.create_task(pipeline.wait_drained())
        await asyncio.sleep(0)
        assert not waiting.done()
        batches = pipeline.batches()
        assert 4 == len(await anext(batches))
        await waiting

    check(test)


@pytest.mark.parametrize(
    ("record", "received", "least"),
    [
        (HostText("x" * 1000), 0, 1000),
        (Output("x" * 1000), 0, 1000),
        (Output(b"x" * 1000), 0, 1000),
        (Output(PSObject()), 1000, 1000),
        (ErrorRecord("x"), 1000, 1000),
        (Notice("x"), 0, 1),
    ],
)
def test_what_a_record_holds_counts(record: Record, received: int, least: int) -> None:
    assert least <= weigh(record, received) <= 10 * least + 4000


def test_objects_make_the_source_wait_by_their_size() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        for _ in range(5):
            pipeline.deliver(Output(PSObject()), MEGABYTE)
        assert not pipeline._drained.is_set()

    check(test)


def test_nothing_is_dropped_while_nobody_stops() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        pipeline.deliver(HostText("x" * 70 * MEGABYTE))
        pipeline.deliver(HostText("after"))
        pipeline.deliver(END)
        assert [70 * MEGABYTE, 5] == [len(r.text) for r in await everything(pipeline) if isinstance(r, HostText)]
        assert 0 == pipeline.dropped_records

    check(test)


def test_while_stopping_too_much_is_dropped_and_counted_but_never_the_end() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        await pipeline.stop()
        for _ in range(70):
            pipeline.deliver(HostText("x" * MEGABYTE))
            # The state message must get through: the source goes on.
            await asyncio.wait_for(pipeline.wait_drained(), 5)
        pipeline.deliver(END)
        found = await everything(pipeline)
        assert END is found[-1]
        assert pipeline.dropped_records > 0
        assert 70 == len(found) - 1 + pipeline.dropped_records

    check(test)


def test_a_stop_is_asked_for_once_and_lets_the_source_go_on() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        pipeline.deliver(HostText("x" * 5 * MEGABYTE))
        waiting = asyncio.create_task(pipeline.wait_drained())
        await asyncio.gather(pipeline.stop(), pipeline.stop())
        await pipeline.stop()
        await waiting
        assert ["signal"] == owner.asked

    check(test)


@pytest.mark.parametrize("lost", [False, True])
def test_what_has_ended_is_not_stopped(lost: bool) -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        if lost:
            pipeline.fail(TransportClosed("cut"))
        else:
            pipeline.deliver(END)
        await pipeline.stop()
        assert [] == owner.asked

    check(test)


def test_a_stop_that_was_cut_short_can_be_asked_for_again() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        owner.may_signal.clear()
        pipeline.sent_at = 0.0  # long ago: nothing is left to wait for
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pipeline.stop(), 0.01)
        owner.may_signal.set()
        await pipeline.stop()
        assert ["signal", "signal"] == owner.asked

    check(test)


def test_answers_go_to_the_owner() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        await pipeline.reply(CALL, "typed")
        await pipeline.refuse(CALL, "nobody")
        assert [(CALL, "typed"), (CALL, "nobody")] == owner.asked

    check(test)


def test_a_reader_that_is_cancelled_loses_nothing_that_comes_later() -> None:
    async def test(pipeline: Pipeline, owner: Owner) -> None:
        reading = asyncio.create_task(everything(pipeline))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        pipeline.deliver(HostText("x"))
        pipeline.deliver(END)
        assert [HostText("x"), END] == await everything(pipeline)

    check(test)
