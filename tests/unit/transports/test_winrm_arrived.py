"""What came before the end is taken before it, and nothing after it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from pskernel.errors import TransportClosed
from pskernel.records import Notice
from pskernel.transports.base import Gone, Payload
from pskernel.transports.winrm.arrived import Arrived

PIPELINE = UUID(int=1)


def test_what_came_before_the_end_comes_before_it() -> None:
    async def main() -> None:
        arrived = Arrived()
        await arrived.put(Payload(PIPELINE, b"1"))
        arrived.tell("a sentence")
        await asyncio.sleep(0)
        arrived.fail(TransportClosed("first"))
        arrived.fail(TransportClosed("second"))
        await arrived.put(Payload(PIPELINE, b"2"))

        assert [Notice("a sentence")] == await arrived.take()
        assert [Payload(PIPELINE, b"1")] == await arrived.take()
        assert [Payload(PIPELINE, b"2")] == await arrived.take()
        with pytest.raises(TransportClosed, match="first"):
            await arrived.take()

    asyncio.run(main())


def test_after_the_end_nothing_comes_and_nobody_waits() -> None:
    async def main() -> None:
        arrived = Arrived()
        arrived.fail(TransportClosed("gone"))
        with pytest.raises(TransportClosed):
            await arrived.take()

        # A receive for a pipeline may be answered later than the one for the pool.
        async with asyncio.timeout(10):
            for _ in range(100):
                await arrived.put(Gone(PIPELINE, "ended"))
        arrived.tell("a sentence")
        await asyncio.sleep(0)

        with pytest.raises(TransportClosed, match="gone"):
            await arrived.take()

    asyncio.run(main())
