"""The sessions of this process, by number, name and id, as Get-PSSession finds them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from pskernel.connect import find_shells
from pskernel.credentials import GivenCredential, PSCredential, read_credential
from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.target import Target
from pskernel.wildcards import matcher

if TYPE_CHECKING:
    from uuid import UUID

    from pskernel.session.interactive import InteractiveSession

__all__ = ["SESSIONS", "SessionTable", "get_pssession", "new_pssession"]


class SessionTable:
    """Open, and no longer open, sessions; removed ones are forgotten."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._sessions: dict[int, PSSession] = {}

    async def open(
        self, target: Target, asker: Asker, name: str | None = None, *, credential: GivenCredential | None = None
    ) -> PSSession:
        """Open a session and keep it in the table.

        Raises:
            ConnectError: it cannot be opened; nothing is kept.
        """
        number = next(self._numbers)
        session = PSSession(number, name or f"Runspace{number}", target, self._forget, credential=credential)
        try:
            await session.open(asker)
        except BaseException:
            await session.session.aclose()
            raise
        self.keep(session)
        return session

    def take_in(
        self, session: InteractiveSession, target: Target, *, credential: GivenCredential | None = None
    ) -> PSSession:
        """A session that was entered without being one of the table. :meth:`keep` puts it there."""
        number = next(self._numbers)
        name = target.options.session or f"Runspace{number}"
        return PSSession(number, name, target, self._forget, credential=credential, session=session)

    def keep(self, session: PSSession) -> None:
        """Have it in the table, where it stays open when it is left, in the place of what was lost or left of it."""
        session.session.outlives_exit = True
        for other in self.all():
            is_same = other is not session and other.instance_id == session.instance_id
            if is_same and other.state in ("Broken", "Disconnected"):
                self._forget(other.id)
                LOOP.start(other.session.abandon(f"It is session {session.id} of the list now."))
        self._sessions[session.id] = session

    async def find(self, target: Target, asker: Asker, *, credential: GivenCredential | None = None) -> PSSessions:
        """The sessions that a WinRM server keeps, or relays on a host. Those that are not of this process are numbered
        when they are found; so is one that this process has lost, and that is there.

        Raises:
            ConnectError: the server cannot be asked.
        """
        known = {session.instance_id: session for session in self._sessions.values() if session.state != "Broken"}
        found = PSSessions()
        for shell in await find_shells(target, asker, credential=credential):
            session = known.get(shell.pool_id)
            if session is None:
                number = next(self._numbers)
                session = PSSession(
                    number, shell.name or f"Runspace{number}", target, self._forget, credential=credential, shell=shell
                )
            elif session.state == "Disconnected":
                session.hear(shell)
            found.append(session)
        return found

    async def connect(
        self, session: PSSession, asker: Asker, *, to_enter: bool = False, take_over: bool = False
    ) -> None:
        """Come back to a session, which is one of the table from then on.

        Args:
            session: was left.
            asker: whom to ask for passwords.
            to_enter: whether cells are to run in it, so that nothing else may.
            take_over: whether another client, which has it still, loses it.

        Raises:
            RemotingError: it cannot be come back to.
        """
        await (leaving.connect_to_enter if to_enter else leaving.connect)(session, asker, take_over=take_over)
        self.keep(session)

    def all(self) -> PSSessions:
        """All sessions, oldest first."""
        return PSSessions(self._sessions.values())

    def by_id(self, number: int) -> PSSession:
        """The session with that number.

        Raises:
            RemotingError: there is none.
        """
        if number not in self._sessions:
            raise RemotingError(
                f"The remote session with the session ID {number} is not available.",
                "RemoteRunspaceNotAvailableForSpecifiedSessionId",
            )
        return self._sessions[number]

    def by_instance_id(self, instance_id: UUID) -> PSSession:
        """The session with that id.

        Raises:
            RemotingError: there is none.
        """
        for session in self._sessions.values():
            if session.instance_id == instance_id:
                return session
        raise RemotingError(
            f"Remote session is not available for {instance_id}.", "RemoteRunspaceNotAvailableForSpecifiedRunspaceId"
        )

    def by_name(self, pattern: str) -> PSSessions:
        """The sessions whose names match, in any case; none is no error for a pattern with wildcards.

        Raises:
            RemotingError: there is none of that name.
        """
        is_meant, several = matcher(pattern)
        found = PSSessions(session for session in self._sessions.values() if is_meant(session.name))
        if not found and not several:
            raise RemotingError(
                f"The remote session with the name {pattern} is not available.",
                "RemoteRunspaceNotAvailableForSpecifiedName",
            )
        return found

    def by_computer(self, name: str) -> PSSessions:
        """The sessions on that host, in any case.

        Raises:
            RemotingError: there is none.
        """
        found = PSSessions(each for each in self._sessions.values() if each.computer_name.casefold() == name.casefold())
        if not found:
            raise RemotingError(
                f"Remote session is not available for ComputerName {name}.",
                "RemoteRunspaceNotAvailableForSpecifiedComputer",
            )
        return found

    def _forget(self, number: int) -> None:
        self._sessions.pop(number, None)


SESSIONS = SessionTable()


def new_pssession(
    target: Target | str,
    *,
    name: str | None = None,
    asker: Asker | None = None,
    credential: PSCredential | None = None,
) -> PSSession:
    """Open a session and wait until it is open.

    Args:
        target: where; a text is read as :meth:`pskernel.Target.parse` does.
        name: its name; ``Runspace`` and its number otherwise.
        asker: whom to ask for passwords and codes; None asks nobody.
        credential: the user and the password, for WinRM or SSH.

    Raises:
        TargetError: the target or its credential cannot be used; nothing was contacted.
        ConnectError: no session could be opened; the subclasses say why.
    """
    where = target if isinstance(target, Target) else Target.parse(target)
    given = None
    if credential is not None:
        where, given = replace(where, user=credential.user_name), read_credential(credential)
    return LOOP.run(SESSIONS.open(where, asker or NobodyToAsk(), name, credential=given))


def get_pssession(name: str = "*") -> PSSessions:
    """The sessions of this process whose names match a pattern.

    Raises:
        RemotingError: there is none of that name.
    """
    return SESSIONS.by_name(name)
