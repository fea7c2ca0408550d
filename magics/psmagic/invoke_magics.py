"""``%%invoke_command`` and the jobs that it starts."""

from __future__ import annotations

import itertools
import keyword
import sys
from pathlib import Path
from typing import Any

from IPython.core.magic import line_cell_magic, line_magic, magics_class, no_var_expand

from pskernel.cells.invocation import ErrorAction
from pskernel.cells.outcome import ERROR_SEEN
from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.invocation import THROTTLE, FanOut, HostOutcome
from pskernel.remoting.jobs import JOBS, Job, Jobs
from pskernel.remoting.loop import LOOP
from pskernel.remoting.objects import Objects
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.remoting.sessions import SESSIONS
from pskernel.remoting.work import Work
from pskernel.target import Target
from psmagic.arguments import ArgumentError, ScriptBlock
from psmagic.base import PowerShellMagics, command_magic, raised, refused
from psmagic.binding import Bound
from psmagic.commands.invoke_command import INVOKE_COMMAND
from psmagic.commands.job import GET_JOB, RECEIVE_JOB, REMOVE_JOB, STOP_JOB, WAIT_JOB
from psmagic.pump import Pump
from psmagic.selection import jobs_of
from psmagic.targets import credential_of, durable_targets_of, targets_of
from psmagic.words import error_in_parameters

__all__ = ["InvokeMagics"]

_MAX_FILE_BYTES = 10 * 1024 * 1024


@magics_class
class InvokeMagics(PowerShellMagics):
    """Scripts on other hosts, without entering them."""

    @line_cell_magic
    @no_var_expand
    @command_magic(INVOKE_COMMAND)
    def invoke_command(self, bound: Bound, cell: str | None = None) -> Objects | Job | PSSession | PSSessions | None:
        """Run a script on one host or on many, and bring back what it returns."""
        _require_one_way(bound)
        work = Work.of(_script(bound, cell), bound.get("ArgumentList") or (), self.shell.user_ns)
        places = _places(bound)
        variable = _variable(bound.get("OutVariable"))
        if bound.get("AsJob") or bound.get("JobName"):
            job = JOBS.start(
                places,
                work,
                name=bound.get("JobName"),
                throttle=_throttle(bound),
                credential=credential_of(bound, ask=self.can_ask()),
                error_action=ErrorAction(bound.get("ErrorAction", "Continue")),
            )
            self._keep(bound, variable, [job])
            return job
        if bound.get("InDisconnectedSession"):
            return self._left_running(bound, work)
        # A cell shows what a console would; whoever takes the objects gets them, and their own display.
        objects = Objects() if cell is None or variable else None
        fan_out = self._run(bound, places, work, objects)
        self._keep(bound, variable, objects or [])
        # Whoever presses Ctrl+C does not want the next cell to run, whatever becomes of errors.
        _report(fan_out.outcomes, "Stop" if fan_out.interrupted else bound.get("ErrorAction", "Stop"))
        return objects

    def _keep(self, bound: Bound, variable: str, objects: list[Any]) -> None:
        """What -OutVariable asks for."""
        if variable:
            added = bound.get("OutVariable").startswith("+") and isinstance(self.shell.user_ns.get(variable), list)
            before = self.shell.user_ns[variable] if added else []
            self.shell.user_ns[variable] = Objects([*before, *objects])

    def _left_running(self, bound: Bound, work: Work) -> PSSession | PSSessions:
        """Start it in new sessions, and leave them to their servers."""
        # At a host or in a container it is a relay that keeps them.
        credential, targets = credential_of(bound, ask=self.can_ask()), durable_targets_of(bound)
        names: list[str] = bound.get("SessionName") or []
        pump = Pump(LOOP, interactive=self.can_ask())
        asker: Asker = pump if self.can_ask() else NobodyToAsk()

        async def start() -> PSSessions:
            found = PSSessions()
            for target, name in itertools.zip_longest(targets, names[: len(targets)]):
                session = await SESSIONS.open(target, asker, name, credential=credential)
                found.append(session)
                await leaving.start_and_leave(session, work)
            return found

        found = pump.run(start())
        return found[0] if len(found) == 1 else found

    def _run(self, bound: Bound, places: list[PSSession | Target], work: Work, objects: Objects | None) -> FanOut:
        pump = Pump(LOOP, interactive=self.can_ask())
        asker: Asker = pump if self.can_ask() else NobodyToAsk()
        fan_out = FanOut(
            places,
            work,
            pump,
            asker,
            collect=objects.append if objects is not None else None,
            throttle=_throttle(bound),
            credential=credential_of(bound, ask=self.can_ask()),
            hide_computer_name=bool(bound.get("HideComputerName")),
            error_action=ErrorAction(bound.get("ErrorAction", "Continue")),
        )
        pump.run(fan_out.run(), fan_out.interrupt)
        return fan_out

    @line_magic
    @no_var_expand
    @command_magic(GET_JOB)
    def get_job(self, bound: Bound) -> Jobs:
        """List the jobs of this process."""
        found = jobs_of(bound)
        return JOBS.all() if found is None else found

    @line_magic
    @no_var_expand
    @command_magic(RECEIVE_JOB)
    def receive_job(self, bound: Bound) -> Objects:
        """Bring back what jobs have returned since the last time."""
        objects = Objects()
        jobs = jobs_of(bound) or Jobs()
        action = ErrorAction(bound.get("ErrorAction", "Continue"))
        if bound.get("Wait"):
            # All of them first: what is received and then given up for another job's sake would be lost.
            for job in jobs:
                job.wait()
        received = [job.receive(keep=True) for job in jobs]
        for found in received:
            for piece in found.streams:
                if not (piece.is_error and action.hides):
                    print(piece.text, end="", file=sys.stderr if piece.stream == "stderr" else sys.stdout)
            objects.extend(found)
        outcomes = [outcome for found in received for outcome in found.failed]
        _report(outcomes, "SilentlyContinue" if action.hides else "Continue")
        if action is ErrorAction.STOP:
            _require_no_errors(jobs, received)
        for job, found in zip(jobs, received, strict=True) if not bound.get("Keep") else ():
            job.drop(found)
        return objects

    @line_magic
    @no_var_expand
    @command_magic(WAIT_JOB)
    def wait_job(self, bound: Bound) -> Jobs:
        """Wait until jobs have ended. Returns those that have."""
        seconds = bound.get("Timeout", -1)
        return Jobs(job for job in jobs_of(bound) or () if job.wait(seconds if seconds >= 0 else None))

    @line_magic
    @no_var_expand
    @command_magic(STOP_JOB)
    def stop_job(self, bound: Bound) -> None:
        """Stop jobs on all their hosts."""
        for job in jobs_of(bound) or ():
            job.stop()

    @line_magic
    @no_var_expand
    @command_magic(REMOVE_JOB)
    def remove_job(self, bound: Bound) -> None:
        """Forget jobs that have ended."""
        for job in jobs_of(bound) or ():
            if bound.get("Force"):
                job.stop()
            JOBS.remove(job)


def _require_one_way(bound: Bound) -> None:
    """Refuse what PowerShell refuses, in its words."""
    if not bound.get("InDisconnectedSession"):
        if bound.get("SessionName"):
            raise ArgumentError(
                "The SessionName parameter can only be used with the Disconnected switch parameter "
                "(-InDisconnectedSession).",
                "InvalidOperationException",
            )
        return
    if bound.get("AsJob"):
        raise ArgumentError(
            "You cannot use the Invoke-Command cmdlet with both the AsJob and Disconnected parameters in the same "
            "command.",
            "InvalidOperationException",
        )
    if any(bound.get(name) for name in ("Session", "VMId", "VMName")):
        raise ArgumentError(
            "-InDisconnectedSession is for -ComputerName, -ConnectionUri, -HostName and -ContainerId.",
            "AmbiguousParameterSet",
        )


def _places(bound: Bound) -> list[PSSession | Target]:
    places: list[PSSession | Target] = [*(bound.get("Session") or []), *targets_of(bound)]
    if not places:
        raise ArgumentError("Say where: -Session $name, or -HostName [user@]host[:port].", "MissingMandatoryParameter")
    return places


def _throttle(bound: Bound) -> int:
    """How many hosts at a time; as with Invoke-Command, none and fewer mean the default."""
    given: int = bound.get("ThrottleLimit", THROTTLE)
    return given if given > 0 else THROTTLE


def _script(bound: Bound, cell: str | None) -> str:
    given: ScriptBlock | None = bound.get("ScriptBlock")
    path: str | None = bound.get("FilePath")
    missing = [given, path, cell].count(None)
    if missing != 2:
        raise ArgumentError(
            "Give the script once: as the cell below %%invoke_command, as -ScriptBlock { }, or with -FilePath.",
            "MissingMandatoryParameter" if missing > 2 else "AmbiguousParameterSet",
        )
    if path == "":
        raise ArgumentError(
            "Cannot bind argument to parameter 'FilePath' because it is an empty string.",
            "ParameterArgumentValidationErrorEmptyStringNotAllowed",
        )
    if cell is not None:
        return cell
    return given.text if given is not None else _read(path or "")


def _read(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ArgumentError(f"The file {path} is larger than {_MAX_FILE_BYTES >> 20} MB.", "FileTooLarge")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ArgumentError(f"Cannot find path '{path}' because it does not exist.", "PathNotFound") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ArgumentError(f"The file {path} cannot be read: {reason}.", "FilePathNotFound") from None


def _variable(text: str | None) -> str:
    """The name behind -OutVariable."""
    name = (text or "").removeprefix("+")
    if text is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        message = f"Cannot validate argument on parameter 'OutVariable'. '{text[:50]}' is no name of a Python variable."
        raise ArgumentError(message, "ParameterArgumentValidationError")
    return name


def _report(outcomes: list[HostOutcome], action: str) -> None:
    """Tell which hosts failed, and raise if that is to fail the cell."""
    failed = [
        HostOutcome(outcome.computer, error_in_parameters(outcome.error)) for outcome in outcomes if outcome.error
    ]
    if not failed or action in {"SilentlyContinue", "Ignore"}:
        return
    if len(outcomes) == 1 and action == "Stop" and failed[0].error is not None:
        if failed[0].error.name != ERROR_SEEN:
            raise raised(failed[0].error)
        message = f"The script wrote errors on {failed[0].computer}. The first: {failed[0].error.message}"
        raise refused(ERROR_SEEN, message, INVOKE_COMMAND.short_name)
    for outcome in failed:
        # Error records have been shown as they came.
        for line in outcome.error.traceback if outcome.error and outcome.error.name != ERROR_SEEN else ():
            print(f"[{outcome.computer}] {line}", file=sys.stderr)  # noqa: T201
    if action == "Stop":
        hosts = ", ".join(outcome.computer for outcome in failed)
        message = f"The script failed on {len(failed)} of {len(outcomes)} hosts: {hosts}."
        raise refused("HostsFailed", message, INVOKE_COMMAND.short_name)


def _require_no_errors(jobs: Jobs, received: list[Objects]) -> None:
    """Raise if there are errors in what jobs have returned; it stays with them."""
    wrong = [job for job, found in zip(jobs, received, strict=True) if found.failed or _wrote_errors(found)]
    if wrong:
        names = ", ".join(f"{job.id} ({job.name})" for job in wrong)
        message = f"There are errors in what these jobs returned: {names}. It can be received again."
        raise refused(ERROR_SEEN, message, RECEIVE_JOB.short_name)


def _wrote_errors(found: Objects) -> bool:
    return any(piece.is_error for piece in found.streams)
