"""Secrets that a run hears are in nothing that it shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.errors import PromptUnavailable, TargetError
from pskernel.masking import Masker
from pskernel.questions import NobodyToAsk, Question, is_watched
from pskernel.render.text import StreamText
from pskernel.runbook.heard import Heard, Listening, Masked, hearing
from pskernel.target import Target

SECRET = "s3cret-of-web01"


class Page:
    """Shows what it is given."""

    def __init__(self) -> None:
        self.pieces: list[StreamText] = []

    async def write(self, piece: StreamText) -> None:
        self.pieces.append(piece)

    async def flush(self) -> None:
        """Nothing is held back."""

    async def clear(self) -> None:
        self.pieces.clear()

    def spill(self, why: str) -> None:
        """No hurry."""

    def text(self, stream: str) -> str:
        return "".join(piece.text for piece in self.pieces if piece.stream == stream)


class Answering:
    async def ask(self, question: Question) -> str:
        return SECRET


def test_secret_answers_are_learned_and_missing_ones_counted() -> None:
    heard = Heard()

    async def main() -> None:
        await Listening(Answering(), heard).ask(Question("Token"))
        await Listening(Answering(), heard).ask(Question("Name", secret=False))
        with pytest.raises(PromptUnavailable):
            await Listening(NobodyToAsk(), heard).ask(Question("Other"))

    asyncio.run(main())
    assert heard.masker.mask(f"a {SECRET}") == "a ***"
    assert heard.unanswered == 1
    assert not is_watched(Listening(NobodyToAsk(), heard))


@pytest.mark.parametrize(("credential", "learned"), [("env:WEB01", True), (None, False), ("prompt", False)])
def test_the_password_of_a_target_is_learned(
    monkeypatch: pytest.MonkeyPatch, credential: str | None, learned: bool
) -> None:
    monkeypatch.setenv("WEB01", SECRET)
    heard, opened = Heard(), []
    target = Target.parse("ssh://web01", {} if credential is None else {"credential": credential})

    async def opening(asker: Any) -> Any:
        opened.append(asker)

    asyncio.run(hearing(target, opening, heard)(NobodyToAsk()))  # type: ignore[arg-type]
    assert len(opened) == 1
    assert (heard.masker.mask(SECRET) == "***") is learned


def test_a_password_that_is_not_there_is_an_error_before_anything_is_opened() -> None:
    async def opening(asker: Any) -> Any:
        raise AssertionError

    target = Target.parse("ssh://web01", {"credential": "env:NO_SUCH_VARIABLE"})
    with pytest.raises(TargetError, match="NO_SUCH_VARIABLE"):
        asyncio.run(hearing(target, opening, Heard())(NobodyToAsk()))


PIECES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\ns3cret-of-web01", max_size=12)), max_size=20
)


@given(PIECES, st.integers(0, 14))
def test_nothing_is_lost_and_no_secret_is_shown_however_it_is_cut(pieces: list[tuple[Any, str]], cut: int) -> None:
    masker = Masker()
    masker.add(SECRET)
    page = Page()
    pieces = [*pieces, ("stdout", f"x{SECRET[:cut]}"), ("stdout", f"{SECRET[cut:]}y\n")]

    async def main() -> None:
        output = Masked(page, masker)
        for stream, text in pieces:
            await output.write(StreamText(stream, text))
        await output.flush()

    asyncio.run(main())
    assert SECRET not in page.text("stdout") + page.text("stderr")
    for stream in ("stdout", "stderr"):
        whole = "".join(text for each, text in pieces if each == stream)
        assert page.text(stream).replace("***", SECRET) == whole
