"""Answer files: which prompt they answer with what, and what they refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pskernel.answers import AnswerFileError, Answers, FileAsker
from pskernel.errors import PromptUnavailable
from pskernel.questions import NobodyToAsk, Question


class Somebody:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, question: Question) -> str:
        self.asked.append(question.text)
        return "by hand"


def load(tmp_path: Path, text: str, *, secrets: bool = True) -> Answers:
    file = tmp_path / "answers.yaml"
    file.write_text(text, encoding="utf-8")
    return Answers.load(file, secrets=secrets)


def visible(text: str) -> Question:
    return Question(text, secret=False)


def test_an_entry_answers_the_prompts_that_hold_its_text(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker(
            [load(tmp_path, "- {prompt: continue, answer: y}\n- {prompt: Number, answer: 5}")], NobodyToAsk()
        )

        assert "y" == await asker.ask(visible("[web01] Continue with it?: "))
        assert "5" == await asker.ask(visible("[web01] number: "))
        assert "y" == await asker.ask(visible("Continue: "))

    asyncio.run(main())


def test_several_answers_are_given_in_turn_and_the_last_stays(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, '- {prompt: Names, answers: [a, b, ""]}')], NobodyToAsk())

        assert ["a", "b", "", ""] == [await asker.ask(visible(f"Names[{n}]: ")) for n in range(4)]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("", ""),
        ("''", ""),
        ("~", "~"),
        ("0755", "0755"),
        ("'07'", "07"),
        ("1.10", "1.10"),
        ("2026-01-02", "2026-01-02"),
    ],
)
def test_an_answer_is_what_a_person_would_type(tmp_path: Path, written: str, typed: str) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, f"- prompt: p\n  answer: {written}")], NobodyToAsk())

        assert typed == await asker.ask(visible("p"))

    asyncio.run(main())


def test_what_no_entry_is_for_is_put_to_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        somebody = Somebody()
        asker = FileAsker([load(tmp_path, "- {prompt: other, answer: x}")], somebody)

        assert "by hand" == await asker.ask(visible("Name: "))
        assert ["Name: "] == somebody.asked

    asyncio.run(main())


def test_a_confirmation_is_known_by_the_text_above_it(tmp_path: Path) -> None:
    async def main() -> None:
        file = load(tmp_path, "- {prompt: target b.txt, answer: y}\n- {prompt: are you sure, answer: n}")
        asker = FileAsker([file], NobodyToAsk())

        def confirm(name: str) -> Question:
            return Question("[web01] [Y] Yes  [N] No: ", secret=False, above=f"Confirm\nAre you sure? target {name}")

        assert ["n", "y"] == [await asker.ask(confirm(name)) for name in ("a.txt", "b.txt")]

    asyncio.run(main())


def test_an_entry_of_the_wrong_kind_lets_the_next_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setenv("TEST_ANSWER", "hunter2")
        file = load(tmp_path, "- {prompt: user, answer: Ann}\n- {prompt: Password, secret: 'env:TEST_ANSWER'}")
        asker = FileAsker([file], NobodyToAsk())

        assert "hunter2" == await asker.ask(Question("Password for user Ann: "))
        assert "Ann" == await asker.ask(visible("User: "))

    asyncio.run(main())


def test_without_anybody_it_names_the_prompt_and_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, "[]")], NobodyToAsk())

        with pytest.raises(PromptUnavailable, match=r"no entry of .*answers.yaml answers this prompt: Name"):
            await asker.ask(visible("Name: "))

    asyncio.run(main())


def test_a_secret_comes_from_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setenv("TEST_ANSWER", "hunter2")
        asker = FileAsker([load(tmp_path, "- {prompt: Password, secret: 'env:TEST_ANSWER'}")], NobodyToAsk())

        assert "hunter2" == await asker.ask(Question("Password: "))
        with pytest.raises(PromptUnavailable, match="not masked"):
            await asker.ask(visible("Password: "))

    asyncio.run(main())


def test_a_masked_prompt_takes_no_answer_in_the_clear(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, "- {prompt: Password, answer: hunter2}")], NobodyToAsk())

        with pytest.raises(PromptUnavailable, match="with `secret:`") as caught:
            await asker.ask(Question("Password: "))
        assert "hunter2" not in str(caught.value)

    asyncio.run(main())


def test_a_secret_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, "- {prompt: Password, secret: 'env:TEST_NOT_SET'}")], NobodyToAsk())

        with pytest.raises(PromptUnavailable, match="TEST_NOT_SET is not set"):
            await asker.ask(Question("Password: "))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b", "is not a list"),
        ("- 1", "Entry 1 .* needs a `prompt`"),
        ("- {answer: x}", "needs a `prompt`"),
        ("- {prompt: ' ', answer: x}", "needs a `prompt`"),
        ("- {prompt: p}", "exactly one of"),
        ("- {prompt: p, answer: x, secret: 'env:X'}", "exactly one of"),
        ("- {prompt: p, answr: x}", "unknown key `answr`"),
        ("- {prompt: p, answers: []}", "a list of `answers`"),
        ("- {prompt: p, answers: hunter2}", "a list of `answers`"),
        ("- {prompt: p, answer: {a: hunter2}}", "an answer that is no text"),
        ("- {prompt: p, secret: hunter2}", "no place of a secret"),
        ("- {prompt: p, secret: prompt}", "says `prompt`"),
        ("- [", "not valid YAML"),
        ("- !!python/object/apply:os.getcwd []", "needs a `prompt`"),
        ("- {prompt: p, answer: !!python/name:os.getcwd x, then: 1}", "unknown key `then`"),
    ],
)
def test_what_is_no_answer_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AnswerFileError, match=message) as caught:
        load(tmp_path, text)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_a_cell_names_reaches_no_secrets(tmp_path: Path) -> None:
    with pytest.raises(AnswerFileError, match="which a file named by a cell may not"):
        load(tmp_path, "- {prompt: p, secret: 'env:PATH'}", secrets=False)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AnswerFileError, match="cannot be read: No such file"):
        Answers.load(tmp_path / "none.yaml")


def test_a_folder_of_a_user_that_does_not_exist() -> None:
    with pytest.raises(AnswerFileError, match="cannot be read"):
        Answers.load("~no-such-user-here/answers.yaml")


def test_an_answer_that_is_refused_for_ever_keeps_nothing_from_running(tmp_path: Path) -> None:
    async def main() -> None:
        asker = FileAsker([load(tmp_path, "- {prompt: p, answer: x}")], NobodyToAsk())
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)

        await asker.ask(visible("p"))

        assert ran.is_set()

    asyncio.run(main())


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(AnswerFileError, match="larger than 1 MB"):
        load(tmp_path, "#" * (1024 * 1024 + 1))
