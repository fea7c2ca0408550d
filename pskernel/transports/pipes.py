"""The pipe on which every PowerShell process lets its own user in: how it is named, and where it is on this machine.

PowerShell names it ``PSHost.START.PID.DOMAIN.NAME``. On Windows that is a named pipe, elsewhere a socket in the
process's temporary folder, with ``CoreFxPipe_`` before the name and the whole path cut to 104 characters.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pskernel.errors import ConnectError, TargetUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_COMM",
    "PREFIX",
    "CannotAttach",
    "HostProcess",
    "choose",
    "custom_pipe",
    "find_pipe",
    "has_ended",
    "list_pipes",
    "no_process",
    "read_pipe_name",
    "read_temp_folder",
    "start_in_name",
]

PREFIX: Final = "CoreFxPipe_"
_WINDOWS_FOLDER: Final = r"\\.\pipe" + "\\"
_IN_NAME = r"\.(?P<pid>[1-9][0-9]{0,9})\.(?P<domain>[^.]*)\.?(?P<name>.*)"
_UNIX_NAME = re.compile(rf"{PREFIX}PSHost\.(?P<start>[0-9A-F]{{1,8}}){_IN_NAME}")
_WINDOWS_NAME = re.compile(rf"PSHost\.(?P<start>[0-9]{{1,19}}){_IN_NAME}")
# A FILETIME counts 100 ns from the year 1601; a name outside Windows has its second to its ninth hexadecimal digit.
_TICKS = 10_000_000
_UNIX_EPOCH = 11_644_473_600
_LEFT_OUT_BITS = 24
# Linux keeps so much of a program's name.
MAX_COMM = 15
# A temporary folder can be anybody's, and full.
_MAX_ENTRIES = 50_000


class CannotAttach(TargetUnreachable):
    """There is no PowerShell process to enter, or it lets nobody in now.

    Attributes:
        error_id: PowerShell's FullyQualifiedErrorId.
        passing: whether it may be otherwise in a moment: between two clients, a process has no pipe.
    """

    def __init__(self, message: str, error_id: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.error_id = f"EnterPSHostProcess{error_id}"
        self.passing = passing


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A PowerShell process, as its pipe's name tells.

    Attributes:
        pid: its id.
        name: its program, as far as the name was not cut.
        domain: its application domain: ``None``, and on Windows ``DefaultAppDomain``.
        path: of the socket, or of the named pipe.
        start: when it began, in the unit of the name.
    """

    pid: int
    name: str
    domain: str
    path: str
    start: int


def read_pipe_name(path: str, *, windows: bool = False) -> HostProcess | None:
    """The process that a pipe belongs to; None where the name is of another kind."""
    file = path.rpartition("\\" if windows else "/")[2]
    match = (_WINDOWS_NAME if windows else _UNIX_NAME).fullmatch(file)
    if match is None:
        return None
    domain = match["domain"] or ("DefaultAppDomain" if windows else "None")
    start = int(match["start"], 10 if windows else 16)
    return HostProcess(int(match["pid"]), match["name"], domain, path, start)


def start_in_name(seconds: float, *, windows: bool = False) -> int:
    """A start, in seconds since 1970, as a pipe's name has it."""
    ticks = int((seconds + _UNIX_EPOCH) * _TICKS)
    return ticks if windows else ticks >> _LEFT_OUT_BITS & 0xFFFF_FFFF


def choose(pipes: Iterable[HostProcess], pid: int, start: int | None = None) -> HostProcess | None:
    """The pipe of a process, of several that carry its id: those of earlier processes stay behind.

    Args:
        pipes: what there is.
        pid: the process.
        start: when it began, if that is known: a clock that was set since makes it inexact. Otherwise it is the newest.
    """
    ours = [pipe for pipe in pipes if pipe.pid == pid]
    if start is None:
        return max(ours, key=lambda pipe: pipe.start, default=None)
    return min(ours, key=lambda pipe: abs(pipe.start - start), default=None)


def read_temp_folder(environment: bytes) -> str:
    """The temporary folder of a process with this environment, as ``/proc/PID/environ`` has it."""
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == b"TMPDIR" and value:
            return os.fsdecode(value)
    return "/tmp"  # noqa: S108 - it is where PowerShell puts them


# ---- this machine ----


def find_pipe(pid: int) -> HostProcess:
    """The pipe of a running process of this machine.

    Raises:
        CannotAttach: there is no such process, or it has no pipe.
        ConnectError: the process is another user's, or the folder cannot be read.
    """
    _check_alive(pid)
    folder = _folder_of(pid)
    found = choose(_pipes_in(folder), pid, _start_of(pid))
    if found is None:
        raise no_powershell(pid, folder)
    return found


def list_pipes() -> list[HostProcess]:
    """The PowerShell processes of this user, in the temporary folder that this process has, by their ids."""
    found = [pipe for pipe in _pipes_in(_own_folder()) if _is_running(pipe)]
    # An id that was given again has pipes of earlier processes.
    chosen = (choose(found, pid, _start_of(pid)) for pid in sorted({pipe.pid for pipe in found}))
    return [pipe for pipe in chosen if pipe is not None]


def custom_pipe(name: str) -> str:
    """Where a pipe is that was made by ``pwsh -CustomPipeName``; a path is where it is.

    Raises:
        CannotAttach: there is none.
    """
    if sys.platform == "win32":
        return name if name.startswith("\\\\") else _WINDOWS_FOLDER + name
    path = name if name.startswith("/") else f"{_own_folder()}/{PREFIX}{name}"
    if not os.path.lexists(path):
        raise no_custom_pipe(name, path)
    return path


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be noticed."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False
    return _stat(pid)[:1] in ([], ["Z"], ["X"])


def no_process(pid: int, where: str = "this machine") -> CannotAttach:
    """There is no such process."""
    return CannotAttach(
        f"No process was found with Id: {pid}. It may have ended: look again on {where}.", "NoProcessFoundWithId"
    )


def no_powershell(pid: int, folder: str) -> CannotAttach:
    """The process has no pipe, or none at this moment."""
    return CannotAttach(
        f"Cannot enter process with Id '{pid}' because it has not loaded the PowerShell engine or the named-pipe "
        f"listener was disabled: there is no pipe of it in {folder}. PowerShell 6 or newer has one, unless "
        "POWERSHELL_DIAGNOSTICS_OPTOUT=1 is set; if it is elsewhere, give its path as in pipe:/path.",
        "NoPowerShell",
        passing=True,
    )


def no_custom_pipe(name: str, path: str) -> CannotAttach:
    """There is no such pipe, or none at this moment."""
    return CannotAttach(
        f"No named pipe was found with CustomPipeName: {name}. There is no {path}: is the process running, with pwsh "
        "-CustomPipeName and the same TMPDIR?",
        "NoNamedPipeFound",
        passing=True,
    )


def _own_folder() -> str:
    return (os.environ.get("TMPDIR") or tempfile.gettempdir()).rstrip("/") or "/"


def _folder_of(pid: int) -> str:
    """The temporary folder of a process, which Linux tells of one's own."""
    if sys.platform != "linux":
        return _own_folder()
    try:
        return read_temp_folder(Path(f"/proc/{pid}/environ").read_bytes()).rstrip("/") or "/"
    except OSError:
        return _own_folder()


def _pipes_in(folder: str) -> list[HostProcess]:
    if sys.platform == "win32":
        folder = _WINDOWS_FOLDER
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False)]
    except OSError as error:
        raise ConnectError(f"The folder {folder} cannot be searched: {error.strerror or error}.") from None
    prefix = folder if sys.platform == "win32" else f"{folder.rstrip('/')}/"
    pipes = (read_pipe_name(prefix + name, windows=sys.platform == "win32") for name in names)
    return [pipe for pipe in pipes if pipe is not None]


def _check_alive(pid: int) -> None:
    if sys.platform == "win32":
        return  # os.kill would end it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        raise no_process(pid) from None
    except PermissionError:
        raise ConnectError(
            f"Process {pid} belongs to another user. PowerShell lets only its own user attach: run as that user."
        ) from None


def _is_running(pipe: HostProcess) -> bool:
    """Whether the pipe is of a process that runs now, and ours."""
    if sys.platform == "win32":
        return True  # a pipe there ends with its process
    with contextlib.suppress(ConnectError, OSError):
        _check_alive(pipe.pid)
        if os.lstat(pipe.path).st_uid != os.geteuid():
            return False
        return sys.platform != "linux" or _comm(pipe.pid) == pipe.name[:MAX_COMM]
    return False


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """What Linux says of a process, from its state on; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _start_of(pid: int) -> int | None:
    """When a process began, as its pipe's name has it; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    fields = _stat(pid)
    if not fields:
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return start_in_name(booted + int(fields[19]) / os.sysconf("SC_CLK_TCK"))
