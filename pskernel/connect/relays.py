"""Relays of durable sessions at the other end: started, asked which sessions they keep, and found again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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
from pskernel.transports.durablepool import noted_pool
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
# What a folder for temporary files is called; the path reaches a script and an SSH server.
_PATH = re.compile(r"/[A-Za-z0-9_./+ -]{1,100}")
_TOKEN = re.compile(r"[A-Za-z0-9+/=]{40,60}")
_SESSION = re.compile(r"[0-9a-f]{32}")
_REFUSALS = {
    "PSKernelNoUnix": "A durable session needs a Unix system at the other end: a relay cannot be started on Windows.",
    "PSKernelTooOld": "A durable session needs PowerShell 7.3 or newer there.",
    "PSKernelNoSetsid": "A durable session needs setsid or nohup there, and neither is on PATH.",
}
_WHOLE = ("process", "opened", "alone")
# Together they are the relay.
_RELAY = ("relay.ps1", "relay-guest.ps1", "relay-story.ps1")


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
        problem: why nothing can.
        process: the relay's process id.
        is_dead: whether nobody listens there any more.
    """

    path: str
    session: str = ""
    name: str = ""
    pool: KeptPool | None = None
    problem: str = ""
    process: int = 0
    is_dead: bool = False


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
            clean: whether what dead ones have left is removed.

        Raises:
            ConnectError: they cannot be asked.
        """
        found = await self._ask("find-relays.ps1", ("", clean), "Sessions cannot be listed there")
        return [relay for text in found[:_MOST_RELAYS] if (relay := _read_found(_read(text))) is not None]

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
            raise ConnectError(f"There are several sessions named {name} there: {ids}. Come back to one by its id.")
        relay, pool = chosen[0], chosen[0].pool
        if pool is None:
            raise ConnectError(f"Nobody can come back to the session {name} there. {relay.problem}")
        answers = await self._ask("find-relays.ps1", (relay.session, False), "The session cannot be found again")
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
    if not _SESSION.fullmatch(session):
        return FoundRelay(path, is_dead=said.get("dead") is True)
    name, client = (plain_text(str(said.get(key)))[:_MAX_NAME] for key in ("name", "who"))
    process, opened, alone = (value if type(value := said.get(key)) is int else 0 for key in _WHOLE)
    pool, problem = None, ""
    if said.get("version") != VERSION:
        problem = "Its relay was started by another version of pskernel."
    elif (left := _read_left(said)) is None:
        problem = "The client that began it was gone before it was open."
    else:
        pool = KeptPool(
            left[0], name, "", "", said.get("linked") is True, left[1], opened=opened, client=client, alone=alone
        )
    return FoundRelay(path, session, name, pool, problem, process)


def _read_left(said: dict[str, Any]) -> tuple[UUID, tuple[UUID, ...]] | None:
    try:
        left = read_left(said)
    except RemoteProtocolError:
        return None
    pool_id = noted_pool(left.note)
    return None if pool_id is None else (pool_id, left.running)


@cache
def _script(name: str) -> str:
    return resources.files("pskernel.connect").joinpath("scripts", name).read_text("utf-8")
