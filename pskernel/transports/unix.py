"""A byte stream over a Unix-domain socket, whose owner is looked at before anything is sent."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import sys
from typing import cast

from pskernel.errors import ConnectError, TargetError, TargetUnreachable
from pskernel.transports.pipestream import PipeStream

__all__ = ["UnixStream", "open_unix"]


async def open_unix(path: str, *, pid: int | None = None) -> UnixStream:
    """Connect to the socket at ``path``.

    The socket must belong to the user we run as: whoever listens on it sees, and answers, all that is sent. With
    ``pid`` it must be that process's, as far as the system tells: the name of a file proves nothing.

    Raises:
        TargetUnreachable: there is no socket, or nobody listens on it.
        ConnectError: the socket is another user's, or may not be opened.
    """
    _check_platform()
    await asyncio.to_thread(_check_owner, path)
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_unix_connection(UnixStream, path)
    except ConnectionRefusedError:
        raise TargetUnreachable(
            f"Nobody listens on the socket {path}: the process that made it is gone. Delete the file, "
            "or start the process again."
        ) from None
    except FileNotFoundError:
        raise TargetUnreachable(f"There is no socket {path}.") from None
    except OSError as error:
        raise ConnectError(f"The socket {path} cannot be opened: {error.strerror or error}.") from None
    try:
        stream.check_peer(path, pid)
    except ConnectError:
        await stream.aclose()
        raise
    return stream


def _check_platform() -> None:
    if sys.platform == "win32":
        raise ConnectError(
            "Unix sockets cannot be opened on Windows. A PowerShell process has a named pipe there: pid:1234."
        )


def _check_owner(path: str) -> None:
    try:
        # Not following a symbolic link: in a folder open to all, anybody may have put it there.
        status = os.lstat(path)
    except FileNotFoundError:
        raise TargetUnreachable(f"There is no socket {path}.") from None
    except OSError as error:
        raise ConnectError(f"The socket {path} cannot be opened: {error.strerror or error}.") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise TargetError(f"{path} is not a socket.")
    if status.st_uid != os.geteuid():
        raise ConnectError(_not_ours(path, status.st_uid))


def _not_ours(path: str, owner: int) -> str:
    return (
        f"The socket {path} belongs to user id {owner}, not to {os.geteuid()} who runs this. It was not opened: "
        "its owner could read and answer everything."
    )


class UnixStream(PipeStream):
    """A :class:`pskernel.transports.base.ByteStream` over a connected Unix-domain socket."""

    def check_peer(self, path: str, pid: int | None) -> None:
        """Refuse a peer that runs as another user, or is another process than ``pid`` (where the system can tell).

        Raises:
            ConnectError: it does, or is.
        """
        if hasattr(socket, "SO_PEERCRED"):
            peer = cast("socket.socket", self.transport.get_extra_info("socket"))
            owner, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.geteuid():
                raise ConnectError(_not_ours(path, uid))
            if pid is not None and owner != pid:
                whose = f"process {owner}" if owner else "a process of another container"
                raise ConnectError(f"The socket {path} carries the id {pid} in its name, and is that of {whose}.")
