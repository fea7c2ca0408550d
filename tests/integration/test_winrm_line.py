"""Connections over WinRM that are idle, cut, or left: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pskernel.connect import connect
from pskernel.errors import TransportClosed
from pskernel.records import HostText, Notice, PipelineEnd, PipelineState
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.target import Target
from pskernel.transports.winrm import channels, http, transport
from tests.fakes.wsman_bridge import Cut, WsmanBridge
from tests.parts.certificates import Authority
from tests.parts.proxies import Forwarder
from tests.parts.winrm import url_of

pytestmark = pytest.mark.live

Factory = Callable[..., WsmanBridge]
LINES = "1..200 | ForEach-Object { \"line $_ \" + ('x' * 200) }"


@dataclass(frozen=True)
class Served:
    """A service, and what else a client has to say to get in."""

    bridge: WsmanBridge
    options: str


@pytest.fixture(params=["http", "https"])
def served(request: pytest.FixtureRequest, bridge_factory: Factory, authority: Authority) -> Served:
    if request.param == "http":
        return Served(bridge_factory(), "auth=ntlm")
    pair = authority.server()
    bridge = bridge_factory(certificate=(pair.certificate, pair.key, None))
    return Served(bridge, f"auth=ntlm&ca_file={authority.file}")


def expected(count: int = 200) -> list[str]:
    return [f"line {number} " + "x" * 200 + "\n" for number in range(1, count + 1)]


async def lines(runspace: Runspace, text: str = LINES) -> list[str]:
    found = [record async for record in await runspace.run_cell(text)]
    assert isinstance(found[-1], PipelineEnd)
    assert found[-1].state is PipelineState.COMPLETED
    return [record.text for record in found if isinstance(record, HostText)]


def run(bridge: WsmanBridge, folder: Path, test: Callable[[Runspace], object], options: str = "auth=ntlm") -> None:
    async def main() -> None:
        async with asyncio.timeout(120), await connect(Target.parse(url_of(bridge, folder, options))) as runspace:
            await test(runspace)  # type: ignore[misc]

    asyncio.run(main())


@pytest.mark.parametrize("after", [False, True], ids=["before it is seen", "within the answer"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_cut_connection_loses_and_repeats_nothing(served: Served, tmp_path: Path, at: int, after: bool) -> None:
    bridge = served.bridge

    async def test(runspace: Runspace) -> None:
        assert ["1\n"] == await lines(runspace, "1")
        # Some answers go well, then two do not.
        bridge.next("Receive", *[None] * at, Cut(after), Cut(after))
        assert expected() == await lines(runspace)
        assert ["2\n"] == await lines(runspace, "2")
        notices = [str(each) for each in runspace.idle.take()]
        assert not any("were lost" in each for each in notices)

    run(bridge, tmp_path, test, served.options)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.sampled_from([None, None, Cut(), Cut(after=True)]), min_size=1, max_size=12))
def test_cuts_wherever(served: Served, tmp_path: Path, cuts: list[Cut | None]) -> None:
    async def test(runspace: Runspace) -> None:
        served.bridge.next("Receive", *cuts)
        assert expected() == await lines(runspace)

    try:
        run(served.bridge, tmp_path, test, served.options)
    finally:
        served.bridge.forget_orders()


def test_what_a_server_cannot_say_again_is_said_to_be_missing(
    bridge_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_factory()
    bridge.service.forgets = True
    # When all receives were answered, one way or another, it is known what does not come.
    monkeypatch.setattr(transport, "RECEIVE_SECONDS", 1)

    async def test(runspace: Runspace) -> None:
        assert ["1\n"] == await lines(runspace, "1")
        bridge.next("Receive", None, Cut(after=True), Cut(after=True))
        said: list[str] = []
        cell = "1..5 | ForEach-Object { $_; Start-Sleep -Milliseconds 200 }"
        while not any("messages of 127.0.0.1 were lost" in each for each in said):
            found = [record async for record in await runspace.run_cell(cell)]
            assert isinstance(found[-1], PipelineEnd)
            said += [each.text for each in [*found, *runspace.idle.take()] if isinstance(each, Notice)]
            cell = "2"

    run(bridge, tmp_path, test)


def test_a_cell_that_is_silent_for_longer_than_a_receive(
    bridge_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "RECEIVE_SECONDS", 1)
    for empty in (False, True):
        bridge = bridge_factory()
        bridge.service.empty_when_idle = empty
        bridge.service.idle_seconds = 0.5

        async def test(runspace: Runspace) -> None:
            assert ["a\n", "b\n"] == await lines(runspace, "'a'; Start-Sleep 3; 'b'")

        run(bridge, tmp_path, test)
        assert bridge.count("Receive") > 8


def test_connections_that_the_server_dropped_while_nothing_was_done(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = served.bridge

    async def test(runspace: Runspace) -> None:
        assert ["1\n"] == await lines(runspace, "1")
        for _ in range(3):
            bridge.drop_connections()
            assert ["2\n"] == await lines(runspace, "2")
        # What is idle for long is not even tried.
        monkeypatch.setattr(http, "_IDLE_SECONDS", 0.0)
        assert ["3\n"] == await lines(runspace, "3")

    run(bridge, tmp_path, test, served.options)


def test_an_interruption_is_told_and_a_stop_gets_through(served: Served, tmp_path: Path) -> None:
    bridge = served.bridge

    async def test(runspace: Runspace) -> None:
        pipeline = await runspace.run_cell("'begun'; Start-Sleep 60")
        said = []
        async for record in pipeline:
            if isinstance(record, HostText):
                bridge.next("Receive", Cut(), Cut())
                bridge.drop_connections()
            if isinstance(record, Notice):
                said.append(record.text)
                if "restored" in record.text:
                    await pipeline.stop()
        assert pipeline.end is not None
        assert pipeline.end.state is PipelineState.STOPPED
        assert "has been interrupted. Attempting to reconnect for up to 240 seconds" in said[0]

    run(bridge, tmp_path, test, served.options)


def test_the_window_passes(served: Served, tmp_path: Path) -> None:
    bridge = served.bridge

    async def test(runspace: Runspace) -> None:
        pipeline = await runspace.run_cell("'begun'; Start-Sleep 60")
        with pytest.raises(TransportClosed, match=r"The connection to .* is lost"):
            async for record in pipeline:
                if isinstance(record, HostText):
                    bridge.next("*", *[Cut()] * 100)
                    bridge.drop_connections()
        assert runspace.state is RunspaceState.BROKEN

    run(bridge, tmp_path, test, f"{served.options}&reconnect_timeout=1")


def test_a_request_gives_up_whatever_else_is_answered(
    bridge_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_factory()
    monkeypatch.setattr(transport, "RECEIVE_SECONDS", 1)

    async def test(runspace: Runspace) -> None:
        # The pool's Receive is answered all the time; the stop that is asked for never gets through.
        pipeline = await runspace.run_cell("'begun'; Start-Sleep 60")
        bridge.always("Signal", Cut())
        with pytest.raises(TransportClosed, match=r"The connection to .* is lost"):
            await runspace._transport.signal(pipeline.pipeline_id)

    run(bridge, tmp_path, test, "auth=ntlm&reconnect_timeout=2")


def test_connections_that_went_silent_are_not_used_after_an_interruption(
    bridge_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_factory()
    monkeypatch.setattr(transport, "RECEIVE_SECONDS", 1)
    monkeypatch.setattr(channels, "_SLACK_SECONDS", 1.0)
    # Otherwise an idle one were forgotten for its age.
    monkeypatch.setattr(http, "_IDLE_SECONDS", 1e9)

    async def main() -> None:
        async with Forwarder(bridge.port) as network:
            url = url_of(bridge, tmp_path, "auth=ntlm&connect_timeout=1").replace(f":{bridge.port}", f":{network.port}")
            async with await connect(Target.parse(url)) as runspace:
                said = []
                async for record in await runspace.run_cell("'begun'; Start-Sleep 5; 'end'"):
                    if isinstance(record, HostText):
                        said.append(record.text)
                        # The connections on which the cell was sent are idle now.
                        if record.text == "begun\n":
                            network.fall_silent()
                assert ["begun\n", "end\n"] == said
                async with asyncio.timeout(10):
                    assert ["2\n"] == await lines(runspace, "2")

    asyncio.run(asyncio.wait_for(main(), 100))


LEAVE = """
import asyncio, sys
from pskernel.connect import connect
from pskernel.target import Target

async def main():
    runspace = await connect(Target.parse(sys.argv[1]), name="kept")
    await runspace.query("$x = 42")
    pipeline = await runspace.invoke("1..30 | ForEach-Object { $_; Start-Sleep -Milliseconds 50 }; $x")
    async for record in pipeline:
        break
    await runspace.disconnect()
    print(runspace.instance_id, flush=True)
    await runspace.aclose()

asyncio.run(main())
"""
TAKE = """
import asyncio, json, sys
from pskernel.remoting.sessions import SESSIONS
from pskernel.remoting.loop import LOOP
from pskernel.remoting import leaving
from pskernel.remoting.output import Kept
from pskernel.questions import NobodyToAsk
from pskernel.target import Target

async def main():
    (session,) = await SESSIONS.find(Target.parse(sys.argv[1]), NobodyToAsk())
    before = [session.name, session.state, str(session.instance_id)]
    await SESSIONS.connect(session, NobodyToAsk())
    busy = session.availability
    found = []
    outcome = await leaving.Continuation.of(session, Kept(), found.append).run("", NobodyToAsk())
    again = await session.session.runspace.query("$x + 1")
    return before, busy, found, outcome.error and outcome.error.message, again, session.availability

found = LOOP.run(main())
print(json.dumps(found))
"""


def test_what_one_process_left_another_takes(winrm: WsmanBridge, tmp_path: Path) -> None:
    url = url_of(winrm, tmp_path, "auth=ntlm")

    def python(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, url], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    pool = python(LEAVE)
    before, busy, values, error, again, after = json.loads(python(TAKE))
    assert ["kept", "Disconnected", pool] == before
    assert ("Busy", None, [43], "Available") == (busy, error, again, after)
    # The first was taken by the process that left.
    assert [*range(2, 31), 42] == values or [*range(1, 31), 42] == values
