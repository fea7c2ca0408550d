"""A byte stream over a named pipe of Windows, where PowerShell processes listen. asyncio's Proactor loop opens it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pskernel.errors import ConnectError, TargetUnreachable
from pskernel.transports.pipestream import PipeStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["open_winpipe"]

_NO_SUCH_FILE = 2
_ACCESS_DENIED = 5
# asyncio waits for a pipe that has its one client, for as long as that takes.
_BUSY_SECONDS = 5.0


async def open_winpipe(path: str) -> PipeStream:
    r"""Connect to the pipe at ``path``, as in ``\\.\pipe\NAME``.

    PowerShell makes its pipes for their own user, and for administrators: whoever may open one is let in.

    Raises:
        TargetUnreachable: there is no such pipe, or it has its one client.
        ConnectError: it may not be opened, or the event loop cannot open pipes.
    """
    connect: Callable[..., Awaitable[tuple[Any, PipeStream]]] | None = getattr(
        asyncio.get_running_loop(), "create_pipe_connection", None
    )
    if connect is None:
        raise ConnectError(
            "This program's event loop cannot open named pipes, which needs Windows and asyncio's ProactorEventLoop."
        )
    try:
        async with asyncio.timeout(_BUSY_SECONDS):
            _, stream = await connect(PipeStream, path)
    except TimeoutError:
        raise TargetUnreachable(f"The named pipe {path} has its one client: somebody else is attached.") from None
    except OSError as error:
        raise _refusal(path, getattr(error, "winerror", None) or 0, error) from None
    return stream


def _refusal(path: str, code: int, error: OSError) -> ConnectError:
    if code == _NO_SUCH_FILE or isinstance(error, FileNotFoundError):
        return TargetUnreachable(f"There is no named pipe {path}.")
    if code == _ACCESS_DENIED or isinstance(error, PermissionError):
        return ConnectError(f"The named pipe {path} belongs to another user. PowerShell lets only its own user attach.")
    return ConnectError(f"The named pipe {path} cannot be opened: {error.strerror or error}.")
