from __future__ import annotations

import asyncio

import pytest

from pskernel.errors import TransportClosed
from pskernel.transports.attach import AttachedStream
from tests.fakes.memory import memory_pair


def test_what_became_of_the_process_is_looked_at_when_the_stream_ends() -> None:
    looked: list[int] = []

    async def fate() -> str:
        looked.append(1)
        return "It has ended."

    async def main() -> None:
        near, far = memory_pair()
        stream = AttachedStream(near, fate)
        await far.send(b"a")
        assert b"a" == await stream.receive()
        assert (stream.diagnostics(), looked) == ("", [])
        await far.aclose()
        assert b"" == await stream.receive()
        assert (stream.diagnostics(), looked) == ("It has ended.", [1])

    asyncio.run(main())


def test_who_leaves_does_not_look() -> None:
    async def fate() -> str:
        raise AssertionError("nobody asked")

    async def main() -> None:
        near, _ = memory_pair()
        stream = AttachedStream(near, fate)
        await stream.aclose()
        with pytest.raises(TransportClosed):
            await stream.receive()
        assert "" == stream.diagnostics()

    asyncio.run(main())
