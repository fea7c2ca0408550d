"""Questions over real sockets: the kernel's ROUTER, a front end's DEALER."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from pskernel.errors import PromptUnavailable
from pskernel.kernel.prompts import StdinAsker
from pskernel.questions import Question

KEY = b"shared"
WAIT = 10.0
PASSWORD = Question("Password for admin@web01: ")


@dataclass
class FrontEnd:
    """The client's end: reads questions and answers them, as JupyterLab or as jupyter_client does."""

    socket: zmq.Socket[bytes]
    session: Session

    async def question(self) -> dict[str, Any]:
        assert await asyncio.to_thread(self.socket.poll, int(WAIT * 1000))
        _, message = self.session.recv(self.socket)
        assert message is not None
        return dict(message)

    def answer(self, value: str, question: dict[str, Any] | None = None) -> None:
        self.session.send(self.socket, "input_reply", {"value": value}, parent=question)


@dataclass
class Line:
    asker: StdinAsker
    kernel_socket: zmq.Socket[bytes]
    front: FrontEnd
    cell: dict[str, Any]


@pytest.fixture
def line() -> Iterator[Line]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.IDENTITY, b"client")
    router.bind("inproc://stdin")
    dealer.connect("inproc://stdin")
    front = FrontEnd(dealer, Session(key=KEY))
    cell = dict(front.session.msg("execute_request", {"code": "1"}))
    yield Line(StdinAsker(Session(key=KEY), router, [b"client"], cell), router, front, cell)
    context.destroy(linger=0)


def arrived(line: Line) -> None:
    """Wait until something for the kernel is there."""
    assert line.kernel_socket.poll(int(WAIT * 1000))


def test_what_a_prompt_may_hold(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(Question("\x1b]0;title\x07\x1b[31mred\x1b[2J\x08" + "x" * 5000)))
        question = await line.front.question()
        assert question["content"]["prompt"].startswith("redxxx")
        assert len(question["content"]["prompt"]) == 2000
        line.front.answer("yes")
        assert await asyncio.wait_for(asking, WAIT) == "yes"

    asyncio.run(main())


@pytest.mark.parametrize("names_the_question", [True, False])
def test_an_answer(line: Line, names_the_question: bool) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        question = await line.front.question()
        assert question["msg_type"] == "input_request"
        assert question["content"] == {"prompt": "Password for admin@web01: ", "password": True}
        assert question["parent_header"]["msg_id"] == line.cell["header"]["msg_id"]
        line.front.answer("s3cret é", question if names_the_question else None)
        assert await asyncio.wait_for(asking, WAIT) == "s3cret é"

    asyncio.run(main())


def test_a_question_whose_answer_may_be_seen(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(Question("Code: ", secret=False)))
        question = await line.front.question()
        assert question["content"]["password"] is False
        line.front.answer("")
        assert await asyncio.wait_for(asking, WAIT) == ""

    asyncio.run(main())


def test_a_reply_from_before_the_question_is_not_its_answer(line: Line) -> None:
    async def main() -> None:
        line.front.answer("stale")
        line.front.answer("staler")
        arrived(line)
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        await line.front.question()
        line.front.answer("fresh")
        assert await asyncio.wait_for(asking, WAIT) == "fresh"

    asyncio.run(main())


def test_the_late_answer_to_a_withdrawn_question_is_not_given_to_the_next(line: Line) -> None:
    async def main() -> None:
        first = asyncio.create_task(line.asker.ask(PASSWORD))
        withdrawn = await line.front.question()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(line.asker.ask(Question("Password for admin@web02: ")))
        question = await line.front.question()
        line.front.answer("for web01", withdrawn)
        line.front.answer("for web02", question)
        assert await asyncio.wait_for(second, WAIT) == "for web02"

    asyncio.run(main())


def test_cancelling_withdraws_the_question(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        await line.front.question()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, WAIT)
        # Nobody is left who would take the next answer.
        line.front.answer("too late")
        arrived(line)
        await asyncio.sleep(0)
        assert line.kernel_socket.poll(0)

    asyncio.run(main())


def test_the_loop_goes_on_while_a_question_is_open(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        await line.front.question()
        async with asyncio.timeout(WAIT):
            for _ in range(1000):
                await asyncio.sleep(0)
        assert not asking.done()
        line.front.answer("x")
        assert await asyncio.wait_for(asking, WAIT) == "x"

    asyncio.run(main())


def test_a_closed_prompt(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        await line.front.question()
        line.front.answer("\x04")
        with pytest.raises(PromptUnavailable, match=r"^Password for admin@web01: the prompt was closed") as caught:
            await asyncio.wait_for(asking, WAIT)
        assert "\x04" not in str(caught.value)

    asyncio.run(main())


def test_what_is_not_signed_with_the_key_is_no_answer(line: Line) -> None:
    async def main() -> None:
        asking = asyncio.create_task(line.asker.ask(PASSWORD))
        await line.front.question()
        forger = FrontEnd(line.front.socket, Session(key=b"guessed"))
        forger.answer("forged")
        line.front.socket.send_multipart([b"<IDS|MSG>", b"short"])
        line.front.socket.send_multipart([b"no delimiter"])
        line.front.socket.send_multipart([b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"])
        line.front.answer("genuine")
        assert await asyncio.wait_for(asking, WAIT) == "genuine"

    asyncio.run(main())


def test_questions_take_turns(line: Line) -> None:
    async def main() -> None:
        asking = [asyncio.create_task(line.asker.ask(Question(f"{n}: "))) for n in range(3)]
        for number in range(3):
            question = await line.front.question()
            assert question["content"]["prompt"] == f"{number}: "
            assert not line.front.socket.poll(0)
            line.front.answer(f"answer {number}", question)
            assert await asyncio.wait_for(asking[number], WAIT) == f"answer {number}"

    asyncio.run(main())
