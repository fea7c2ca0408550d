"""On which host a session's pipelines run: the one it was opened on, or one behind it.

``Enter-PSSession`` in a cell is carried out by the server. No message tells the client of it: from then on the server
sends all pipelines on to the other host, until ``Exit-PSSession`` runs there or that host is lost. So the server is
asked which host it is, by the id that each has for its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pskernel.errors import PipelineFailed, PSKernelError, RemoteProtocolError
from pskernel.protocol.pipelines import Command
from pskernel.records import HostCall
from pskernel.session.aims import EXIT, Aim
from pskernel.session.facts import Facts, ask_facts, is_no_language, script
from pskernel.session.pipeline import collect

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["BEHIND_SECONDS", "CHECK_SECONDS", "Hops", "LeftTarget", "Move", "leave_all", "whereabouts"]

# PowerShell runs event handlers within our question; a session is not worth less than the patience for them. An
# interrupt ends the waiting.
CHECK_SECONDS = 300.0
# Behind another host nothing but this question tells that the one there has gone silent.
BEHIND_SECONDS = 30.0
# A server lets one of its sessions enter one host. Each host on the way may do the same.
_MAX_LEVELS = 5
# The session behind may still be closing, or may just have been lost, when the host in front of it is asked. What is
# sent to it then is not run anywhere.
_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
_CLOSING = re.compile(r"RemotePSInvocationStateInfoReason|InvalidRunspacePoolState|PSRemoting(Transport|DataStructure)")


@dataclass(frozen=True, slots=True)
class Move:
    """The session was taken to another host, or back.

    Attributes:
        text: what happened, for the user.
        wanted: whether the cell asked for that in so many words. Otherwise its user believes to be elsewhere.
    """

    text: str
    wanted: bool = False


class LeftTarget(PSKernelError):
    """The session is on the host through which its target was reached: the session on the target is over."""


class Hops:
    """The hosts of one runspace, one behind the other; the last one runs what is sent.

    Args:
        home: the host the runspace was opened on.
        label: how messages name the target.
        in_front: the id of the host through which that was reached, if it was; nothing may run there.
    """

    def __init__(self, home: Facts, label: str, in_front: str = "") -> None:
        self._label = label
        self._in_front = in_front
        self._levels = [home]
        self._count = 0
        self._numbers = [0]

    @property
    def facts(self) -> Facts:
        """The host that runs what is sent, as it says itself."""
        return self._levels[-1]

    @property
    def home(self) -> Facts:
        """The host that the runspace was opened on."""
        return self._levels[0]

    @property
    def can_tell(self) -> bool:
        """Whether the first host said who it is. One that did not is not asked again."""
        return bool(self.home.host_id)

    @property
    def is_away(self) -> bool:
        """Whether it is another host than the one the session was opened on."""
        return len(self._levels) > 1

    @property
    def is_behind(self) -> bool:
        """Whether there is a host in front, on which cells would run if this one were lost."""
        return self.is_away or bool(self._in_front)

    @property
    def place(self) -> str:
        """The hosts in their order, as in ``admin@web01 → DB01``."""
        return self.way_from(self._label)

    def way_from(self, first: str) -> str:
        """The hosts in their order, the first one by another name."""
        pairs = pairwise(self._levels)
        return " \N{RIGHTWARDS ARROW} ".join([first, *(_name(level, before) for before, level in pairs)])

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which of all the hops of this runspace lead here: no two places have the same."""
        return tuple(self._numbers)

    async def look(self, runspace: Runspace, aim: Aim, *, follow: bool) -> Move | None:
        """Find out where the session is now.

        Args:
            runspace: idle.
            aim: what the last cell asked for.
            follow: whether it may stay on a new host; otherwise it is brought back.

        Returns:
            what the user must know, or None if it is where it was, and was to be.

        Raises:
            LeftTarget: it is on none of them any more.
            PSKernelError: it does not say, or does not come back.
        """
        found = await self._where(runspace)
        if found == self.facts.host_id:
            stayed = aim is Aim.BACK and self.is_away
            return Move(f"The session did not come back. Cells run on {self.place} still.") if stayed else None
        if self._knows(found):
            return self._returned(found, aim)
        if not found and aim is not Aim.HOP:
            # A language mode that allows no expression any more, or a host that tells nothing: leaving shows which.
            return None if await _exit_one_level(runspace) else await self._undone(runspace)
        if not follow or len(self._levels) >= _MAX_LEVELS:
            return await self._undone(runspace)
        return await self._follow(runspace, aim)

    async def _follow(self, runspace: Runspace, aim: Aim) -> Move | None:
        facts = await ask_facts(runspace, self.place)
        if facts.host_id and facts.host_id == self.facts.host_id:
            return None
        self._push(facts)
        return Move(self._entered(), wanted=aim is Aim.HOP)

    async def come_home(self, runspace: Runspace) -> None:
        """Leave all hosts behind the first one. Raises as :meth:`look`, and if that does not succeed."""
        for _ in range(_MAX_LEVELS):
            await self.look(runspace, Aim.NOTHING, follow=True)
            if not self.is_away:
                return
            await _exit_one_level(runspace)
        raise RemoteProtocolError("It did not come back.")

    async def _where(self, runspace: Runspace) -> str:
        found = await whereabouts(runspace)
        if found and found == self._in_front:
            raise LeftTarget(f"The session on {self.place} has ended: its variables, functions and location are gone.")
        return found

    def _knows(self, host_id: str) -> bool:
        return bool(host_id) and any(level.host_id == host_id for level in self._levels)

    def _push(self, facts: Facts) -> None:
        self._count += 1
        self._levels.append(facts)
        self._numbers.append(self._count)

    async def _undone(self, runspace: Runspace) -> Move:
        """Come back from a host that is not to be stayed on."""
        for _ in range(_MAX_LEVELS):
            found = await self._where(runspace)
            if found == self.facts.host_id:
                return Move(
                    f"Enter-PSSession took this session to another host, where it cannot stay. It is on {self.place} "
                    "again. Open the other host as a target of its own."
                )
            if self._knows(found):
                left = _name(self.facts)
                self._drop_to(found)
                return Move(
                    f"The session on {left} did not say any more where it was, and was left: its variables, functions "
                    f"and location are gone. Cells run on {self.place} again."
                )
            await _exit_one_level(runspace)
        raise RemoteProtocolError("A command took it to another host, and it did not come back.")

    def _entered(self) -> str:
        facts = self.facts
        who = f", as {facts.user}" if facts.user else ""
        limits = "" if facts.takes_script else " It takes plain commands, and no script."
        return f"{self.place}: cells run on {_name(facts)} now{who}.{limits} {EXIT} comes back."

    def _returned(self, host_id: str, aim: Aim) -> Move:
        lost = self._drop_to(host_id)
        if aim is Aim.BACK:
            lost.pop()
        if not lost:
            return Move(f"Cells run on {self.place} again.", wanted=True)
        return Move(
            f"The session on {', '.join(map(_name, lost))} has ended: its variables, functions and location are gone. "
            f"Cells run on {self.place} again."
        )

    def _drop_to(self, host_id: str) -> list[Facts]:
        depth = next(index for index, level in enumerate(self._levels) if level.host_id == host_id)
        lost = self._levels[depth + 1 :]
        del self._levels[depth + 1 :], self._numbers[depth + 1 :]
        return lost


async def leave_all(runspace: Runspace) -> int:
    """Leave whatever hosts a session that another client has left may be on; its own asks this client to leave.

    Returns:
        how many were left.
    """
    left = 0
    # One that does not answer will not say who it is either, which whoever asks next is told.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BEHIND_SECONDS):
            while left < _MAX_LEVELS and not await _exit_one_level(runspace):
                left += 1
    return left


def _name(facts: Facts, before: Facts | None = None) -> str:
    if before is not None and facts.computer == before.computer and facts.process:
        return f"{facts.computer} (process {facts.process})"  # Enter-PSHostProcess, or a login to the same host
    return facts.computer or "a host that does not tell its name"


async def whereabouts(runspace: Runspace) -> str:
    """The id of the host that runs what is sent; empty where it does not tell."""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        try:
            values = await runspace.query(script("where.ps1"), timeout=CHECK_SECONDS)
        except PipelineFailed as error:
            failure = error
            if is_no_language(failure) or not _CLOSING.search(_kind(failure)):
                return ""
        else:
            return str(values[0]) if len(values) == 1 else ""
    raise failure


def _kind(failure: PipelineFailed) -> str:
    return f"{failure.record.fully_qualified_error_id} {failure.record.exception_type}"


async def _exit_one_level(runspace: Runspace) -> bool:
    """Send Exit-PSSession. Returns whether it was this client that was asked to leave (PopRunspace).

    A server that is on another host comes back by itself; only its own host asks its client.
    """
    # Restricted endpoints take commands, but no script.
    pipeline = await runspace.invoke([[Command(EXIT)]], ours=True)
    calls = await collect(pipeline, HostCall, runspace.idle.add)
    return any(call.method == "PopRunspace" for call in calls)
