"""The session a user is in: opened, left, lost, and never quietly replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from psrpcore.types import HostMethodIdentifier

from pskernel.errors import PromptUnavailable, ReplayError, TargetUnreachable, TransportClosed
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.records import HostText
from pskernel.session.interactive import Facts, InteractiveSession, SessionLost
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from tests.fakes.server import Call, Server, far_end

HOME = "11111111-0000-0000-0000-000000000000"
ELSEWHERE = "22222222-0000-0000-0000-000000000000"


class Typist:
    """Someone who answers every question alike."""

    async def ask(self, question: Question) -> str:
        return f"answer to {question.text}"


class Fleet:
    """Opens a new fake server for every session; each knows which host it is on."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.servers: list[Server] = []
        self.host = HOME
        self.problem: Exception | None = None
        self.needs_password = False
        self.asked: list[str] = []
        self.hanging = asyncio.Event()
        self.attempts = 0
        self.tells = True
        self.cut_at_facts = False
        self.way_back = 1
        self.still_to_leave = 0
        self.stays = False
        self.elsewhere_tells = True
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

    async def behave(self, call: Call) -> None:
        if "PSVersionTable" in call.text:
            if self.cut_at_facts:
                call.server.stream.cut()
            elif not self.tells:
                await call.fail("The syntax is not supported by this runspace.", "ScriptsNotAllowed")
            for fact in ("7.6.9", "Core", "admin", "WEB01", self.host) if self.tells else ():
                await call.output(fact)
        elif "Host.InstanceId" in call.text:
            if self.ticks:
                await call.line("tick")
            if self.host != HOME and not self.elsewhere_tells:
                await call.fail("The syntax is not supported by this runspace.", "ScriptsNotAllowed")
            elif self.silenced:
                await call.stopped.wait()
            elif self.home_tells or self.host != HOME:
                await call.output(self.host)
        elif call.text.startswith(("Enter-PSSession", "etsn")) or call.text == "hop":
            self.host, self.still_to_leave = ELSEWHERE, self.way_back
        elif call.text == "Exit-PSSession" and self.host == HOME:
            await call.tell(HostMethodIdentifier.PopRunspace)
        elif call.text == "Exit-PSSession" and not self.stays:
            self.still_to_leave -= 1
            self.host = ELSEWHERE if self.still_to_leave else HOME
        elif call.text == "hang":
            await call.stopped.wait()

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


async def run(session: InteractiveSession, text: str) -> str | None:
    pipeline = await send(session, text)
    async for _ in pipeline:
        pass
    return await session.after_cell(text)


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


def test_after_giving_up_a_stuck_command_one_cell_is_refused() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await send(session, "hang")
        await session.abandon("The last command could not be stopped.")
        with pytest.raises(SessionLost, match="could not be stopped"):
            await session.ready(NobodyToAsk())
        await session.ready(NobodyToAsk())

    check(test)


def test_a_hop_that_a_cell_names_is_told_with_that_cell_and_undone() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        moved = await run(session, "Enter-PSSession -HostName db01")
        assert moved is not None
        assert "another host" in str(moved)
        assert HOME == fleet.host
        assert await run(session, "next") is None

    check(test)


def test_a_hidden_hop_is_told_before_the_next_cell_runs() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        assert await run(session, "hop") is None
        with pytest.raises(SessionLost, match="another host"):
            await send(session, "meant for the other host")
        assert HOME == fleet.host
        assert "meant for the other host" not in fleet.cells
        await run(session, "next")

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


def test_a_hop_that_cannot_be_undone_costs_the_session() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.stays = True
        moved = await run(session, "Enter-PSSession -HostName db01")
        assert moved is not None
        assert "did not come back" in moved
        assert "not run" not in moved
        assert not session.is_open
        with pytest.raises(TransportClosed):
            await fleet.servers[0].raw(b"x\n")
        fleet.host = HOME
        with pytest.raises(SessionLost, match="did not come back"):
            await send(session, "meant for the other host")
        await run(session, "after")
        assert "after" == fleet.cells[-1]
        assert "meant for the other host" not in fleet.cells
        assert 2 == len(fleet.servers)

    check(test)


@pytest.mark.parametrize("text", ["Enter-PSSession db01", "hop"])
def test_a_hop_to_an_endpoint_that_tells_nothing_is_a_hop(text: str) -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.elsewhere_tells = False
        moved = await run(session, text)
        if text == "hop":
            assert moved is None
            with pytest.raises(SessionLost, match="another host"):
                await send(session, "meant for the other host")
        else:
            assert moved is not None
            assert "another host" in moved
        assert HOME == fleet.host
        assert await run(session, "next") is None
        assert "meant for the other host" not in fleet.cells

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
    monkeypatch.setattr("pskernel.session.interactive._CHECK_SECONDS", 0.05)

    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        await session.ready(NobodyToAsk())
        fleet.silenced = True
        moved = await run(session, "Enter-PSSession db01")
        assert moved is not None
        assert "did not say" in moved
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
        asking = asyncio.create_task(session.after_cell("Enter-PSSession db01"))
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
        session.facts = Facts(host_id=HOME)
        runspace = await fleet.open(NobodyToAsk())
        session._runspace = runspace
        moved = await session.after_cell("Enter-PSSession db01")
        assert moved is not None
        assert "did not say" in moved
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


def test_a_hop_through_several_hosts_is_undone_step_by_step() -> None:
    async def test(fleet: Fleet, session: InteractiveSession) -> None:
        fleet.way_back = 3
        moved = await run(session, "etsn db01; etsn db02; etsn db03")
        assert moved is not None
        assert 3 == fleet.cells.count("Exit-PSSession")
        assert await run(session, "next") is None

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
        assert await run(session, "hop") is None
        waiting = asyncio.create_task(session.ready(NobodyToAsk()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(SessionLost, match="another host"):
            await session.ready(NobodyToAsk())
        assert HOME == fleet.host

    check(test)
