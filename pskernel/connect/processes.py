"""From a target to a PowerShell process that is running already, on this machine or at an SSH server."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from pskernel.transports.attach import AttachedStream, attach
from pskernel.transports.pipes import CannotAttach, HostProcess, custom_pipe, find_pipe, has_ended, list_pipes
from pskernel.transports.unix import open_unix
from pskernel.transports.winpipe import open_winpipe

if TYPE_CHECKING:
    from pskernel.target import Target
    from pskernel.transports.base import ByteStream

__all__ = ["CannotAttach", "HostProcess", "attach_to", "find_process", "list_processes"]

# A process is gone a moment after its pipe is.
_LOOKS, _LOOK_SECONDS = 10, 0.05


async def list_processes() -> list[HostProcess]:
    """The PowerShell processes of this machine that this user can enter. Raises ConnectError."""
    return await asyncio.to_thread(list_pipes)


async def find_process(pid: int) -> HostProcess:
    """One of them. Raises ConnectError."""
    return await asyncio.to_thread(find_pipe, pid)


async def attach_to(target: Target) -> ByteStream:
    """Connect to the process of a ``pid:`` or ``pipe:`` target. Raises ConnectError."""
    pid = target.pid

    async def open_pipe() -> ByteStream:
        found = (
            (await find_process(pid)).path
            if pid is not None
            else await asyncio.to_thread(custom_pipe, target.path or "")
        )
        return await _open(found)

    async def fate() -> str:
        for _ in range(_LOOKS if pid is not None else 0):
            if pid is not None and has_ended(pid):
                return f"Process {pid} has ended."
            await asyncio.sleep(_LOOK_SECONDS)
        return ""

    what = f"Process {pid}" if pid is not None else f"The pipe {target.path}"
    stream = await attach(open_pipe, what, "CannotConnectToProcess" if pid is not None else "CannotConnectToPipe")
    return AttachedStream(stream, fate)


async def _open(path: str) -> ByteStream:
    if sys.platform == "win32":
        return await open_winpipe(path)
    return await open_unix(path)
