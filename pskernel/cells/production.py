"""Targets that are marked as production: nobody works on one by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.errors import PromptUnavailable
from pskernel.questions import NobodyToAsk, Question
from pskernel.render.ansi import neutralise, strip
from pskernel.render.text import StreamText

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.session.interactive import InteractiveSession
    from pskernel.target import Target

__all__ = ["ProductionGate"]


class ProductionGate:
    """Lets cells through once the host's name has been typed, or given as the option ``confirm``, in each session."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._passed = 0

    async def refusal(self, session: InteractiveSession, asker: Asker) -> str | None:
        """Why the cell must not run, or None. Asks for the host's name once a session."""
        if not self._target.options.production or self._passed == session.number:
            return None
        names = [name for name in (self._target.machine, strip(neutralise(session.facts.computer))) if name]
        given = self._target.options.confirm
        if given is None:
            if isinstance(asker, NobodyToAsk):
                return (
                    f"{session.label} is marked as production, and nobody can be asked whether it is meant. Say its "
                    "name with the option confirm=NAME. The cell was not run."
                )
            text = f"{session.label} is a production machine. Type its name ({names[0]}) to run cells on it: "
            try:
                given = await asker.ask(Question(text, secret=False))
            except PromptUnavailable:
                return f"The name of the production machine {session.label} was not given. The cell was not run."
        if given.strip().casefold() not in {name.casefold() for name in names}:
            return (
                f"That is not the name of the production machine {session.label}, which is {' or '.join(names)}. The "
                "cell was not run."
            )
        self._passed = session.number
        return None

    def line(self, session: InteractiveSession) -> StreamText | None:
        """What stands above each cell's output there."""
        if not self._target.options.production:
            return None
        return StreamText("stderr", f"\x1b[1;97;41m PRODUCTION  {session.label} \x1b[0m\n")
