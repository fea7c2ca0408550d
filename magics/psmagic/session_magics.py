"""``%new_pssession``, ``%get_pssession`` and ``%remove_pssession``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from pskernel.errors import ConnectError, PSKernelError
from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.remoting.sessions import SESSIONS
from pskernel.sessionoption import PSSessionOption
from psmagic.arguments import ArgumentError
from psmagic.base import PowerShellMagics, command_magic
from psmagic.binding import Bound
from psmagic.commands.pssession import GET_PSSESSION, NEW_PSSESSION, REMOVE_PSSESSION
from psmagic.commands.session_option import FIELDS, NEW_PSSESSION_OPTION
from psmagic.pump import Pump
from psmagic.selection import is_at_servers, sessions_at_servers, sessions_of
from psmagic.targets import credential_of, targets_of

if TYPE_CHECKING:
    from pskernel.target import Target
    from psmagic.magics import EnterMagics

__all__ = ["SessionMagics"]


@magics_class
class SessionMagics(PowerShellMagics):
    """Sessions that stay open until they are removed."""

    def __init__(self, shell: Any, entered: EnterMagics) -> None:
        super().__init__(shell)
        self._entered = entered

    @line_magic
    @no_var_expand
    @command_magic(NEW_PSSESSION)
    def new_pssession(self, bound: Bound) -> PSSession | PSSessions:
        """Open sessions, which stay open until %remove_pssession."""
        targets, names = targets_of(bound), bound.get("Name") or []
        if not targets:
            raise ArgumentError(
                "Say where: -HostName [user@]host[:port], -ComputerName, -ContainerId or -VMName.",
                "MissingMandatoryParameter",
            )
        credential = credential_of(bound, ask=self.can_ask())
        pump = Pump(LOOP, interactive=self.can_ask())
        asker: Asker = pump if self.can_ask() else NobodyToAsk()

        async def one(target: Target, name: str | None) -> PSSession:
            return await SESSIONS.open(target, asker, name, credential=credential)

        async def work() -> PSSessions:
            named = itertools.zip_longest(targets, names[: len(targets)])
            opening = [asyncio.create_task(one(target, name)) for target, name in named]
            with contextlib.suppress(asyncio.CancelledError):  # which those that are not open yet raise below
                await asyncio.gather(*opening, return_exceptions=True)
            found = [None if task.cancelled() else task.exception() or task.result() for task in opening]
            if not all(isinstance(one, PSSession) for one in found):
                await _close(found)
            return PSSessions(task.result() for task in opening)

        found = pump.run(work())
        return found[0] if len(found) == 1 else found

    @line_magic
    @no_var_expand
    @command_magic(NEW_PSSESSION_OPTION)
    def new_pssessionoption(self, bound: Bound) -> PSSessionOption:
        """Make options for -SessionOption $name. One with the name PSSessionOption counts where none is given."""
        return PSSessionOption(**{FIELDS[name]: value for name, value in bound.values.items()})

    @line_magic
    @no_var_expand
    @command_magic(GET_PSSESSION)
    def get_pssession(self, bound: Bound) -> PSSessions:
        """List the sessions of this process, or those that WinRM servers or relays keep."""
        if is_at_servers(bound):
            pump = Pump(LOOP, interactive=self.can_ask())
            return sessions_at_servers(bound, pump, pump if self.can_ask() else NobodyToAsk(), ask=self.can_ask())
        found = sessions_of(bound)
        return SESSIONS.all() if found is None else found

    @line_magic
    @no_var_expand
    @command_magic(REMOVE_PSSESSION)
    def remove_pssession(self, bound: Bound) -> None:
        """Close sessions: their variables, and what runs in them, are gone."""
        computers = bound.get("ComputerName") or []
        found = sessions_of(bound) or PSSessions(each for name in computers for each in SESSIONS.by_computer(name))
        for session in found:
            self._entered.require_not_entered(session)
        failures = [failure for session in found if (failure := self._removed(session)) is not None]
        if failures:
            raise RemotingError(" ".join(map(str, failures)), failures[0].error_id)

    def _removed(self, session: PSSession) -> RemotingError | None:
        """Close it. One that cannot be reached does not keep the others open."""
        pump = Pump(LOOP, interactive=self.can_ask())
        try:
            pump.run(leaving.remove(session, pump if self.can_ask() else NobodyToAsk()))
        except RemotingError as error:
            return error
        return None


async def _close(found: Sequence[PSSession | BaseException | None]) -> None:
    """Where one of several cannot be opened, none is: nobody would have the others in hand.

    Raises:
        ConnectError: what each of several failures was.
    """
    for one in found:
        if isinstance(one, PSSession):
            await one.aclose()
    failures = [one for one in found if isinstance(one, PSKernelError)]
    if len(found) > 1 and failures:
        raise ConnectError(" ".join(map(str, failures)) + " No session was opened.")
