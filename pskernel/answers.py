"""Answers to prompts, from a file: for runs in which nobody sits before the screen.

The file is YAML, a list; each entry says which prompts it answers and with what::

    - prompt: Continue with operation     # a part of the prompt's text, in any case
      answer: y
    - prompt: Names
      answers: [web01, web02, ""]         # one after another; the last one again and again
    - prompt: Password for user
      secret: keyring:web01               # or env:NAME or file:PATH: a secret is never in the file itself
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pskernel.credentials import CredentialReference, resolve
from pskernel.errors import PromptUnavailable, PSKernelError, TargetError
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.userfiles import read_user_file

__all__ = ["AnswerFileError", "Answers", "FileAsker"]

_MAX_BYTES = 1024 * 1024
_KEYS = {"prompt", "answer", "answers", "secret"}


class AnswerFileError(PSKernelError):
    """The file cannot be read, or is not what it should be. No value of it is repeated."""


@dataclass(slots=True)
class _Entry:
    prompt: str
    answers: tuple[str, ...] = ()
    secret: CredentialReference | None = None
    used: int = field(default=0, compare=False)

    def next(self) -> str:
        answer = self.answers[min(self.used, len(self.answers) - 1)]
        self.used += 1
        return answer


class Answers:
    """The entries of one file. An entry with several answers remembers how many it has given.

    Args:
        entries: what the YAML says.
        source: how messages name the file.
        secrets: whether entries may refer to secrets. A file that a cell names may not: who wrote the notebook would
            choose which stored secret goes to which host.
    """

    def __init__(self, entries: Any, source: str, *, secrets: bool = True) -> None:
        self.source = source
        if not isinstance(entries, list):
            raise AnswerFileError(f"The answer file {source} is not a list of entries with `prompt` and `answer`.")
        self._entries = [_entry(entry, number, source, secrets=secrets) for number, entry in enumerate(entries, 1)]

    @classmethod
    def load(cls, path: str | Path, *, secrets: bool = True) -> Answers:
        """Read a file.

        Raises:
            AnswerFileError: it cannot be read, or an entry is wrong.
        """
        data = read_user_file(path, "The answer file", at_most=_MAX_BYTES, error=AnswerFileError)
        try:
            # Texts stay as they are written, 0755, 1.10 and yes too; this loader makes no other objects.
            entries = yaml.load(data, Loader=yaml.BaseLoader)  # noqa: S506
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f" near line {mark.line + 1}" if mark is not None else ""
            raise AnswerFileError(f"The answer file {path} is not valid YAML{where}.") from None
        return cls(entries, str(path), secrets=secrets)

    def entry_for(self, question: Question) -> _Entry | None:
        """The first entry that answers the question, or the first that would if it were of the right kind."""
        text = f"{question.above}\n{question.text}".casefold()
        fitting = [entry for entry in self._entries if entry.prompt.casefold() in text]
        right = [entry for entry in fitting if (entry.secret is not None) == question.secret]
        return next(iter(right or fitting), None)


class FileAsker:
    """Answers from files; what no entry is for is put to another asker.

    Args:
        files: looked through in this order.
        otherwise: whom to ask then.
    """

    def __init__(self, files: Sequence[Answers], otherwise: Asker) -> None:
        self._files = files
        self.otherwise = otherwise

    async def ask(self, question: Question) -> str:
        """Return the answer.

        Raises:
            PromptUnavailable: there is none, or a secret is asked for and the entry has none.
        """
        # Who asks the same again and again must not keep everything else from running.
        await asyncio.sleep(0)
        for answers in self._files:
            entry = answers.entry_for(question)
            if entry is None:
                continue
            if entry.secret is not None:
                if not question.secret:
                    raise PromptUnavailable(
                        f"The answer file {answers.source} has a secret for this prompt, but the prompt is not masked."
                    )
                try:
                    return (await resolve(entry.secret, NobodyToAsk(), question)).reveal()
                except TargetError as error:
                    raise PromptUnavailable(str(error)) from None
            if question.secret:
                raise PromptUnavailable(
                    f"The prompt asks for a secret. Give its place in {answers.source} with `secret:`, not `answer:`."
                )
            return entry.next()
        if isinstance(self.otherwise, NobodyToAsk):
            names = ", ".join(answers.source for answers in self._files)
            text = " ".join(f"{question.above} {question.text}".split()).rstrip(": ")
            raise PromptUnavailable(f"Nobody can be asked, and no entry of {names} answers this prompt: {text}")
        return await self.otherwise.ask(question)


def _entry(entry: Any, number: int, source: str, *, secrets: bool) -> _Entry:
    def wrong(why: str) -> AnswerFileError:
        return AnswerFileError(f"Entry {number} of the answer file {source} {why}.")

    if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str) or not entry["prompt"].strip():
        raise wrong("needs a `prompt`: a part of the text that is asked")
    unknown = set(map(str, entry)) - _KEYS
    if unknown:
        raise wrong(f"has the unknown key `{min(unknown)[:40]}`; there are {', '.join(sorted(_KEYS))}")
    if len(_KEYS & set(entry)) != 2:
        raise wrong("needs exactly one of `answer`, `answers` and `secret`")
    if "secret" in entry:
        if not secrets:
            raise wrong("refers to a secret, which a file named by a cell may not; use `pskernel run --answers`")
        return _Entry(entry["prompt"].strip(), secret=_reference(entry["secret"], wrong))
    given = entry["answers"] if "answers" in entry else [entry["answer"]]
    if not isinstance(given, list) or not given:
        raise wrong("needs a list of `answers`")
    if not all(isinstance(text, str) for text in given):
        raise wrong("has an answer that is no text")
    return _Entry(entry["prompt"].strip(), tuple(given))


def _reference(text: Any, wrong: Callable[[str], AnswerFileError]) -> CredentialReference:
    try:
        reference = CredentialReference.parse(str(text))
    except TargetError as error:
        raise wrong(f"has no place of a secret. {error}") from None
    if reference.kind == "prompt":
        raise wrong("says `prompt`, but it is to answer one")
    return reference
