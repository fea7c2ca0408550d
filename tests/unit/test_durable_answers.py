"""What is answered when a durable session is opened, and what of it serves on the way back."""

from __future__ import annotations

import asyncio

import pytest

from pskernel.connect.durable import _Answers, _read_answer
from pskernel.errors import ConnectError, PromptUnavailable
from pskernel.questions import Question
from tests.parts.sshd import Answers

PASSWORD, CODE = Question("admin@web01's password: "), Question("(admin@web01) Verification code: ")


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
        _read_answer(found)
