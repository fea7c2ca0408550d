"""The only module that knows every transport; each is imported when it is chosen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pskernel.credentials import CredentialReference, GivenCredential, Secret, resolve
from pskernel.errors import TargetError
from pskernel.questions import Asker, Question
from pskernel.transports.outofproc import OutOfProcTransport

if TYPE_CHECKING:
    from types import ModuleType
    from uuid import UUID

    from pskernel.target import Target
    from pskernel.transports.base import ByteStream, Transport
    from pskernel.transports.durable.pool import DurablePool
    from pskernel.transports.pipes import HostProcess
    from pskernel.transports.ssh.login import SSHEndpoint
    from pskernel.transports.winrm.endpoint import WinRMEndpoint

__all__ = [
    "endpoint_of",
    "find_processes",
    "open_durable_pool",
    "open_stream",
    "open_transport",
    "recorded_cells",
]

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


async def open_transport(
    target: Target,
    asker: Asker,
    *,
    credential: GivenCredential | None = None,
    tell: Callable[[str], None] | None = None,
    name: str = "",
) -> Transport:
    """Reach a target, without opening a runspace on it; a WinRM service is only reached when one is opened.

    Args:
        target: where.
        asker: whom to ask for passwords and codes.
        credential: the password, or where it is, if the target does not say.
        tell: takes sentences for the user about the way there; otherwise they are the transport's first notices.
        name: what the session is called at a WinRM server.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    if target.scheme == "replay":
        from pskernel.transports.cassettes.cassette import Cassette
        from pskernel.transports.cassettes.replay import ReplayTransport

        cassette = Cassette.load(target.path or "")
        return ReplayTransport(cassette, speed=target.options.speed, strict=target.options.strict)
    if target.is_winrm:
        winrm, endpoint = await endpoint_of(target, asker, credential, name)
        over_winrm: Transport = winrm.WinRMTransport(endpoint, asker=asker, tell=tell)
        return over_winrm
    if target.options.durable:
        return await open_durable_pool(target, asker, credential, tell, name=name)
    news: list[str] = []
    stream = await open_stream(target, asker, tell or news.append, credential=credential)
    return OutOfProcTransport(stream, news=news)


async def open_durable_pool(
    target: Target,
    asker: Asker,
    credential: GivenCredential | None,
    tell: Callable[[str], None] | None = None,
    *,
    name: str = "",
    pool_id: UUID | None = None,
    take_over: bool = False,
) -> DurablePool:
    """Start a durable session, or come to one: as :func:`pskernel.connect.durable.open_durable`."""
    from pskernel.connect.durable import open_durable

    endpoint = _ssh_endpoint(target) if target.scheme == "ssh" else None
    secret = await _secret(target, asker, credential)
    return await open_durable(target, asker, secret, tell, endpoint, name=name, pool_id=pool_id, take_over=take_over)


async def open_stream(
    target: Target,
    asker: Asker,
    tell: Callable[[str], None] | None = None,
    *,
    credential: GivenCredential | None = None,
) -> ByteStream:
    """Reach a target that speaks the out-of-process framing, without a relay.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    if target.scheme == "ssh":
        return await _open_ssh(target, asker, await _secret(target, asker, credential), tell)
    if target.scheme == "process":
        return await _open_process(target, asker)
    if target.scheme == "vm":
        return await _open_vm(target, asker, credential)
    return await _open_on_this_machine(target)


async def _open_on_this_machine(target: Target) -> ByteStream:
    """What is reached without a login: containers, processes that run already, sockets."""
    if target.scheme == "container":
        from pskernel.connect.containers import open_container

        return await open_container(target)
    if target.is_attached:
        from pskernel.connect.processes import attach_to

        return await attach_to(target)
    from pskernel.transports.unix import open_unix

    return await open_unix(target.path or "")


def recorded_cells(path: str) -> list[str]:
    """The texts of the cells in a recording, in their order. Raises as :func:`pskernel.connect.connect`."""
    from pskernel.transports.cassettes.cassette import Cassette

    return [recording.key.cell for recording in Cassette.load(path).recordings if recording.key.cell is not None]


async def _open_process(target: Target, asker: Asker) -> ByteStream:
    from pskernel.connect.elevation import elevation_of, server_arguments
    from pskernel.transports.process import open_elevated, open_process

    if target.options.sudo:
        return await open_elevated(await elevation_of(target, asker))
    program = target.path or shutil.which("pwsh") or "pwsh"
    return await open_process([program, _SERVER_MODE, *server_arguments(target)])


async def _open_ssh(
    target: Target, asker: Asker, secret: Secret | None, tell: Callable[[str], None] | None
) -> ByteStream:
    endpoint = _ssh_endpoint(target)
    if target.is_attached:
        from pskernel.transports.ssh.process import open_ssh_process

        options = target.options
        return await open_ssh_process(
            endpoint, options.pid or options.pipe or "", asker=asker, secret=secret, tell=tell
        )
    handover = None
    if target.options.sudo:
        from pskernel.connect.elevation import elevation_of

        handover = await elevation_of(target, asker)
    if target.options.backend == "openssh":
        from pskernel.transports.ssh.openssh import open_openssh

        return await open_openssh(endpoint, asker=asker, secret=secret, tell=tell, handover=handover)
    from pskernel.transports.ssh.subsystem import open_ssh

    return await open_ssh(endpoint, asker=asker, secret=secret, tell=tell, handover=handover)


async def _open_vm(target: Target, asker: Asker, credential: GivenCredential | None) -> ByteStream:
    from pskernel.connect import machines

    user = machines.require_vm_user(target)
    # Before anybody is asked for a password: it has to be there, and to run.
    machine = await machines.find_machine(target)
    secret = await _secret(target, asker, credential)
    if secret is None:
        secret = Secret(await asker.ask(machines.password_question(target, user)))
    return await machines.open_machine(target, machine, user, secret)


def _ssh_endpoint(target: Target) -> SSHEndpoint:
    """Where an ``ssh://`` target leads. What the user did not choose is left to their ssh configuration."""
    from pskernel.transports.ssh.login import SSHEndpoint

    options = target.options
    chosen = {name: getattr(options, name) for name in _SSH_OPTIONS if name in options.changed()}
    return SSHEndpoint(target.host or "", target.port, target.user, **chosen)


async def find_processes(host: Target | None, asker: Asker, ids: Sequence[int] = ()) -> list[HostProcess]:
    """The PowerShell processes of this machine, or of an SSH host, that this user can attach to.

    Args:
        host: an ``ssh://`` target; None is this machine.
        asker: whom to ask for passwords there.
        ids: looked for also in the temporary folders of these processes.

    Raises:
        ConnectError: they cannot be looked for.
    """
    if host is None:
        from pskernel.connect.processes import list_processes

        return await list_processes(ids)
    from pskernel.transports.ssh.process import list_ssh_processes

    secret = await _secret(host, asker)
    return await list_ssh_processes(_ssh_endpoint(host), ids, asker=asker, secret=secret)


async def endpoint_of(
    target: Target, asker: Asker, credential: GivenCredential | None, name: str = ""
) -> tuple[ModuleType, WinRMEndpoint]:
    """Where a WinRM target leads, and the module that goes there. Raises as :func:`pskernel.connect.connect`."""
    try:
        from pskernel.connect import winrm
    except ImportError as error:
        raise TargetError(
            f"WinRM needs a library that is not installed ({error.name}): pip install 'pskernel[winrm]'"
        ) from None
    if credential is not None or target.options.credential is not None:
        winrm.require_user(target, credential.source if credential is not None else target.options.credential)
    secret = await _secret(target, asker, credential)
    return winrm, await winrm.endpoint_of(target, secret, asker, name)


async def _secret(target: Target, asker: Asker, credential: GivenCredential | None = None) -> Secret | None:
    """The password that a target says where to find, or that was given. Raises as :func:`pskernel.connect.connect`."""
    question = Question(f"Password for {target.login}: ")
    if credential is not None:
        return await credential.password(asker, question)
    if target.options.credential is None:
        return None
    return await resolve(CredentialReference.parse(target.options.credential), asker, question)
