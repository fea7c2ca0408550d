"""The session a user is in: opened, left, lost, and never quietly replaced."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from psrpcore.types import HostMethodIdentifier

from pskernel.errors import PromptUnavailable, ReplayError, TargetUnreachable, TransportClosed
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.records import HostText
from pskernel.session.aims import Aim, is_exit
from pskernel.session.facts import Facts
from pskernel.session.hops import Hops, Move
from pskernel.session.interactive import InteractiveSession, SessionLost
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from tests.fakes.server import Call, Server, far_end

HOME = "11111111-0000-0000-0000-000000000000"


class Typist:
    """Someone who answers every question alike."""

    async def ask(self, question: Question) -> str:
        return f"answer to {question.text}"


class Fleet:
    """Opens a new fake server for every session; each knows which host it is on."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.servers: list[Server] = []
        # The hosts behind the first one.
        self.behind: list[str] = []
        self.problem: Exception | None = None
        self.needs_password = False
        self.asked: list[str] = []
        self.hanging = asyncio.Event()
        self.attempts = 0
        self.tells = True
        self.cut_at_facts = False
        self.stays = False
        self.calls_itself = ""
        # Whether Exit-PSSession is never carried out.
        self.stuck = False
        self.elsewhere_tells = True
        # How often a host behind is still closing when it is asked.
        self.closing = 0
        self.home_tells = True
        self.silenced = False
        self.ticks = False

    async def open(self, asker: Asker) -> Runspace:
        self.attempts += 1
        if self.needs_password:
            self.asked.append(await asker.ask(Question("Password: ")))
        if self.problem is not None:
            raise self.problem
        transport, server = await self._stack.enter_async_context(far_end(self.behave))
        self.servers.append(server)
        return await Runspace.open(transport, open_timeout=10)

    @property
    def host(self) -> str:
        return f"id of {self.behind[-1]}" if self.behind else HOME

    async def behave(self, call: Call) -> None:
        silent = bool(self.behind) and not self.elsewhere_tells
        if silent and ("PSVersionTable" in call.text or "Host.InstanceId" in call.text):
            await call.fail("The syntax is not supported by this runspace.", "ScriptsNotAllowed")
        elif "PSVersionTable" in call.text:
            await self._tell_facts(call)
        elif "Host.InstanceId" in call.text:
            await self._tell_host(call)
        elif match := re.fullmatch(r"(?:hop|(?:Enter-PSSession|etsn).* )(\w+)", call.text):
            self.behind.append(match[1])
        elif call.text == "Exit-PSSession" and self.stuck:
            await call.stopped.wait()
        elif call.text == "Exit-PSSession" and not self.behind:
            await call.tell(HostMethodIdentifier.PopRunspace)
        elif call.text in ("Exit-PSSession", "exsn") and not self.stays:
            self.behind.pop()
        elif call.text == "hang":
            await call.stopped.wait()

    async def _tell_facts(self, call: Call) -> None:
        if self.cut_at_facts:
            call.server.stream.cut()
        elif not self.tells:
            await call.fail("The syntax is not supported by this runspace.", "ScriptsNotAllowed")
        computer = (self.calls_itself or self.behind[-1]) if self.behind else "WEB01"
        for fact in ("7.6.9", "Core", "admin", computer, self.host) if self.tells else ():
            await call.output(fact)

    async def _tell_host(self, call: Call) -> None:
        if self.ticks:
            await call.line("tick")
        if self.closing:
            self.closing -= 1
            await call.fail("The current state is 'Closing'.", "RemotePSInvocationStateInfoReason")
        elif self.silenced:
            await call.stopped.wait()
        elif self.home_tells or self.behind:
            await call.output(self.host)

    @property
    def cells(self) -> list[str]:
        return [text for server in self.servers for text in server.texts if "$" not in text and "__" not in text]


def check(test: Callable[[Fleet, InteractiveSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            fleet = Fleet(stack)
            session = InteractiveSession(fleet.open, "admin@web01")
            await test(fleet, session)
            await session.aclose(grace=0.2)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def send(session: InteractiveSession, text: str) -> Pipeline:
    return await (await session.ready(NobodyToAsk())).run_cell(text)


async def run(session: InteractiveSession, text: str, *, follow: bool = True) -> Move | None:
    pipeline = await send(session, text)
    async for _ in pipeline:
        pass
    return await session.after_cell(text, aim_in(text), follow=follow)


def aim_in(text: str) -> Aim:
    if is_exit(text):
        return Aim.BACK
    return Aim.HOP if text.startswith(("Enter-PSSession", "etsn")) else Aim.NOTHING


async def text_of(session: InteractiveSession, text: str, *, follow: bool = True) -> str:
    """What is told with a cell that is followed by a move, or by an end."""
    moved = await run(session, text, follow=follow)
    assert moved is not None
    return moved.text


def test_a_session_knows_where_it_is() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session.begin()
        await session.ready(NobodyToAsk())
        assert session.is_open
        assert ("7.6.9", "admin", "WEB01") == (session.facts.version, session.facts.user, session.facts.computer)
        assert 1 == len(fleet.servers)

    check(test)


def test_a_failed_opening_is_told_once_and_then_tried_again() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.problem = TargetUnreachable("web01 does not answer.")
        session.begin()
        with pytest.raises(TargetUnreachable):
            await session.ready(NobodyToAsk())
        with pytest.raises(TargetUnreachable):
            await session.ready(NobodyToAsk())
        fleet.problem = None
        await session.ready(NobodyToAsk())

    check(test)


def test_a_password_is_asked_by_the_first_cell() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.needs_password = True
        session.begin()
        await asyncio.sleep(0)
        await session.ready(Typist())
        assert ["answer to Password: "] == fleet.asked

    check(test)


def test_nobody_to_ask_is_an_error_of_the_cell() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.needs_password = True
        with pytest.raises(PromptUnavailable, match="credential=keyring:NAME"):
            await session.ready(NobodyToAsk())

    check(test)


def test_after_a_loss_while_idle_one_cell_is_refused_and_nothing_sent() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        runspace = await session.ready(NobodyToAsk())
        fleet.servers[0].stream.cut()
        await runspace.wait_ended()
        await asyncio.sleep(0)
        with pytest.raises(
            SessionLost, match=r"admin@web01 was lost.*not run, and nothing of it was sent.*Run it again"
        ):
            await send(session, "Remove-Item everything")
        assert [] == fleet.cells
        await run(session, "after")
        assert ["after"] == fleet.cells
        assert 2 == len(fleet.servers)

    check(test)


@pytest.mark.parametrize("how", ["exit", "Exit-PSSession"])
def test_after_leaving_one_cell_is_refused(how: str) -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "before")
        await session.leave(how)
        assert "Close" in fleet.servers[0].log
        with pytest.raises(SessionLost, match=f"left the session with {how}"):
            await session.ready(NobodyToAsk())
        await run(session, "after")
        assert ["before", "after"] == fleet.cells

    check(test)


def test_the_connection_of_a_session_that_is_lost_is_none() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        seen = [session.connection]
        runspace = await session.ready(NobodyToAsk())
        seen.append(session.connection)
        fleet.servers[0].stream.cut()
        await runspace.wait_ended()
        seen.append(session.connection)
        assert ["none", "connected", "none"] == seen

    check(test)


def test_after_giving_up_a_stuck_command_one_cell_is_refused() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await send(session, "hang")
        await session.abandon("The last command could not be stopped.")
        with pytest.raises(SessionLost, match="could not be stopped"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())

    check(test)


def test_cancelling_the_wait_cancels_the_opening() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        never = asyncio.Event()

        class Absent:
            async def ask(self, question: Question) -> str:
                fleet.hanging.set()
                await never.wait()
                return question.text

        fleet.needs_password = True
        waiting = asyncio.create_task(session.ready(Absent()))
        await fleet.hanging.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not session.is_open
        fleet.needs_password = False
        await session.ready(NobodyToAsk())

    check(test)


# ---- opening ----


def test_the_first_cell_hears_why_the_opening_failed_without_a_second_attempt() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.problem = TargetUnreachable("web01 does not answer.")
        session.begin()
        session.begin()
        await settle()
        with pytest.raises(TargetUnreachable):
            await session.ready(NobodyToAsk())
        assert 1 == fleet.attempts
        fleet.problem = None
        await session.ready(NobodyToAsk())
        assert 2 == fleet.attempts

    check(test)


def test_the_question_of_the_background_attempt_is_no_error_of_the_cell() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.needs_password = True
        session.begin()
        await settle()
        await session.ready(Typist())
        assert (2, 1) == (fleet.attempts, len(fleet.servers))

    check(test)


def test_a_cell_that_cannot_be_asked_is_told_after_the_background_attempt_too() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.needs_password = True
        session.begin()
        with pytest.raises(PromptUnavailable):
            await session.ready(NobodyToAsk())
        await session.ready(Typist())

    check(test)


def test_two_who_wait_share_one_opening() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        first, second = await asyncio.gather(session.ready(NobodyToAsk()), session.ready(NobodyToAsk()))
        assert first is second
        assert 1 == fleet.attempts

    check(test)


@pytest.mark.parametrize("after", range(0, 120, 4))
def test_waiting_can_be_cancelled_anywhere(after: int) -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        waiting = asyncio.create_task(session.ready(NobodyToAsk()))
        for _ in range(after):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        # The next one gets a session, and only one is open.
        await session.ready(NobodyToAsk())
        for server in fleet.servers[:-1]:
            with pytest.raises(TransportClosed):
                await server.raw(b"x\n")

    check(test)


@pytest.mark.parametrize("after", range(0, 120, 6))
def test_closing_in_the_middle_of_an_opening_leaves_nothing(after: int) -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session.begin()
        for _ in range(after):
            await asyncio.sleep(0)
        await session.aclose(grace=0.2)
        assert not session.is_open
        for server in fleet.servers:
            with pytest.raises(TransportClosed):
                await server.raw(b"x\n")

    check(test)


def test_an_endpoint_that_does_not_tell_about_itself_is_used_all_the_same() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.tells = False
        await session.ready(NobodyToAsk())
        assert "" == session.facts.version
        # Where it cannot be asked it cannot have moved.
        assert await run(session, "Enter-PSSession db01") is None
        assert await run(session, "next") is None

    check(test)


def test_a_line_that_is_cut_while_the_facts_are_asked_for_is_an_error() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.cut_at_facts = True
        with pytest.raises(TransportClosed):
            await session.ready(NobodyToAsk())
        fleet.cut_at_facts = False
        await session.ready(NobodyToAsk())

    check(test)


# ---- loss ----


def test_a_loss_that_nobody_has_noticed_yet_is_a_loss() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        runspace = await session.ready(NobodyToAsk())
        await runspace.abandon("The line was cut.")
        # Without a turn of the event loop in between.
        with pytest.raises(SessionLost, match="was lost"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())
        assert 2 == len(fleet.servers)

    check(test)


def test_a_loss_in_the_middle_of_a_cell_is_told_and_the_next_cell_refused_once() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        pipeline = await send(session, "hang")
        while not fleet.cells:
            await asyncio.sleep(0)
        fleet.servers[0].stream.cut()
        with pytest.raises(TransportClosed):
            async for _ in pipeline:
                pass
        assert await session.after_cell("hang") is None
        with pytest.raises(SessionLost):
            await send(session, "next")
        await run(session, "after")
        assert ["hang", "after"] == fleet.cells

    check(test)


def test_after_a_loss_the_old_connection_is_closed() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        runspace = await session.ready(NobodyToAsk())
        await fleet.servers[0].break_pool("no more memory")
        await runspace.wait_ended()
        await settle()
        with pytest.raises(TransportClosed):
            await fleet.servers[0].raw(b"x\n")
        with pytest.raises(SessionLost, match="no more memory"):
            await session.ready(NobodyToAsk())

    check(test)


def test_a_session_that_nobody_waited_for_can_be_lost_too() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session.begin()
        while not session.is_open:
            await asyncio.sleep(0)
        fleet.servers[0].stream.cut()
        with pytest.raises(SessionLost):
            while True:
                await session.ready(NobodyToAsk())
                await asyncio.sleep(0)
        await run(session, "after")
        assert 2 == len(fleet.servers)

    check(test)


def test_many_losses_in_a_row_are_one_refusal_each() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        for number in range(4):
            await run(session, f"cell {number}")
            fleet.servers[-1].stream.cut()
            with pytest.raises(SessionLost):
                await send(session, "refused")
        assert [f"cell {number}" for number in range(4)] == fleet.cells

    check(test)


# ---- leaving ----


@pytest.mark.parametrize("how", ["leave", "abandon"])
def test_leaving_can_be_cancelled(how: str) -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.servers[0].acks = False
        work = session.leave("exit") if how == "leave" else session.abandon("It hangs.")
        leaving = asyncio.create_task(work)
        for _ in range(3):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        with pytest.raises(TransportClosed):
            await fleet.servers[0].raw(b"x\n")
        with pytest.raises(SessionLost, match="left the session with exit" if how == "leave" else "It hangs"):
            await session.ready(NobodyToAsk())
        await run(session, "after")
        assert ["after"] == fleet.cells

    check(test)


def test_refusals_name_the_target_and_say_what_to_do() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        texts = []
        ways: list[Callable[[], Awaitable[None]]] = [
            lambda: session.leave("exit"),
            lambda: session.abandon("It hangs."),
            lambda: lose(fleet),
        ]
        for act in ways:
            runspace = await session.ready(NobodyToAsk())
            await act()
            await runspace.wait_ended()
            with pytest.raises(SessionLost) as caught:
                await session.ready(NobodyToAsk())
            texts.append(str(caught.value))
        for text in texts:
            assert text.endswith(
                "This cell was not run, and nothing of it was sent. Run it again to open a new session on admin@web01."
            )
        assert 3 == len(set(texts))

    async def lose(fleet: Fleet) -> None:
        fleet.servers[-1].stream.cut()

    check(test)


def test_closing_is_idempotent_and_can_be_cancelled() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.servers[0].acks = False
        closing = asyncio.create_task(session.aclose(grace=60))
        for _ in range(5):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        with pytest.raises(TransportClosed):
            await fleet.servers[0].raw(b"x\n")
        await session.aclose()
        assert not session.is_open

    check(test)


# ---- second hops ----


def test_a_hop_that_a_cell_names_is_followed_and_told_with_that_cell() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        moved = await run(session, "Enter-PSSession -HostName db01")
        assert moved is not None
        assert moved.wanted
        assert "cells run on db01 now, as admin" in moved.text
        assert session.is_away
        assert "admin@web01 \N{RIGHTWARDS ARROW} db01" == session.place
        assert ("db01", "admin@web01") == (session.facts.computer, session.label)
        assert await run(session, "next") is None

        back = await run(session, "Exit-PSSession")

        assert Move("Cells run on admin@web01 again.", wanted=True) == back
        assert not session.is_away
        assert ("WEB01", "admin@web01") == (session.facts.computer, session.place)

    check(test)


def test_each_hop_is_another_visit() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        home = session.visit
        visits = set()
        for _ in range(2):
            await run(session, "Enter-PSSession db01")
            visits.add(session.visit)
            await run(session, "Exit-PSSession")
            assert home == session.visit
        assert 2 == len(visits - {home})

    check(test)


def test_a_hidden_hop_is_told_before_the_next_cell_runs() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        assert await run(session, "hopdb01") is None
        with pytest.raises(SessionLost, match=r"Run it again to run it on admin@web01 . db01\."):
            await send(session, "meant for the first host")
        assert "meant for the first host" not in fleet.cells
        assert await run(session, "next") is None
        assert session.is_away

    check(test)


def test_hops_go_on_and_come_back_one_by_one() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        await run(session, "etsn db02")
        assert "admin@web01 \N{RIGHTWARDS ARROW} db01 \N{RIGHTWARDS ARROW} db02" == session.place
        assert "Cells run on admin@web01 \N{RIGHTWARDS ARROW} db01 again." == await text_of(session, "Exit-PSSession")
        assert "Cells run on admin@web01 again." == await text_of(session, "exsn")

    check(test)


def test_more_hosts_than_anybody_goes_through_are_left_again() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        for number in range(4):
            await run(session, f"etsn db0{number}")
        assert "cannot stay" in await text_of(session, "etsn db05")
        assert session.place.endswith("db03")
        assert 4 == len(fleet.behind)

    check(test)


def test_a_lost_host_is_told_with_the_cell_that_ran_there() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        pipeline = await send(session, "1")
        async for _ in pipeline:
            pass
        fleet.behind.clear()

        moved = await session.after_cell("1")

        assert moved is not None
        assert not moved.wanted
        assert "The session on db01 has ended" in moved.text
        assert await run(session, "next") is None

    check(test)


def test_a_host_that_is_lost_while_nothing_runs_gets_no_cell_and_neither_does_the_one_before_it() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        fleet.behind.clear()
        fleet.closing = 2
        with pytest.raises(
            SessionLost, match=r"The session on db01 has ended.*Run it again to run it on admin@web01\."
        ):
            await send(session, "meant for db01")
        assert await run(session, "next") is None
        assert "meant for db01" not in fleet.cells

    check(test)


def test_where_a_session_is_is_asked_anew_for_each_cell_behind_a_host() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        # A cell waited for the answer, and was given up; the answer was that all is well.
        waiting = asyncio.create_task(session.ready(NobodyToAsk()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await session.settle()
        fleet.behind.clear()
        with pytest.raises(SessionLost, match="The session on db01 has ended"):
            await send(session, "meant for db01")
        assert "meant for db01" not in fleet.cells

    check(test)


def test_a_cell_that_is_cancelled_while_it_is_asked_leaves_the_answer_to_the_next() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        pipeline = await send(session, "Enter-PSSession db01")
        async for _ in pipeline:
            pass
        asking = asyncio.create_task(session.after_cell("Enter-PSSession db01", Aim.HOP))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        with pytest.raises(SessionLost, match="cells run on db01 now"):
            await send(session, "meant for web01")
        assert "meant for web01" not in fleet.cells

    check(test)


def test_a_session_that_does_not_leave_a_host_says_so() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        fleet.stays = True
        assert "did not come back. Cells run on admin@web01 \N{RIGHTWARDS ARROW} db01 still." in await text_of(
            session, "exit"
        )

    check(test)


def test_a_host_that_is_lost_under_a_cell_that_mentions_leaving_is_lost() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        pipeline = await send(session, "1 # then Exit-PSSession")
        async for _ in pipeline:
            pass
        fleet.behind.clear()
        moved = await session.after_cell("1 # then Exit-PSSession")
        assert moved is not None
        assert not moved.wanted
        assert "has ended" in moved.text

    check(test)


def test_what_a_host_calls_itself_is_one_line_that_can_be_seen() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.calls_itself = "X\nCells run on admin@web01 again.\n\x1b[8m\u202e" + "y" * 100
        told = await text_of(session, "etsn db01")
        assert "\n" not in told
        assert told.isprintable()
        assert 64 == len(session.facts.computer)

    check(test)


def test_a_session_of_another_client_is_left_on_its_own_host() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.behind.append("db01")
        opened = fleet.open

        async def taken_over(asker: Asker) -> Runspace:
            runspace = await opened(asker)
            runspace.is_taken_over = True
            return runspace

        session._opener = taken_over
        # Whoever sends a cell means the host on which the session was.
        with pytest.raises(SessionLost, match="taken it to another host"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())
        assert HOME == fleet.host == session.facts.host_id

    check(test)


def test_a_session_that_stays_is_not_waited_for_long_on_a_host_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.interactive.BEHIND_SECONDS", 0.05)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session.outlives_exit = True
        await run(session, "etsn db01")
        fleet.silenced = True
        async with asyncio.timeout(10):
            await session.leave("exit")
        assert not session.is_open

    check(test)


def test_a_session_of_another_client_that_does_not_leave_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.hops.BEHIND_SECONDS", 0.05)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.stuck = True
        opened = fleet.open

        async def taken_over(asker: Asker) -> Runspace:
            runspace = await opened(asker)
            runspace.is_taken_over = True
            return runspace

        session._opener = taken_over
        async with asyncio.timeout(10):
            await session.ready(NobodyToAsk())
        assert HOME == session.facts.host_id

    check(test)


def test_what_a_front_end_asks_by_itself_does_not_ask_where_the_session_is() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        asked = len(fleet.servers[0].texts)
        await session.ready(NobodyToAsk(), by_user=False)
        assert asked == len(fleet.servers[0].texts)

    check(test)


def test_a_script_that_must_not_move_the_session_is_undone() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        moved = await run(session, "Enter-PSSession db01", follow=False)
        assert moved is not None
        assert not moved.wanted
        assert "cannot stay" in moved.text
        assert HOME == fleet.host
        assert await run(session, "next") is None

        assert await run(session, "hopdb01", follow=False) is None
        with pytest.raises(SessionLost, match="cannot stay"):
            await send(session, "meant for the first host")
        assert "meant for the first host" not in fleet.cells
        assert HOME == fleet.host

    check(test)


def test_a_script_on_a_host_behind_is_undone_to_that_host() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "etsn db01")
        assert "db01 again" in await text_of(session, "etsn db02; etsn db03", follow=False)
        assert ["db01"] == fleet.behind
        assert "Cells run on admin@web01 again." == await text_of(session, "Exit-PSSession", follow=False)

    check(test)


def test_a_hop_that_cannot_be_undone_costs_the_session() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.stays = True
        told = await text_of(session, "Enter-PSSession -HostName db01", follow=False)
        assert "did not come back" in told
        assert "not run" not in told
        assert not session.is_open
        with pytest.raises(TransportClosed):
            await fleet.servers[0].raw(b"x\n")
        fleet.behind.clear()
        with pytest.raises(SessionLost, match="did not come back"):
            await send(session, "meant for the other host")
        await run(session, "after")
        assert "after" == fleet.cells[-1]
        assert "meant for the other host" not in fleet.cells
        assert 2 == len(fleet.servers)

    check(test)


def test_a_session_that_stays_is_left_at_home() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session.outlives_exit = True
        await run(session, "etsn db01")
        await run(session, "etsn db02")
        await session.leave("exit")
        assert HOME == fleet.host
        assert not session.is_away
        assert await run(session, "next") is None

        await run(session, "etsn db01")
        fleet.stays = True
        await session.leave("exit")
        assert not session.is_open
        fleet.behind.clear()
        with pytest.raises(SessionLost, match="did not come back"):
            await session.ready(NobodyToAsk())

    check(test)


def test_an_endpoint_that_tells_nothing_is_entered_by_name() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.elsewhere_tells = False
        assert "does not tell its name now. It takes plain commands" in await text_of(session, "Enter-PSSession db01")
        assert not session.facts.takes_script
        assert await run(session, "next") is None
        assert "Cells run on admin@web01 again." == await text_of(session, "Exit-PSSession")
        assert session.facts.takes_script

    check(test)


def test_an_endpoint_that_tells_nothing_is_left_where_no_cell_named_the_hop() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.elsewhere_tells = False
        assert await run(session, "hopdb01") is None
        with pytest.raises(SessionLost, match="another host"):
            await send(session, "meant for the first host")
        assert HOME == fleet.host
        assert await run(session, "next") is None
        assert "meant for the first host" not in fleet.cells

    check(test)


def test_a_session_that_cannot_say_any_more_where_it_is_has_not_moved() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.home_tells = False
        assert await run(session, "# Enter-PSSession") is None
        assert await run(session, "next") is None
        assert 1 == len(fleet.servers)

    check(test)


def test_a_session_that_is_silent_about_where_it_is_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.interactive.CHECK_SECONDS", 0.05)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.silenced = True
        assert "did not say" in await text_of(session, "Enter-PSSession db01")
        with pytest.raises(SessionLost, match="did not say"):
            await session.ready(NobodyToAsk())

    check(test)


def test_the_question_where_it_is_can_be_cancelled() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.silenced = True
        pipeline = await send(session, "1")
        async for _ in pipeline:
            pass
        asking = asyncio.create_task(session.after_cell("Enter-PSSession db01", Aim.HOP))
        while not any("InstanceId" in text and "Edition" not in text for text in fleet.servers[0].texts):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await session.abandon("It was interrupted.")
        with pytest.raises(SessionLost, match="interrupted"):
            await session.ready(NobodyToAsk())

    check(test)


def test_what_a_front_end_sends_by_itself_uses_up_no_refusal_and_opens_nothing() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        with pytest.raises(SessionLost, match="no session"):
            await session.ready(NobodyToAsk(), by_user=False)
        assert 0 == fleet.attempts
        runspace = await session.ready(NobodyToAsk())
        assert runspace is await session.ready(NobodyToAsk(), by_user=False)
        await session.leave("exit")
        for _ in range(2):
            with pytest.raises(SessionLost, match="left the session"):
                await session.ready(NobodyToAsk(), by_user=False)
        with pytest.raises(SessionLost, match="left the session"):
            await send(session, "refused")
        with pytest.raises(SessionLost, match="no session"):
            await session.ready(NobodyToAsk(), by_user=False)
        await send(session, "after")
        assert ["after"] == fleet.cells

    check(test)


def test_a_session_that_is_closed_opens_no_other() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.servers[0].acks = False
        closing = asyncio.create_task(session.aclose(grace=0.2))
        await asyncio.sleep(0)
        with pytest.raises(SessionLost, match="being closed"):
            await session.ready(NobodyToAsk())
        await closing
        session.begin()
        with pytest.raises(SessionLost, match="being closed"):
            await session.ready(NobodyToAsk())
        assert 1 == len(fleet.servers)

    check(test)


def test_a_recording_that_cannot_be_written_does_not_hide_why_a_session_was_given_up() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        runspace = await session.ready(NobodyToAsk())

        async def fail(why: str) -> None:
            await Runspace.abandon(runspace, why)
            raise ReplayError("The recording could not be written.")

        runspace.abandon = fail  # type: ignore[method-assign]
        await session.abandon("It was stuck.")
        with pytest.raises(SessionLost, match=r"It was stuck\..*could not be written"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())

    check(test)


def test_an_answer_without_end_to_where_it_is_costs_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.pipeline._MAX_COLLECTED_BYTES", 10)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        session._hops = Hops(Facts(host_id=HOME), "admin@web01")
        runspace = await fleet.open(NobodyToAsk())
        session._runspace = runspace
        moved = await session.after_cell("Enter-PSSession db01", Aim.HOP)
        assert moved is not None
        assert "not known which host" in moved.text
        assert not session.is_open

    check(test)


def test_what_event_handlers_write_during_the_question_is_kept() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.ticks = True
        runspace = await session.ready(NobodyToAsk())
        runspace.idle.take()
        await run(session, "1")
        await session.ready(NobodyToAsk())
        assert [HostText("tick\n")] == runspace.idle.take()

    check(test)


def test_a_failure_of_long_ago_is_not_what_the_first_cell_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.interactive._STALE_SECONDS", 0.0)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.problem = TargetUnreachable("web01 does not answer.")
        session.begin()
        await settle()
        fleet.problem = None
        await session.ready(NobodyToAsk())
        assert 2 == fleet.attempts

    check(test)


def test_a_line_that_is_cut_while_the_host_is_checked_is_one_refusal() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await run(session, "first")
        fleet.servers[0].stream.cut()
        with pytest.raises(SessionLost):
            await send(session, "second")
        await run(session, "third")
        assert ["first", "third"] == fleet.cells

    check(test)


def test_cancelling_a_cell_that_waits_for_the_check_does_not_skip_the_check() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        assert await run(session, "hopdb01") is None
        waiting = asyncio.create_task(session.ready(NobodyToAsk()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(SessionLost, match="cells run on db01 now"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())

    check(test)
