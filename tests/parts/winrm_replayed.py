"""Our client against a recording that is played back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from pskernel.connect import connect, open_transport
from pskernel.credentials import GivenCredential, Secret
from pskernel.protocol import hostvalues
from pskernel.questions import NobodyToAsk
from pskernel.records import HostCall
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.fakes.wsman_replay import PASSWORD, USER, Answering, Library, Recording, Replay, ReplayServer, Seen
from tests.fakes.wsman_replay.fragments import fragments, payloads
from tests.parts.psrp_words import Words, our_words, recorded_words
from tests.parts.winrm_manners import breaches

__all__ = [
    "CREDENTIAL", "Stage", "answers", "check", "heard", "host_answers", "perform", "played", "quiet", "run",
    "said_to_commands", "target_at",
]  # fmt: skip

CREDENTIAL = GivenCredential(USER, Secret(PASSWORD))
_HOST_RESPONSE = 0x00041101
_CALL = re.compile(rb'<I64 N="ci">(-?\d+)</I64>.*?<I32>(\d+)</I32>', re.DOTALL)
# To a host call whose answer is no text.
_ANSWERS: dict[str, Any] = {
    "ReadLineAsSecureString": hostvalues.Secret("secret"),
    "Prompt": {"prompt field": "an answer"},
    "PromptForCredential2": hostvalues.Login("user", hostvalues.Secret("secret")),
    "PromptForChoice": 1,
    "ReadKey": hostvalues.KeyPress("a"),
}
LIMIT_SECONDS = 30.0
T = TypeVar("T")


@dataclass
class Stage:
    """Where a recording is being played, and the sessions that our client has opened on it."""

    replay: Replay
    port: int
    opened: list[Runspace] = field(default_factory=list)

    async def open(self, **options: str) -> Runspace:
        """A runspace on it."""
        self.opened.append(await connect(target_at(self.port, **options), credential=CREDENTIAL))
        return self.opened[-1]

    async def attach(self, pool_id: UUID, *running: UUID) -> Runspace:
        """A session of another client."""
        transport = await open_transport(target_at(self.port), NobodyToAsk(), credential=CREDENTIAL)
        self.opened.append(await Runspace.attach(transport, pool_id, running, open_timeout=LIMIT_SECONDS))
        return self.opened[-1]

    async def saw(self, condition: Callable[[Seen], bool]) -> None:
        """Wait until a request came that satisfies a condition."""
        await asyncio.to_thread(self.replay.wait, lambda seen: any(condition(each) for each in seen))

    async def was_told(self, number: int) -> None:
        """Wait until somebody got that answer of the recording."""
        await self.saw(lambda each: each.sent and each.answer is not None and each.answer.number == number)

    async def settled(self) -> None:
        """Wait until all commands that were begun are terminated, and the pool is listened to: the client does that behind
        its user's back.
        """

        def calm(seen: list[Seen]) -> bool:
            begun = {each.command for each in seen if each.operation == "Command"}
            ended = {each.command for each in seen if each.detail == "terminate" and each.sent}
            return begun <= ended and all(_is_listened_to(seen, shell, "") for shell in _alive(seen))

        await asyncio.to_thread(self.replay.wait, calm)

    async def listening(self, pipeline: Pipeline) -> None:
        """Wait until the client waits for what a pipeline says next, and for what is said beside it."""
        command = str(pipeline.pipeline_id).upper()

        def listens(seen: list[Seen]) -> bool:
            shell = next((each.shell for each in seen if each.command == command), "")
            return _is_listened_to(seen, shell, command) and _is_listened_to(seen, shell, "")

        await asyncio.to_thread(self.replay.wait, listens)


def _alive(seen: list[Seen]) -> set[str]:
    """The shells that somebody is connected to."""
    found: set[str] = set()
    for each in seen:
        if each.operation in {"Create", "Reconnect", "Connect"}:
            found.add(each.shell)
        elif each.operation in {"Disconnect", "Delete"}:
            found.discard(each.shell)
    return found


def _is_listened_to(seen: list[Seen], shell: str, command: str) -> bool:
    asked = [each for each in seen if each.operation == "Receive" and each.target == (shell, command)]
    return bool(asked) and asked[-1].waits


def check(stage: Stage, left: tuple[int, ...] = ()) -> None:
    """The server was asked all that it was asked before but ``left``, and nothing that it should not be."""
    wrong = [*stage.replay.problems, *breaches(stage.replay.seen)]
    assert [] == wrong, "\n".join(wrong)
    unplayed = tuple(each.number for each in stage.replay.unplayed)
    assert left == unplayed, f"nobody asked for {unplayed}"


def said_to_commands(recording: Recording) -> list[list[Words]]:
    """What the recorded server said to each command, in their order."""
    return [words for (_, command), words in recorded_words(recording).items() if command is not None]


def target_at(port: int, **options: str) -> Target:
    """A target on the loopback that may be talked to without encryption."""
    chosen = {"auth": "basic", "no_encryption": "true", "allow_unencrypted": "true", "open_timeout": "5", **options}
    return Target.parse(f"winrm://{USER}@127.0.0.1:{port}?" + "&".join(f"{k}={v}" for k, v in chosen.items()))


@contextlib.contextmanager
def played(
    library: Library, recording: Recording, *, over: Callable[[Answering], Answering] = lambda answering: answering
) -> Iterator[Stage]:
    """Play it, as long as this is entered; ``over`` may stand between."""
    replay = Replay(recording, library)
    with ReplayServer(over(replay.handle), library.answer("", "denied")) as server:
        try:
            yield Stage(replay, server.port)
        finally:
            replay.close()


def perform(
    library: Library,
    recording: Recording,
    scene: Callable[[Stage], Coroutine[Any, Any, T]],
    *,
    over: Callable[[Answering], Answering] = lambda answering: answering,
) -> tuple[Stage, T]:
    """Play a recording to what our client does; no session is left over."""

    async def performed(stage: Stage) -> T:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await scene(stage)
        finally:
            for runspace in stage.opened:
                await runspace.abandon("The scene is over.")

    with played(library, recording, over=over) as stage:
        return stage, asyncio.run(performed(stage))


async def quiet(under_way: int = 0) -> None:
    """Wait until our clients have no more requests under way than that, and have heard what the others were answered."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while sum(thread.name == "pskernel-winrm" for thread in threading.enumerate()) > under_way:
            await asyncio.sleep(0)
    # What a thread has brought goes through a future and a task.
    for _ in range(4):
        await asyncio.sleep(0)


async def run(runspace: Runspace, script: str = "1") -> list[Words]:
    """Run something, answer whatever it asks, and say what it said."""
    return await heard(await runspace.invoke(script))


async def heard(pipeline: Pipeline) -> list[Words]:
    """What a pipeline says to its end; what it asks is answered."""
    said: list[Words] = []
    async with asyncio.timeout(LIMIT_SECONDS):
        async for record in pipeline:
            said.append(our_words(record))
            if isinstance(record, HostCall) and record.expects_reply:
                await pipeline.reply(record, answers(record))
    return said


def answers(call: HostCall) -> Any:
    """What a host call is answered with."""
    return _ANSWERS.get(call.method, "Jo")


def host_answers(envelopes: list[str]) -> list[tuple[int, int]]:
    """To which calls of which methods answers were sent, in order."""
    found = []
    for data in (data for envelope in envelopes for data in payloads(envelope)):
        for each in fragments(data):
            if each.message_type == _HOST_RESPONSE and (match := _CALL.search(each.body)):
                found.append((int(match[1]), int(match[2])))
    return found
