"""Which sessions and jobs parameters mean."""

from __future__ import annotations

from collections.abc import Iterable

from pskernel.questions import Asker
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.jobs import JOBS, Job, Jobs
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.remoting.sessions import SESSIONS
from pskernel.wildcards import matcher
from psmagic.binding import Bound
from psmagic.pump import Pump
from psmagic.targets import credential_of, durable_targets_of

__all__ = ["is_at_servers", "jobs_of", "session_of", "sessions_at_servers", "sessions_of"]


def sessions_of(bound: Bound) -> PSSessions | None:
    """The sessions that -Session, -Id, -InstanceId or -Name name; None where none of them is given.

    Raises:
        RemotingError: one of them does not exist.
    """
    if is_at_servers(bound):
        return None
    if bound.get("Session") is not None:
        return PSSessions(_listed(bound.get("Session")))
    if bound.get("Id") is not None:
        return PSSessions(SESSIONS.by_id(number) for number in _listed(bound.get("Id")))
    if bound.get("InstanceId") is not None:
        return PSSessions(SESSIONS.by_instance_id(number) for number in _listed(bound.get("InstanceId")))
    if "Name" in bound.values:
        return PSSessions(session for name in _listed(bound.get("Name")) for session in SESSIONS.by_name(name or ""))
    return None


def is_at_servers(bound: Bound) -> bool:
    """Whether sessions are meant that servers, hosts or containers keep."""
    return any(bound.get(name) for name in ("ComputerName", "ConnectionUri", "HostName", "ContainerId"))


def sessions_at_servers(bound: Bound, pump: Pump, asker: Asker, *, ask: bool) -> PSSessions:
    """The sessions that the WinRM servers of -ComputerName or -ConnectionUri keep, or relays at -HostName or in
    -ContainerId, as -Name and -InstanceId choose.

    Raises:
        ConnectError: a server cannot be asked.
    """
    credential = credential_of(bound, ask=ask)
    targets = durable_targets_of(bound)
    matchers = [matcher(name)[0] for name in bound.get("Name") or []]

    async def work() -> PSSessions:
        lists = [await SESSIONS.find(target, asker, credential=credential) for target in targets]
        return PSSessions(session for each in lists for session in each)

    return PSSessions(
        session
        for session in pump.run(work())
        if (not matchers or any(is_meant(session.name) for is_meant in matchers))
        and (not bound.get("InstanceId") or session.instance_id in bound.get("InstanceId"))
    )


def session_of(bound: Bound) -> PSSession | None:
    """The one session of the list to enter; None where a host is named.

    Raises:
        RemotingError: there is none, there are several, or it cannot be entered.
    """
    found = sessions_of(bound)
    if found is None:
        return None
    if len(found) != 1:
        what = "Multiple matches found for name" if found else "The remote session is not available for name"
        error_id = (
            "RemoteRunspaceHasMultipleMatchesForSpecifiedName"
            if found
            else ("RemoteRunspaceNotAvailableForSpecifiedName")
        )
        raise RemotingError(f"{what} {bound.get('Name')}.", error_id)
    session = found[0]
    if session.state == "Disconnected":
        return session  # whoever enters it connects it
    if session.state != "Opened":
        raise RemotingError(
            f"Cannot enter session {session.name} because it is not in the disconnected state or is not available for "
            f"connection. Its state is {session.state}. Open another one with %new_pssession.",
            "PushedRunspaceMustBeOpen",
        )
    if session.availability != "Available":
        raise RemotingError(
            f"Cannot enter session {session.name} because a command is running in it.", "PushedRunspaceMustBeAvailable"
        )
    return session


def jobs_of(bound: Bound) -> Jobs | None:
    """The jobs that -Job, -Id or -Name name, each once; None where none of them is given.

    Raises:
        RemotingError: one of them does not exist.
    """
    found: Iterable[Job]
    if bound.get("Job") is not None:
        found = bound.get("Job")
    elif bound.get("Id") is not None:
        found = (JOBS.by_id(number) for number in bound.get("Id"))
    elif bound.get("Name") is not None:
        found = (job for name in bound.get("Name") for job in JOBS.by_name(name))
    else:
        return None
    return Jobs({job.id: job for job in found}.values())


def _listed(value: object) -> list:  # type: ignore[type-arg]
    return value if isinstance(value, list) else [value]
