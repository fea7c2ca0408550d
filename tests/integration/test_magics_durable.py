"""Durable sessions in the magics: left to their relay, found at the host, taken by another client and back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pskernel.questions import NobodyToAsk
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.pssession import PSSession, PSSessions
from pskernel.remoting.sessions import SESSIONS, SessionTable
from pskernel.target import Target
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.container import Container
from tests.parts.ipython import ssh_parameters
from tests.parts.sshd import Sshd
from tests.parts.winrm_magics import failure, left_by_another, run

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def host(sshd_factory: Callable[..., Sshd], pwsh: str) -> Iterator[Sshd]:
    """A host with no other relays than the tests'."""
    # The path must be short enough for a socket.
    folder = tempfile.mkdtemp(prefix="psk-", dir="/tmp")
    yield sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}, options=[f"SetEnv TMPDIR={folder}"])
    assert [] == list(Path(folder).glob("pskernel-session-*"))
    shutil.rmtree(folder)


class Other:
    """Another client of the host."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.sessions = SessionTable()

    def find(self, name: str) -> PSSession:
        found = LOOP.run(self.sessions.find(self.target, NobodyToAsk()))
        (session,) = [each for each in found if each.name == name]
        return session

    def come_to(self, name: str, *, take_over: bool = False) -> PSSession:
        session = self.find(name)
        LOOP.run(self.sessions.connect(session, NobodyToAsk(), take_over=take_over))
        return session

    def begin(self, name: str) -> PSSession:
        return LOOP.run(self.sessions.open(self.target, NobodyToAsk(), name))


@pytest.fixture
def at_host(shell: InteractiveShell, host: Sshd) -> Iterator[str]:
    """Parameters that reach it; what is open in the end is closed."""
    yield ssh_parameters(host)
    shell.run_cell("%exit_pssession")
    for session in SESSIONS.all():
        session.close()


@pytest.fixture
def other(host: Sshd, at_host: str) -> Iterator[Other]:
    url = f"ssh://{host.user}@127.0.0.1:{host.port}"
    files = {"key_file": str(host.key), "known_hosts": str(host.known_hosts)}
    client = Other(Target.parse(url, {"durable": True, **files}))
    yield client
    for session in client.sessions.all():
        if session.state == "Opened":
            session.close()


def is_told(session: PSSession) -> None:
    """Wait until a client knows that it has lost a session."""
    if session.session.runspace is not None:
        LOOP.run(session.session.runspace.wait_ended())


def shows(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> str:
    capsys.readouterr()
    run(shell, cell)
    said = capsys.readouterr()
    return said.err + said.out


def test_a_session_goes_from_one_client_to_the_other_and_back(
    shell: InteractiveShell, at_host: str, other: Other, capsys: Any
) -> None:
    run(shell, f"w = %new_pssession {at_host} -Durable -Name work")
    session: PSSession = shell.user_ns["w"]
    session.invoke("$x = 42")
    run(shell, "%disconnect_pssession $w")

    found = other.find("work")
    assert ("Disconnected", "None", session.instance_id) == (found.state, found.availability, found.instance_id)
    assert found.client == found.Client != ""
    assert found.disconnected_on is not None
    assert datetime.now().astimezone() - found.disconnected_on < timedelta(minutes=5)
    assert f"{found.client} {found.disconnected_on:%Y-%m-%d %H:%M}" in repr(PSSessions([found]))
    LOOP.run(other.sessions.connect(found, NobodyToAsk()))
    assert [42] == list(found.invoke("$x; $x = 43"))

    # The other one has it.
    assert [session] == list(run(shell, f"%get_pssession {at_host} -Name w*"))
    assert ("Disconnected", "Busy", None) == (session.state, session.availability, session.disconnected_on)
    kind, said = failure(shell, "%connect_pssession $w", capsys)
    assert "PSSessionConnectFailed" == kind
    assert f"Another client has the session work on {other.target.label}: {found.client or session.client}" in said
    assert "say so with -TakeOver." in said
    kind, said = failure(shell, "%enter_pssession -Session $w", capsys)
    assert "EnterPSSessionCannotConnectDisconnectedSession" == kind
    assert f"another client is connected to it: {session.client}. -TakeOver takes it" in said
    assert [43] == list(found.invoke("$x"))

    # The other one has left it.
    found.disconnect()
    run(shell, "%enter_pssession -Session $w")
    assert "43\n" == shows(shell, capsys, "$x")
    run(shell, "exit")
    assert ("Opened", "Available", "") == (session.state, session.availability, session.client)
    assert [session] == list(run(shell, "%get_pssession"))
    run(shell, "%remove_pssession $w")
    assert [] == list(run(shell, f"%get_pssession {at_host}"))


def test_a_session_is_taken_over_and_the_first_client_is_told(
    shell: InteractiveShell, at_host: str, other: Other, capsys: Any
) -> None:
    theirs = other.begin("theirs")
    theirs.invoke("$x = 1")

    (ours,) = run(shell, f"%connect_pssession {at_host} -Name theirs -TakeOver")

    assert [1] == list(ours.invoke("$x; $x = 2"))
    is_told(theirs)
    with pytest.raises(RemotingError, match=r"session state is Broken\..*Another client has it"):
        theirs.invoke("$x = 'lost'")
    # It can take it back, and has one session in its list then.
    again = other.come_to("theirs", take_over=True)
    assert [2] == list(again.invoke("$x"))
    assert [again] == list(other.sessions.all())
    is_told(ours)
    shell.user_ns["ours"] = ours
    kind, said = failure(shell, "%connect_pssession $ours", capsys)
    assert "PSSessionConnectFailed" == kind
    assert "Another client has the session theirs on" in said
    assert ("Disconnected", "Busy") == (ours.state, ours.availability)
    run(shell, "%connect_pssession $ours -TakeOver")
    assert [2] == list(ours.invoke("$x"))


def test_an_entered_session_that_is_taken_refuses_cells_and_is_entered_again_by_its_name(
    shell: InteractiveShell, at_host: str, other: Other, capsys: Any
) -> None:
    run(shell, f"%enter_pssession {at_host} -Durable -Name work")
    assert "There was no session work on" in shows(shell, capsys, "$x = 2")
    taken = other.come_to("work", take_over=True)
    assert [2] == list(taken.invoke("$x"))

    assert "Another client has it." in failure(shell, "$x", capsys)[1]
    kind, said = failure(shell, "hit = 'python'", capsys)
    assert "SessionLost" == kind
    assert "Another client has it." in said
    assert "hit" not in shell.user_ns
    run(shell, "%exit_pssession")
    assert [2] == list(taken.invoke("$x"))

    _, said = failure(shell, f"%enter_pssession {at_host} -Durable -Name work", capsys)
    assert "say so with -TakeOver" in said
    run(shell, f"%enter_pssession {at_host} -Durable -Name work -TakeOver")
    said = shows(shell, capsys, "$x")
    assert said.startswith("Back in the session work on")
    assert said.endswith("\n2\n")
    run(shell, "%disconnect_pssession -IdleTimeoutSec 600")
    assert 3 == run(shell, "1 + 2")
    (left,) = SESSIONS.all()
    assert ("work", "Disconnected") == (left.name, left.state)
    # It is one session, by whatever way one comes to it.
    run(shell, f"%enter_pssession {at_host} -Durable -Name work")
    run(shell, "%disconnect_pssession")
    (again,) = SESSIONS.all()
    assert left.instance_id == again.instance_id


def test_what_is_left_running_is_received_and_not_entered(
    shell: InteractiveShell, at_host: str, other: Other, capsys: Any
) -> None:
    run(
        shell,
        f"w = %invoke_command {at_host} -InDisconnectedSession -SessionName job -ScriptBlock {{ 1..3; $y = 'set' }}",
    )
    assert ("job", "Disconnected") == (shell.user_ns["w"].name, shell.user_ns["w"].state)
    for way in ("-Session $w", f"{at_host} -Durable -Name job"):
        kind, said = failure(shell, f"%enter_pssession {way}", capsys)
        assert "EnterPSSessionConnectSessionNotAvailable" == kind
        assert "%receive_pssession first" in said
        assert 3 == run(shell, "1 + 2")
    # As another process: nothing is known here but what the relay says.
    SESSIONS._forget(shell.user_ns["w"].id)

    assert [1, 2, 3] == list(run(shell, f"%receive_pssession {at_host} -Name job"))

    (session,) = SESSIONS.all()
    assert "Available" == session.availability
    run(shell, "%enter_pssession -Name job")
    said = shows(shell, capsys, "#% disconnect\n'from here'; $y")
    assert f"-HostName and -InstanceId {session.instance_id}" in said
    kind, said = failure(shell, f"%receive_pssession {at_host} -Name nobody", capsys)
    assert "PSSessionNotFound" == kind
    taken = other.come_to("job")
    assert "Busy" == taken.availability
    with pytest.raises(RemotingError, match="session availability is Busy"):
        taken.invoke("1")
    taken.disconnect()
    assert ["from here", "set"] == list(run(shell, "%receive_pssession -Name job"))


def test_what_a_session_sent_before_it_ended_is_received_and_its_end_is_told(
    shell: InteractiveShell, at_host: str, capsys: Any
) -> None:
    script = "'sent'; [Environment]::Exit(3)"
    run(shell, f"w = %invoke_command {at_host} -InDisconnectedSession -ScriptBlock {{ {script} }}")
    # As another process.
    SESSIONS._forget(shell.user_ns["w"].id)

    received = run(shell, f"got = %receive_pssession {at_host}\ngot")

    assert ["sent"] == list(received)
    assert "The remote program exited with status 3." in capsys.readouterr().err
    (session,) = SESSIONS.all()
    assert "Broken" == session.state
    kind, said = failure(shell, f"%connect_pssession -Id {session.id}", capsys)
    assert "PSSessionConnectFailed" == kind
    assert "does not exist on 127.0.0.1 any more" in said


def test_sessions_that_were_left_are_removed_and_one_that_is_gone_is_no_error(
    shell: InteractiveShell, at_host: str, other: Other, capsys: Any
) -> None:
    theirs = other.begin("theirs")
    other.begin("left").disconnect()
    run(shell, f"found = %get_pssession {at_host}\nagain = %get_pssession {at_host}")
    assert {"theirs": "Busy", "left": "None"} == {each.name: each.availability for each in shell.user_ns["found"]}

    kind, said = failure(shell, "%remove_pssession $found", capsys)

    assert "RemoveSessionCannotConnectToServer" == kind
    assert "Remote session theirs could not be connected and could not be removed" in said
    assert f"Another client has the session theirs on {other.target.label}" in said
    assert [7] == list(theirs.invoke("7"))
    failure(shell, "%remove_pssession $again", capsys)
    for found in shell.user_ns["found"], shell.user_ns["again"]:
        assert {"theirs": "Disconnected", "left": "Closed"} == {each.name: each.state for each in found}
    assert ["theirs"] == [each.name for each in run(shell, f"%get_pssession {at_host}")]


def test_a_durable_session_in_a_container_is_left_and_another_is_not(
    shell: InteractiveShell, at_host: str, container: Container, capsys: Any
) -> None:
    where = f"-ContainerId podman/{container.name}"
    run(shell, f"w = %new_pssession {where} -Durable -Name inside\nv = %new_pssession {where}")
    shell.user_ns["w"].invoke("$x = 1")
    run(shell, "%disconnect_pssession $w")
    # As another process.
    SESSIONS._forget(shell.user_ns["w"].id)

    (again,) = run(shell, f"%connect_pssession {where} -InstanceId {shell.user_ns['w'].instance_id}")

    assert [1] == list(again.invoke("$x"))
    assert ("inside", "Container") == (again.name, again.computer_type)
    kind, said = failure(shell, "%disconnect_pssession $v", capsys)
    assert "CannotDisconnectVMContainerSession" == kind
    assert "A session that was opened with -Durable can be left." in said


def test_a_session_of_a_winrm_server_is_not_taken_over(
    shell: InteractiveShell, at: str, target: Target, winrm: WsmanBridge, capsys: Any
) -> None:
    pool_id = left_by_another(target)
    (session,) = [each for each in run(shell, f"%get_pssession {at}") if each.instance_id == pool_id]
    shell.user_ns["w"] = session

    for command in ("connect", "receive"):
        kind, said = failure(shell, f"%{command}_pssession $w -TakeOver", capsys)
        assert "PSSessionConnectFailed" == kind
        assert "Only a durable session can be taken from another client" in said
    session.close()
