"""Scripts that run in the background, as Invoke-Command -AsJob starts them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pskernel.cells.invocation import ErrorAction
from pskernel.credentials import GivenCredential
from pskernel.questions import NobodyToAsk
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.invocation import THROTTLE, FanOut
from pskernel.remoting.listed import ListedSession
from pskernel.remoting.loop import LOOP
from pskernel.remoting.objects import Objects
from pskernel.remoting.output import Kept
from pskernel.remoting.work import Work
from pskernel.render.tables import html_table, text_table
from pskernel.wildcards import matcher

if TYPE_CHECKING:
    from pskernel.target import Target

__all__ = ["JOBS", "Job", "JobTable", "Jobs"]

_COLUMNS = ("Id", "Name", "PSJobTypeName", "State", "HasMoreData", "Location", "Command")
_NAMES = {
    "Id": "id", "Name": "name", "State": "state", "HasMoreData": "has_more_data", "Location": "location",
    "Command": "command", "PSJobTypeName": "",
}  # fmt: skip
_KIND = "RemoteJob"
_MAX_COMMAND = 60


class Job:
    """A script under way, or ended, on one host or many.

    Attributes:
        id: its number in this process.
        name: its name.
        location: the hosts.
        command: the beginning of the script.
    """

    def __init__(
        self,
        number: int,
        name: str,
        places: Sequence[ListedSession | Target],
        work: Work,
        *,
        throttle: int,
        credential: GivenCredential | None,
        error_action: ErrorAction,
    ) -> None:
        self.id = number
        self.name = name
        hosts = (
            place.computer_name if isinstance(place, ListedSession) else place.machine or "localhost"
            for place in places
        )
        self.location = ",".join(hosts)
        self.command = " ".join(work.script.split())[:_MAX_COMMAND]
        self._kept = Kept()
        self._objects: list[Any] = []
        self._stopped = False
        self._reported = 0
        self._fan_out = FanOut(
            places,
            work,
            self._kept,
            NobodyToAsk(),
            collect=self._objects.append,
            throttle=throttle,
            credential=credential,
            error_action=error_action,
        )
        self._running = LOOP.start(self._fan_out.run())

    @property
    def state(self) -> str:
        """``Running``, ``Completed``, ``Failed`` where a host failed, or ``Stopped``."""
        if not self._running.done():
            return "Running"
        if self._stopped:
            return "Stopped"
        return "Failed" if any(outcome.error for outcome in self._fan_out.outcomes) else "Completed"

    @property
    def has_more_data(self) -> bool:
        """Whether there is something to receive, or something may still come."""
        failed = sum(1 for outcome in self._fan_out.outcomes if outcome.error)
        waiting = self._objects or failed > self._reported
        return not self._running.done() or bool(waiting) or not self._kept.is_empty

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, ``timeout`` seconds at most. Returns whether it has ended."""
        return LOOP.run(self._wait(timeout))

    def stop(self) -> None:
        """Stop it on all hosts, and wait until it has."""
        LOOP.run(self._stop())

    def receive(self, *, keep: bool = False) -> Objects:
        """What has come since it was received last.

        Args:
            keep: whether it stays to be received again.

        Returns:
            the objects; text is in ``streams``, and the errors of hosts that failed are in ``failed``.
        """
        return LOOP.run(self._receive(keep=keep))

    def drop(self, found: Objects) -> None:
        """Take what was received with ``keep``, and nothing that has come since."""
        LOOP.run(self._drop(found))

    async def _wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109
        await asyncio.wait([asyncio.wrap_future(self._running)], timeout=timeout)
        return self._running.done()

    async def _stop(self) -> None:
        if not self._running.done():
            self._stopped = True
            self._fan_out.interrupt()
        await self._wait(None)

    async def _receive(self, *, keep: bool) -> Objects:
        failed = [outcome for outcome in self._fan_out.outcomes if outcome.error]
        found = Objects(self._objects, streams=self._kept.peek(), failed=failed[self._reported :])
        if not keep:
            await self._drop(found)
        return found

    async def _drop(self, found: Objects) -> None:
        del self._objects[: len(found)]
        self._kept.drop(len(found.streams))
        self._reported += len(found.failed)

    def row(self) -> list[str]:
        """What PowerShell prints of it."""
        more = str(self.has_more_data)
        return [str(self.id), self.name, _KIND, self.state, more, self.location, self.command]

    def __getattr__(self, name: str) -> Any:
        # By PowerShell's names too.
        if name not in _NAMES:
            raise AttributeError(f"A Job has no attribute {name!r}.")
        return getattr(self, _NAMES[name]) if _NAMES[name] else _KIND

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name}: {self.state}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(Jobs([self])))

    def _repr_html_(self) -> str:
        return Jobs([self])._repr_html_()


class Jobs(list[Job]):
    """Jobs, shown as the table that Get-Job prints."""

    def __repr__(self) -> str:
        return text_table(_COLUMNS, [job.row() for job in self])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [job.row() for job in self])


class JobTable:
    """The jobs of this process."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}

    def start(
        self,
        places: Sequence[ListedSession | Target],
        work: Work,
        *,
        name: str | None = None,
        throttle: int = THROTTLE,
        credential: GivenCredential | None = None,
        error_action: ErrorAction = ErrorAction.CONTINUE,
    ) -> Job:
        """Start a script in the background."""
        number = next(self._numbers)
        job = self._jobs[number] = Job(
            number,
            name or f"Job{number}",
            places,
            work,
            throttle=throttle,
            credential=credential,
            error_action=error_action,
        )
        return job

    def all(self) -> Jobs:
        """All jobs, oldest first."""
        return Jobs(self._jobs.values())

    def by_id(self, number: int) -> Job:
        """The job with that number.

        Raises:
            RemotingError: there is none.
        """
        if number not in self._jobs:
            raise RemotingError(
                f"The command cannot find a job with the job ID {number}. Verify the value of the Id parameter and "
                "then try the command again.",
                "JobWithSpecifiedSessionNotFound",
            )
        return self._jobs[number]

    def by_name(self, pattern: str) -> Jobs:
        """The jobs whose names match, in any case; none is no error for a pattern with wildcards.

        Raises:
            RemotingError: there is none of that name.
        """
        is_meant, several = matcher(pattern)
        found = Jobs(job for job in self._jobs.values() if is_meant(job.name))
        if not found and not several:
            raise RemotingError(
                f"The command cannot find the job because the job name {pattern} was not found. Verify the value of "
                "the Name parameter, and then try the command again.",
                "JobWithSpecifiedNameNotFound",
            )
        return found

    def remove(self, job: Job) -> None:
        """Forget a job that has ended.

        Raises:
            RemotingError: it is still running.
        """
        if job.state == "Running":
            raise RemotingError(
                f"The command cannot remove the job with the job ID {job.id} because the job is not finished. To "
                "remove the job, first stop the job, or use the Force parameter.",
                "JobObjectNotFinishedCannotBeRemoved",
            )
        self._jobs.pop(job.id, None)


JOBS = JobTable()
