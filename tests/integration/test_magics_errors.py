"""What becomes of errors in %%invoke_command and its jobs, with and without -ErrorAction, over a real sshd."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pskernel import PSSession, new_pssession
from pskernel.render.ansi import strip
from tests.parts.ipython import run, ssh_parameters
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live

Capture = pytest.CaptureFixture[str]
# On the second host, or session, there is an error that ends nothing.
SCRIPT = "if ($fails) { Write-Error 'x' }; 'after'"


@pytest.fixture
def opened(shell: InteractiveShell, capsys: Capture, engine_sshd: Sshd) -> Any:
    """Two sessions: $a, where all is well, and $b, whose name is web, where it is not."""
    run(shell, capsys, f"a = %new_pssession {ssh_parameters(engine_sshd)}")
    run(shell, capsys, f"b = %new_pssession {ssh_parameters(engine_sshd)} -Name web")
    run(shell, capsys, "%%invoke_command -Session $b\n$fails = $true")
    yield shell
    for name in "ab":
        shell.user_ns[name].close()


@pytest.fixture(scope="module")
def lasting(engine_sshd: Sshd) -> Iterator[tuple[PSSession, PSSession]]:
    """The same two, for all tests that change nothing there."""
    server = engine_sshd
    url = f"ssh://{server.user}@127.0.0.1:{server.port}?key_file={server.key}&known_hosts={server.known_hosts}"
    with new_pssession(url) as a, new_pssession(url, name="web") as b:
        b.invoke("$global:fails = $true")
        yield a, b


@pytest.fixture
def shared(shell: InteractiveShell, lasting: tuple[PSSession, PSSession]) -> None:
    """As opened, and faster."""
    shell.user_ns |= dict(zip("ab", lasting, strict=True))


def both(shell: InteractiveShell, cell: str) -> tuple[str, str, Any]:
    """What a cell wrote to both streams, and its error."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        result = shell.run_cell(cell)
    return strip(out.getvalue()), strip(err.getvalue()), result.error_in_exec or result.error_before_exec


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("given", "shown", "fails"),
    [
        ("", True, False),
        ("-ErrorAction Continue", True, False),
        ("-ErrorAction Stop", True, True),
        ("-ea stop", True, True),
        ("-ErrorAction SilentlyContinue", False, False),
        ("-ErrorAction Ignore", False, False),
    ],
)
@pytest.mark.parametrize("taken", ["", "-OutVariable found"])
def test_an_error_record_is_shown_hidden_or_fails_the_cell(
    shell: InteractiveShell, given: str, shown: bool, fails: bool, taken: str
) -> None:
    out, err, error = both(shell, f"%%invoke_command -Session $a, $b {given} {taken}\n{SCRIPT}")
    _, alone, error_alone = both(shell, f"%%invoke_command -Session $b {given} {taken}\n{SCRIPT}; $global:ended = 1")

    assert (1 if shown else 0) == err.count("[127.0.0.1 web]")
    assert shown == ("x" in alone)
    assert ["HostsFailed", "ErrorRecord"] * fails == [type(each).__name__ for each in (error, error_alone) if each]
    if fails:
        assert "1 of 2 hosts: 127.0.0.1 web." in str(error)
        assert str(error_alone).startswith("The script wrote errors on 127.0.0.1. The first: ")
    # The script goes on behind it, everywhere, and what it returned is there.
    assert ("1\n", "", None) == both(shell, "%%invoke_command -Session $b\n$ended; $ended = 0")
    if taken:
        assert ["after"] == shell.user_ns["found"]
    else:
        assert 2 == out.count("after")


@pytest.mark.usefixtures("shared")
def test_what_ends_the_script_is_obeyed_as_before(shell: InteractiveShell) -> None:
    cell = "if ($fails) { throw 'boo' }; 'fine'"

    stopped, default, shown, hidden = (
        both(shell, f"%%invoke_command -Session $a, $b {given}\n{cell}")
        for given in ("-ErrorAction Stop", "", "-ErrorAction Continue", "-ErrorAction SilentlyContinue")
    )

    assert "HostsFailed" == type(stopped[2]).__name__ == type(default[2]).__name__
    assert (None, None) == (shown[2], hidden[2])
    assert ["boo" in err for _, err, _ in (stopped, default, shown, hidden)] == [True, True, True, False]


@pytest.mark.usefixtures("opened")
def test_a_job_obeys_where_it_is_started_and_where_it_is_received(shell: InteractiveShell) -> None:
    line = f"%invoke_command -Session $a, $b -AsJob -ScriptBlock {{ {SCRIPT} }}"
    for at, given in enumerate(("-ErrorAction Stop", "-ErrorAction SilentlyContinue", "")):
        both(shell, f"j{at} = {line} {given} -OutVariable v{at}\nj{at}.wait()")

    states = [shell.user_ns[f"j{at}"].state for at in range(3)]
    hidden = both(shell, "got = %receive_job $j1")
    failed = both(shell, "got = %receive_job $j0, $j2 -ErrorAction Stop")
    silent = both(shell, "got = %receive_job $j2 -ErrorAction SilentlyContinue")

    assert ["Failed", "Completed", "Completed"] == states
    assert [[shell.user_ns["j0"]], [shell.user_ns["j1"]]] == [shell.user_ns["v0"], shell.user_ns["v1"]]
    assert ("", "", None) == hidden
    assert "ErrorRecord" == type(failed[2]).__name__
    assert "[127.0.0.1 web] x" in failed[1]
    # Nothing of what was refused to be taken is lost.
    assert (("", "", None), ["after", "after"]) == (silent, shell.user_ns["got"])
    both(shell, "got = %receive_job $j0 -ErrorAction Ignore")
    assert ["after", "after"] == shell.user_ns["got"]
    assert not any(shell.user_ns[f"j{at}"].has_more_data for at in range(3))


@pytest.mark.usefixtures("shared")
def test_what_a_program_writes_to_its_error_output_is_an_error_record(shell: InteractiveShell) -> None:
    _, err, error = both(shell, "x = %invoke_command -Session $a -ErrorAction Stop -ScriptBlock { ls /no/such }")

    assert "ErrorRecord" == type(error).__name__
    assert "/no/such" in err
    assert "x" not in shell.user_ns


@pytest.mark.usefixtures("opened")
def test_so_it_is_where_it_is_only_shown(shell: InteractiveShell) -> None:
    cell = "/bin/ls /no/such; 'x' * 3; ,(,(1, 2)); $null; @{ a = 1 }; Write-Warning w; Write-Error boo"
    shown = both(shell, f"%%invoke_command -Session $a -HideComputerName\n{cell}")
    failed = both(shell, f"%%invoke_command -Session $a -ErrorAction Stop\n{cell}")
    several = both(shell, "%%invoke_command -Session $a, $b -ErrorAction Stop\nif ($fails) { /bin/ls /no/such }; 1")
    fine = both(
        shell, '%%invoke_command -Session $a -ErrorAction Stop\n/bin/ls /no/such 2>$null; $seen; "$DebugPreference"'
    )
    constrained = "$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'"
    both(shell, f"%%invoke_command -Session $a\n{constrained}")
    limited = both(shell, "%%invoke_command -Session $a -ErrorAction Stop\n/bin/ls /no/such; 1")

    # It is shown as ever, each in its stream; IPython shows the cell's error behind it.
    assert failed[0].startswith(shown[0])
    assert shown[1] == failed[1]
    assert (None, "ErrorRecord") == (shown[2], type(failed[2]).__name__)
    assert "The first: /bin/ls: cannot access '/no/such'" in str(failed[2])
    assert "1 of 2 hosts: 127.0.0.1 web." in str(several[2])
    assert ("SilentlyContinue\n", "", None) == fine
    assert ("ErrorRecord", "") == (type(limited[2]).__name__, limited[1])
    assert limited[0].count("\n1\n") == 1


@pytest.mark.usefixtures("opened")
def test_a_cell_of_an_entered_session_is_asked_too(shell: InteractiveShell) -> None:
    both(shell, "%enter_pssession -Session $a")
    plain = both(shell, "/bin/ls /no/such")
    failed = both(shell, "#% stop-on-error-record\n/bin/ls /no/such; 'on'")
    history = both(shell, "(Get-History -Count 1).CommandLine")
    both(shell, "exit")

    assert failed[0].startswith(plain[0] + "on\n")
    assert ("", None, "ErrorRecord") == (failed[1], plain[2], type(failed[2]).__name__)
    assert plain[0].strip() == str(failed[2])
    assert ("#% stop-on-error-record\n/bin/ls /no/such; 'on'\n", "", None) == history


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("taken", ["", "-OutVariable found"])
def test_a_script_that_exits_with_a_number_has_failed(shell: InteractiveShell, taken: str) -> None:
    ways = ("", "-ErrorAction Stop", "-ErrorAction Continue", "-ErrorAction SilentlyContinue", "-ErrorAction Ignore")
    default, stopped, shown, silent, ignored = (
        both(shell, f"%%invoke_command -Session $a {way} {taken}\n'out'; exit 7") for way in ways
    )
    several = both(shell, f"%%invoke_command -Session $a, $b {taken}\nif ($fails) {{ exit 7 }}")
    after = both(shell, "%%invoke_command -Session $a\n'still there'; exit 0")

    assert {"ScriptExited"} == {type(error).__name__ for _, _, error in (default, stopped)}
    assert "The script on 127.0.0.1 ended with exit 7." == str(default[2])
    assert (None, True) == (shown[2], "ended with exit 7" in shown[1])
    assert [("", None), ("", None)] == [silent[1:], ignored[1:]]
    assert "1 of 2 hosts: 127.0.0.1 web." in str(several[2])
    assert ("still there\n", "", None) == after


@pytest.mark.usefixtures("shared")
def test_lines_and_jobs_that_exit_have_failed(shell: InteractiveShell) -> None:
    line = both(shell, "x = %invoke_command -Session $a -ScriptBlock { ls /no/such; exit 1 } -ErrorAction Stop")
    both(shell, "j = %invoke_command -Session $a, $b -AsJob -ScriptBlock { 'out'; if ($fails) { exit 2 } }\nj.wait()")
    state = shell.user_ns["j"].state
    stopped = both(shell, "got = %receive_job $j -ErrorAction Stop")
    received = both(shell, "got = %receive_job $j")

    assert ("ScriptExited", "Failed") == (type(line[2]).__name__, state)
    assert "ErrorRecord" == type(stopped[2]).__name__
    assert (["out", "out"], None) == (shell.user_ns["got"], received[2])
    assert "[127.0.0.1 web] The script on 127.0.0.1 ended with exit 2." in received[1]


@pytest.mark.usefixtures("opened")
def test_a_broken_session_is_one_host_that_fails(shell: InteractiveShell) -> None:
    both(shell, "%%invoke_command -Session $b\n[Environment]::Exit(3)")
    broken = shell.user_ns["b"].state

    failed = both(shell, "%%invoke_command -Session $b, $a\n'ran'")
    shown = both(shell, "got = %invoke_command -Session $a, $b -ScriptBlock { 'ran' } -ErrorAction Continue")
    both(shell, "j = %invoke_command -Session $a, $b -ScriptBlock { 'ran' } -AsJob\nj.wait()")
    alone = both(shell, "%%invoke_command -Session $b\n'ran'")
    twice = both(shell, "%%invoke_command -Session $a, $a\n'ran'")

    assert "Broken" == broken
    assert "[127.0.0.1 Runspace" in failed[0]
    assert "[127.0.0.1 web] Because the session state for session web" in failed[1]
    assert ("HostsFailed", True) == (type(failed[2]).__name__, "1 of 2 hosts: 127.0.0.1 web." in str(failed[2]))
    assert (["ran"], None, True) == (shell.user_ns["got"], shown[2], "The session state is Broken" in shown[1])
    assert ("Failed", ["ran"]) == (shell.user_ns["j"].state, shell.user_ns["j"].receive())
    assert "InvokeCommandCommandInvalidSessionState" == type(alone[2]).__name__
    assert "RemoteRunspaceInfoHasDuplicates" == type(twice[2]).__name__
    assert "Available" == shell.user_ns["a"].availability


@pytest.mark.usefixtures("shared")
def test_lists_of_sessions_and_jobs_stand_for_what_is_in_them(shell: InteractiveShell) -> None:
    both(shell, "all = %get_pssession\none, rest = all[0], all[1:]")
    listed = both(shell, "got = %invoke_command -Session $one, $rest -ScriptBlock { 1 }")
    placed = both(shell, "%%invoke_command $all\n1")
    both(
        shell,
        "j = %invoke_command $all -AsJob { 1 }\nj.wait()\njobs = %get_job $j.Id\nother = %invoke_command $one -AsJob { 2 }",
    )
    waited = both(shell, "got2 = %receive_job $jobs, $other, $jobs -Wait")

    assert (None, None, None) == (listed[2], placed[2], waited[2])
    assert ([1, 1], [1, 1, 2]) == (shell.user_ns["got"], shell.user_ns["got2"])


def test_a_host_that_is_named_twice_is_numbered(shell: InteractiveShell, engine_sshd: Sshd) -> None:
    host, _, rest = ssh_parameters(engine_sshd).removeprefix("-HostName ").partition(" ")
    out, _, error = both(shell, f"%%invoke_command -HostName {host}, {host} {rest}\n'ran'")

    assert (["[127.0.0.1 (1)] ran", "[127.0.0.1 (2)] ran"], None) == (sorted(out.splitlines()), error)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("line", "error_id", "told"),
    [
        ("-OutVariable class", "ParameterArgumentValidationError", "'class' is no name of a Python variable"),
        ("-OutVariable +None", "ParameterArgumentValidationError", "'+None' is no name of a Python variable"),
        ("-ArgumentList 1, {1+1}", "CannotConvertArgumentNoMessage", "'ArgumentList'. Cannot convert value \"1+1\""),
    ],
)
def test_what_cannot_be_meant_is_refused(shell: InteractiveShell, line: str, error_id: str, told: str) -> None:
    error = both(shell, f"%%invoke_command -Session $a {line}\n1")[2]

    assert error_id == type(error).__name__.partition(",")[0]
    assert told in str(error)


@pytest.mark.usefixtures("shared")
def test_error_output_that_has_become_text_is_none(shell: InteractiveShell) -> None:
    text = both(shell, "%%invoke_command -Session $a -ErrorAction Stop\n/bin/ls /no/such 2>&1 | Out-String")

    assert ("/no/such" in text[0], "", None) == (True, *text[1:])
