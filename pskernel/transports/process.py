"""A byte stream over the standard input and output of a process started here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

from pskernel.errors import ConnectError, ElevationFailed, TargetUnreachable
from pskernel.transports.base import Peer
from pskernel.transports.streams import CHUNK, CLOSED_HERE, Gate, Inbox, Tail
from pskernel.withheld import is_withheld

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pskernel.transports.elevation import Handover

__all__ = ["Child", "ProcessStream", "child_environment", "open_elevated", "open_process", "start"]

# How long a child has to leave after its input was closed, and again after it was asked to terminate.
_LEAVE_SECONDS = 1.0
# A killed process that is still there after this is stuck in the operating system: no use staying.
_KILLED_SECONDS = 5.0
# How long the exit status may trail the end of output, and the other way round.
_SETTLE_SECONDS = 1.0


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what is ours alone (PSKERNEL_*, passwords), with ``extra`` on top."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PSKERNEL_") and not is_withheld(name)
    }
    return inherited | dict(extra or {})


async def open_process(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> ProcessStream:
    """Start a program and return the stream over its standard input and output.

    The child gets a session (on Windows: a process group) of its own, so that an interrupt meant for this
    program does not reach it. Its standard error is always read; the last 8 KiB are in ``diagnostics``.

    Args:
        argv: the program and its arguments; never read by a shell.
        env: variables to add to the environment. PSKERNEL_* variables of ours are never handed on.
        cwd: the folder to start in.

    Raises:
        TargetUnreachable: there is no such program, or no such folder.
        ConnectError: the program cannot be started.
    """
    child = Child(argv[0])
    await start(argv, child, env=env, cwd=cwd)
    return ProcessStream(child)


async def open_elevated(handover: Handover) -> ProcessStream:
    """Start PowerShell by sudo or doas on this machine.

    Raises:
        ElevationFailed: it was not started.
        ConnectError: as :func:`open_process`.
    """
    program = handover.elevation.program
    if not shutil.which(program):
        raise ElevationFailed(f"There is no program {program} on this machine, or it is not on PATH.")
    child = Child(program, handover)
    await start(handover.argv, child)
    await child.hand_over()
    return ProcessStream(child, Peer(auth=handover.summary))


class Child(asyncio.SubprocessProtocol):
    """One child process: where the event loop delivers what it writes, and how it is ended."""

    def __init__(self, name: str, handover: Handover | None = None) -> None:
        self.name = name
        self._handover = handover
        self._errors_ended = False
        self.inbox: Inbox
        self.gate = Gate()
        self.tail = Tail()
        self.exited = asyncio.Event()
        self.status: int | None = None
        self._transport: asyncio.SubprocessTransport
        self._output_ended = False
        self._started = False
        self._closed = False

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its process group."""
        return self._transport.get_pid()

    def why_cut(self, status: int) -> str:
        """Say why the end of output is not an end in good order, or ``""`` if it is one."""
        return self.how_left() if status < 0 else ""

    def how_left(self) -> str:
        """Say how the child ended, or ``""`` while it runs or if it ended well."""
        if not self.status:
            return ""
        if self.status < 0:
            return f"The process {self.name} was ended by {_signal_name(-self.status)}."
        return f"The process {self.name} exited with status {self.status}."

    async def hand_over(self) -> None:
        """Wait until sudo has started PowerShell, or see the child out. Raises ElevationFailed."""
        if self._handover is None:
            return
        try:
            await self._handover.settle(self.write, self.tail.text)
        except BaseException:
            await self.end(patience=0)
            raise

    def stderr_received(self, data: bytes) -> None:
        """Keep what the child wrote to standard error."""
        self.tail.feed(data)

    def write(self, data: bytes) -> None:
        """Hand bytes for the child's standard input to the event loop."""
        pipe = cast("asyncio.WriteTransport", self._pipe(0))
        pipe.write(data)
        if pipe.is_closing():
            # The event loop tells only later, and until then would take any amount of data for nothing.
            self.pipe_connection_lost(0, None)

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        output = cast("asyncio.ReadTransport", self._pipe(1))
        self.inbox = Inbox(pause=output.pause_reading, resume=output.resume_reading)
        self._started = True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.inbox.feed(data)
        else:
            self.stderr_received(data if self._handover is None else self._handover.heard(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if fd == 0:
            self.gate.break_(f"The process {self.name} takes no more input.")
        elif fd == 1:
            self._output_ended = True
            self._settle()
        else:
            self._errors_ended = True
            self._tell_over()

    def process_exited(self) -> None:
        self.status = self._transport.get_returncode()
        self.gate.break_(f"The process {self.name} has ended.")
        self.exited.set()
        self._settle()
        self._tell_over()

    def pause_writing(self) -> None:
        self.gate.shut()

    def resume_writing(self) -> None:
        self.gate.open()

    # ---- the end ----

    def _tell_over(self) -> None:
        if self.status is not None:
            late = 0 if self._errors_ended else _SETTLE_SECONDS
            asyncio.get_running_loop().call_later(late, self.over)

    def over(self) -> None:
        """The child is gone, and its last words, which may trail that, are there."""
        if self._handover is not None:
            self._handover.over(self.status)

    def _settle(self) -> None:
        """Decide how the stream ended, once output and child are both gone, or one has been for a while."""
        if self._output_ended and self.status is not None:
            self.inbox.end(self.why_cut(self.status))
        else:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._settle_late)

    def _settle_late(self) -> None:
        if self._closed:
            return
        if self.inbox.paused:
            # What the child wrote before it left is still in the pipe, waiting for a reader.
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._settle_late)
            return
        self.inbox.end(self.why_cut(self.status or 0))

    async def end(self, patience: float = _LEAVE_SECONDS) -> None:
        """Make the child leave, if there is one: close its input, then terminate it, then kill its group.

        ``patience`` is how many seconds each of the first two steps gets. When cancelled, it kills at once.
        """
        if self._closed or not self._started:
            return
        self._closed = True
        self.inbox.close()
        self.gate.break_(CLOSED_HERE)
        try:
            self._pipe(0).close()
            if not await self._gone(patience):
                self._signal_group(force=False)
                await self._gone(patience)
        finally:
            # Also after the child itself obeyed the signal: one of its own children may not have.
            if self.status is None or self.status < 0:
                self._signal_group(force=True)
            try:
                await self._gone(_KILLED_SECONDS)
            finally:
                # Nobody may kill what sudo runs as another; it ends because its input has.
                with contextlib.suppress(PermissionError):
                    self._transport.close()

    async def _gone(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), seconds)
        return self.exited.is_set()

    def _signal_group(self, *, force: bool) -> None:
        if sys.platform == "win32":
            if self.status is None:
                with contextlib.suppress(ProcessLookupError):
                    self._transport.kill() if force else self._transport.terminate()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL if force else signal.SIGTERM)

    def _pipe(self, fd: int) -> asyncio.BaseTransport:
        return cast("asyncio.BaseTransport", self._transport.get_pipe_transport(fd))


class ProcessStream:
    """A :class:`pskernel.transports.base.ByteStream` over a child process."""

    def __init__(self, child: Child, peer: Peer | None = None) -> None:
        self._child = child
        self.peer = peer or Peer()
        self._closed: asyncio.Event | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the child wrote to standard output."""
        return await self._child.inbox.take(max_bytes)

    async def send(self, data: bytes) -> None:
        """Write to the child's standard input."""
        self._child.gate.check()
        view = memoryview(data)
        for start_at in range(0, len(view), CHUNK):
            await self._child.gate.passed()
            self._child.write(bytes(view[start_at : start_at + CHUNK]))
        await self._child.gate.passed()

    async def aclose(self) -> None:
        """Close the child's input and see it out: 1 s to leave, 1 s to obey, then its group is killed."""
        if self._closed is not None:
            await self._closed.wait()
            return
        self._closed = asyncio.Event()
        try:
            await self._child.end()
        finally:
            self._closed.set()

    def diagnostics(self) -> str:
        """The tail of standard error, and how the child left."""
        return f"{self._child.tail.text()}\n{self._child.how_left()}".strip()


async def start(
    argv: Sequence[str], child: Child, *, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> None:
    """Start ``argv`` with its pipes connected to ``child``. Raises as :func:`open_process` does."""
    environment = child_environment(env)
    if not shutil.which(argv[0], path=environment.get("PATH", os.defpath)):
        raise TargetUnreachable(_missing(argv[0]))
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(loop.subprocess_exec(lambda: child, *argv, env=environment, cwd=cwd, **own_group))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cut short, asyncio could leave the child behind: let it come into the world, then end it.
        await asyncio.shield(asyncio.ensure_future(_discard(starting, child)))
        raise
    except FileNotFoundError as error:
        if cwd is not None and error.filename == cwd:
            raise TargetUnreachable(f"The folder {cwd} to start {argv[0]} in does not exist.") from None
        raise TargetUnreachable(_missing(argv[0])) from None
    except OSError as error:
        raise ConnectError(f"The program {argv[0]} cannot be started: {error.strerror or error}.") from None


async def _discard(starting: asyncio.Future[Any], child: Child) -> None:
    with contextlib.suppress(OSError):
        await starting
        await child.end(patience=0)


def _missing(program: str) -> str:
    if os.path.dirname(program):  # noqa: PTH120 - Path would normalise "./pwsh" to "pwsh"
        return f"The program {program} does not exist, or may not be run. Check the path and its permissions."
    return (
        f"The program {program} is not on PATH. Install it, add its folder to PATH, "
        f"or give its full path, for example process:/path/to/{program}."
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
