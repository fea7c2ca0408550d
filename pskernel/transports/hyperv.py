"""PowerShell in a virtual machine of this Hyper-V host: two connections on AF_HYPERV, the second of them the stream.

Sockets of that family are waited for in threads: whether Windows' event loop takes them is not known, and what is
documented of them is the blocking calls. Time limits are asyncio's; a thread that waits too long ends with its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from pskernel.errors import ConnectError, TargetUnreachable, TransportClosed
from pskernel.protocol.powershelldirect import Handshake, HandshakeFailed, Login, to_broker, to_server
from pskernel.threads import in_thread
from pskernel.transports.base import Secret
from pskernel.transports.streams import CHUNK, CLOSED_HERE, Gate, Inbox

if sys.platform == "win32":
    import winreg

__all__ = [
    "BROKER",
    "SERVER",
    "Connect",
    "HyperVStream",
    "VMEndpoint",
    "connect_hyperv",
    "is_old_refused",
    "open_vm",
    "require_sockets",
]

# The services of a machine: the one that hears who one is, and PowerShell.
BROKER: Final = UUID("999e53d4-3d5c-4c3e-8779-bed06ec056e1")
SERVER: Final = UUID("a5201c21-2770-4c11-a68e-f182edb29220")

# Connects to a service of a machine, within so many seconds, and blocks meanwhile.
Connect = Callable[[UUID, UUID, float], socket.socket]

_NO_SOCKETS = (
    "Hyper-V's sockets need Python 3.12 or newer, on Windows. Go through the host instead: winrm://HOST?vm=NAME."
)
_GONE = "The Hyper-V socket target process has ended."
# An answer without an end of its own comes in one piece; this is for one that does not.
_SILENCE_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 1.0
# More than five minutes are no value of the option.
_LONGEST_CONNECT: Final = 300
_ANSWER_BYTES: Final = 1024


class VMUnreachable(TargetUnreachable):
    """The machine is there, and cannot be connected to."""

    error_id = "CreateRemoteRunspaceForVMFailed"


@dataclass(frozen=True, slots=True)
class VMEndpoint:
    r"""A virtual machine, and who one is in it.

    Attributes:
        id: the machine's.
        name: for messages.
        user: ``admin``, ``DOMAIN\admin``.
        password: of that user.
        configuration: the session configuration; empty for the machine's own choice.
        refuse_old: whether a machine that knows no tokens is left alone.
        timeout: seconds until PowerShell can be spoken to.
    """

    id: UUID
    name: str
    user: str
    password: Secret
    configuration: str = ""
    refuse_old: bool = False
    timeout: float = 30.0


async def open_vm(endpoint: VMEndpoint, *, connect: Connect | None = None) -> HyperVStream:
    """Log in to a machine, and connect to the PowerShell that was started there.

    Args:
        endpoint: the machine.
        connect: reaches its services; :func:`connect_hyperv` otherwise.

    Raises:
        CredentialRefused: the credential is wrong.
        ConnectError: the machine cannot be reached, or does not answer as PowerShell Direct does.
    """
    try:
        async with asyncio.timeout(endpoint.timeout):
            return await _open(endpoint, connect or connect_hyperv)
    except TimeoutError:
        raise VMUnreachable(
            f"The virtual machine {endpoint.name} did not answer within {endpoint.timeout:g} seconds. Wait until it "
            "has started, or give it more time with the option connect_timeout."
        ) from None


def connect_hyperv(machine: UUID, service: UUID, seconds: float) -> socket.socket:
    """A :data:`Connect` by Windows' own sockets.

    Raises:
        ConnectError: this system, or this Python, has none.
        OSError: nobody answers.
    """
    if sys.platform == "win32" and sys.version_info >= (3, 12):
        line = socket.socket(socket.AF_HYPERV, socket.SOCK_STREAM, socket.HV_PROTOCOL_RAW)
        try:
            line.setsockopt(
                socket.HV_PROTOCOL_RAW, socket.HVSOCKET_CONNECT_TIMEOUT, int(min(seconds, _LONGEST_CONNECT) * 1000)
            )
            line.connect((str(machine), str(service)))
        except BaseException:
            line.close()
            raise
        return line
    raise ConnectError(_NO_SOCKETS)


def require_sockets() -> None:
    """Raise ConnectError on a Windows whose Python is too old, before anybody is asked for a password."""
    if sys.platform == "win32" and sys.version_info < (3, 12):
        raise ConnectError(_NO_SOCKETS)


def is_old_refused() -> bool:
    """Whether this machine's policy refuses version 1, which has no tokens (RequirePsDirectAuthentication)."""
    if sys.platform == "win32":
        view = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        with (
            contextlib.suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\PowerShell", 0, view) as key,
        ):
            value, _ = winreg.QueryValueEx(key, "RequirePsDirectAuthentication")
            return isinstance(value, int) and value != 0
    return False


async def _open(endpoint: VMEndpoint, connect: Connect) -> HyperVStream:
    login = Login(endpoint.user, endpoint.password.reveal, endpoint.configuration)
    handshake = to_broker(login)
    await _introduce(endpoint, connect, handshake)
    if handshake.is_old:
        if endpoint.refuse_old:
            raise HandshakeFailed(
                "Negotiating a secure connection to Hyper-V failed. Make sure the Host and Guest are updated with all "
                f"relevant Microsoft Updates. {endpoint.name} speaks version 1 alone, which the policy "
                "RequirePsDirectAuthentication of this machine refuses."
            )
        handshake = to_broker(login, version=1)
        await _introduce(endpoint, connect, handshake)
    stream = await _reach(endpoint, connect, SERVER)
    try:
        if handshake.token:
            await _shake_hands(stream, to_server(handshake.token))
    except BaseException:
        await stream.aclose()
        raise
    return stream


async def _introduce(endpoint: VMEndpoint, connect: Connect, handshake: Handshake) -> None:
    line = await _reach(endpoint, connect, BROKER)
    try:
        await _shake_hands(line, handshake)
    finally:
        await line.aclose()


async def _shake_hands(line: HyperVStream, handshake: Handshake) -> None:
    try:
        await _converse(line, handshake)
    except TransportClosed:
        # Whoever says no need not wait for this side's last word.
        if handshake.refusal is None and not handshake.is_old:
            raise handshake.cut() from None
    if handshake.refusal is not None:
        raise handshake.refusal


async def _converse(line: HyperVStream, handshake: Handshake) -> None:
    reply = handshake.start()
    while True:
        if reply:
            await line.send(reply)
        if handshake.over:
            return
        try:
            async with asyncio.timeout(_SILENCE_SECONDS if handshake.awaits_silence else None):
                data = await line.receive(_ANSWER_BYTES)
        except TimeoutError:
            reply = handshake.silence()
            continue
        if not data:
            raise handshake.cut()
        reply = handshake.feed(data)


async def _reach(endpoint: VMEndpoint, connect: Connect, service: UUID) -> HyperVStream:
    found: list[socket.socket] = []
    given_up = threading.Event()

    def work() -> socket.socket:
        found.append(line := connect(endpoint.id, service, endpoint.timeout))
        if given_up.is_set():
            line.close()
        return line

    try:
        return HyperVStream(await in_thread(work))
    except PermissionError:
        raise VMUnreachable(
            f"Windows does not let this user reach the virtual machine {endpoint.name}: that takes an administrator, "
            "or a member of Hyper-V Administrators."
        ) from None
    except OSError as error:
        who = "its PowerShell Direct broker (the service vmicvmsession)" if service == BROKER else "PowerShell"
        raise VMUnreachable(
            f"A failure occurred while attempting to connect to the target virtual machine. {endpoint.name} runs, and "
            f"{who} does not answer: {error.strerror or error}. It needs Windows 10, Windows Server 2016 or newer."
        ) from None
    except asyncio.CancelledError:
        given_up.set()
        for line in found:
            line.close()
        raise


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also when cancelled: nobody else may write while a thread does."""
    writing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise


class HyperVStream:
    """A :class:`pskernel.transports.base.ByteStream` over a connected socket that only blocking calls are made on."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._gate = Gate()
        # What was received last has been taken in: the next may come.
        self._go = threading.Event()
        self._inbox = Inbox(pause=lambda: None, resume=self._go.set)
        self._ended = asyncio.Event()
        self._go.set()
        threading.Thread(target=self._read, name="pskernel-hyperv", daemon=True).start()

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        """Return what the machine sent."""
        return await self._inbox.take(max_bytes)

    async def send(self, data: bytes) -> None:
        """Send to the machine."""
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            self._gate.check()
            try:
                await _to_its_end(in_thread(partial(self._line.sendall, view[start : start + CHUNK])))
            except OSError:
                self._gate.break_(_GONE)
        self._gate.check()

    async def aclose(self) -> None:
        """Close the socket."""
        self._inbox.close()
        self._gate.break_(CLOSED_HERE)
        self._go.set()
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        try:
            # Where that does not wake the thread that reads, closing does.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._ended.wait()
        finally:
            self._line.close()

    def diagnostics(self) -> str:
        """Nothing: a socket has no second channel."""
        return ""

    def _read(self) -> None:
        data: bytes | None = b"..."
        while data:
            self._go.wait()
            self._go.clear()
            try:
                data = self._line.recv(CHUNK)
            except OSError:
                data = None
            try:
                self._loop.call_soon_threadsafe(self._arrived, data)
            except RuntimeError:  # the loop is gone, and whoever reads with it
                return

    def _arrived(self, data: bytes | None) -> None:
        if data:
            self._inbox.feed(data)
            if not self._inbox.paused:
                self._go.set()
            return
        self._inbox.end("" if data is not None else _GONE)
        if data is None:
            self._gate.break_(_GONE)
        self._ended.set()
