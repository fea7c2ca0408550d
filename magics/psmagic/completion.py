"""Completion of what stands behind a magic's name: parameters, their values where these are few, Python's variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from psmagic.parameters import Command, Kind, Parameter

__all__ = ["matcher"]

_LINE = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=\s*)?(?P<magic>%%?\w+)\s(?P<rest>.*)\Z", re.DOTALL)
_WORD = re.compile(r"[^\s,]*\Z")


def matcher(commands: Iterable[Command], variables: Mapping[str, Any]) -> Callable[..., SimpleMatcherResult]:
    """A matcher for IPython's completer.

    Args:
        commands: the magics.
        variables: the user's namespace.
    """
    by_magic = {command.magic.lstrip("%"): command for command in commands}

    @context_matcher(identifier="psmagic.parameters")  # type: ignore[untyped-decorator,unused-ignore]
    def parameters(context: CompletionContext) -> SimpleMatcherResult:
        match = _LINE.match(context.text_until_cursor)
        command = by_magic.get(match["magic"].lstrip("%").casefold()) if match else None
        if match is None or command is None or "\n" in match["rest"]:
            return {"completions": []}
        word = _WORD.search(match["rest"])
        fragment = word[0] if word else ""
        before = match["rest"][: len(match["rest"]) - len(fragment)].split()
        found = _candidates(command, before, fragment, variables)
        completions = [SimpleCompletion(text, type="param") for text in found]
        return {"completions": completions, "matched_fragment": fragment, "suppress": bool(completions)}

    return parameters  # type: ignore[no-any-return,unused-ignore]


def _candidates(command: Command, before: list[str], fragment: str, variables: Mapping[str, Any]) -> list[str]:
    wanted = fragment.casefold()
    given = {text.lstrip("-").partition(":")[0].casefold() for text in before if text.startswith("-")}
    if fragment.startswith("-"):
        names = [f"-{parameter.name}" for parameter in command.parameters if parameter.name.casefold() not in given]
        return [name for name in names if name.casefold().startswith(wanted)]
    if fragment.startswith("$"):
        return [
            f"${name}" for name in variables if not name.startswith("_") and f"${name}".casefold().startswith(wanted)
        ]
    parameter = _named(command, before[-1]) if before else None
    choices = parameter.choices if parameter is not None and parameter.kind is not Kind.SWITCH else ()
    return [choice for choice in choices if choice.casefold().startswith(wanted)]


def _named(command: Command, text: str) -> Parameter | None:
    name = text.removeprefix("-").casefold()
    return next((parameter for parameter in command.parameters if parameter.name.casefold() == name), None)
