"""From a target to an open runspace. The only module that knows every transport; each is imported when it is chosen."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pskernel.credentials import CredentialReference, Secret, resolve
from pskernel.protocol.pipelines import Screen
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.session.runspace import Runspace
from pskernel.transports.outofproc import OutOfProcTransport

if TYPE_CHECKING:
    from pskernel.target import Target
    from pskernel.transports.base import ByteStream, Transport

__all__ = ["connect", "open_transport", "opener"]

_SERVER_MODE = "-s"

Wrap = Callable[["Transport"], "Transport"]


async def connect(target: Target, *, asker: Asker | None = None, wrap: Wrap | None = None) -> Runspace:
    """Open a runspace on a target.

    Args:
        target: where.
        asker: whom to ask for passwords and codes; None asks nobody.
        wrap: puts another transport around the target's own, such as one that records.

    Raises:
        TargetError: the target or its credential cannot be used; nothing was contacted.
        ConnectError: no session could be opened; the subclasses say why.
    """
    transport = await open_transport(target, asker or NobodyToAsk())
    return await Runspace.open(
        wrap(transport) if wrap else transport,
        screen=Screen(width=target.options.width),
        open_timeout=target.options.open_timeout,
    )


def opener(target: Target, wrap: Wrap | None = None) -> Callable[[Asker], Awaitable[Runspace]]:
    """What an :class:`pskernel.session.interactive.InteractiveSession` opens its runspaces with."""

    async def open_with(asker: Asker) -> Runspace:
        return await connect(target, asker=asker, wrap=wrap)

    return open_with


async def open_transport(target: Target, asker: Asker) -> Transport:
    """Reach a target, without opening a runspace on it.

    Raises:
        TargetError, ConnectError: as :func:`connect`.
    """
    if target.scheme == "replay":
        from pskernel.transports.cassette import Cassette
        from pskernel.transports.replay import ReplayTransport

        cassette = Cassette.load(target.path)
        return ReplayTransport(cassette, speed=target.options.speed, strict=target.options.strict)
    return OutOfProcTransport(await open_stream(target, asker))


async def open_stream(target: Target, asker: Asker) -> ByteStream:
    """Reach a target that speaks the out-of-process framing.

    Raises:
        TargetError, ConnectError: as :func:`connect`.
    """
    if target.scheme == "ssh":
        return await _open_ssh(target, asker)
    if target.scheme == "process":
        from pskernel.transports.process import open_process

        program = target.path or shutil.which("pwsh") or "pwsh"
        return await open_process([program, _SERVER_MODE, *target.options.arguments])
    from pskernel.transports.unix import find_pipe, open_unix

    if target.scheme == "pid":
        assert target.pid is not None  # noqa: S101 - the target's own check
        return await open_unix(find_pipe(target.pid))
    return await open_unix(target.path)
