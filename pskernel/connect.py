"""From a target to an open runspace. The only module that knows every transport; each is imported when it is chosen."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pskernel.credentials import CredentialReference, Secret, resolve
from pskernel.errors import ConnectError
from pskernel.protocol.pipelines import Screen
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.session.runspace import Runspace
from pskernel.transports.outofproc import OutOfProcTransport

if TYPE_CHECKING:
    from pskernel.target import Target
    from pskernel.transports.base import ByteStream, Transport

__all__ = ["connect", "open_transport", "opener"]

_SERVER_MODE = "-s"
# Options that are fields of an SSHEndpoint under the same name.
_SSH_OPTIONS = (
    "key_file",
    "subsystem",
    "ssh_config",
    "known_hosts",
    "accept_host_key",
    "proxy_jump",
    "connect_timeout",
    "keepalive",
)


async def connect(target: Target, *, asker: Asker | None = None, record_to: str | None = None) -> Runspace:
    """Open a runspace on a target.

    Args:
        target: where.
        asker: whom to ask for passwords and codes; None asks nobody.
        record_to: a file; what the remote sends is recorded, and written there when the runspace closes.

    Raises:
        TargetError: the target or its credential cannot be used; nothing was contacted.
        ConnectError: no session could be opened; the subclasses say why.
    """
    transport = await open_transport(target, asker or NobodyToAsk())
    if record_to is not None:
        from pskernel.transports.recording import RecordingTransport

        transport = RecordingTransport(transport, target=target.redacted, save_to=record_to)
    return await Runspace.open(
        transport,
        screen=Screen(width=target.options.width),
        open_timeout=target.options.open_timeout,
    )


def opener(target: Target, *, record_to: str | None = None) -> Callable[[Asker], Awaitable[Runspace]]:
    """What an :class:`pskernel.session.interactive.InteractiveSession` opens its runspaces with.

    With ``record_to``, it opens one session only: a recording is of one, and a second would take its place.
    """
    recorded = False

    async def open_with(asker: Asker) -> Runspace:
        nonlocal recorded
        if recorded:
            raise ConnectError(
                f"The session on {target.label} that was recorded is over, and its recording is in {record_to}. No "
                "second session was opened, because its recording would replace that one. Record again from the start."
            )
        runspace = await connect(target, asker=asker, record_to=record_to)
        recorded = record_to is not None
        return runspace

    return open_with


async def open_transport(target: Target, asker: Asker, *, tell: Callable[[str], None] | None = None) -> Transport:
    """Reach a target, without opening a runspace on it.

    Args:
        target: where.
        asker: whom to ask for passwords and codes.
        tell: takes sentences for the user about the way there; otherwise they are the transport's first notices.

    Raises:
        TargetError, ConnectError: as :func:`connect`.
    """
    if target.scheme == "replay":
        from pskernel.transports.cassette import Cassette
        from pskernel.transports.replay import ReplayTransport

        cassette = Cassette.load(target.path or "")
        return ReplayTransport(cassette, speed=target.options.speed, strict=target.options.strict)
    news: list[str] = []
    stream = await open_stream(target, asker, tell or news.append)
    return OutOfProcTransport(stream, news=news)


async def open_stream(target: Target, asker: Asker, tell: Callable[[str], None] | None = None) -> ByteStream:
    """Reach a target that speaks the out-of-process framing.

    Raises:
        TargetError, ConnectError: as :func:`connect`.
    """
    if target.scheme == "ssh":
        return await _open_ssh(target, asker, tell)
    if target.scheme == "process":
        from pskernel.transports.process import open_process

        program = target.path or shutil.which("pwsh") or "pwsh"
        return await open_process([program, _SERVER_MODE, *target.options.arguments])
    from pskernel.transports.unix import find_pipe, open_unix

    return await open_unix(find_pipe(target.pid) if target.pid is not None else target.path or "")


async def _open_ssh(target: Target, asker: Asker, tell: Callable[[str], None] | None) -> ByteStream:
    from pskernel.transports.sshlogin import SSHEndpoint

    options = target.options
    # What the user did not choose is left to their ssh configuration.
    chosen = {name: getattr(options, name) for name in _SSH_OPTIONS if name in options.changed()}
    endpoint = SSHEndpoint(target.host or "", target.port, target.user, **chosen)
    secret = await _secret(target, asker)
    if options.backend == "openssh":
        from pskernel.transports.openssh import open_openssh

        return await open_openssh(endpoint, asker=asker, secret=secret, tell=tell)
    from pskernel.transports.ssh import open_ssh

    return await open_ssh(endpoint, asker=asker, secret=secret, tell=tell)


async def _secret(target: Target, asker: Asker) -> Secret | None:
    if target.options.credential is None:
        return None
    reference = CredentialReference.parse(target.options.credential)
    return await resolve(reference, asker, Question(f"Password for {target.label}: "))
