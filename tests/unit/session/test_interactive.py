"""The session a user is in: opened, left, lost, and never quietly replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from pskernel.errors import PromptUnavailable, TargetUnreachable
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.session.interactive import InteractiveSession, SessionLost
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

    async def open(self, asker: Asker) -> Runspace:
        if self.needs_password:
            self.asked.append(await asker.ask(Question("Password: ")))
        if self.problem is not None:
            raise self.problem
        transport, server = await self._stack.enter_async_context(far_end(self.behave))
        self.servers.append(server)
        return await Runspace.open(transport, open_timeout=10)

    async def behave(self, call: Call) -> None:
        if "PSVersionTable" in call.text:
            for fact in ("7.6.9", "Core", "admin", "WEB01", self.host):
                await call.output(fact)
        elif "Host.InstanceId" in call.text:
            await call.output(self.host)
        elif call.text.startswith("Enter-PSSession") or call.text == "hop":
            self.host = ELSEWHERE
        elif call.text == "Exit-PSSession":
            self.host = HOME
        elif call.text == "hang":
            await call.stopped.wait()

    @property
    def cells(self) -> list[str]:
        return [text for server in self.servers for text in server.texts if "$" not in text]


def check(test: Callable[[Fleet, InteractiveSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            fleet = Fleet(stack)
            session = InteractiveSession(fleet.open, "admin@web01")
            await test(fleet, session)
            await session.aclose(grace=0.2)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())


async def run(session: InteractiveSession, text: str) -> SessionLost | None:
    pipeline = await session.run(text, NobodyToAsk())
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
            await session.run("Remove-Item everything", NobodyToAsk())
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
        await session.run("hang", NobodyToAsk())
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
            await session.run("meant for the other host", NobodyToAsk())
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
