"""A byte stream to a PowerShell process that runs on an SSH server already: its socket, forwarded over one login.

Which socket that is, is looked up by SFTP over the same connection: no command is run on the server. sshd opens it as
the user who has logged in.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from typing import TYPE_CHECKING, Any

import asyncssh

from pskernel.errors import ConnectError, TargetUnreachable
from pskernel.transports.attach import AttachedStream, attach
from pskernel.transports.pipes import (
    MAX_COMM,
    PREFIX,
    HostProcess,
    choose,
    is_over,
    no_custom_pipe,
    no_powershell,
    no_process,
    read_pipe_name,
    read_temp_folder,
)
from pskernel.transports.ssh.files import open_files
from pskernel.transports.ssh.login import SSHEndpoint, Unreached
from pskernel.transports.ssh.stream import ChannelSession, SSHStream
from pskernel.transports.ssh.subsystem import WINDOW, Route
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pskernel.questions import Asker
    from pskernel.transports.base import ByteStream, Secret

__all__ = ["list_ssh_processes", "open_ssh_process"]

_TEMP = "/tmp"  # noqa: S108 - it is where PowerShell puts them
_FILE_SECONDS = 15.0
# A temporary folder can be anybody's, and full; an environment can be large.
_MAX_ENTRIES = 50_000
_MAX_ENVIRONMENT = 2_097_152
# A process is gone a moment after its socket is.
_LOOK_SECONDS, _PAUSE_SECONDS = 1.0, 0.1
_MAX_STAT = 4_096


async def open_ssh_process(
    endpoint: SSHEndpoint,
    place: int | str,
    *,
    asker: Asker,
    secret: Secret | None = None,
    tell: Callable[[str], None] | None = None,
) -> ByteStream:
    """Log in to a server and attach to a process there.

    Args:
        endpoint: where, and as whom.
        place: the process's id, the name of its custom pipe, or the path of its socket.
        asker: who answers for passwords, codes and passphrases.
        secret: the password to try first.
        tell: takes sentences for the user about the way there.

    Raises:
        CannotAttach: there is no such process, or it lets nobody in.
        ConnectError: as :func:`pskernel.transports.ssh.subsystem.open_ssh`, or the server opens no sockets.
    """
    route = Route(asker, tell)
    try:
        settings = await route.reach(endpoint, secret)
        there = _There(route.connections[-1], endpoint.host)
        sessions: list[ChannelSession] = []

        async def open_channel() -> ByteStream:
            path = await there.find(place)
            sessions.append(await there.connect(path, settings.timeout, settings.port))
            return SSHStream(sessions[-1], ())

        is_id = isinstance(place, int)
        what = f"Process {place} on {endpoint.host}" if is_id else f"The pipe {place} on {endpoint.host}"
        await attach(open_channel, what, "CannotConnectToProcess" if is_id else "CannotConnectToPipe")
    except BaseException:
        await route.abandon()
        raise
    if tell is not None and not there.knows_owner:
        why = "does not tell who owns its files" if there.offers_files else "offers no SFTP"
        tell(f"{endpoint.host} {why}: whose socket {place} is, could not be looked at.")
    connection = route.connections[-1]
    stream = SSHStream(sessions[-1], route.connections, lambda: open_files(connection), route.peer)
    return AttachedStream(stream, lambda: there.fate(place))


async def list_ssh_processes(
    endpoint: SSHEndpoint, ids: Sequence[int] = (), *, asker: Asker, secret: Secret | None = None
) -> list[HostProcess]:
    """The PowerShell processes of the user who logs in, in the server's folder ``/tmp``.

    Args:
        endpoint: where, and as whom.
        ids: looked for also in the temporary folders of these processes.
        asker: who answers for passwords, codes and passphrases.
        secret: the password to try first.

    Raises:
        ConnectError: the login failed, or the server has no SFTP.
    """
    route = Route(asker, None)
    try:
        await route.reach(endpoint, secret)
        return await _There(route.connections[-1], endpoint.host).list_all(ids)
    finally:
        await route.abandon()


class _There:
    """The files of a server, where they say which processes it has."""

    def __init__(self, connection: asyncssh.SSHClientConnection, host: str) -> None:
        self._connection = connection
        self._host = host
        self._sftp: Any = None
        self._has_asked = False
        # Whether the owner of the socket was compared.
        self.knows_owner = False

    @property
    def offers_files(self) -> bool:
        """Whether the server has SFTP, once something was looked for."""
        return self._sftp is not None

    async def find(self, place: int | str) -> str:
        """The socket of a process.

        Raises:
            CannotAttach: there is none.
            ConnectError: it is another user's, or cannot be looked for.
        """
        async with self._bounded():
            if isinstance(place, int):
                path = await self._find_id(place)
            else:
                path = place if place.startswith("/") else f"{_TEMP}/{PREFIX}{place}"
            if await self._files() is None:
                return path
            found = await self._status(path)
            if found is None:
                raise no_custom_pipe(str(place), f"{path} on {self._host}")
            await self._check_owner(path, found)
            return path

    async def list_all(self, ids: Sequence[int]) -> list[HostProcess]:
        """Those that run, and are the user's own, by their ids."""
        async with self._bounded():
            if await self._files() is None:
                raise self._no_files()
            pipes = await self._pipes_in(_TEMP)
            for folder in {await self._folder_of(pid) for pid in ids} - {_TEMP}:
                pipes += await self._pipes_in(folder)
            ours = await self._own_id()
            found = []
            for pid in sorted({pipe.pid for pipe in pipes}):
                pipe = choose(pipes, pid)
                if pipe is None or await self._program(pid) not in (None, pipe.name[:MAX_COMM]):
                    continue
                status = await self._status(pipe.path)
                if status is not None and ours in (None, status.uid):
                    found.append(pipe)
            return found

    async def connect(self, path: str, seconds: float, port: int) -> ChannelSession:
        """A channel to the socket at ``path``.

        Raises:
            TargetUnreachable: the server does not open it, now or ever.
        """
        session = ChannelSession(self._host, "")
        try:
            async with asyncio.timeout(seconds):
                await self._connection.create_unix_connection(
                    lambda: session,  # type: ignore[arg-type, return-value]
                    path,
                    encoding=None,
                    window=WINDOW,
                )
        except TimeoutError:
            raise Unreached(self._host, port).slow_login(seconds) from None
        except asyncssh.ChannelOpenError:
            raise TargetUnreachable(
                f"The SSH server {self._host} did not open {path}. Either nobody listens on it, because the process is "
                "gone, or the server forwards no sockets: its sshd_config must not say AllowStreamLocalForwarding no "
                "or DisableForwarding yes, nor the key's line in authorized_keys restrict or no-port-forwarding."
            ) from None
        except (asyncssh.Error, OSError):
            raise Unreached(self._host, port).no_session() from None
        return session

    async def fate(self, place: int | str) -> str:
        """What became of a process whose socket has closed, as far as it can be told."""
        if not isinstance(place, int):
            return ""
        with contextlib.suppress(ConnectError, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                while await self._files() is not None and (running := await self._is_running(place)) is not None:
                    if not running:
                        return f"Process {place} on {self._host} has ended."
                    await asyncio.sleep(_PAUSE_SECONDS)
        return ""

    # ---- files ----

    async def _find_id(self, pid: int) -> str:
        if await self._files() is None:
            raise self._no_files()
        if await self._is_running(pid) is False:
            raise no_process(pid, self._host)
        folder = await self._folder_of(pid)
        found = choose(await self._pipes_in(folder), pid)
        if found is None:
            raise no_powershell(pid, f"{folder} on {self._host}")
        return found.path

    async def _pipes_in(self, folder: str) -> list[HostProcess]:
        pipes, seen = [], 0
        try:
            async for entry in self._sftp.scandir(folder):
                seen += 1
                name = entry.filename if isinstance(entry.filename, str) else entry.filename.decode(errors="replace")
                pipe = read_pipe_name(f"{folder.rstrip('/')}/{name}")
                if pipe is not None:
                    pipes.append(pipe)
                if seen >= _MAX_ENTRIES:
                    break
        except (asyncssh.Error, OSError, UnicodeError):
            raise ConnectError(f"The folder {folder} on {self._host} cannot be searched for pipes by SFTP.") from None
        return pipes

    async def _is_running(self, pid: int) -> bool | None:
        """Whether a process runs; None where the server has no /proc that tells."""
        if not is_over(await self._read(f"/proc/{pid}/stat", _MAX_STAT) or b""):
            return True
        return False if await self._read("/proc/self/stat", _MAX_STAT) else None

    async def _program(self, pid: int) -> str | None:
        """The program of a process that runs; None where the server has no /proc that tells."""
        if await self._is_running(pid) is None:
            return None
        return (await self._read(f"/proc/{pid}/comm", MAX_COMM + 1) or b"").decode(errors="replace").rstrip("\n")

    async def _folder_of(self, pid: int) -> str:
        """The temporary folder of a process, which Linux tells its own user."""
        environment = await self._read(f"/proc/{pid}/environ", _MAX_ENVIRONMENT)
        return _TEMP if environment is None else read_temp_folder(environment).rstrip("/") or "/"

    async def _read(self, path: str, size: int) -> bytes | None:
        try:
            async with self._sftp.open(path, "rb", block_size=0) as file:
                data: bytes = await file.read(size)
        except (asyncssh.Error, OSError):
            return None
        return data

    async def _check_owner(self, path: str, status: Any) -> None:
        # Not following a symbolic link: in a folder open to all, anybody may have put it there.
        if status.permissions is not None and not stat.S_ISSOCK(status.permissions):
            raise ConnectError(f"{path} on {self._host} is not a socket.")
        ours = await self._own_id()
        self.knows_owner = None not in (ours, status.uid)
        if self.knows_owner and ours != status.uid:
            raise ConnectError(
                f"The socket {path} on {self._host} belongs to user id {status.uid}, not to {ours} who has logged in. "
                "It was not opened: its owner could read and answer everything."
            )

    async def _own_id(self) -> int | None:
        """The user id of whoever has logged in: of the process that serves the files, else of the home folder."""
        for path in ("/proc/self/", "."):
            with contextlib.suppress(asyncssh.Error, OSError):
                uid: int | None = (await self._sftp.stat(path)).uid
                return uid
        return None

    async def _status(self, path: str) -> Any:
        try:
            return await self._sftp.lstat(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        except asyncssh.SFTPError as error:
            raise ConnectError(
                f"{path} on {self._host} cannot be looked at by SFTP: {plain_text(error.reason)[:200]}."
            ) from None

    async def _files(self) -> Any:
        if not self._has_asked:
            self._has_asked = True
            with contextlib.suppress(asyncssh.Error, OSError):
                # Other users' files may be named with any bytes.
                self._sftp = await self._connection.start_sftp_client(path_errors="surrogateescape")
        return self._sftp

    def _no_files(self) -> ConnectError:
        return ConnectError(
            f"{self._host} offers no SFTP, by which a process's socket is found. Give the path of the socket as the "
            "pipe instead."
        )

    @contextlib.asynccontextmanager
    async def _bounded(self) -> Any:
        try:
            async with asyncio.timeout(_FILE_SECONDS):
                yield
        except TimeoutError:
            raise ConnectError(
                f"{self._host} did not say which processes it has within {_FILE_SECONDS:g} seconds."
            ) from None
        except asyncssh.Error:
            raise Unreached(self._host, 22).no_session() from None
