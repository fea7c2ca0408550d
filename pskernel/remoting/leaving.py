"""Sessions that are left to their server, with what runs in them: Disconnect-PSSession and its kin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pskernel.cells.invocation import Invocation
from pskernel.errors import ConnectError, PSKernelError
from pskernel.remoting.errors import RemotingError
from pskernel.session.commandline import simple_statements
from pskernel.transports.base import PoolGone

if TYPE_CHECKING:
    from pskernel.cells.outcome import CellError
    from pskernel.cells.output import Output
    from pskernel.protocol.pipelines import Statements
    from pskernel.questions import Asker
    from pskernel.remoting.listed import ListedSession
    from pskernel.remoting.work import Work
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = [
    "Continuation",
    "connect",
    "connect_to_enter",
    "disconnect",
    "not_available",
    "remove",
    "start_and_leave",
    "start_cell_and_leave",
]


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
    if session.computer_type != "RemoteMachine" and not session.target.options.durable:
        is_container = session.computer_type == "Container"
        raise RemotingError(
            f"The session {session.name} cannot be disconnected: it ends with its connection to the "
            f"{'container' if is_container else 'virtual machine'} {session.computer_name}, which keeps no sessions."
            f"{' A session that was opened with -Durable can be left.' if is_container else ''}",
            "CannotDisconnectVMContainerSession",
        )
    runspace = session.session.runspace
    if runspace is None or session.state != "Opened":
        raise RemotingError(
            f"The session {session.name} cannot be disconnected because it is not in the Opened state. Its state is "
            f"{session.state}.",
            "CannotDisconnectSessionWhenNotOpened",
        )
    await _require_at_home(session)
    try:
        await runspace.disconnect(idle_timeout=idle_timeout, buffering=buffering)
    except PSKernelError as error:
        raise RemotingError(
            f"The disconnect operation failed for session {session.name}. {error}", "PSSessionDisconnectFailed"
        ) from None
    # What was said of it before is out of date.
    session.shell = None


async def _require_at_home(session: ListedSession) -> None:
    """What another host runs for this one cannot be left to this one's server."""
    await session.session.settle()
    if session.session.is_behind:
        how = "Come back with Exit-PSSession first." if session.session.is_away else "It ends with its connection."
        raise RemotingError(
            f"The session {session.name} cannot be disconnected, because it runs behind another host "
            f"({session.session.place}). {how}",
            "PSSessionDisconnectFailed",
        )


async def connect(session: ListedSession, asker: Asker, *, take_over: bool = False) -> None:
    """Come back to a session.

    Args:
        session: was left.
        asker: whom to ask for passwords.
        take_over: whether another client, which has it still, loses it.

    Raises:
        RemotingError: it is not there any more, or cannot be come back to.
    """
    try:
        await _connect(session, asker, take_over=take_over)
    except PSKernelError as error:
        raise RemotingError(
            f"The connect operation failed for session {session.name}. {error}", "PSSessionConnectFailed"
        ) from None


async def connect_to_enter(session: ListedSession, asker: Asker, *, take_over: bool = False) -> None:
    """Come back to a session in which cells are to run. What was left to run in it is nobody's who enters.

    PowerShell connects, sees that the session is busy, and disconnects it again: by then the output is received, and
    lost for whoever comes for it. Here it is asked before.

    Raises:
        RemotingError: another client has it, a command runs in it or its output waits there, or as :func:`connect`.
    """
    try:
        await _connect(session, asker, to_enter=True, take_over=take_over)
    except RemotingError:
        raise
    except PSKernelError as error:
        raise RemotingError(
            f"A failure occurred while attempting to connect the PSSession {session.name}. {error}",
            "EnterPSSessionConnectSessionFailed",
        ) from None


async def _connect(session: ListedSession, asker: Asker, *, to_enter: bool = False, take_over: bool = False) -> None:
    if take_over and not session.target.options.durable:
        raise ConnectError(
            "Only a durable session can be taken from another client. A WinRM server gives a session to nobody else "
            "while its client is connected."
        )
    runspace, durable = session.session.runspace, session.target.options.durable
    # What a relay keeps is not lost for good.
    was_own = runspace is not None or session.state == "Broken"
    if session.state == "Closed" or (session.state == "Broken" and not durable):
        raise ConnectError(f"Its state is {session.state}.{session.why_lost()}")
    if runspace is not None:
        if to_enter and runspace.left:
            raise not_available(session.name)
        if session.state != "Disconnected" or await _is_back(session, runspace):
            return
    if was_own or to_enter or not durable:
        # Otherwise coming to a relay asks the same, by the same login.
        await session.ask_server(asker)
    if was_own:
        await session.give_up_own()
    if to_enter:
        _require_free(session, take_over=take_over)
    await session.open(asker, take_over=take_over)


async def _is_back(session: ListedSession, runspace: Runspace) -> bool:
    """Come back to a session of this client's. False: it is gone, or another client has come to it since."""
    try:
        await runspace.reconnect()
    except PoolGone:
        if not session.target.options.durable:
            raise
        return False
    return True


def _require_free(session: ListedSession, *, take_over: bool) -> None:
    shell = session.shell
    if shell is not None and shell.connected and not take_over:
        who = f": {shell.client}. -TakeOver takes it from that one" if shell.client else ""
        raise RemotingError(
            f"The PSSession {session.name} is not available for connection: another client is connected to it{who}.",
            "EnterPSSessionCannotConnectDisconnectedSession",
        )
    if shell is not None and shell.running:
        raise not_available(session.name)


def not_available(name: str) -> RemotingError:
    """Why nobody enters a session in which a command was left."""
    return RemotingError(
        f"Cannot enter session {name} because it is not available: the command that was left in it is still running, "
        "or its output waits to be received. Take it with %receive_pssession first.",
        "EnterPSSessionConnectSessionNotAvailable",
    )


async def remove(session: ListedSession, asker: Asker) -> None:
    """End a session, on the remote too. One that was left is come back to first.

    Args:
        session: in any state.
        asker: whom to ask for passwords.

    Raises:
        RemotingError: it cannot be come back to: it stays at its server, and in the list.
    """
    if session.state == "Disconnected":
        try:
            await _connect(session, asker)
        except PoolGone:
            pass  # that is what was wanted
        except PSKernelError as error:
            raise RemotingError(
                f"Remote session {session.name} could not be connected and could not be removed from the server. "
                f"{error} It stays in the list; remove it again when the server can be reached.",
                "RemoveSessionCannotConnectToServer",
            ) from None
    await session.aclose()


async def start_and_leave(session: ListedSession, work: Work) -> None:
    """Start a script and leave the session to its server. Raises as :func:`disconnect`, and PSKernelError.

    Cancelled before the server was asked to keep it, it is closed: nobody would have it in hand.
    """
    runspace = session.session.runspace
    try:
        await _require_at_home(session)
        if runspace is not None:
            await runspace.leave(await work.statements(runspace))
        await disconnect(session)
    except asyncio.CancelledError:
        if session.state == "Opened":
            await session.aclose()
        raise


async def start_cell_and_leave(session: ListedSession, cell: str, asker: Asker) -> None:
    """Start a cell in an entered session, and leave that to its server.

    Raises:
        SessionLost: the cell was meant for a session that is gone; nothing was sent.
        RemotingError: the cell holds nothing but comments; or as :func:`disconnect`.
    """
    if all(not line.strip() or line.lstrip().startswith("#") for line in cell.splitlines()):
        raise RemotingError(
            f"There is no command in this cell to leave at work. Nothing was sent, and the session {session.name} is "
            "not left: %disconnect_pssession leaves it without a command.",
            "NoCommandToLeave",
        )
    runspace = await session.session.ready(asker)
    await _require_at_home(session)
    takes_script = session.session.facts.takes_script
    await runspace.leave(cell if takes_script else simple_statements(cell) or cell)
    await disconnect(session)


class Continuation(Invocation):
    """Takes what a script sends that was started before: by another client, or before the session was left.

    That a session has ended meanwhile does not keep what it had sent from whoever comes for it.
    """

    _runspace: Runspace

    @classmethod
    def of(cls, session: ListedSession, output: Output, collect: Callable[[Any], object]) -> Continuation | None:
        """For the script that runs in a session; None where there is none.

        Raises:
            RemotingError: the server does not say what runs there.
        """
        runspace = session.opened
        if runspace is None or not runspace.left:
            if session.shell is not None and session.shell.running is None:
                raise RemotingError(
                    f"{session.computer_name} does not say what runs in session {session.name}, so nothing was "
                    "received: whether a command was left in it is not known. The session is connected; a command "
                    "that still runs in it goes on.",
                    "ReceivePSSessionCommandsUnknown",
                )
            return None
        continuing = cls(session.session, output, session.target.options.stop_timeout, _nothing, collect)
        continuing._runspace = runspace
        return continuing

    async def _open(
        self,
        text: str,  # noqa: ARG002 - it runs already
        asker: Asker,  # noqa: ARG002
        *,
        by_user: bool,  # noqa: ARG002
    ) -> tuple[Runspace, CellError | None]:
        return self._runspace, None

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:  # noqa: ARG002 - it runs already
        return runspace.left.pop(0)


async def _nothing(_runspace: Runspace) -> Statements:
    return []
