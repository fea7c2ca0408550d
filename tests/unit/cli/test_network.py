"""The way to an SSH server: against real sockets and the real ssh program."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pskernel.cli.network import Route, find_route, knock, look_up
from pskernel.errors import NotPowerShell, TargetUnreachable
from pskernel.target import Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh program")


def closed_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])


async def knock_at(serve: Serve, seconds: float = 5.0) -> tuple[str, str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await knock(Route("127.0.0.1", server.sockets[0].getsockname()[1]), seconds)


def says(data: bytes, *, after: int = 0) -> Serve:
    """A server that says something, after having read so many bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(after)
        writer.write(data)
        writer.close()
        await writer.wait_closed()

    return serve


def test_an_ssh_server_is_known_by_its_greeting() -> None:
    assert asyncio.run(knock_at(says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"))) == (
        "127.0.0.1",
        "SSH-2.0-OpenSSH_9.2p1 Debian-2",
    )


def test_lines_may_come_before_the_greeting() -> None:
    assert asyncio.run(knock_at(says(b"Authorised use only\r\n\r\nSSH-2.0-x\r\n")))[1] == "SSH-2.0-x"


def test_a_web_server_is_not_an_ssh_server() -> None:
    with pytest.raises(NotPowerShell) as caught:
        asyncio.run(knock_at(says(b"HTTP/1.1 400 Bad \x1b[2JRequest\r\n\r\n<html>", after=5)))
    assert "is not an SSH server: it says “HTTP/1.1 400 Bad Request”" in str(caught.value)


@pytest.mark.parametrize("data", [b"x" * 100_000, b"a line\n" * 10_000, b"\x00" * 100_000 + b"\nSSH-2.0-x\n"])
def test_a_peer_that_talks_without_end_is_left(data: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    with pytest.raises((NotPowerShell, TargetUnreachable)):
        asyncio.run(knock_at(serve))


def test_a_peer_that_hangs_up_at_once_is_told_from_a_closed_port() -> None:
    with pytest.raises(TargetUnreachable, match="closed the connection without a word"):
        asyncio.run(knock_at(says(b"")))
    with pytest.raises(TargetUnreachable, match="connection is refused"):
        asyncio.run(knock(Route("127.0.0.1", closed_port()), 5))


def test_a_silent_peer_is_left_after_the_time_allowed() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with pytest.raises(NotPowerShell, match=r"said nothing for 0\.2 seconds"):
        asyncio.run(knock_at(serve, seconds=0.2))


def test_names_have_addresses_and_others_are_not_found() -> None:
    assert "127.0.0.1" in asyncio.run(look_up(Route("localhost", 22), 5))
    assert asyncio.run(look_up(Route("::1", 22), 5)) == ["::1"]
    for name in ("nosuch.invalid", "a" * 300):
        with pytest.raises(TargetUnreachable, match="cannot be found"):
            asyncio.run(look_up(Route(name, 22), 5))


@needs_ssh
def test_the_ssh_configuration_says_where_a_host_really_is(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host web01\n  HostName 10.1.2.3\n  Port 2022\nHost far\n  ProxyJump bastion\n")

    def route(text: str, **options: str) -> Route:
        return asyncio.run(find_route(Target.parse(text, {"ssh_config": str(config), **options})))

    assert route("ssh://web01") == Route("10.1.2.3", 2022)
    assert route("ssh://admin@web01:24") == Route("10.1.2.3", 24)
    assert route("ssh://web02") == Route("web02", 22)
    assert route("ssh://far").jump == "bastion"
    assert route("ssh://far", proxy_jump="none").jump == ""
    assert route("ssh://web02", proxy_jump="a@b:1").jump == "a@b:1"


def test_without_an_ssh_program_the_target_stands_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(find_route(Target.parse("ssh://web01"))) == Route("web01", 22)
    assert asyncio.run(find_route(Target.parse("ssh://[::1]:23"))) == Route("::1", 23)


@pytest.mark.parametrize("script", ["exit 255", "echo garbage; echo port x; printf '\\377'", "kill -9 $$"])
def test_an_ssh_program_that_cannot_say_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert asyncio.run(find_route(Target.parse("ssh://web01:2022"))) == Route("web01", 2022)
