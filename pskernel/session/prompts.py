"""The prompts of PowerShell's host, as its console asks them.

The remote sends what to ask (MS-PSRP 2.2.3.17, methods 11, 12, 23 to 26 and 56); a :class:`Dialog` shows text and puts
the questions to the user. Texts and rules are those of PowerShell's ConsoleHostUserInterface.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pskernel.errors import PromptUnavailable
from pskernel.protocol.hostvalues import Login, Secret
from pskernel.questions import Asker, Question
from pskernel.records import HostText

__all__ = ["Choice", "Dialog", "Field", "choose", "choose_many", "credential", "fill", "read_line", "read_secret"]

_COMMANDS = "(Type !? for Help.)"
_CREDENTIAL_CAPTION = "PowerShell Credential Request: "
_SECURE_STRING = "System.Security.SecureString"
_CREDENTIAL = "System.Management.Automation.PSCredential"
_LISTS = {"System.Collections.IList", "System.Collections.ArrayList", "System.Array"}
# An empty answer, where it ends a list.
_END = object()
# What a remote must not put into a prompt: it could look like another host's.
_LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
# Nobody types that many, or answers that often in vain. An answer file would for ever, and a remote that asks without
# end would keep the user busy.
_MAX_ELEMENTS = 1000
_MAX_ATTEMPTS = 100


class Dialog(Protocol):
    """Who is talked to. ``show`` shows a text with the cell's output; ``computer`` names the remote.

    ``above`` is what was shown above the questions of the call that is being answered.
    """

    asker: Asker
    computer: str
    above: str
    show: Callable[[HostText], Awaitable[None]]

    async def warn_of_secrets(self) -> None:
        """Say that the remote asks for something secret."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value that Prompt asks for (FieldDescription). ``type_name`` is the full name of its .NET type."""

    name: str
    label: str
    help: str
    type_name: str

    @property
    def prompt(self) -> str:
        """What the user is asked for."""
        return _without_hotkey(self.label) or self.name

    @property
    def is_list(self) -> bool:
        """Whether several values are asked for, until an empty one."""
        return self.type_name.endswith("[]") or self.type_name in _LISTS


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers (ChoiceDescription). The character behind ``&`` in ``label`` chooses it."""

    label: str
    help: str

    @property
    def text(self) -> str:
        """The label as it is shown."""
        return _without_hotkey(self.label)

    @property
    def key(self) -> str:
        """What to type for it: the character behind the first ``&``, else the whole label."""
        _, found, rest = self.label.partition("&")
        return rest[0].upper() if found and rest.strip() else self.text


async def read_line(dialog: Dialog) -> str:
    """ReadLine: one line, without a prompt of its own.

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    return await _ask(dialog, "")


async def read_secret(dialog: Dialog) -> Secret:
    """ReadLineAsSecureString: one line, masked.

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    await dialog.warn_of_secrets()
    return Secret(await _ask(dialog, "", secret=True))


async def credential(dialog: Dialog, caption: str, message: str, user: str, target: str = "") -> Login:
    """PromptForCredential: a user's name, unless it is given, and a password.

    Caption and message are changed as PowerShell changes them, so that a remote cannot pass its request off as one of
    this computer's.

    Args:
        dialog: who is talked to.
        caption: what the remote calls the request.
        message: what it says about it.
        user: the name, or empty to ask for it.
        target: the domain or computer of a name that has none.

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    await _headline(
        dialog,
        f"{_CREDENTIAL_CAPTION}{caption}",
        f"Warning: A script or application on the remote computer {dialog.computer.upper()} is requesting your "
        "credentials. Enter your credentials only if you trust the remote computer and the application or script that "
        f"is requesting them.\n\n{message}",
    )
    attempts = 0
    while not user:
        attempts += 1
        if attempts > _MAX_ATTEMPTS:
            raise _no_answer("User")
        user = (await _ask(dialog, "User")).strip()
    password = Secret(await _ask(dialog, f"Password for user {user}", secret=True))
    if target and not set(user) & set("\\@"):
        user = f"{target}\\{user}"
    return Login(user, password)


async def fill(dialog: Dialog, caption: str, message: str, fields: Sequence[Field]) -> dict[str, Any]:
    """Prompt: a value for each field; a list of values where its type is one.

    Values are the texts as typed: the remote converts them. Where it wants a SecureString or a PSCredential, the user
    is warned first, as PowerShell does.

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    await _headline(dialog, caption, message)
    if any(field.help for field in fields):
        await _say(dialog, _COMMANDS)
    values: dict[str, Any] = {}
    for field in fields:
        values[field.name] = await (_list if field.is_list else _single)(dialog, field)
    return values


async def choose(dialog: Dialog, caption: str, message: str, choices: Sequence[Choice], default: int) -> int:
    """PromptForChoice: the index of one choice; an empty answer means ``default``, if there is one (not -1).

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    await _headline(dialog, caption, message)
    keys = f"{_keys(choices)}  [?] Help"
    ending = f' (default is "{choices[default].key}")' if 0 <= default < len(choices) else ""
    for _ in range(_MAX_ATTEMPTS):
        answer = await _ask(dialog, f"{keys}{ending}")
        if not answer.strip() and ending:
            return default
        found = _meant(choices, answer)
        if found is not None:
            return found
        if answer.strip() == "?":
            await _help(dialog, choices)
    raise _no_answer(keys)


async def choose_many(
    dialog: Dialog, caption: str, message: str, choices: Sequence[Choice], defaults: Sequence[int]
) -> list[int]:
    """PromptForChoiceMultipleSelection: the indices chosen, one a question until an empty answer; else the defaults.

    Raises:
        PromptUnavailable: nobody can be asked.
    """
    await _headline(dialog, caption, message)
    offered = [choices[index].key for index in defaults if 0 <= index < len(choices)]
    ending = f"\n(default choices are {','.join(offered)})" if offered else ""
    if len(offered) == 1:
        ending = f'\n(default is "{offered[0]}")'
    await _say(dialog, f"{_keys(choices)}  [?] Help{ending}")
    chosen: list[int] = []
    for _ in range(_MAX_ELEMENTS):
        answer = await _ask(dialog, f"Choice[{len(chosen)}]")
        if not answer.strip():
            return chosen or list(defaults)
        found = _meant(choices, answer)
        if found is not None:
            chosen.append(found)
        elif answer.strip() == "?":
            await _help(dialog, choices)
    raise _no_answer("Choice")


async def _single(dialog: Dialog, field: Field) -> Any:
    if field.type_name == _SECURE_STRING:
        await dialog.warn_of_secrets()
        return Secret(await _ask(dialog, field.prompt, secret=True))
    if field.type_name == _CREDENTIAL:
        return await credential(dialog, "", field.prompt, "")
    return await _value(dialog, field, field.prompt)


async def _list(dialog: Dialog, field: Field) -> list[str | None]:
    values: list[str | None] = []
    for index in range(_MAX_ELEMENTS):
        value = await _value(dialog, field, f"{field.prompt}[{index}]", empty=_END)
        if value is _END:
            return values
        values.append(value)
    raise _no_answer(field.prompt)


async def _value(dialog: Dialog, field: Field, prompt: str, *, empty: Any = "") -> Any:
    """One answer. ``!?`` shows the help; ``!""`` and ``!$null`` say what cannot be typed otherwise.

    Args:
        dialog: who is talked to.
        field: what is asked for.
        prompt: what the user is asked for.
        empty: what an empty answer means.
    """
    for _ in range(_MAX_ATTEMPTS):
        answer = await _ask(dialog, prompt)
        if not answer.startswith("!"):
            return answer or empty
        match answer[1:].strip().casefold():
            case "?":
                await _say(dialog, field.help or f"No help is available for {field.prompt}.")
            case '""':
                return ""
            case "$null":
                return None
            case command if command.startswith("!"):
                return answer[1:]
            case command:
                await _say(dialog, f'"{command}" cannot be recognized as a valid Prompt command.')
    raise _no_answer(prompt)


def _no_answer(prompt: str) -> PromptUnavailable:
    return PromptUnavailable(f"{prompt}: it was asked again and again, and no answer that ends it was given.")


async def _ask(dialog: Dialog, text: str, *, secret: bool = False) -> str:
    # The host that asks is named in every prompt: front ends show them detached from the cell.
    line = _LINE_BREAKS.sub(" ", f"[{dialog.computer}] {text}").rstrip()
    return await dialog.asker.ask(Question(f"{line}: ", secret=secret, above=dialog.above))


async def _headline(dialog: Dialog, caption: str, message: str) -> None:
    dialog.above = f"{caption}\n{message}"
    if caption:
        await _say(dialog, f"\n\x1b[97m{caption}\x1b[0m")
    if message:
        await _say(dialog, message)


async def _say(dialog: Dialog, text: str) -> None:
    await dialog.show(HostText(f"{text}\n"))


async def _help(dialog: Dialog, choices: Sequence[Choice]) -> None:
    await _say(dialog, "\n".join(f"{choice.key} - {choice.help}" for choice in choices))


def _keys(choices: Sequence[Choice]) -> str:
    return "  ".join(f"[{choice.key}] {choice.text}" for choice in choices)


def _meant(choices: Sequence[Choice], answer: str) -> int | None:
    if not answer.strip():
        return None
    typed = answer.strip().casefold()
    by_label = (index for index, choice in enumerate(choices) if choice.text.casefold() == typed)
    by_key = (index for index, choice in enumerate(choices) if choice.key.casefold() == typed)
    return next(by_label, next(by_key, None))


def _without_hotkey(label: str) -> str:
    before, _, after = label.partition("&")
    return f"{before}{after}".strip()
