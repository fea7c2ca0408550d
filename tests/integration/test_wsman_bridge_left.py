"""The WSMan bridge, driven by pypsrp's own client: shells that their client leaves, and clients that come to them."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from pypsrp.complex_objects import PSInvocationState
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import NAMESPACES, WSMan

from tests.fakes.wsman_bridge.output import message_type, split_fragments
from tests.fakes.wsman_bridge.shells import Shell
from tests.parts.wsman_client import (
    DONE,
    SHELL,
    Start,
    Waiting,
    answer,
    client,
    fault_of,
    is_running,
    pool,
    selector,
    shell_of,
    start_bridge,
    started,
)

__all__ = ["start_bridge"]

pytestmark = pytest.mark.live

NO_SHELL, LEFT, SHELL_LEFT, OTHERS, ANOTHER = 2150858843, 2150859230, 2150859204, 2150859213, 2150859206


def gated(gate: Path) -> str:
    """A script that says ``before``, waits for a file, and then says ``after``."""
    return f"'before'; while (-not (Test-Path '{gate}')) {{ Start-Sleep -Milliseconds 10 }}; 'after'"


def first_output(shell: PowerShell) -> None:
    while not shell.output:
        shell.poll_invoke()


def taken_over(wsman: WSMan) -> RunspacePool:
    """The only pool there is, connected to by a client that did not make it."""
    (found,) = RunspacePool.get_runspace_pools(wsman)
    found.connect()
    return found


def received(runspaces: RunspacePool, command_id: str) -> bytes:
    """All that a command still has to say."""
    state, data = "", b""
    while state != DONE:
        state, _, streams = runspaces.shell.receive("stdout", command_id=command_id)
        data += streams["stdout"]
    return data


def strings(data: bytes) -> list[str]:
    """The strings that a command's messages carry as output."""
    return re.findall(
        r"<S>(.*?)</S>", "".join(each.body[43:].decode(errors="ignore") for each in split_fragments(data))
    )


def test_leave_and_come_back(start_bridge: Start, tmp_path: Path) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = started(runspaces, gated(tmp_path / "gate"))
        first_output(shell)
        runspaces.disconnect()
        assert not shell_of(bridge).connected
        (tmp_path / "gate").touch()
        for work in (lambda: runspaces.shell.receive("stdout"), lambda: runspaces.shell.receive("stdout", shell.id)):
            assert LEFT == fault_of(work)
        state = wsman.get(SHELL, selector_set=selector(runspaces.id)).findtext(".//rsp:State", None, NAMESPACES)
        assert "Disconnected" == state
        runspaces.connect()
        shell.state = PSInvocationState.RUNNING
        assert ["before", "after"] == shell.end_invoke()
        assert [2] == started(runspaces, "1 + 1").end_invoke()


def test_what_waits_when_the_client_leaves(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell, left = started(runspaces, "while ($true) { Start-Sleep -Milliseconds 10 }"), shell_of(bridge)
        for _ in range(5):
            waiting = Waiting(lambda: runspaces.shell.receive("stdout", command_id=shell.id))
            assert left.wait_until_asked(shell.id)
            # Even if the client is back before the Receive has noticed.
            left.disconnect(bridge.service.expire, None)
            left.reconnect()
            assert LEFT == fault_of(waiting.result)


def test_nothing_but_connecting_works_on_a_shell_that_was_left(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        runspaces.disconnect()
        shell = PowerShell(runspaces)
        for work in (
            lambda: runspaces.shell.send("stdin", b"x"),
            lambda: runspaces.shell.command("", [], command_id=shell.id),
            lambda: runspaces.shell.signal("anything", shell.id),
        ):
            assert SHELL_LEFT == fault_of(work)
        # Coming back is for the client that left; others connect.
        assert ANOTHER == fault_of(
            lambda: other.reconnect(runspaces.shell.resource_uri, selector_set=selector(runspaces.id))
        )
        other_pool = taken_over(other)
        assert ANOTHER == fault_of(runspaces.connect)
        assert [2] == started(other_pool, "1 + 1").end_invoke()


def test_only_a_shell_that_was_left_can_be_connected_to(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        assert OTHERS == fault_of(lambda: taken_over(other))
        assert [2] == started(runspaces, "1 + 1").end_invoke()


def test_another_client_takes_over_what_runs(start_bridge: Start, tmp_path: Path) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other:
        runspaces = RunspacePool(wsman, min_runspaces=2, max_runspaces=3)
        runspaces.open()
        first_output(started(runspaces, "$x = 42; " + gated(tmp_path / "gate")))
        runspaces.disconnect()

        found = taken_over(other)

        # What Connect and the first Receive tell: SESSION_CAPABILITY, RUNSPACEPOOL_INIT_DATA; APPLICATION_PRIVATE_DATA.
        assert (runspaces.id, 2, 3) == (found.id, found.min_runspaces, found.max_runspaces)
        told = [getattr(each.application_private_data, "data", None) for each in (found, runspaces)]
        assert told[0] == told[1]
        assert told[0]
        (shell,) = found.create_disconnected_power_shells()
        shell.connect_async()  # type: ignore[no-untyped-call]
        (tmp_path / "gate").touch()
        assert ["after"] == shell.end_invoke()
        assert [42] == started(found, "$x").end_invoke()
        found.close()
    assert {} == bridge.service.shells


def test_the_numbers_of_messages_have_no_gaps(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        answers: list[bytes] = []
        connect = other.connect

        def noted(*args: object, **options: object) -> ET.Element:
            body = connect(*args, **options)  # type: ignore[arg-type]
            text = body.findtext("rsp:ConnectResponse/pwsh:connectResponseXml", None, NAMESPACES)
            answers.append(base64.b64decode(text or ""))
            return body

        assert [1] == started(runspaces, "1").end_invoke()
        runspaces.disconnect()
        other.connect = noted  # type: ignore[method-assign]
        found = taken_over(other)
        assert [2] == started(found, "2").end_invoke()
        (hello,) = answers
        said = [*split_fragments(hello), *split_fragments(b"".join(bridge.sent.values()))]
        assert list(range(1, len(said) + 1)) == sorted(each.number for each in said)
        assert [0x10002, 0x2100B] == [message_type(each.body) for each in split_fragments(hello)]


def test_connect_to_a_command_that_is_not_there(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, client(bridge) as other:
        runspaces = RunspacePool(wsman)
        runspaces.open()
        runspaces.disconnect()
        found = taken_over(other)
        shell = PowerShell(found)
        shell.state = PSInvocationState.DISCONNECTED
        assert NO_SHELL == fault_of(shell.connect_async)
        found.close()


@pytest.mark.parametrize("repeats", [False, True])
def test_the_last_answer_may_come_again(start_bridge: Start, tmp_path: Path, repeats: bool) -> None:
    bridge = start_bridge()
    bridge.service.repeats_last_answer = repeats
    with client(bridge) as wsman, client(bridge) as other, pool(wsman) as runspaces:
        shell = started(runspaces, gated(tmp_path / "gate"))
        first_output(shell)
        runspaces.disconnect()
        found = taken_over(other)
        (tmp_path / "gate").touch()
        assert (["before"] if repeats else []) + ["after"] == strings(received(found, shell.id))


def test_output_without_a_client_is_kept(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman, pool(wsman) as runspaces:
        shell = started(runspaces, '1..3000 | ForEach-Object { "$_" }')
        runspaces.disconnect()
        assert shell_of(bridge).wait_finished(shell.id, 20)
        runspaces.connect()
        assert [str(number) for number in range(1, 3001)] == strings(received(runspaces, shell.id))


def leave_with(runspaces: RunspacePool, mode: str) -> None:
    """As pypsrp leaves, with a BufferMode."""
    rsp = NAMESPACES["rsp"]
    body = ET.Element(f"{{{rsp}}}Disconnect")
    ET.SubElement(body, f"{{{rsp}}}BufferMode").text = mode
    runspaces.connection.disconnect(runspaces.shell.resource_uri, body, selector_set=selector(runspaces.id))


def flooded(bridge_shell: Callable[[], Shell], runspaces: RunspacePool, mode: str) -> tuple[bool, list[str]]:
    """Whether 3 MB of output were all said while nobody was there, and what then comes."""
    shell = started(runspaces, "1..3000 | ForEach-Object { \"$_ \" + 'x' * 1000 }")
    leave_with(runspaces, mode)
    finished = bridge_shell().wait_finished(shell.id, 20 if mode == "Drop" else 1)
    assert bridge_shell().waiting_bytes(shell.id) < 150_000
    runspaces.connection.reconnect(runspaces.shell.resource_uri, selector_set=selector(runspaces.id))
    return finished, [each.split()[0] for each in strings(received(runspaces, shell.id))]


def test_a_full_buffer_blocks(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.buffer_limit = 100_000
    with client(bridge) as wsman, pool(wsman) as runspaces:
        finished, found = flooded(lambda: shell_of(bridge), runspaces, "Block")
    assert not finished
    assert [str(number) for number in range(1, 3001)] == found


def test_a_full_buffer_drops_the_oldest(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.buffer_limit = 100_000
    with client(bridge) as wsman, pool(wsman) as runspaces:
        finished, found = flooded(lambda: shell_of(bridge), runspaces, "Drop")
    assert finished
    # What came before the client left, a gap, and the end.
    expected = [str(number) for number in range(1, 3001)]
    assert 50 < len(found) < 3000
    tail = next(length for length in range(len(found), 0, -1) if found[-length:] == expected[-length:])
    assert 50 < tail
    assert expected[: len(found) - tail] == found[:-tail]


def test_a_blocked_engine_can_be_ended(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.buffer_limit = 1_000
    with client(bridge) as wsman:
        runspaces = RunspacePool(wsman)
        runspaces.open()
        shell = started(runspaces, "1..3000 | ForEach-Object { \"$_ \" + 'x' * 1000 }")
        leave_with(runspaces, "Block")
        left = shell_of(bridge)
        assert not left.wait_finished(shell.id, 0.5)
        wsman.delete(runspaces.shell.resource_uri, selector_set=selector(runspaces.id))
        assert not is_running(left.engine_pid)


def test_nobody_comes_back(start_bridge: Start) -> None:
    bridge = start_bridge()
    bridge.service.longest_idle = 0.05
    with client(bridge) as wsman, pool(wsman) as runspaces:
        left = shell_of(bridge)
        runspaces.disconnect()
        assert left.gone.wait(10)
        assert NO_SHELL == fault_of(runspaces.connect)
        assert not is_running(left.engine_pid)
        assert {} == bridge.service.shells


def test_somebody_comes_back_in_time(start_bridge: Start) -> None:
    bridge = start_bridge()
    with client(bridge) as wsman:
        runspaces = RunspacePool(wsman)
        runspaces.shell.idle_time_out = 1
        runspaces.open()
        left = shell_of(bridge)
        runspaces.disconnect()
        runspaces.connect()
        # The time has passed when this is through, and is not counted with a client there.
        assert ["late"] == started(runspaces, "Start-Sleep -Milliseconds 1200; 'late'").end_invoke()
        assert not left.gone.is_set()
        runspaces.disconnect()
        assert left.gone.wait(10)


def test_a_client_of_its_own_after_that(start_bridge: Start) -> None:
    """What one shell went through is nothing to the next."""
    bridge = start_bridge()
    with client(bridge) as wsman:
        with pool(wsman) as runspaces:
            runspaces.disconnect()
        assert [2] == answer(wsman)
