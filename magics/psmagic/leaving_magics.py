"""``%disconnect_pssession``, ``%connect_pssession`` and ``%receive_pssession``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from pskernel.cells.outcome import own_error
from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.objects import Objects
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.remoting.sessions import SESSIONS
from psmagic.arguments import ArgumentError
from psmagic.base import PowerShellMagics, command_magic, raised
from psmagic.binding import Bound
from psmagic.commands.pssession import CONNECT_PSSESSION, DISCONNECT_PSSESSION, RECEIVE_PSSESSION
from psmagic.pump import Pump
from psmagic.selection import sessions_at_servers, sessions_of
from psmagic.words import error_in_parameters

if TYPE_CHECKING:
    from pskernel.cells.outcome import CellError
    from psmagic.magics import EnterMagics

__all__ = ["LeavingMagics"]


@magics_class
class LeavingMagics(PowerShellMagics):
    """Sessions that are left to their server, and come back to, from this process or another."""

    def __init__(self, shell: Any, entered: EnterMagics) -> None:
        super().__init__(shell)
        self._entered = entered

    @line_magic
    @no_var_expand
    @command_magic(DISCONNECT_PSSESSION)
    def disconnect_pssession(self, bound: Bound) -> PSSessions:
        """Leave sessions, with what runs in them, to their servers: the entered one, where none is named."""
        mode, found = bound.get("OutputBufferingMode"), sessions_of(bound)
        how = {"idle_timeout": bound.get("IdleTimeoutSec"), "buffering": mode.lower() if mode else None}
        if found is None:
            entered = self._entered.leave_to_server(None, **how)
            if entered is None:
                raise ArgumentError(
                    "No session is entered. Say which one to leave: -Session $name, -Name, -Id or -InstanceId.",
                    "MissingMandatoryParameter",
                )
            return PSSessions([entered])
        for session in found:
            if self._entered.leave_to_server(session, **how) is None:
                LOOP.run(leaving.disconnect(session, **how))
        return found

    @line_magic
    @no_var_expand
    @command_magic(CONNECT_PSSESSION)
    def connect_pssession(self, bound: Bound) -> PSSessions:
        """Come back to sessions."""
        pump = Pump(LOOP, interactive=self.can_ask())
        return self._connected(bound, pump, pump if self.can_ask() else NobodyToAsk())

    @line_magic
    @no_var_expand
    @command_magic(RECEIVE_PSSESSION)
    def receive_pssession(self, bound: Bound) -> Objects:
        """Come back to sessions, and take what runs in them to its end. Ctrl+C stops it."""
        pump = Pump(LOOP, interactive=self.can_ask())
        asker: Asker = pump if self.can_ask() else NobodyToAsk()
        objects = Objects()
        for session in self._connected(bound, pump, asker):
            error = self._received(session, objects, asker)
            if error is not None:
                print(error_in_parameters(error).message, file=sys.stderr)  # noqa: T201 - the objects of the others must not be lost
                if not objects:
                    raise raised(error)
        return objects

    def _received(self, session: PSSession, objects: Objects, asker: Asker) -> CellError | None:
        pump = Pump(LOOP, interactive=self.can_ask())
        try:
            continuing = leaving.Continuation.of(session, pump, objects.append)
        except RemotingError as error:
            return own_error(error.error_id, str(error))
        if continuing is None:
            return None
        return pump.run(continuing.run("", asker), continuing.interrupt).error

    def _connected(self, bound: Bound, pump: Pump, asker: Asker) -> PSSessions:
        found = sessions_of(bound)
        if found is None:
            found = sessions_at_servers(bound, pump, asker, ask=self.can_ask())
            if not found:
                raise RemotingError("There is no such session at the host or server.", "PSSessionNotFound")

        async def work() -> None:
            for session in found:
                if session.state not in {"Opened", "Connecting"}:
                    await SESSIONS.connect(session, asker, take_over=bool(bound.get("TakeOver")))

        pump.run(work())
        return found
