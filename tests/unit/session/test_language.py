"""What editors ask, answered by a fake remote: completions, help, whether a text is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from psrpcore import types as ps

from pskernel.session.language import Completions, LanguageService, Match
from pskernel.session.runspace import Runspace
from tests.fakes.server import Call, far_end


class Session:
    """As much of a session as is asked for."""

    connection = "connected"
    stopped: object | None = None

    def __init__(self, runspace: Runspace | None) -> None:
        self.runspace = runspace


class Remote:
    """Completes what the test has put down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.completion: Any = None
        self.says: list[object] = []
        self.silent = False
        self.names = ["Get-ChildItem", "Get-Content", "gci"]

    async def behave(self, call: Call) -> None:
        self.asked.append(call.text)
        if self.silent:
            await call.stopped.wait()
        elif call.text == "TabExpansion2":
            if self.completion is not None:
                await call.output(self.completion)
        elif "Get-Command -CommandType" in call.text:
            for name in self.names:
                await call.output(name)
        else:
            for value in self.says:
                await call.output(value)


def completion(start: int, length: int, *texts: str) -> Any:
    matches = [ps.PSCustomObject(CompletionText=text, ResultType="Command", ToolTip=f"about {text}") for text in texts]
    return ps.PSCustomObject(ReplacementIndex=start, ReplacementLength=length, CompletionMatches=matches)


def check(test: Callable[[Remote, LanguageService, Session], Awaitable[None]]) -> None:
    async def main() -> None:
        remote = Remote()
        async with far_end(remote.behave) as (transport, _), await Runspace.open(transport) as runspace:
            session = Session(runspace)
            service = LanguageService(session)  # type: ignore[arg-type]
            await asyncio.wait_for(test(remote, service, session), 30)
            await service.begin_cell()

    asyncio.run(main())


def test_an_answer_is_kept_until_a_cell_has_run() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = completion(0, 5, "Get-Item", "Get-Items")
        found = await service.complete("Get-I", 5)
        assert Completions(0, 5, (Match("Get-Item", "Command", "about Get-Item"), found.matches[1])) == found

        again, narrowed = await service.complete("Get-I", 5), await service.complete("Get-Items", 9)
        assert found == again
        assert (["Get-Items"], 9) == ([match.text for match in narrowed.matches], narrowed.end)
        assert 1 == remote.asked.count("TabExpansion2")

        await service.begin_cell()
        service.end_cell()
        await service.complete("Get-I", 5)
        assert 2 == remote.asked.count("TabExpansion2")

    check(test)


def test_what_stands_behind_the_cursor_makes_another_question() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = completion(0, 5, "Get-Item", "Get-Items")
        await service.complete("Get-I", 5)
        remote.completion = completion(0, 8, "Get-Items")

        whole = await service.complete("Get-Item", 5)
        spaced = await service.complete("Get-I x", 5)
        narrowed = await service.complete("Get-It x", 6)

        assert (8, 7, 3) == (whole.end, spaced.end, remote.asked.count("TabExpansion2"))
        assert ["Get-Items"] == [match.text for match in narrowed.matches]

    check(test)


def test_names_that_no_command_has_are_left_out() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = completion(0, 3, "x")
        remote.names = ["Get-One", "Get-\x1b]0;t\x07", "Get-\nTwo", "Get-" + "x" * 500]
        await service.complete("abc", 3)
        assert service._fetch is not None
        await service._fetch
        await service.begin_cell()

        assert ["Get-One"] == [match.text for match in (await service.complete("get-", 4)).matches]

    check(test)


def test_positions_are_code_points_here_and_utf_16_there() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = completion(3, 2, "$abc")
        found = await service.complete("\U0001f600 $a b", 4)
        assert (2, 4) == (found.start, found.end)

    check(test)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        ps.PSCustomObject(ReplacementIndex=None, ReplacementLength=1, CompletionMatches=[]),
        ps.PSCustomObject(ReplacementIndex=-1, ReplacementLength=1, CompletionMatches=[]),
        ps.PSCustomObject(ReplacementIndex=0, ReplacementLength=1, CompletionMatches="no list"),
        completion(0, 3, "two\nlines", "esc\x1b[2J"),
    ],
)
def test_an_odd_answer_is_no_completion(answer: Any) -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = answer
        assert () == (await service.complete("abc", 3)).matches

    check(test)


def test_while_a_cell_runs_only_known_names_are_completed_and_nothing_is_asked() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.completion = completion(0, 3, "x")
        await service.complete("abc", 3)
        assert service._fetch is not None
        await service._fetch
        await service.begin_cell()
        asked = len(remote.asked)

        found = await service.complete("1 | get-c", 9)

        assert (4, 9, ["Get-ChildItem", "Get-Content"]) == (found.start, found.end, [m.text for m in found.matches])
        assert () == (await service.complete("1 | g", 5)).matches
        assert "unknown" == await service.is_complete("1")
        assert "" == await service.help("Get-Item", 3)
        assert asked == len(remote.asked)

    check(test)


def test_in_the_debugger_and_without_a_session_nothing_is_asked() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        session.stopped = object()
        assert () == (await service.complete("abc", 3)).matches
        session.stopped, session.runspace = None, None
        assert () == (await service.complete("abc", 3)).matches
        assert [] == remote.asked

    check(test)


def test_a_remote_that_does_not_answer_is_not_waited_for() -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.silent = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert () == (await service.complete("abc", 3)).matches
        assert loop.time() - began < 1

    check(test)


@pytest.mark.parametrize(("says", "status"), [("incomplete", "incomplete"), ("invalid", "invalid"), ("<b>", "unknown")])
def test_only_an_answer_that_jupyter_knows_is_passed_on(says: str, status: str) -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.says = [says]
        assert status == await service.is_complete("{")

    check(test)


@pytest.mark.parametrize(
    ("text", "cursor", "name"),
    [
        ("Get-Item", 0, "Get-Item"),
        ("Get-Item", 8, "Get-Item"),
        ("Get-Item -Path /x", 14, "Get-Item"),
        ("1 | Sort-Object Name", 20, "Sort-Object"),
        ("$a = Get-Date -Year 1", 20, "Get-Date"),
        ("Get-Item a\nGet-Date -Y", 21, "Get-Date"),
        ("if (Test-Path x)", 15, "Test-Path"),
        ("1+1", 2, ""),
    ],
)
def test_help_is_for_the_command_at_the_cursor(text: str, cursor: int, name: str) -> None:
    async def test(remote: Remote, service: LanguageService, session: Session) -> None:
        remote.says = ["SYNTAX"]
        assert ("SYNTAX" if name else "") == await service.help(text, cursor)
        assert bool(name) == bool(remote.asked)

    check(test)
