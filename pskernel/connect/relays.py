"""Relays of durable sessions at the other end: started, asked which sessions they keep, and found again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pskernel.credentials import Secret
from pskernel.errors import ConnectError, PipelineFailed, RemoteProtocolError
from pskernel.protocol.durable import VERSION, read_left
from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value
from pskernel.session.runspace import Runspace
from pskernel.transports.base import ByteStream, KeptPool, PoolGone
from pskernel.transports.durable.pool import noted_pool
from pskernel.transports.outofproc import OutOfProcTransport
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

__all__ = ["FoundRelay", "Relay", "Relays"]

# What the relay keeps for a client that is away; then the engine has to wait.
_MOST_KEPT = 67_108_864
_MAX_ANSWER = 32_768
_MOST_RELAYS = 200
_MAX_NAME = 100
# Whoever has started one comes sooner.
_COMING_SECONDS = 30
# What a folder for temporary files is called; the path reaches a script and an SSH server.
_PATH = re.compile(r"/[A-Za-z0-9_./+ -]{1,100}")
_TOKEN = re.compile(r"[A-Za-z0-9+/=]{40,60}")
_SESSION = re.compile(r"[0-9a-f]{32}")
_REFUSALS = {
    "PSKernelNoUnix": "A durable session needs a Unix system at the other end: a relay cannot be started on Windows.",
    "PSKernelTooOld": "A durable session needs PowerShell 7.3 or newer there.",
    "PSKernelNoSetsid": "A durable session needs setsid or nohup there, and neither is on PATH.",
}
_MOST_WHOLE = 10**10
# Together they are the relay.
_RELAY = ("relay.ps1", "relay-wire.ps1", "relay-story.ps1")


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a relay listens, what it lets in, and the session that it keeps."""

    path: str
    token: Secret
    session: str


@dataclass(frozen=True, slots=True)
class FoundRelay:
    """What a relay says of its session.

    Attributes:
        path: where it listens.
        session: its own id of that; empty for one that gave no answer.
        name: what the session is called.
        pool: what of it can be come back to; None where nothing can.
        is_dead: whether nobody listens there any more.
        is_ours: whether it is of this version of pskernel.
        is_removed: whether what it has left was removed, or it was ended, just now.
        has_ended: whether its PowerShell has ended.
        connected: whether a client is connected.
        opened: when it was started, in seconds since 1970; 0 where that is not known.
        alone: for how many seconds nobody has been connected.
        client: who is connected, or was last.
    """

    path: str
    session: str = ""
    name: str = ""
    pool: KeptPool | None = None
    is_dead: bool = False
    is_ours: bool = True
    is_removed: bool = False
    has_ended: bool = False
    connected: bool = False
    opened: float = 0.0
    alone: float = 0.0
    client: str = ""

    @property
    def problem(self) -> str:
        """Why nothing can be come back to."""
        if not self.is_ours:
            return "Its relay was started by another version of pskernel."
        if self.pool is not None:
            return ""
        if self.connected or self.alone < _COMING_SECONDS:
            return "Another client is just opening it, or was: try again in a moment."
        return "The client that began it was gone before it was open."

    @property
    def is_useless(self) -> bool:
        """Whether nobody of this version can come to it, nor does its client seem to be just about to."""
        alone = not self.connected and self.alone >= _COMING_SECONDS
        return bool(self.session) and self.pool is None and alone


class Relays:
    """Those that a PowerShell at the other end can see: the ones of its user.

    Args:
        runspace: of that PowerShell.
        seconds: for each question.
    """

    def __init__(self, runspace: Runspace, seconds: float) -> None:
        self._runspace = runspace
        self._seconds = seconds

    @classmethod
    async def at(cls, stream: ByteStream, seconds: float) -> Relays:
        """By a PowerShell that a stream leads to. Raises ConnectError."""
        return cls(await Runspace.open(OutOfProcTransport(stream), open_timeout=seconds), seconds)

    async def aclose(self) -> None:
        """Leave that PowerShell."""
        await self._runspace.aclose()

    async def start(self, session: str, name: str, idle: float) -> Relay:
        """Start one, and with it an engine.

        Args:
            session: its id.
            name: what it is called.
            idle: seconds after which it ends by itself when nobody is connected.

        Raises:
            ConnectError: none can be started there.
        """
        words = (relay_script(), session, name, _MOST_KEPT, idle)
        found = await self._ask("start-relay.ps1", words, "No durable session can be started there")
        return _read_relay(_read(found[0]) if found else {}, session)

    async def known(self, *, clean: bool = False) -> list[FoundRelay]:
        """All of them.

        Args:
            clean: whether what dead ones have left is removed, and those are ended that are of no use.

        Raises:
            ConnectError: they cannot be asked.
        """
        found = await self._list(clean=clean)
        useless = [each.session for each in found if clean and each.is_useless]
        ended = await self.end(*useless) if useless else set()
        return [replace(each, is_removed=True) if each.session in ended else each for each in found]

    async def end(self, *sessions: str) -> set[str]:
        """End relays, and what runs in them; returns the sessions of those that have ended. Raises ConnectError."""
        return {each.session for each in await self._list(ended=sessions) if each.is_removed and each.session}

    async def _list(self, *, clean: bool = False, ended: Sequence[str] = ()) -> list[FoundRelay]:
        found = await self._ask("find-relays.ps1", ("", clean, list(ended)), "Sessions cannot be listed there")
        if len(found) > _MOST_RELAYS:
            raise ConnectError(f"More than {_MOST_RELAYS} sessions are kept there: too many to choose from.")
        return [relay for text in found if (relay := _read_found(_read(text))) is not None]

    async def find(self, *, pool_id: UUID | None = None, name: str = "") -> tuple[Relay, KeptPool] | None:
        """The relay of a session, by its id or its name; None if there is none of that name.

        Raises:
            PoolGone: there is none of that id any more.
            ConnectError: there are several of that name, or it cannot be come back to.
        """
        chosen = [each for each in await self.known() if _is_meant(each, pool_id, name)]
        if not chosen and pool_id is None:
            return None
        if not chosen:
            raise PoolGone("The session does not exist there any more.")
        if len(chosen) > 1:
            ids = ", ".join(str(each.pool.pool_id) for each in chosen if each.pool is not None)
            raise ConnectError(
                f"There are several sessions named {name} there: {ids}. Come back to one by its id, with "
                "%connect_pssession, or end the others: `pskernel sessions` has --end ID."
            )
        relay, pool = chosen[0], chosen[0].pool
        if pool is None:
            raise ConnectError(
                f"Nobody can come back to the session {name} there. {relay.problem} "
                "`pskernel sessions` lists such, and ends them with --clean."
            )
        words: tuple[Any, ...] = (relay.session, False, [])
        answers = await self._ask("find-relays.ps1", words, "The session cannot be found again")
        said = next((said for text in answers if (said := _read(text)).get("session") == relay.session), None)
        if said is None:
            raise PoolGone("The session does not exist there any more.")
        return _read_relay(said, relay.session), pool

    async def _ask(self, script: str, words: Sequence[Any], problem: str) -> list[object]:
        values = tuple((None, Value(value)) for value in words)
        try:
            return await self._runspace.query(
                [[Command(_script(script), values, is_script=True)]], timeout=self._seconds
            )
        except PipelineFailed as failure:
            said = plain_text(failure.record.message)[:300]
            why = next((text for word, text in _REFUSALS.items() if word in said), None)
            raise ConnectError(
                why or f"{problem}; a restricted endpoint allows none. PowerShell said: {said}"
            ) from None
        except TimeoutError:
            raise ConnectError(f"{problem}: no answer within {self._seconds:g} seconds.") from None


def _is_meant(relay: FoundRelay, pool_id: UUID | None, name: str) -> bool:
    if pool_id is not None:
        return relay.pool is not None and relay.pool.pool_id == pool_id
    return relay.session != "" and relay.name == name


def relay_script() -> str:
    """The relay, as it is sent."""
    return "\n".join(map(_script, _RELAY))


def _read(text: object) -> dict[str, Any]:
    try:
        said = json.loads(str(text)[:_MAX_ANSWER])
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _read_relay(said: dict[str, Any], session: str) -> Relay:
    path, token = str(said.get("path")), str(said.get("token"))
    if not _PATH.fullmatch(path) or not _TOKEN.fullmatch(token):
        raise ConnectError("The relay of the session did not say where it is, as a relay does.")
    return Relay(path, Secret(token), session)


def _read_found(said: dict[str, Any]) -> FoundRelay | None:
    path, session = str(said.get("path")), str(said.get("session"))
    if not _PATH.fullmatch(path):
        return None
    is_removed = said.get("removed") is True
    if not _SESSION.fullmatch(session):
        return FoundRelay(path, is_dead=said.get("dead") is True, is_removed=is_removed)
    name, client = (plain_text(str(said.get(key, "")))[:_MAX_NAME] for key in ("name", "who"))
    opened, alone = _whole(said.get("opened")), _whole(said.get("alone"))
    relay = FoundRelay(
        path, session, name, is_removed=is_removed, has_ended=said.get("ended") is True,
        connected=said.get("linked") is True, opened=opened, alone=alone, client=client,
        is_ours=said.get("version") == VERSION,
    )  # fmt: skip
    return replace(relay, pool=_read_pool(said, relay))


def _whole(value: object) -> int:
    """Seconds, within what such can be."""
    return min(max(value, 0), _MOST_WHOLE) if type(value) is int else 0


def _read_pool(said: dict[str, Any], relay: FoundRelay) -> KeptPool | None:
    """None where another version has begun it, or its client was gone before it had opened it."""
    try:
        left = read_left(said)
    except RemoteProtocolError:
        return None
    pool_id = noted_pool(left.note)
    if pool_id is None or not relay.is_ours:
        return None
    return KeptPool(
        pool_id, relay.name, "", "", relay.connected, left.running, opened=relay.opened, client=relay.client,
        alone=relay.alone,
    )  # fmt: skip


@cache
def _script(name: str) -> str:
    return resources.files("pskernel.connect").joinpath("scripts", name).read_text("utf-8")
