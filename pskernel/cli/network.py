"""The way to an SSH server, looked at from the outside: its name, its port, and what answers there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
from dataclasses import dataclass

from pskernel.cli.console import clean
from pskernel.errors import NotPowerShell, TargetUnreachable
from pskernel.target import Target

__all__ = ["Route", "find_route", "knock", "look_up"]

_SSH_PORT = 22
_CONFIG_SECONDS = 10.0
# RFC 4253 4.2: the first line that begins with "SSH-"; other lines may come before it.
_GREETING = b"SSH-2.0-pskernel_doctor\r\n"
_MAX_LINES = 50
_MAX_LINE = 8192
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Route:
    """Where the SSH server of a target really is. ``jump`` names the host or command it is reached through, if any."""

    host: str
    port: int
    jump: str = ""


async def find_route(target: Target) -> Route:
    """Ask the ssh configuration; without an ssh program, take the target as it stands."""
    settings = await _configured(target)
    jump = settings.get("proxyjump", "") or settings.get("proxycommand", "")
    if target.options.proxy_jump is not None:
        jump = target.options.proxy_jump
    port = settings.get("port", "")
    return Route(
        host=settings.get("hostname") or target.host or "",
        port=int(port) if port.isdigit() else target.port or _SSH_PORT,
        jump="" if jump == "none" else clean(jump),
    )


async def _configured(target: Target) -> dict[str, str]:
    program = shutil.which("ssh")
    if program is None or target.host is None:
        return {}
    arguments = ["-G"]
    if target.options.ssh_config is not None:
        arguments += ["-F", target.options.ssh_config]
    if target.port is not None:
        arguments += ["-p", str(target.port)]
    if target.user is not None:
        arguments += ["-l", target.user]
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        target.host,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("PSKERNEL_")},
    )
    try:
        async with asyncio.timeout(_CONFIG_SECONDS):
            answer, _ = await process.communicate()
    except TimeoutError:
        return {}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    pairs = (line.partition(" ") for line in answer.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in pairs}


async def look_up(route: Route, seconds: float) -> list[str]:
    """Return the addresses of a host.

    Raises:
        TargetUnreachable: it has none.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise TargetUnreachable(
            f"The name service did not answer within {seconds:g} seconds when asked for {route.host}. Check this "
            "machine's network, or give the address instead of the name."
        ) from None
    except (OSError, UnicodeError):
        raise TargetUnreachable(
            f"The name {route.host} cannot be found. Check its spelling, and that this machine's name service knows it."
        ) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def knock(route: Route, seconds: float) -> tuple[str, str]:
    """Connect to the server's port and read its greeting.

    Returns:
        the address that answered, and the name of the server's software.

    Raises:
        TargetUnreachable: nobody answers there, or hangs up.
        NotPowerShell: what answers is not an SSH server.
    """
    place = f"{route.host}, port {route.port}"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(route.host, route.port, limit=_MAX_LINE)
    except TimeoutError:
        raise TargetUnreachable(
            f"Nobody answered at {place} within {seconds:g} seconds. The host may be down, or a firewall may drop the "
            "packets. The option connect_timeout=SECONDS waits longer."
        ) from None
    except OSError as error:
        raise _not_connected(place, error) from None
    try:
        async with asyncio.timeout(seconds):
            # A web server says nothing until it is spoken to.
            writer.write(_GREETING)
            return str(writer.get_extra_info("peername")[0]), await _greeting(reader, place)
    except TimeoutError:
        raise NotPowerShell(
            f"What answers at {place} took the connection and said nothing for {seconds:g} seconds. It is not an SSH "
            "server, or one that is overloaded. Check the port."
        ) from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _greeting(reader: asyncio.StreamReader, place: str) -> str:
    said = ""
    for _ in range(_MAX_LINES):
        try:
            line = await reader.readline()
        except (OSError, ValueError):  # cut, or a line without end
            break
        if not line:
            break
        text = clean(line.decode("utf-8", "replace")).strip()
        if text.startswith("SSH-"):
            return text[:_SHOWN]
        said = said or text
    if said:
        raise NotPowerShell(f"What answers at {place} is not an SSH server: it says “{said[:_SHOWN]}”. Check the port.")
    raise TargetUnreachable(
        f"What answers at {place} closed the connection without a word. It may turn this address away, have too many "
        "logins open (MaxStartups), or not be an SSH server."
    )


def _not_connected(place: str, error: OSError) -> TargetUnreachable:
    if error.errno == errno.ECONNREFUSED:
        return TargetUnreachable(
            f"No SSH server is listening at {place}: the connection is refused. Check the port, and that sshd is "
            "running there."
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return TargetUnreachable(
        f"There is no way to {place}: {reason}. Check this machine's network, its VPN, and the address."
    )
