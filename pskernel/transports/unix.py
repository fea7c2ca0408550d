"""A byte stream over a Unix-domain socket, and the socket that every PowerShell process listens on."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path
from typing import cast

from pskernel.errors import ConnectError, TargetError, TargetUnreachable
from pskernel.transports.streams import CHUNK, CLOSED_HERE, Gate, Inbox

__all__ = ["UnixStream", "find_pipe", "open_unix"]

_GONE = "The process at the other end of the socket has gone away."


async def open_unix(path: str) -> UnixStream:
    """Connect to the socket at ``path``.

    The socket must belong to the user we run as: whoever listens on it sees, and answers, all that is sent.

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
        stream.check_peer(path)
    except ConnectError:
        await stream.aclose()
        raise
    return stream


def find_pipe(pid: int, *, temp_dir: str | None = None) -> str:
    """Return the path of the socket on which a running PowerShell process lets its own user in.

    PowerShell makes ``CoreFxPipe_PSHost.START.PID.None.NAME`` in its temporary folder.

    Args:
        pid: the id of the process.
        temp_dir: that process's temporary folder, if it is not this one's ($TMPDIR, or /tmp).

    Raises:
        TargetUnreachable: there is no such process, or it has no pipe.
        ConnectError: the process is another user's.
        TargetError: several pipes carry this process id.
    """
    _check_platform()
    folder = temp_dir or os.environ.get("TMPDIR") or tempfile.gettempdir()
    pattern = re.compile(rf"CoreFxPipe_PSHost\.[^.]+\.{pid}\..+")
    try:
        found = sorted(str(entry) for entry in Path(folder).iterdir() if pattern.fullmatch(entry.name))
    except OSError as error:
        raise ConnectError(f"The folder {folder} cannot be searched: {error.strerror or error}.") from None
    _check_alive(pid)
    if not found:
        raise TargetUnreachable(
            f"Process {pid} has no PowerShell pipe in {folder}. Either it is not PowerShell 6 or newer, or it "
            "was started with POWERSHELL_DIAGNOSTICS_OPTOUT=1, or its TMPDIR differs from this one's: then give "
            "the socket's own path (unix:PATH)."
        )
    if len(found) > 1:
        raise TargetError(
            f"Several pipes carry the process id {pid}; all but one are left over from earlier processes: "
            f"{', '.join(found)}. Give the path of the newest (unix:PATH), or delete the others."
        )
    return found[0]


def _check_platform() -> None:
    if sys.platform == "win32":
        raise ConnectError("On Windows, the session of a running process cannot be entered: it has no Unix socket.")


def _check_alive(pid: int) -> None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise TargetUnreachable(f"There is no process with the id {pid} on this machine.") from None
    except PermissionError:
        raise ConnectError(
            f"Process {pid} belongs to another user. PowerShell lets only its own user attach: run as that user."
        ) from None


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


class UnixStream(asyncio.Protocol):
    """A :class:`pskernel.transports.base.ByteStream` over a connected Unix-domain socket."""

    def __init__(self) -> None:
        self._inbox: Inbox
        self._gate = Gate()
        self._transport: asyncio.Transport
        self._lost = asyncio.Event()

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the peer sent."""
        return await self._inbox.take(max_bytes)

    async def send(self, data: bytes) -> None:
        """Send to the peer."""
        self._gate.check()
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            await self._gate.passed()
            self._transport.write(bytes(view[start : start + CHUNK]))
            if self._transport.is_closing():
                # The event loop tells only later, and until then would take any amount of data for nothing.
                self._gate.break_(_GONE)
        await self._gate.passed()

    async def aclose(self) -> None:
        """Close the socket. What was sent but not yet taken by the peer may be lost."""
        self._inbox.close()
        self._gate.break_(CLOSED_HERE)
        self._transport.abort()
        await self._lost.wait()

    def diagnostics(self) -> str:
        """Nothing: a socket has no second channel."""
        return ""

    def check_peer(self, path: str) -> None:
        """Refuse a peer that runs as another user (where the system can tell).

        Raises:
            ConnectError: it does.
        """
        if hasattr(socket, "SO_PEERCRED"):
            peer = cast("socket.socket", self._transport.get_extra_info("socket"))
            _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.geteuid():
                raise ConnectError(_not_ours(path, uid))

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._inbox = Inbox(pause=self._transport.pause_reading, resume=self._transport.resume_reading)

    def data_received(self, data: bytes) -> None:
        self._inbox.feed(data)

    def eof_received(self) -> bool:
        self._inbox.end()
        # The peer may have closed only its sending half.
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._inbox.end(_GONE)
        self._gate.break_(_GONE)
        self._lost.set()

    def pause_writing(self) -> None:
        self._gate.shut()

    def resume_writing(self) -> None:
        self._gate.open()
