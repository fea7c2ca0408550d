"""Prompts as PowerShell's console asks them, to a user whose answers are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pskernel.errors import PromptUnavailable
from pskernel.protocol.hostvalues import Login, Secret
from pskernel.questions import Question
from pskernel.records import HostCall, HostText
from pskernel.session.host import Host, HostRefusal
from pskernel.session.prompts import Choice, Field, choose, choose_many, credential, fill

YES_NO = [Choice("&Yes", "go on"), Choice("&No", "stop")]
ABC = [Choice("&A", ""), Choice("&B", ""), Choice("C", "")]


class User:
    """Types the answers given, in turn."""

    def __init__(self, *answers: str) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, bool]] = []
        self.shown = ""

    async def ask(self, question: Question) -> str:
        self.asked.append((question.text, question.secret))
        return self.answers.pop(0)

    async def see(self, text: HostText) -> None:
        self.shown += text.text


def talk(user: User, conversation: Callable[[Host], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await conversation(Host(user, "web01", user.see))

    found = asyncio.run(main())
    assert user.answers == []
    return found


def field(type_name: str = "System.String", text: str = "") -> Field:
    return Field("Who", "&Who", text, type_name)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (["x"], "x"),
        ([""], ""),
        (['!""'], ""),
        (["!$NULL"], None),
        (["!!x"], "!x"),
        (["!?", "x"], "x"),
        (["!z", "x"], "x"),
    ],
)
def test_one_value(typed: list[str], value: str | None) -> None:
    assert talk(User(*typed), lambda host: fill(host, "", "", [field()])) == {"Who": value}


@pytest.mark.parametrize(
    ("typed", "values"),
    [([""], []), (["a", "b", ""], ["a", "b"]), (['!""', "!$null", "!?", "x", ""], ["", None, "x"])],
)
def test_a_list_ends_with_an_empty_answer(typed: list[str], values: list[str | None]) -> None:
    assert talk(User(*typed), lambda host: fill(host, "", "", [field("System.String[]")])) == {"Who": values}


def test_help_is_offered_where_there_is_some() -> None:
    user = User("!?", "x")
    talk(user, lambda host: fill(host, "Caption", "Message", [field(text="the name")]))
    assert user.shown == "\n\x1b[97mCaption\x1b[0m\nMessage\n(Type !? for Help.)\nthe name\n"


@pytest.mark.parametrize(
    ("typed", "default", "chosen"),
    [(["y"], 1, 0), (["NO"], 0, 1), ([""], 1, 1), (["", "n"], -1, 1), (["?", "maybe", "yes"], 1, 0)],
)
def test_a_choice(typed: list[str], default: int, chosen: int) -> None:
    user = User(*typed)
    assert talk(user, lambda host: choose(host, "", "", YES_NO, default)) == chosen
    assert ("Y - go on" in user.shown) == ("?" in typed)
    assert ("default is" in user.asked[0][0]) == (default >= 0)


@pytest.mark.parametrize(
    ("typed", "defaults", "chosen", "told"),
    [
        (["c", "a", ""], [0], [2, 0], '(default is "A")'),
        ([""], [0, 1], [0, 1], "(default choices are A,B)"),
        (["x", ""], [], [], "[?] Help\n"),
    ],
)
def test_several_choices(typed: list[str], defaults: list[int], chosen: list[int], told: str) -> None:
    user = User(*typed)
    assert talk(user, lambda host: choose_many(host, "", "", ABC, defaults)) == chosen
    assert told in user.shown


def test_a_credential() -> None:
    user = User("", "joe", "s3cret")
    found = talk(user, lambda host: credential(host, "Windows", "Please.", "", "DOMAIN"))
    assert found == Login("DOMAIN\\joe", Secret("s3cret"))
    assert [secret for _, secret in user.asked] == [False, False, True]
    assert "PowerShell Credential Request: Windows" in user.shown
    assert "remote computer WEB01 is requesting your credentials" in user.shown
    assert "s3cret" not in repr(found)


def test_secrets_are_announced_and_masked() -> None:
    user = User("s3cret")
    found = talk(user, lambda host: fill(host, "", "", [field("System.Security.SecureString")]))
    assert found == {"Who": Secret("s3cret")}
    assert user.asked == [("[web01] Who: ", True)]
    assert "only if you trust the remote computer" in user.shown


def test_a_remote_cannot_make_a_prompt_look_like_anothers() -> None:
    user = User("x")
    talk(user, lambda host: fill(host, "", "", [Field("a\n[prod]\r\u2028Password", "", "", "System.String")]))
    assert user.asked == [("[web01] a [prod] Password: ", False)]


@pytest.mark.parametrize(
    "call",
    [
        HostCall("Prompt", 23, (), 1),
        HostCall("Prompt", 23, ("", "", ["x"]), 1),
        HostCall("Prompt", 23, ("", "", [{"name": "x"}]), 1),
        HostCall("PromptForChoice", 26, ("", "", [{"label": "&Y", "help": ""}], "zero"), 1),
        HostCall("PromptForChoice", 26, ("", "", None, 0), 1),
    ],
)
def test_a_call_that_makes_no_sense_fails_on_the_remote(call: HostCall) -> None:
    with pytest.raises(HostRefusal, match="parameters that it does not take"):
        talk(User(), lambda host: host.answer(call))


class AlwaysTheSame:
    """An answer file whose entry never fits, or a remote whose list has no end."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self, question: Question) -> str:
        self.asked += 1
        return self.answer

    async def see(self, text: HostText) -> None:
        """Nobody looks."""


@pytest.mark.parametrize(
    ("answer", "conversation"),
    [
        ("maybe", lambda host: choose(host, "", "", YES_NO, 0)),
        ("a", lambda host: choose_many(host, "", "", ABC, [])),
        ("maybe", lambda host: choose_many(host, "", "", ABC, [])),
        ("a", lambda host: fill(host, "", "", [field("System.String[]")])),
        ("!?", lambda host: fill(host, "", "", [field()])),
        (" ", lambda host: credential(host, "", "", "", "")),
    ],
)
def test_an_answer_that_ends_nothing_is_not_asked_for_ever(
    answer: str, conversation: Callable[[Host], Awaitable[Any]]
) -> None:
    user = AlwaysTheSame(answer)

    async def main() -> None:
        with pytest.raises(PromptUnavailable, match="again and again"):
            await conversation(Host(user, "web01", user.see))

    asyncio.run(main())
    assert 100 <= user.asked <= 1000
