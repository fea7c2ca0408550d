"""What a run hears of secrets, so that none of them is written; and of prompts that nobody answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from pskernel.cells.output import Output
from pskernel.credentials import CredentialReference, resolve
from pskernel.errors import PromptUnavailable
from pskernel.masking import Masker
from pskernel.questions import Asker, Question
from pskernel.render.text import StreamName, StreamText
from pskernel.session.interactive import Opener
from pskernel.session.runspace import Runspace
from pskernel.target import Target

__all__ = ["Heard", "Listening", "Masked", "hearing"]

# A line that is longer is passed on before its end.
_MAX_LINE = 64 * 1024


@dataclass(slots=True)
class Heard:
    """Of one run: the secrets that were typed, read from a place, or answered with; prompts without an answer."""

    masker: Masker = field(default_factory=Masker)
    unanswered: int = 0


def hearing(target: Target, opening: Opener, heard: Heard) -> Opener:
    """An opener that also notes the passwords that the target says the places of."""

    async def open_with(asker: Asker) -> Runspace:
        for named in filter(None, (target.options.credential, target.options.sudo_credential)):
            reference = CredentialReference.parse(named)
            # What is asked for is heard anyway.
            if reference.kind != "prompt":
                secret = await resolve(reference, asker, Question(f"Password for {target.label}: "))
                heard.masker.add(secret.reveal())
        return await opening(asker)

    return open_with


class Listening:
    """An asker that remembers what it must not be written.

    Args:
        inner: whom it asks.
        heard: where it is remembered.
    """

    def __init__(self, inner: Asker, heard: Heard) -> None:
        self.otherwise = inner
        self._heard = heard

    async def ask(self, question: Question) -> str:
        """Ask. Raises PromptUnavailable as the inner one does."""
        try:
            answer = await self.otherwise.ask(question)
        except PromptUnavailable:
            self._heard.unanswered += 1
            raise
        if question.secret:
            self._heard.masker.add(answer)
        return answer


class Masked:
    """An output without secrets: passed on in whole lines, so that none is cut in two.

    Args:
        inner: where to.
        masker: takes them out.
    """

    def __init__(self, inner: Output, masker: Masker) -> None:
        self._inner = inner
        self._masker = masker
        self._begun: dict[StreamName, str] = {"stdout": "", "stderr": ""}

    async def write(self, piece: StreamText) -> None:
        """Pass on the lines that are complete, or too long to wait for their end."""
        text = self._begun[piece.stream] + piece.text
        end = len(text) if len(text) > _MAX_LINE else text.rfind("\n") + 1
        lines, self._begun[piece.stream] = text[:end], text[end:]
        if lines:
            await self._rest_but(piece.stream)
            await self._inner.write(StreamText(piece.stream, self._masker.mask(lines)))

    async def flush(self) -> None:
        """Pass on the rest."""
        await self._rest_but(None)
        await self._inner.flush()

    async def clear(self) -> None:
        """What is held back goes, too."""
        self._begun = {"stdout": "", "stderr": ""}
        await self._inner.clear()

    def spill(self, why: str) -> None:
        """Hurry."""
        self._inner.spill(why)

    async def _rest_but(self, stream: StreamName | None) -> None:
        # What stands on the other stream has come before.
        for other, text in self._begun.items():
            if other != stream and text:
                self._begun[other] = ""
                await self._inner.write(StreamText(other, self._masker.mask(text)))
