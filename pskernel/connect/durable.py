"""Durable sessions: their relay is started over the target's usual transport, and then reached again and again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING
from uuid import uuid4

from pskernel.connect.containers import open_bridge, open_container
from pskernel.credentials import Secret
from pskernel.errors import (
    ConnectError,
    PipelineFailed,
    PromptUnavailable,
    ProtocolError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.protocol.durable import Resumable
from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value
from pskernel.session.runspace import Runspace
from pskernel.transports.base import ByteStream, PoolGone
from pskernel.transports.durable import DurableStream, Patience
from pskernel.transports.outofproc import OutOfProcTransport
from pskernel.transports.process import open_process
from pskernel.transports.sshlogin import SSHEndpoint
from pskernel.transports.streams import plain_text
from pskernel.transports.unix import open_unix

if TYPE_CHECKING:
    from pskernel.questions import Asker, Question
    from pskernel.target import Target

__all__ = ["DEFAULT_IDLE_SECONDS", "open_durable"]

# As long as a WinRM server keeps a session.
DEFAULT_IDLE_SECONDS = 7200.0
# What the relay keeps for a client that is away; then the engine has to wait.
_MOST_KEPT = 67_108_864
_MAX_ANSWER = 4_096
# What a folder for temporary files is called; the path reaches a script and an SSH server.
_PATH = re.compile(r"/[A-Za-z0-9_./+ -]{1,100}")
_REFUSALS = {
    "PSKernelNoUnix": "A durable session needs a Unix system at the other end: a relay cannot be started on Windows.",
    "PSKernelTooOld": "A durable session needs PowerShell 7.3 or newer there.",
    "PSKernelNoSetsid": "A durable session needs setsid or nohup there, and neither is on PATH.",
}

# Starts PowerShell at the target, lets the function use it, and reaches the socket whose path that returns.
_Start = Callable[[Callable[[ByteStream], Awaitable[str]]], Awaitable[ByteStream]]
_OpenLink = Callable[[str], Awaitable[ByteStream]]


@dataclass(frozen=True, slots=True)
class _Relay:
    path: str
    token: Secret


async def open_durable(
    target: Target,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
    endpoint: SSHEndpoint | None,
) -> DurableStream:
    """Start a relay at the target, and with it the engine; returns the stream to that.

    Args:
        target: where.
        asker: whom to ask for passwords and codes, now; on the way back nobody is asked.
        secret: the password that is known already.
        tell: takes sentences for the user about the way there.
        endpoint: of an SSH target.

    Raises:
        ConnectError: the target cannot be reached, or no relay can be started there.
    """
    options, session = target.options, uuid4().hex
    idle = DEFAULT_IDLE_SECONDS if options.idle_timeout is None else options.idle_timeout
    seconds = idle if options.reconnect_timeout is None else options.reconnect_timeout
    start, open_link = _way(target, asker, secret, tell, endpoint)
    relays: list[_Relay] = []

    async def run(stream: ByteStream) -> str:
        relays.append(await _start_relay(stream, session, idle, options.open_timeout))
        return relays[0].path

    try:
        first = await start(run)
        state = Resumable(session, relays[0].token, uuid4().hex)
        stream = DurableStream(state, lambda: open_link(relays[0].path), target.label, Patience(seconds))
        await stream.begin(first)
    except (TransportClosed, ProtocolError, TimeoutError) as error:
        why = str(error) or "Its relay did not answer."
        raise ConnectError(f"The durable session on {target.label} could not be opened. {why}") from None
    return stream


def _way(
    target: Target,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
    endpoint: SSHEndpoint | None,
) -> tuple[_Start, _OpenLink]:
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
    from pskernel.transports.sshrelay import open_socket_by_ssh, start_by_ssh

    answers = _Answers(asker)

    async def start(run: Callable[[ByteStream], Awaitable[str]]) -> ByteStream:
        return await start_by_ssh(endpoint, run, asker=answers, secret=secret, tell=tell)

    async def open_link(path: str) -> ByteStream:
        return await open_socket_by_ssh(endpoint, path, asker=answers.again(), secret=secret)

    return start, open_link


async def _start_relay(stream: ByteStream, session: str, idle: float, seconds: float) -> _Relay:
    """Start it through PowerShell, which is left then. Raises ConnectError."""
    runspace = await Runspace.open(OutOfProcTransport(stream), open_timeout=seconds)
    try:
        values = tuple((None, Value(value)) for value in (_script("relay.ps1"), session, _MOST_KEPT, idle))
        found = await runspace.query([[Command(_script("start-relay.ps1"), values, is_script=True)]], timeout=seconds)
    except PipelineFailed as failure:
        said = plain_text(failure.record.message)[:300]
        why = next((text for word, text in _REFUSALS.items() if word in said), None)
        raise ConnectError(
            why
            or f"No durable session can be started there; a restricted endpoint allows none. PowerShell said: {said}"
        ) from None
    except TimeoutError:
        raise ConnectError(f"The relay of the session did not start within {seconds:g} seconds.") from None
    finally:
        await runspace.aclose()
    return _read_answer(found)


def _read_answer(found: list[object]) -> _Relay:
    try:
        said = json.loads(str(found[0])[:_MAX_ANSWER])
        path, token = str(said["path"]), str(said["token"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        path, token = "", ""
    if not _PATH.fullmatch(path) or not re.fullmatch(r"[A-Za-z0-9+/=]{40,60}", token):
        raise ConnectError("The relay of the session did not say where it is, as a relay does.")
    return _Relay(path, Secret(token))


@cache
def _script(name: str) -> str:
    return resources.files("pskernel.connect").joinpath("scripts", name).read_text("utf-8")


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


class _Kept:
    def __init__(self, answers: dict[str, Secret]) -> None:
        self._answers = answers

    async def ask(self, question: Question) -> str:
        answer = self._answers.pop(question.lasting, None)
        if answer is None:
            raise PromptUnavailable(
                f"{question.text.rstrip(': ')} is needed to come back to the session, and nobody can be asked then. A "
                "key, or a stored password (option credential), needs no answer."
            )
        return answer.reveal()
