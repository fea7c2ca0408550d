"""Sessions that stay, Invoke-Command and jobs, as magics, over a real sshd with the real engine."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from psmagic.pump import Pump

from pskernel import Objects, PSCredential, PSSession, Question, get_pssession, new_pssession
from pskernel.cells.invocation import Invocation
from pskernel.questions import NobodyToAsk
from pskernel.remoting.invocation import FanOut, HostOutcome
from pskernel.remoting.jobs import JOBS
from pskernel.remoting.loop import LOOP
from pskernel.remoting.output import Kept
from pskernel.remoting.work import Work
from pskernel.session.runspace import Runspace
from tests.parts.ipython import run, ssh_parameters, state
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def opened(shell: InteractiveShell, capsys: Capture, engine_sshd: Sshd) -> Any:
    """Two sessions: $a, and $b, whose name is web."""
    run(shell, capsys, f"a = %new_pssession {ssh_parameters(engine_sshd)}")
    run(shell, capsys, f"b = %new_pssession {ssh_parameters(engine_sshd)} -Name web")
    yield shell
    run(shell, capsys, "%exit_pssession")
    for session in get_pssession():
        session.close()


@pytest.mark.usefixtures("opened")
def test_a_session_is_listed_entered_left_and_still_there(shell: InteractiveShell, capsys: Capture) -> None:
    before = state(shell)
    session: PSSession = shell.user_ns["a"]

    assert ("Opened", "Available", "SSH", "127.0.0.1") == (
        session.State, session.Availability, session.Transport, session.ComputerName,
    )  # fmt: skip
    run(shell, capsys, "%enter_pssession -Session $a")
    assert ("5\n", None) == run(shell, capsys, "$x = 5; $x")
    assert "SessionIsEntered" == type(run(shell, capsys, "%remove_pssession $a")[1]).__name__
    run(shell, capsys, "exit")

    assert before == state(shell)
    assert "Opened" == session.state
    run(shell, capsys, f"%enter_pssession -Id {session.id}")
    assert ("5\n", None) == run(shell, capsys, "$x")
    run(shell, capsys, "%exit_pssession")
    run(shell, capsys, f"%enter_pssession -InstanceId {session.instance_id}")
    assert ("5\n", None) == run(shell, capsys, "$x")
    run(shell, capsys, "%exit_pssession")
    run(shell, capsys, "%enter_pssession -Name WEB")
    assert ("no x\n", None) == run(shell, capsys, "$x ?? 'no x'")


@pytest.mark.usefixtures("opened")
def test_a_script_that_exits_keeps_a_session_of_the_list(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, capsys, "%enter_pssession $a")
    run(shell, capsys, "$kept = 1")

    assert "SessionExited" == type(run(shell, capsys, "& { exit 3 }")[1]).__name__
    assert "SessionLost" == type(run(shell, capsys, "hit = 'python'")[1]).__name__
    assert "hit" not in shell.user_ns
    run(shell, capsys, "%enter_pssession $a")
    assert ("1\n", None) == run(shell, capsys, "$kept")


@pytest.mark.usefixtures("opened")
def test_a_broken_session_stays_in_the_list_and_says_so(shell: InteractiveShell, capsys: Capture) -> None:
    error = run(shell, capsys, "%%invoke_command -Session $a\n[Environment]::Exit(1)")[1]

    assert "ConnectionLost" == type(error).__name__
    assert ("Broken", "None") == (shell.user_ns["a"].state, shell.user_ns["a"].availability)
    assert "PushedRunspaceMustBeOpen" == type(run(shell, capsys, "%enter_pssession $a")[1]).__name__
    refused = run(shell, capsys, "%%invoke_command -Session $a\n1")[1]
    assert "InvokeCommandCommandInvalidSessionState" == type(refused).__name__
    run(shell, capsys, "%remove_pssession $a")
    assert [shell.user_ns["b"]] == get_pssession()


@pytest.mark.parametrize(
    ("line", "error_id"),
    [
        ("%get_pssession -Id 9999", "RemoteRunspaceNotAvailableForSpecifiedSessionId"),
        ("%get_pssession -Name nosuch", "RemoteRunspaceNotAvailableForSpecifiedName"),
        (
            "%enter_pssession -InstanceId 7c1a3b2e-0000-4000-8000-000000000000",
            "RemoteRunspaceNotAvailableForSpecifiedRunspaceId",
        ),
        ("%enter_pssession -Id 9999", "RemoteRunspaceNotAvailableForSpecifiedSessionId"),
        ("%enter_pssession -Name nosuch", "RemoteRunspaceNotAvailableForSpecifiedName"),
        ("%enter_pssession -Name nosuch*", "RemoteRunspaceNotAvailableForSpecifiedName"),
        ("%remove_pssession -Id 9999", "RemoteRunspaceNotAvailableForSpecifiedSessionId"),
        ("%remove_pssession", "MissingMandatoryParameter"),
        ("%remove_pssession -Session x", "CannotConvertArgumentNoMessage"),
        ("%new_pssession -HostName 127.0.0.1:1", "TargetUnreachable"),
        ("%new_pssession web01 -Authentication Digest", "NotSupported"),
        ("%new_pssession", "MissingMandatoryParameter"),
        ("%invoke_command -ScriptBlock { 1 }", "MissingMandatoryParameter"),
        ("%invoke_command -HostName a -ScriptBlock { 1 ", "MissingEndCurlyBrace"),
        ("%invoke_command -HostName a -ScriptBlock { 1 } -FilePath x", "AmbiguousParameterSet"),
        ("%invoke_command -HostName a", "MissingMandatoryParameter"),
        ("%invoke_command -HostName a -FilePath /no/such", "PathNotFound"),
        ("%invoke_command -HostName a -FilePath ''", "ParameterArgumentValidationErrorEmptyStringNotAllowed"),
        ("%invoke_command -HostName '-oProxyCommand=x' { 1 }", "PSSessionInvalidComputerName"),
        ("%invoke_command -HostName 'a b' { 1 }", "PSSessionInvalidComputerName"),
        ("%invoke_command -HostName a:99999 { 1 }", "PSSessionInvalidComputerName"),
        ("%invoke_command -HostName a@ { 1 }", "PSSessionInvalidComputerName"),
        ("%new_pssession -HostName a -KeyFilePath /no/such", "PathNotFound"),
        (
            "%get_pssession -InstanceId 7c1a3b2e-0000-4000-8000-000000000000",
            "RemoteRunspaceNotAvailableForSpecifiedRunspaceId",
        ),
        ("%remove_pssession nosuch", "RemoteRunspaceNotAvailableForSpecifiedComputer"),
        ("%remove_pssession -Session $null", "ParameterArgumentValidationErrorNullNotAllowed"),
        ("%receive_job -Job $null", "ParameterArgumentValidationErrorNullNotAllowed"),
        ("%copy_item a b", "AmbiguousParameterSet"),
        ("%invoke_command -HostName a -ScriptBlock { 1 } -OutVariable 'a b'", "ParameterArgumentValidationError"),
        ("%invoke_command -HostName a -ThrottleLimit x -ScriptBlock { 1 }", "CannotConvertArgumentNoMessage"),
        ("%invoke_command -HostName a -OutVariable 1x { 1 }", "ParameterArgumentValidationError"),
        ("%receive_job -Id 9999", "JobWithSpecifiedSessionNotFound"),
        ("%stop_job -Name nosuch", "JobWithSpecifiedNameNotFound"),
    ],
)
def test_what_does_not_exist_is_one_error_of_powershells(
    shell: InteractiveShell, capsys: Capture, line: str, error_id: str
) -> None:
    before = state(shell)

    shown, error = run(shell, capsys, line)

    assert error_id == type(error).__name__
    assert "Traceback" not in shown
    assert before == state(shell)


@pytest.mark.usefixtures("opened")
def test_a_cell_shows_what_a_console_shows_with_its_host_in_front(shell: InteractiveShell, capsys: Capture) -> None:
    one = run(shell, capsys, "%%invoke_command -Session $a\n[pscustomobject]@{ A = 1 }")
    two = run(shell, capsys, "%%invoke_command -Session $a, $b\n'x'; Write-Host 'y' -NoNewline")
    bare = run(shell, capsys, "%%invoke_command -Session $a, $b -HideComputerName\n'x'")

    assert ("\nA\n-\n1\n\n", None) == one
    # Of one name, they are told apart by their sessions'.
    first = f"127.0.0.1 {shell.user_ns['a'].name}"
    lines = [f"[{host}] {text}" for host in (first, "127.0.0.1 web") for text in "xy"]
    assert (lines, None) == (sorted(two[0].splitlines()), two[1])
    assert ("x\nx\n", None) == bare


@pytest.mark.usefixtures("opened")
def test_values_go_there_and_objects_come_back(shell: InteractiveShell, capsys: Capture, tmp_path: Path) -> None:
    shell.user_ns["wanted"] = {"Name": "pwsh", "Ids": [1, 2]}
    (tmp_path / "script.ps1").write_text('param($a) "from file $a"')

    run(
        shell,
        capsys,
        "found = %invoke_command -Session $a, $b -ArgumentList $wanted, 3 "
        "-ScriptBlock { param($w, $n) [pscustomobject]@{ Name = $w.Name; Sum = $w.Ids[1] + $n; U = $using:wanted.Name } }",
    )
    run(shell, capsys, "%%invoke_command -Session $a -OutVariable kept\n1..3")
    run(shell, capsys, "%%invoke_command -Session $b -OutVariable +kept\n4")
    run(shell, capsys, f"read = %invoke_command -Session $a -FilePath '{tmp_path}/script.ps1' -ArgumentList x")

    found = shell.user_ns["found"]
    assert [("pwsh", 5, "pwsh", "127.0.0.1")] * 2 == [(f.Name, f.Sum, f.U, f.PSComputerName) for f in found]
    assert {shell.user_ns["a"].instance_id, shell.user_ns["b"].instance_id} == {f.RunspaceId for f in found}
    assert [1, 2, 3, 4] == shell.user_ns["kept"]
    assert isinstance(shell.user_ns["kept"], Objects)
    assert ["from file x"] == shell.user_ns["read"]


@pytest.mark.usefixtures("opened")
def test_one_host_that_fails_fails_the_cell_and_keeps_the_others_results(
    shell: InteractiveShell, capsys: Capture, engine_sshd: Sshd
) -> None:
    run(shell, capsys, "%%invoke_command -Session $b\n$fails = $true")
    cell = "\nif ($fails) { throw 'boo' }; 'fine'"

    failed = run(shell, capsys, "%%invoke_command -Session $a, $b -OutVariable found" + cell)[1]
    alone = run(shell, capsys, "%%invoke_command -Session $b" + cell)[1]
    lenient = run(shell, capsys, "%%invoke_command -Session $a, $b -OutVariable again -ErrorAction Continue" + cell)[1]
    nobody = ssh_parameters(engine_sshd).replace(f"{engine_sshd.user}@", "nobody-such@")
    unreachable = run(shell, capsys, f"%%invoke_command -Session $a {nobody}" + cell)[1]

    assert "HostsFailed" == type(failed).__name__
    assert "1 of 2 hosts: 127.0.0.1 web." in str(failed)
    assert ["fine"] == shell.user_ns["found"] == shell.user_ns["again"]
    assert ("boo", None) == (str(alone), lenient)
    assert "HostsFailed" == type(unreachable).__name__


@pytest.mark.usefixtures("opened")
def test_a_job_runs_beside_and_is_received(shell: InteractiveShell, capsys: Capture) -> None:
    run(
        shell,
        capsys,
        "job = %invoke_command -Session $a, $b -ThrottleLimit 0 -JobName both "
        "-ScriptBlock { 'text'; Write-Warning 'w'; [pscustomobject]@{ N = 1 } }",
    )
    job = shell.user_ns["job"]

    shown, _ = run(shell, capsys, "got = %receive_job -Name both -Wait -Keep")
    run(shell, capsys, "again = %receive_job $job")
    run(shell, capsys, "nothing = %receive_job $job")

    assert ("Completed", "127.0.0.1,127.0.0.1", "both", False) == (job.State, job.Location, job.Name, job.HasMoreData)
    assert (job.id, "RemoteJob", job.command) == (job.Id, job.PSJobTypeName, job.Command)
    assert 4 == len(shell.user_ns["got"]) == len(shell.user_ns["again"])
    assert 2 == shown.count("WARNING: w")
    assert [] == shell.user_ns["nothing"]
    run(shell, capsys, "%remove_job $job")
    assert "JobWithSpecifiedNameNotFound" == type(run(shell, capsys, "%get_job -Name both")[1]).__name__


@pytest.mark.usefixtures("opened")
def test_a_job_has_the_variables_of_its_start(shell: InteractiveShell, capsys: Capture) -> None:
    shell.user_ns["n"] = "before"
    line = "job = %invoke_command -Session $a, $b -ThrottleLimit 1 -AsJob -ScriptBlock { $using:n }"

    run(shell, capsys, line)
    shell.user_ns["n"] = "after"
    run(shell, capsys, "got = %receive_job $job -Wait")

    assert ["before", "before"] == shell.user_ns["got"]
    found = ["now"]
    work = Work.of("$args[0][0]; $using:found[0]", [found], {"found": found, "other": object()})
    found[0] = "later"
    job = JOBS.start([shell.user_ns["a"]], work)
    job.wait()
    assert ["now", "now"] == job.receive()


@pytest.mark.usefixtures("opened")
def test_an_object_that_cannot_be_read_fails_its_host_and_nothing_else(shell: InteractiveShell) -> None:
    class Bad:
        def __getitem__(self, _: object) -> object:
            raise ZeroDivisionError

    class Worse:
        def __class_getitem__(cls, _: object) -> object:
            raise ZeroDivisionError

        @property
        def dtype(self) -> object:
            raise ZeroDivisionError

    Worse.__module__ = "numpy.worse"
    sessions = [shell.user_ns["a"], shell.user_ns["b"]]
    for script, arguments, using in (("$using:z[0]", [], {"z": Bad()}), ("1", [Worse()], {})):
        job = JOBS.start(sessions, Work.of(script, arguments, using))
        assert job.wait(30)

        assert "Failed" == job.state
        assert 2 == len(job.receive().failed)
        assert ["Available", "Available"] == [session.availability for session in sessions]


@pytest.mark.usefixtures("opened")
def test_a_script_is_not_in_the_remotes_history(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, capsys, "%%invoke_command -Session $a\n'not to be kept'")

    assert ("0\n", None) == run(shell, capsys, "%%invoke_command -Session $a\n@(Get-History).Count")


@pytest.mark.usefixtures("opened")
def test_where_text_cannot_be_shown_the_script_is_stopped_and_the_session_is_free(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Broken())
        with pytest.raises(BrokenPipeError):
            shell.run_cell_magic("invoke_command", "-Session $a", "'x'; while ($true) { Start-Sleep -m 20 }")

    assert "Available" == shell.user_ns["a"].availability
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", ascii_only)
        shell.run_cell_magic("invoke_command", "-Session $a", "'\u00e9'")
    assert b"\\xe9\n" == ascii_only.buffer.getvalue()  # type: ignore[attr-defined]


def test_of_several_sessions_all_are_opened_or_none(
    shell: InteractiveShell, capsys: Capture, engine_sshd: Sshd
) -> None:
    hosts = ssh_parameters(engine_sshd).replace(" -KeyFilePath", ",127.0.0.1:1,127.0.0.1:2 -KeyFilePath")

    error = run(shell, capsys, f"s = %new_pssession {hosts}")[1]

    assert "port 1" in str(error)
    assert "port 2" in str(error)
    assert "s" not in shell.user_ns
    assert [] == get_pssession()


@pytest.mark.usefixtures("opened")
def test_a_job_takes_its_session_until_it_is_stopped(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, capsys, "job = %invoke_command -Session $a -AsJob -ScriptBlock { while ($true) { Start-Sleep -m 20 } }")

    busy = run(shell, capsys, "%%invoke_command -Session $a\n1")[1]
    entering = run(shell, capsys, "%enter_pssession $a")[1]
    removing = run(shell, capsys, "%remove_job $job")[1]
    run(shell, capsys, "%stop_job $job")

    assert "InvokeCommandCommandInvalidSessionAvailability" == type(busy).__name__
    assert "PushedRunspaceMustBeAvailable" == type(entering).__name__
    assert "JobObjectNotFinishedCannotBeRemoved" == type(removing).__name__
    assert "Stopped" == shell.user_ns["job"].state
    assert ("1\n", None) == run(shell, capsys, "%%invoke_command -Session $a\n1")


@pytest.mark.usefixtures("opened")
def test_a_breakpoint_in_a_script_is_passed_over(shell: InteractiveShell) -> None:
    class Somebody:
        async def ask(self, question: Question) -> str:
            raise AssertionError(question.text)

    objects: list[Any] = []
    kept = Kept()
    session: PSSession = shell.user_ns["a"]

    async def work() -> list[HostOutcome]:
        fan_out = FanOut([session], Work("Wait-Debugger; 'past'"), kept, Somebody(), collect=objects.append)
        return await fan_out.run()

    (outcome,) = LOOP.run(work())

    # Nobody could go on with it: the session is not entered.
    assert (["past"], None, "Available") == (objects, outcome.error, session.availability)
    assert any("passed over" in piece.text for piece in kept.take())


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "line",
    [
        "%%invoke_command -Session $a, $b\n'begun'; while ($true) { Start-Sleep -m 20 }",
        "%%invoke_command -Session $a, $b -ErrorAction Ignore\n'begun'; while ($true) { Start-Sleep -m 20 }",
        "%%invoke_command -Session $a, $b -OutVariable o\nWrite-Host 'begun'; while ($true) { Start-Sleep -m 20 }",
        "%invoke_command -Session $a -ScriptBlock { Write-Host 'begun'; while ($true) { Start-Sleep -m 20 } }",
    ],
)
def test_ctrl_c_stops_a_script_on_all_hosts_and_keeps_the_sessions(
    shell: InteractiveShell, capsys: Capture, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None], line: str
) -> None:
    real, begun = print, threading.Event()

    def watching(*texts: Any, **options: Any) -> None:
        real(*texts, **options)
        if "begun" in str(texts):
            begun.set()

    monkeypatch.setattr("builtins.print", watching)
    threading.Thread(target=lambda: begun.wait(60) and ctrl_c()).start()

    error = run(shell, capsys, line)[1]

    assert type(error).__name__ in {"PipelineStopped", "HostsFailed"}
    assert ("1\n1\n", None) == run(shell, capsys, "%%invoke_command -Session $a, $b -HideComputerName\n1")


async def settled(session: PSSession) -> None:
    """Wait until the question behind a script is answered, and its end too."""
    async with (await session.session.ready(NobodyToAsk()))._turn:
        pass


@pytest.mark.parametrize(
    ("line", "owner", "step", "error_id"),
    [
        ("%%invoke_command -Session $s\n1", Invocation, "_start", "SessionAbandoned"),
        ("x = %invoke_command -Session $s -ScriptBlock { 1 }", Invocation, "_start", "SessionAbandoned"),
        ("%%invoke_command -Session $s\n$using:login", Runspace, "query", "Interrupted"),
        ("%%invoke_command -Session $s -ArgumentList $login\n1", Runspace, "exchange_key", "Interrupted"),
    ],
)
def test_ctrl_c_ends_what_an_engine_never_answers_to(
    shell: InteractiveShell,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    ctrl_c: Callable[[], None],
    pwsh: str,
    line: str,
    owner: type,
    step: str,
    error_id: str,
) -> None:
    reached, waiting = threading.Event(), threading.Event()
    real_step, real_serve = getattr(owner, step), Pump._serve

    async def stepping(self: Any, *args: Any, **options: Any) -> Any:
        reached.set()
        return await real_step(self, *args, **options)

    def serving(self: Pump, future: Any) -> bool:
        if reached.is_set():
            waiting.set()
        return real_serve(self, future)

    with new_pssession(f"process:{pwsh}?stop_timeout=2") as session:
        (engine,) = session.invoke("$PID")
        LOOP.run(settled(session))
        shell.user_ns |= {"s": session, "login": PSCredential("admin", "hunter2")}
        monkeypatch.setattr(owner, step, stepping)
        monkeypatch.setattr(Pump, "_serve", serving)
        os.kill(engine, signal.SIGSTOP)
        threading.Thread(target=lambda: waiting.wait(60) and ctrl_c()).start()
        began = time.monotonic()

        error = run(shell, capsys, line)[1]

        took = time.monotonic() - began
        monkeypatch.undo()

    assert error_id == type(error).__name__
    assert took < 20


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_session_is_opened_opens_none(
    shell: InteractiveShell, capsys: Capture, ctrl_c: Callable[[], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        over = threading.Event()

        def accept() -> None:
            # And say nothing.
            connection, _ = silent.accept()
            with connection:
                ctrl_c()
                over.wait(60)

        threading.Thread(target=accept).start()
        error = run(shell, capsys, f"%new_pssession -HostName 127.0.0.1:{silent.getsockname()[1]}")[1]
        over.set()

    assert "Interrupted" == type(error).__name__
    assert [] == get_pssession()
