"""One SSH server for a durable session: first its subsystem and then a socket, over one login after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncssh

from pskernel.transports.base import ByteStream
from pskernel.transports.ssh.files import open_files
from pskernel.transports.ssh.login import SSHEndpoint, Unreached
from pskernel.transports.ssh.sockets import FORWARDS_NONE, GONE, lost_meanwhile, not_opened
from pskernel.transports.ssh.stream import ChannelSession, SSHStream
from pskernel.transports.ssh.subsystem import WINDOW, Route, start_session

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.transports.base import Secret
    from pskernel.transports.ssh.config import Settings

__all__ = ["open_socket_by_ssh", "start_by_ssh"]

# How a server that is there says that the socket is not, or that it forwards none.
_NOT_THERE = (asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED)


async def start_by_ssh(
    endpoint: SSHEndpoint,
    run: Callable[[ByteStream], Awaitable[str]],
    *,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
) -> SSHStream:
    """Log in, let ``run`` use the subsystem, and open the socket of which it returns the path.

    Raises:
        ConnectError: as :func:`pskernel.transports.ssh.subsystem.open_ssh`.
        PoolGone: the server does not open the socket.
        TargetUnreachable: also when the connection ends meanwhile.
    """
    route = Route(asker, tell)
    try:
        settings = await route.reach(endpoint, secret)
        session = await start_session(route.connections[-1], endpoint, settings)
        path = await run(SSHStream(session, ()))
        return await _open_socket(route, endpoint, settings, path, FORWARDS_NONE)
    except BaseException:
        await route.abandon()
        raise


async def open_socket_by_ssh(endpoint: SSHEndpoint, path: str, *, asker: Asker, secret: Secret | None) -> SSHStream:
    """Log in and open a socket there. Raises as :func:`start_by_ssh`."""
    route = Route(asker, None)
    try:
        settings = await route.reach(endpoint, secret)
        return await _open_socket(route, endpoint, settings, path, GONE)
    except BaseException:
        await route.abandon()
        raise


async def _open_socket(route: Route, endpoint: SSHEndpoint, settings: Settings, path: str, advice: str) -> SSHStream:
    connection = route.connections[-1]
    session = ChannelSession(endpoint.host, "")
    unreached = Unreached(endpoint.host, settings.port)
    try:
        async with asyncio.timeout(settings.timeout):
            await connection.create_unix_connection(
                lambda: session,  # type: ignore[arg-type, return-value]
                path,
                encoding=None,
                window=WINDOW,
            )
    except TimeoutError:
        raise unreached.slow_login(settings.timeout) from None
    except asyncssh.ChannelOpenError as error:
        # asyncssh says the same of a connection that ends meanwhile.
        if error.code not in _NOT_THERE or connection.is_closed():
            raise lost_meanwhile(endpoint.host) from None
        raise not_opened(endpoint.host, advice) from None
    except (asyncssh.Error, OSError):
        raise unreached.no_session() from None
    return SSHStream(session, route.connections, lambda: open_files(connection), route.peer)
