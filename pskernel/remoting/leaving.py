"""Sessions that are left to their server, with what runs in them: Disconnect-PSSession and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pskernel.cells.invocation import Invocation
from pskernel.errors import PSKernelError
from pskernel.remoting.errors import RemotingError

if TYPE_CHECKING:
    from pskernel.cells.output import Output
    from pskernel.protocol.pipelines import Statements
    from pskernel.questions import Asker
    from pskernel.remoting.listed import ListedSession
    from pskernel.remoting.work import Work
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["Continuation", "connect", "disconnect", "start_and_leave"]


async def disconnect(
    session: ListedSession, *, idle_timeout: float | None = None, buffering: str | None = None
) -> None:
    """Leave a session to its server.

    Args:
        session: open.
        idle_timeout: seconds for which the server keeps it; as its target says otherwise.
        buffering: what happens to output that finds no room there: ``none``, ``block`` or ``drop``; likewise.

    Raises:
        RemotingError: it is not open, or its kind cannot be left.
    """
    if session.state == "Disconnected":
        return
    runspace = session.session.runspace
    if runspace is None or session.state != "Opened":
        raise RemotingError(
            f"The session {session.name} cannot be disconnected because it is not in the Opened state. Its state is "
            f"{session.state}.",
            "CannotDisconnectSessionWhenNotOpened",
        )
    try:
        await runspace.disconnect(idle_timeout=idle_timeout, buffering=buffering)
    except PSKernelError as error:
        raise RemotingError(
            f"The disconnect operation failed for session {session.name}. {error}", "PSSessionDisconnectFailed"
        ) from None


async def connect(session: ListedSession, asker: Asker) -> None:
    """Come back to a session.

    Raises:
        RemotingError: it is not there any more, or cannot be come back to.
    """
    runspace = session.session.runspace
    try:
        if runspace is None:
            await session.open(asker)
        elif session.state == "Disconnected":
            await runspace.reconnect()
    except PSKernelError as error:
        raise RemotingError(
            f"The connect operation failed for session {session.name}. {error}", "PSSessionConnectFailed"
        ) from None


async def start_and_leave(session: ListedSession, work: Work) -> None:
    """Start a script and leave the session to its server. Raises as :func:`disconnect`, and PSKernelError."""
    runspace = session.session.runspace
    if runspace is not None:
        runspace.left.append(await runspace.invoke(await work.statements(runspace)))
    await disconnect(session)


class Continuation(Invocation):
    """Takes what a script sends that was started before: by another client, or before the session was left."""

    @classmethod
    def of(cls, session: ListedSession, output: Output, collect: Callable[[Any], object]) -> Continuation | None:
        """For the script that runs in a session; None where there is none."""
        runspace = session.session.runspace
        if runspace is None or not runspace.left:
            return None
        return cls(session.session, output, session.target.options.stop_timeout, _nothing, collect)

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:  # noqa: ARG002 - it runs already
        return runspace.left.pop(0)


async def _nothing(_runspace: Runspace) -> Statements:
    return []
