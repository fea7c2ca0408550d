"""What is answered when a durable session is opened, and what of it serves on the way back."""

from __future__ import annotations

import asyncio

import pytest

from pskernel.connect.durable import _Answers
from pskernel.connect.relays import _read, _read_relay
from pskernel.errors import ConnectError, PromptUnavailable
from pskernel.questions import Question
from pskernel.transports.ssh.login import Deadline, Login
from tests.parts.sshd import Answers

PASSWORD = Question("admin@web01's password: ", lasting="admin@web01 22 password")
CODE = Question("(admin@web01) Verification code: ")


def test_a_password_serves_again_once_for_each_way_back() -> None:
    async def main() -> None:
        user = Answers("hunter2")
        answers = _Answers(user)
        assert "hunter2" == await answers.ask(PASSWORD)
        for _ in range(2):
            way_back = answers.again()
            assert "hunter2" == await way_back.ask(PASSWORD)
            with pytest.raises(PromptUnavailable, match="nobody can be asked then"):
                await way_back.ask(PASSWORD)
        assert [PASSWORD.text] == user.texts
        assert "hunter2" not in repr(vars(answers))

    asyncio.run(main())


def test_while_a_session_is_opened_the_user_is_asked_for_what_is_not_known() -> None:
    async def main() -> None:
        user = Answers("hunter2", "123456", "654321", "hunter3")
        answers = _Answers(user)
        await answers.ask(PASSWORD)
        await answers.ask(CODE)
        again = answers.once_more()
        assert "hunter2" == await again.ask(PASSWORD)
        assert "654321" == await again.ask(CODE)
        # What was typed first was wrong: what serves in its place serves on the way back.
        assert "hunter3" == await again.ask(PASSWORD)
        assert "hunter3" == await answers.again().ask(PASSWORD)
        assert [PASSWORD.text, CODE.text, CODE.text, PASSWORD.text] == user.texts

    asyncio.run(main())


def login(asker: object, who: str, port: int = 22) -> Login:
    return Login(who, port, asker=asker, deadline=Deadline(30))  # type: ignore[arg-type]


def test_two_hosts_of_one_name_have_each_their_own_password() -> None:
    async def main() -> None:
        answers = _Answers(Answers("of the jump host", "of the target"))
        for port in (22, 2222):
            await login(answers, "me@localhost", port).password()
        way_back = answers.again()
        assert "of the target" == await login(way_back, "me@localhost", 2222).password()
        assert "of the jump host" == await login(way_back, "me@localhost", 22).password()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("who", "intro", "prompt", "is_kept"),
    [
        ("me@tokens.codes.example", "", "Password: ", True),
        ("me@web01", "Verify that nobody watches.", "Password: ", True),
        ("me@pass01", "Your password was accepted.", "Number shown: ", False),
        ("me@pass01", "", "Verification code: ", False),
    ],
)
def test_what_is_kept_goes_by_the_prompt_alone(who: str, intro: str, prompt: str, is_kept: bool) -> None:
    async def main() -> None:
        answers = _Answers(Answers("given"))
        assert ["given"] == await login(answers, who).answers(intro, [(prompt, False)])
        again = await login(answers.again(), who).answers(intro, [(prompt, False)])
        assert (["given"] if is_kept else None) == again

    asyncio.run(main())


@pytest.mark.parametrize("question", [CODE, Question("(admin@web01) Password or name? ", secret=False)])
def test_what_is_of_the_moment_or_no_secret_is_not_kept(question: Question) -> None:
    async def main() -> None:
        answers = _Answers(Answers("123456"))
        await answers.ask(question)
        with pytest.raises(PromptUnavailable):
            await answers.again().ask(question)

    asyncio.run(main())


@pytest.mark.parametrize(
    "found",
    [
        [],
        [7],
        ["{}"],
        ["[" * 4_096],
        ['{"path": "/tmp/it\'s", "token": "%s"}' % ("A" * 44)],
        ['{"path": "relative", "token": "%s"}' % ("A" * 44)],
        ['{"path": "/tmp/s", "token": "short"}'],
    ],
)  # fmt: skip
def test_a_relay_that_does_not_say_where_it_is(found: list[object]) -> None:
    with pytest.raises(ConnectError, match="did not say where it is"):
        _read_relay(_read(found[0]) if found else {}, "0" * 32)
