"""Engines of a real relay that end badly, and what a relay hears beside its client."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from pskernel.connect import connect
from pskernel.target import Target
from pskernel.transports.durable.stream import DurableStream, Patience
from pskernel.transports.unix import open_unix
from tests.parts.kernels import wait_gone
from tests.parts.relays import Relay

pytestmark = pytest.mark.live


def check(pwsh: str, script: str, test: Callable[[Relay, DurableStream], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), Relay(pwsh, "/bin/sh", ("-c", script)) as relay:
            stream = DurableStream(relay.client(), lambda: open_unix(relay.path), "web01", Patience(1))
            await stream.begin(await open_unix(relay.path))
            try:
                await test(relay, stream)
            finally:
                await stream.aclose()

    asyncio.run(main())


async def line(stream: DurableStream) -> str:
    received = b""
    while not received.endswith(b"\n"):
        received += await stream.receive()
    return received.decode().strip()


def test_an_engine_is_gone_though_a_child_of_it_holds_its_output(pwsh: str) -> None:
    async def test(_: Relay, stream: DurableStream) -> None:
        child = psutil.Process(int(await line(stream)))
        try:
            async with asyncio.timeout(10):
                assert b"" == await stream.receive()
        finally:
            child.kill()
        assert "The remote program exited with status 3." == stream.diagnostics()

    check(pwsh, "sleep 600 & echo $!; exit 3", test)


def test_what_an_engine_does_not_take_is_not_acknowledged(pwsh: str) -> None:
    async def test(_: Relay, stream: DurableStream) -> None:
        assert "ready" == await line(stream)
        await stream.send(bytes(65_536))
        async with asyncio.timeout(10):
            assert b"" == await stream.receive()
        assert 65_536 == stream._state.kept_bytes

    check(pwsh, "exec 0<&-; echo ready; exec sleep 600", test)


def test_what_an_engine_takes_is_acknowledged_though_it_says_nothing(pwsh: str) -> None:
    async def test(_: Relay, stream: DurableStream) -> None:
        stream._kept_less.clear()
        await stream.send(bytes(40_000))
        async with asyncio.timeout(10):
            await stream._kept_less.wait()
        assert 0 == stream._state.kept_bytes

    check(pwsh, "cat >/dev/null; exit 0", test)


def test_an_engine_that_does_not_leave_is_ended_with_its_children(pwsh: str) -> None:
    children: list[int] = []

    async def test(relay: Relay, stream: DurableStream) -> None:
        children.append(int(await line(stream)))
        await stream.aclose()
        await relay.gone()
        try:
            await asyncio.to_thread(wait_gone, children[0])
        finally:
            if psutil.pid_exists(children[0]):
                os.kill(children[0], 9)

    check(pwsh, "sleep 600 & echo $!; wait", test)


def test_the_end_of_standard_error_comes_with_the_end(pwsh: str) -> None:
    async def test(_: Relay, stream: DurableStream) -> None:
        assert b"" == await stream.receive()
        said = stream.diagnostics()
        assert said.endswith("It is broken.\nThe remote program exited with status 3.")
        assert len(said) < 4_096

    check(pwsh, "head -c 9000 /dev/zero | tr '\\0' x >&2; echo 'It is broken.' >&2; exit 3", test)


def test_those_who_say_nothing_keep_nobody_out(pwsh: str) -> None:
    async def test(relay: Relay, stream: DurableStream) -> None:
        silent = [await asyncio.open_unix_connection(relay.path) for _ in range(6)]
        silent[-1][1].write(b"H")
        link = await open_unix(relay.path)
        async with asyncio.timeout(4):
            # The same client again: it takes the place of its link.
            await link.send(relay.client().hello())
            assert (await link.receive()).startswith(b"H")
        # Who has waited longest makes room.
        assert b"" == await silent[0][0].read()
        assert not silent[-1][0].at_eof()
        await link.aclose()
        for _, writer in silent:
            writer.close()

    check(pwsh, "exec cat", test)


def test_what_killed_relays_left_is_removed(pwsh: str) -> None:
    folders = [Path(tempfile.mkdtemp(prefix="pskernel-session-", dir="/tmp")) for _ in range(3)]
    dead, alive, new = folders
    sockets = [socket.socket(socket.AF_UNIX) for _ in folders]
    for folder, each in zip(folders, sockets, strict=True):
        each.bind(f"{folder}/s")
        if folder is not new:
            os.utime(folder, (1, 1))
    sockets[1].listen()
    sockets[0].close()

    async def main() -> None:
        async with asyncio.timeout(60), await connect(Target.parse(f"process:{pwsh}?durable=1")):
            assert [False, True, True] == [folder.exists() for folder in (dead, alive, new)]

    try:
        asyncio.run(main())
    finally:
        for folder, each in zip(folders, sockets, strict=True):
            each.close()
            shutil.rmtree(folder, ignore_errors=True)
