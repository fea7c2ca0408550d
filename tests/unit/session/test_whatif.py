"""Dry run: what an answer that makes no sense, or none, comes to. What the engine says is in the integration tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pskernel.errors import PSKernelError, RemoteProtocolError, TransportClosed
from pskernel.session.runs import RunsPipelines
from pskernel.session.whatif import examine, what_if


class Answering(RunsPipelines):
    """Answers questions with what it was given, one after the other."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked = 0

    async def query(self, script: Any, *, timeout: float = 10.0) -> list[Any]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    async def _start(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is run")

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "answer", [[], ["1"], [True, "examined"], ["examined", "line 1: more"], [None], ["examined", 5]]
)
def test_an_answer_that_is_none_lets_nothing_run(answer: list[Any]) -> None:
    examination = asyncio.run(examine(Answering(answer), "1"))

    assert not examination.runs
    assert ("line 1: the remote did not examine the cell to its end",) == examination.reasons


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError(), "did not examine the cell within 60 seconds"), (RemoteProtocolError("x"), "makes no sense: x")],
)
def test_no_answer_lets_nothing_run(error: Exception, reason: str) -> None:
    examination = asyncio.run(examine(Answering(error), "1"))

    assert not examination.runs
    assert reason in examination.reasons[0]


def test_a_lost_connection_is_said() -> None:
    with pytest.raises(TransportClosed):
        asyncio.run(examine(Answering(TransportClosed("gone")), "1"))


@pytest.mark.parametrize(
    "cell",
    [
        "using module x",
        "1; using\tmodule x",
        "using `\n module x",
        "# a\n  Configuration c {",
        "<# #>configuration c {",
    ],
)
def test_what_the_parser_would_load_is_not_even_sent(cell: str) -> None:
    runspace = Answering()

    assert not asyncio.run(examine(runspace, cell)).runs
    assert 0 == runspace.asked


@pytest.mark.parametrize(
    "cell", ["$using:module", "Get-Using module", "'the configuration is read'", "$configuration = 1"]
)
def test_words_that_only_look_like_it_are_sent(cell: str) -> None:
    assert asyncio.run(examine(Answering(["examined"]), cell)).runs


def test_the_preference_that_cannot_be_set_or_set_back_is_said() -> None:
    async def run(*answers: Any) -> bool:
        async with what_if(Answering(*answers)):
            return True

    assert asyncio.run(run([False, ""], []))
    assert asyncio.run(run([False, ""], TransportClosed("gone")))
    for answers in ([TimeoutError()], [[True]], [[False, ""], TimeoutError()]):
        with pytest.raises(PSKernelError, match=r"cell was not run|could not be set back"):
            asyncio.run(run(*answers))
