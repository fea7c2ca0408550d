"""Targets that are marked as production: nobody works on one by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.errors import PromptUnavailable
from pskernel.questions import NobodyToAsk, Question
from pskernel.render.ansi import neutralise, strip
from pskernel.render.text import StreamText
from pskernel.session.aims import is_exit

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.session.interactive import InteractiveSession
    from pskernel.target import Target

__all__ = ["ProductionGate"]


class ProductionGate:
    """Lets cells through once the host's name has been typed, or given as the option ``confirm``, in each session.

    A host behind it, to which Enter-PSSession leads, is confirmed by its own name, and by typing alone.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._passed: set[tuple[int, ...]] = set()

    async def refusal(self, session: InteractiveSession, asker: Asker, cell: str = "") -> str | None:
        """Why ``cell`` must not run, or None. Asks for the host's name once in each place."""
        passed = session.visit in self._passed or (session.is_away and is_exit(cell))
        if passed or not self._target.options.production:
            return None
        names = _names(session, self._target)
        if not names:
            return (
                f"{self._target.label} is marked as production, and the host behind it does not tell its name, by "
                "which it could be confirmed. Leave it with Exit-PSSession. The cell was not run."
            )
        given = None if session.is_away else self._target.options.confirm
        if given is None and isinstance(asker, NobodyToAsk):
            how = "" if session.is_away else " Say its name with the option confirm=NAME."
            return (
                f"{session.place} is marked as production, and nobody can be asked whether it is meant.{how} The cell "
                "was not run."
            )
        if given is None:
            text = f"{session.place} is a production machine. Type its name ({names[0]}) to run cells on it: "
            try:
                given = await asker.ask(Question(text, secret=False))
            except PromptUnavailable:
                return f"The name of the production machine {session.place} was not given. The cell was not run."
        if given.strip().casefold() not in {name.casefold() for name in names}:
            return (
                f"That is not the name of the production machine {session.place}, which is {' or '.join(names)}. The "
                "cell was not run."
            )
        self._passed.add(session.visit)
        return None

    def line(self, session: InteractiveSession) -> StreamText | None:
        """What stands above each cell's output there."""
        if not self._target.options.production:
            return None
        shown = strip(neutralise(session.place))
        return StreamText("stderr", f"\x1b[1;97;41m PRODUCTION  {shown} \x1b[0m\n")


def _names(session: InteractiveSession, target: Target) -> list[str]:
    computer = strip(neutralise(session.facts.computer))
    machine = None if session.is_away else target.machine
    if machine and machine.casefold() == computer.casefold():
        return [machine]
    return [name for name in (machine, computer) if name]
