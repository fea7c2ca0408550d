"""Durable sessions: their relay is started over the target's usual transport, and then reached again and again."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from pskernel.connect.containers import open_bridge, open_container
from pskernel.connect.relays import Relay, Relays
from pskernel.credentials import Secret
from pskernel.errors import ConnectError, PromptUnavailable, ProtocolError, TargetUnreachable, TransportClosed
from pskernel.protocol.durable import Resumable
from pskernel.transports.base import ByteStream, PoolGone
from pskernel.transports.durable.pool import DurablePool
from pskernel.transports.durable.stream import DurableStream, Patience
from pskernel.transports.process import open_process
from pskernel.transports.ssh.login import SSHEndpoint
from pskernel.transports.unix import open_unix

if TYPE_CHECKING:
    from uuid import UUID

    from pskernel.questions import Asker, Question
    from pskernel.target import Target
    from pskernel.transports.base import KeptPool

__all__ = ["DEFAULT_IDLE_SECONDS", "open_durable", "plain"]

# As long as a WinRM server keeps a session.
DEFAULT_IDLE_SECONDS = 7200.0
_TAKEN = (
    "Another client has the session {name} on {label}: {client}. Nothing was changed. To take it from that one, say so "
    "with the option take_over=true."
)

# Starts PowerShell at the target, lets the function use it, and reaches the socket whose path that returns.
_Start = Callable[[Callable[[ByteStream], Awaitable[str]]], Awaitable[ByteStream]]
_OpenLink = Callable[[str], Awaitable[ByteStream]]


async def open_durable(
    target: Target,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
    endpoint: SSHEndpoint | None,
    *,
    name: str = "",
    pool_id: UUID | None = None,
    take_over: bool = False,
) -> DurablePool:
    """Start a relay at the target, and with it the engine, or come to one that is there; returns the way to it.

    Args:
        target: where; it may name a session, or say that one is taken from another client.
        asker: whom to ask for passwords and codes, now; on the way back nobody is asked.
        secret: the password that is known already.
        tell: takes sentences for the user about the way there.
        endpoint: of an SSH target.
        name: what a new session is called where the target does not say.
        pool_id: which session to come to; None: the one that the target names, or a new one.
        take_over: whether it is taken from another client that has it; the target may say so too.

    Raises:
        ConnectError: the target cannot be reached, no relay can be started there, or another client has the session.
        PoolGone: there is no such session.
    """
    options, take_over = target.options, take_over or target.options.take_over
    idle = DEFAULT_IDLE_SECONDS if options.idle_timeout is None else options.idle_timeout
    seconds = idle if options.reconnect_timeout is None else options.reconnect_timeout
    start, open_link = _way(target, asker, secret, tell, endpoint)
    relays: list[tuple[Relay, KeptPool | None]] = []

    async def run(stream: ByteStream) -> str:
        there = await Relays.at(stream, options.open_timeout)
        try:
            found = await _find(there, target, pool_id, take_over=take_over)
            relays.append(found or (await there.start(uuid4().hex, options.session or name, idle), None))
        finally:
            await there.aclose()
        return relays[0][0].path

    try:
        first = await start(run)
        relay, pool = relays[0]
        state = Resumable(
            relay.session, relay.token, uuid4().hex, who=_this_client(), comes_later=pool is not None,
            takes_over=take_over, idle=idle,
        )  # fmt: skip
        stream = DurableStream(state, lambda: open_link(relay.path), target.label, Patience(seconds))
        await stream.begin(first)
    except (TransportClosed, ProtocolError, TimeoutError) as error:
        is_new = bool(relays) and relays[0][1] is None
        if isinstance(error, PoolGone) and not is_new:
            raise
        why = str(error) or "Its relay did not answer."
        raise ConnectError(f"The durable session on {target.label} could not be opened. {why}") from None
    return DurablePool(stream, idle_timeout=idle)


async def _find(
    there: Relays, target: Target, pool_id: UUID | None, *, take_over: bool
) -> tuple[Relay, KeptPool] | None:
    """The one that is meant, if it is there."""
    options = target.options
    if pool_id is None and options.session is None:
        return None
    found = await there.find(pool_id=pool_id, name=options.session or "")
    if found is not None and found[1].connected and not take_over:
        pool = found[1]
        raise ConnectError(_TAKEN.format(name=pool.name or pool.pool_id, label=target.label, client=pool.client))
    return found


def plain(target: Target) -> Target:
    """The same place without a relay."""
    options = replace(
        target.options, durable=False, session=None, keep=False, take_over=False, idle_timeout=None,
        reconnect_timeout=None,
    )  # fmt: skip
    return replace(target, options=options)


def _this_client() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user} on {socket.gethostname()}, process {os.getpid()}"


def _way(
    target: Target,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
    endpoint: SSHEndpoint | None,
) -> tuple[_Start, _OpenLink]:
    if endpoint is not None and target.options.backend == "openssh":
        return _by_openssh(endpoint, asker, secret, tell)
    if endpoint is not None:
        return _by_ssh(endpoint, asker, secret, tell)
    if target.scheme == "container":
        return _by(lambda: open_container(target), lambda path: open_bridge(target, path))
    return _by(lambda: _open_process(target), _open_socket)


def _by(open_stream: Callable[[], Awaitable[ByteStream]], open_link: _OpenLink) -> tuple[_Start, _OpenLink]:
    async def start(run: Callable[[ByteStream], Awaitable[str]]) -> ByteStream:
        return await open_link(await run(await open_stream()))

    return start, open_link


async def _open_process(target: Target) -> ByteStream:
    return await open_process([target.path or shutil.which("pwsh") or "pwsh", "-s", *target.options.arguments])


async def _open_socket(path: str) -> ByteStream:
    try:
        return await open_unix(path)
    except TargetUnreachable:
        raise PoolGone("Its relay is gone: somebody has ended it.") from None


def _by_ssh(
    endpoint: SSHEndpoint, asker: Asker, secret: Secret | None, tell: Callable[[str], None] | None
) -> tuple[_Start, _OpenLink]:
    from pskernel.transports.ssh.relay import open_socket_by_ssh, start_by_ssh

    answers = _Answers(asker)

    async def start(run: Callable[[ByteStream], Awaitable[str]]) -> ByteStream:
        return await start_by_ssh(endpoint, run, asker=answers, secret=secret, tell=tell)

    async def open_link(path: str) -> ByteStream:
        return await open_socket_by_ssh(endpoint, path, asker=answers.again(), secret=secret)

    return start, open_link


def _by_openssh(
    endpoint: SSHEndpoint, asker: Asker, secret: Secret | None, tell: Callable[[str], None] | None
) -> tuple[_Start, _OpenLink]:
    from pskernel.transports.ssh.openssh import open_openssh
    from pskernel.transports.ssh.opensshrelay import open_socket_by_openssh
    from pskernel.transports.ssh.sockets import FORWARDS_NONE, GONE

    answers = _Answers(asker)

    async def start(run: Callable[[ByteStream], Awaitable[str]]) -> ByteStream:
        path = await run(await open_openssh(endpoint, asker=answers, secret=secret, tell=tell))
        # The socket takes a login of its own.
        return await open_socket_by_openssh(
            endpoint, path, asker=answers.once_more(), secret=secret, advice=FORWARDS_NONE
        )

    async def open_link(path: str) -> ByteStream:
        return await open_socket_by_openssh(endpoint, path, asker=answers.again(), secret=secret, advice=GONE)

    return start, open_link


class _Answers:
    """Asks the user while a session is opened, and keeps the passwords in memory for the way back.

    A code of the moment is not kept: it would be wrong then.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._kept: dict[str, Secret] = {}

    async def ask(self, question: Question) -> str:
        """Put it to the user."""
        answer = await self._asker.ask(question)
        if question.secret and question.lasting:
            self._kept[question.lasting] = Secret(answer)
        return answer

    def again(self) -> Asker:
        """Whoever answers for the user on the way back: each question once."""
        return _Kept(dict(self._kept))

    def once_more(self) -> Asker:
        """The same while the session is opened, when the user is there for what is not known."""
        return _Kept(dict(self._kept), self)


class _Kept:
    def __init__(self, answers: dict[str, Secret], asker: Asker | None = None) -> None:
        self._answers = answers
        self._asker = asker

    async def ask(self, question: Question) -> str:
        answer = self._answers.pop(question.lasting, None)
        if answer is None and self._asker is not None:
            return await self._asker.ask(question)
        if answer is None:
            raise PromptUnavailable(
                f"{question.text.rstrip(': ')} is needed to come back to the session, and nobody can be asked then. A "
                "key, or a stored password (option credential), needs no answer."
            )
        return answer.reveal()
