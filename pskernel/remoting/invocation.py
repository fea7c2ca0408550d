"""Scripts run in sessions, one or many at a time, as Invoke-Command runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pskernel.cells.invocation import ErrorAction, Invocation
from pskernel.cells.outcome import CellError, interrupted, own_error
from pskernel.cells.output import Output
from pskernel.connect import opener
from pskernel.credentials import GivenCredential
from pskernel.errors import PipelineFailed
from pskernel.protocol.clixml import PSObject
from pskernel.questions import Asker, NobodyToAsk
from pskernel.records import ErrorRecord
from pskernel.remoting.ending import end_with_process
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.listed import ListedSession
from pskernel.remoting.objects import Objects
from pskernel.remoting.output import Kept, Labelled
from pskernel.remoting.work import Work
from pskernel.session.interactive import InteractiveSession
from pskernel.target import Target

__all__ = ["THROTTLE", "FanOut", "HostOutcome", "invoke"]

# Invoke-Command's own default.
THROTTLE = 32


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How it ended on one host. ``computer`` tells it from the others: hosts of one name have more to it."""

    computer: str
    error: CellError | None = None


class FanOut:
    """One script on many hosts at a time. Belongs to the sessions' loop.

    Args:
        places: sessions, which stay open, and targets, for which sessions are opened and closed again.
        work: what is run.
        output: takes the text; each line begins with its host where there are several.
        asker: whom hosts may ask.
        collect: takes each object as it comes; None lets the remotes format them, so that they are text.
        throttle: how many are at it at the same time.
        credential: the password for the targets.
        hide_computer_name: whether lines do without their host.
        error_action: what becomes of error records.

    Raises:
        RemotingError: a session is named twice, or the only place is one that is not open, or in which another command
            runs; nothing is sent anywhere. Of several places, that is how it ended on this one.
    """

    def __init__(
        self,
        places: Sequence[ListedSession | Target],
        work: Work,
        output: Output,
        asker: Asker,
        *,
        collect: Callable[[Any], object] | None = None,
        throttle: int = THROTTLE,
        credential: GivenCredential | None = None,
        hide_computer_name: bool = False,
        error_action: ErrorAction = ErrorAction.CONTINUE,
    ) -> None:
        self._refusals = _claim(places)
        self._places = places
        self._work = work
        self._output = output
        self._asker = asker
        self._collect = collect
        self._credential = credential
        self._turns = asyncio.Semaphore(throttle)
        self._labels = _labels(places)
        self._labelled = len(places) > 1 and not hide_computer_name
        self._error_action = error_action
        self._running: set[Invocation] = set()
        self.interrupted = False
        # How it ended, host by host as they end.
        self.outcomes: list[HostOutcome] = []

    async def run(self) -> list[HostOutcome]:
        """Run it to its end everywhere; what fails on one host does not disturb the others."""
        await asyncio.gather(*map(self._at, self._places, self._labels, self._refusals))
        return self.outcomes

    def interrupt(self) -> None:
        """Stop it everywhere."""
        self.interrupted = True
        for invocation in self._running:
            invocation.interrupt()

    async def _at(self, place: ListedSession | Target, label: str, refusal: CellError | None) -> None:
        if refusal is not None:
            self.outcomes.append(HostOutcome(label, refusal))
            return
        try:
            async with self._turns:
                error = await self._at_its_turn(place, label)
        except Exception as failure:  # noqa: BLE001 - a user's object may raise what it likes when it is read
            message = f"The script was not run to its end on {label}: {type(failure).__name__}."
            error = own_error("InvocationFailed", message)
        finally:
            if isinstance(place, ListedSession):
                place.release()
        self.outcomes.append(HostOutcome(label, error))

    async def _at_its_turn(self, place: ListedSession | Target, label: str) -> CellError | None:
        if self.interrupted:
            return interrupted().error
        if isinstance(place, ListedSession):
            return await self._in(place.session, place.computer_name, label, place.target)
        computer = place.machine or "localhost"
        opening = opener(place, credential=self._credential)
        session = end_with_process(InteractiveSession(opening, place.label, computer))
        try:
            return await self._in(session, computer, label, place)
        finally:
            await session.aclose()

    async def _in(self, session: InteractiveSession, computer: str, label: str, target: Target) -> CellError | None:
        output = Labelled(self._output, label) if self._labelled else self._output
        collect = self._marked(session, computer) if self._collect else None
        invocation = Invocation(
            session,
            output,
            target.options.stop_timeout,
            self._work.statements,
            collect,
            error_action=self._error_action,
        )
        self._running.add(invocation)
        try:
            return (await invocation.run(self._work.script, self._asker)).error
        finally:
            self._running.discard(invocation)
            await output.flush()

    def _marked(self, session: InteractiveSession, computer: str) -> Callable[[Any], None]:
        """Objects say where they come from, as Invoke-Command's do."""
        collect = self._collect

        def add(value: Any) -> None:
            if isinstance(value, PSObject):
                value.properties["PSComputerName"] = computer
                if session.runspace is not None:
                    value.properties["RunspaceId"] = session.runspace.instance_id
            if collect is not None:
                collect(value)

        return add


def _labels(places: Sequence[ListedSession | Target]) -> list[str]:
    """The hosts' names; where one comes several times, with what tells its places apart."""
    names = [
        place.computer_name if isinstance(place, ListedSession) else place.machine or "localhost" for place in places
    ]
    labels = [
        name if names.count(name) == 1 else f"{name} {place.name if isinstance(place, ListedSession) else place.label}"
        for name, place in zip(names, places, strict=True)
    ]
    return [
        label if labels.count(label) == 1 else f"{name} ({labels[: at + 1].count(label)})"
        for at, (name, label) in enumerate(zip(names, labels, strict=True))
    ]


def _claim(places: Sequence[ListedSession | Target]) -> list[CellError | None]:
    """Take the sessions: whoever comes next, before this has begun, must find them taken. Why each cannot be."""
    sessions = [place for place in places if isinstance(place, ListedSession)]
    if len(set(map(id, sessions))) < len(sessions):
        message = "Specified RemoteRunspaceInfo objects have duplicates: name each session once."
        raise RemotingError(message, "RemoteRunspaceInfoHasDuplicates")
    refusals: list[CellError | None] = []
    for place in places:
        refusals.append(None)
        if isinstance(place, ListedSession):
            try:
                place.claim()
            except RemotingError as error:
                if len(places) == 1:
                    raise
                refusals[-1] = own_error(error.error_id, str(error))
    return refusals


async def invoke(session: ListedSession, script: str, arguments: Sequence[Any], using: Mapping[str, Any]) -> Objects:
    """Run a script in one session and return its objects; see :meth:`PSSession.invoke`."""
    kept, objects = Kept(), list[Any]()
    work = Work.of(script, arguments, using)
    fan_out = FanOut([session], work, kept, NobodyToAsk(), collect=objects.append)
    running = asyncio.create_task(fan_out.run())
    try:
        (outcome,) = await asyncio.shield(running)
    except asyncio.CancelledError:
        fan_out.interrupt()
        await running
        raise
    if outcome.error is None:
        return Objects(objects, streams=kept.take())
    if outcome.error.own:
        raise RemotingError(outcome.error.message, outcome.error.name)
    raise PipelineFailed(ErrorRecord(outcome.error.message, outcome.error.name))
