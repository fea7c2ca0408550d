"""From a target to a PowerShell process that is running already, on this machine or at an SSH server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from pskernel.transports.attach import AttachedStream, attach
from pskernel.transports.pipes import CannotAttach, HostProcess, custom_pipe, find_pipe, has_ended, list_pipes
from pskernel.transports.unix import open_unix
from pskernel.transports.winpipe import open_winpipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pskernel.target import Target
    from pskernel.transports.base import ByteStream

__all__ = ["CannotAttach", "HostProcess", "attach_to", "describe_process", "find_process", "list_processes"]

# A process is gone a moment after its pipe is.
_LOOKS, _LOOK_SECONDS = 10, 0.05


async def list_processes(ids: Sequence[int] = ()) -> list[HostProcess]:
    """The PowerShell processes of this machine that this user can enter; ``ids`` also where their own TMPDIR is.

    Raises:
        ConnectError: they cannot be looked for.
    """
    found = {each.pid: each for each in await asyncio.to_thread(list_pipes)}
    for pid in set(ids) - set(found):
        with contextlib.suppress(CannotAttach):
            found[pid] = await find_process(pid)
    return [found[pid] for pid in sorted(found)]


async def find_process(pid: int) -> HostProcess:
    """One of them. Raises ConnectError."""
    return await asyncio.to_thread(find_pipe, pid)


async def describe_process(target: Target) -> tuple[str, ...]:
    """What there is to say of the process of a ``pid:`` or ``pipe:`` target before it is attached to.

    Raises:
        ConnectError: there is none.
    """
    if target.pid is None:
        path = await asyncio.to_thread(custom_pipe, target.path or "")
        return (f"Its pipe is {path}.",)
    found = await find_process(target.pid)
    return (f"It is {found.name}, and its pipe is {found.path}.",)


async def attach_to(target: Target) -> ByteStream:
    """Connect to the process of a ``pid:`` or ``pipe:`` target. Raises ConnectError."""
    pid = target.pid

    async def open_pipe() -> ByteStream:
        found = (
            (await find_process(pid)).path
            if pid is not None
            else await asyncio.to_thread(custom_pipe, target.path or "")
        )
        return await _open(found, pid)

    async def fate() -> str:
        for _ in range(_LOOKS if pid is not None else 0):
            if pid is not None and has_ended(pid):
                return f"Process {pid} has ended."
            await asyncio.sleep(_LOOK_SECONDS)
        return ""

    what = f"Process {pid}" if pid is not None else f"The pipe {target.path}"
    stream = await attach(open_pipe, what, "CannotConnectToProcess" if pid is not None else "CannotConnectToPipe")
    return AttachedStream(stream, fate)


async def _open(path: str, pid: int | None) -> ByteStream:
    if sys.platform == "win32":
        return await open_winpipe(path)
    return await open_unix(path, pid=pid)
