"""Questions that opening a session may put to the user, and who answers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pskernel.errors import PromptUnavailable

__all__ = ["Asker", "NobodyToAsk", "Question", "is_watched"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    ``text`` names the host it is asked for; ``secret`` answers are masked and never kept; ``above`` is what the cell
    shows above it: the caption and the message of a confirmation, which an answer file may go by. ``lasting`` names
    what the answer is, if it is one that serves again later, as a password does and a code of the moment does not.
    """

    text: str
    secret: bool = True
    above: str = ""
    lasting: str = field(default="", compare=False)


class Asker(Protocol):
    """Whoever can put a question to the user: a notebook's stdin, a terminal, an answer file."""

    async def ask(self, question: Question) -> str:
        """Return the answer.

        Raises:
            PromptUnavailable: nobody can be asked (a headless run, or no cell is running yet).
        """


class NobodyToAsk:
    """The asker of headless runs: refuses every question and says how to supply the answer instead."""

    async def ask(self, question: Question) -> str:
        """Refuse.

        Raises:
            PromptUnavailable: always.
        """
        raise PromptUnavailable(
            f"{question.text.rstrip(': ')} is needed, and this run cannot ask for it. Name a credential with the "
            "option credential=keyring:NAME, env:NAME or file:PATH, or use a key that needs no passphrase."
        )


def is_watched(asker: Asker) -> bool:
    """Whether a person is there; an asker that knows some answers itself names the next one as ``otherwise``."""
    while (behind := getattr(asker, "otherwise", None)) is not None:
        asker = behind
    return not isinstance(asker, NobodyToAsk)
