"""Scripts run in sessions, one or many at a time, as Invoke-Command runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pskernel.cells.invocation import Invocation
from pskernel.cells.outcome import CellError, interrupted
from pskernel.cells.output import Output
from pskernel.connect import opener
from pskernel.credentials import PSCredential, Secret
from pskernel.errors import PipelineFailed
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.hostvalues import Login
from pskernel.protocol.hostvalues import Secret as SecureText
from pskernel.protocol.pipelines import Command, Statements
from pskernel.protocol.values import Value, has_secret
from pskernel.questions import Asker, NobodyToAsk
from pskernel.records import ErrorRecord
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.listed import ListedSession
from pskernel.remoting.objects import Objects
from pskernel.remoting.output import Kept, Labelled
from pskernel.remoting.using import PARAMETER, using_values
from pskernel.session.interactive import InteractiveSession
from pskernel.target import Target

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["THROTTLE", "FanOut", "HostOutcome", "Work", "invoke"]

# Invoke-Command's own default.
THROTTLE = 32


@dataclass(frozen=True, slots=True)
class Work:
    """What is run.

    Attributes:
        script: PowerShell.
        arguments: its ``$args``, or the values of its ``param()``.
        using: what ``$using:name`` in it means, by name.
    """

    script: str
    arguments: Sequence[Any] = ()
    using: Mapping[str, Any] = field(default_factory=dict)

    async def statements(self, runspace: Runspace) -> Statements:
        """What is sent.

        Raises:
            RemotingError: the script uses a variable that does not exist; it was not sent.
        """
        arguments: list[tuple[str | None, Value]] = [(None, Value(_revealed(value))) for value in self.arguments]
        using = await using_values(runspace, self.script, self.using)
        if using is not None:
            arguments.append((PARAMETER, Value(_revealed(using))))
        if has_secret([value.value for _, value in arguments]):
            await runspace.exchange_key()
        return [[Command(self.script, tuple(arguments), is_script=True)]]


def _revealed(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A value with the credentials and secrets in it as they travel: encrypted, once they are written.

    What is in itself (``around`` are those it is in) is left for the encoder to refuse.
    """
    if isinstance(value, PSCredential):
        return Login(value.user_name, SecureText(value.password.reveal()))
    if isinstance(value, Secret):
        return SecureText(value.reveal())
    if type(value) not in {list, tuple, dict} or id(value) in around:
        return value
    around = (*around, id(value))
    if isinstance(value, dict):
        return {key: _revealed(item, around) for key, item in value.items()}
    return [_revealed(item, around) for item in value]


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How it ended on one host."""

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
        hide_computer_name: whether lines do without their host.

    Raises:
        RemotingError: a session is not open, or another command runs in it; nothing is sent anywhere.
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
        hide_computer_name: bool = False,
    ) -> None:
        _claim([place for place in places if isinstance(place, ListedSession)])
        self._places = places
        self._work = work
        self._output = output
        self._asker = asker
        self._collect = collect
        self._turns = asyncio.Semaphore(throttle)
        self._labelled = len(places) > 1 and not hide_computer_name
        self._running: set[Invocation] = set()
        self._interrupted = False
        # How it ended, host by host as they end.
        self.outcomes: list[HostOutcome] = []

    async def run(self) -> list[HostOutcome]:
        """Run it to its end everywhere; what fails on one host does not disturb the others."""
        await asyncio.gather(*(self._at(place) for place in self._places))
        return self.outcomes

    def interrupt(self) -> None:
        """Stop it everywhere."""
        self._interrupted = True
        for invocation in self._running:
            invocation.interrupt()

    async def _at(self, place: ListedSession | Target) -> None:
        async with self._turns:
            if isinstance(place, ListedSession):
                try:
                    await self._in(place.session, place.computer_name, place.target)
                finally:
                    place.release()
                return
            computer = place.host or "localhost"
            session = InteractiveSession(opener(place), place.label, computer)
            try:
                await self._in(session, computer, place)
            finally:
                await session.aclose()

    async def _in(self, session: InteractiveSession, computer: str, target: Target) -> None:
        error = interrupted().error
        if not self._interrupted:
            output = Labelled(self._output, computer) if self._labelled else self._output
            collect = self._marked(session, computer) if self._collect else None
            invocation = Invocation(session, output, target.options.stop_timeout, self._work.statements, collect)
            self._running.add(invocation)
            try:
                error = (await invocation.run(self._work.script, self._asker)).error
            finally:
                self._running.discard(invocation)
                await output.flush()
        self.outcomes.append(HostOutcome(computer, error))

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


def _claim(sessions: Sequence[ListedSession]) -> None:
    """Take all, or none: whoever comes next, before this has begun, must find them taken."""
    for at, session in enumerate(sessions):
        try:
            session.claim()
        except RemotingError:
            for taken in sessions[:at]:
                taken.release()
            raise


async def invoke(session: ListedSession, script: str, arguments: Sequence[Any], using: Mapping[str, Any]) -> Objects:
    """Run a script in one session and return its objects; see :meth:`PSSession.invoke`."""
    kept, objects = Kept(), list[Any]()
    work = Work(script, arguments, using)
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
