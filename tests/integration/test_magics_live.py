"""``%enter_pssession`` in an IPython shell, on a real sshd whose subsystem is the real engine."""

from __future__ import annotations

import _thread
import array
import ast
import contextlib
import io
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from psmagic import load_ipython_extension, unload_ipython_extension
from psmagic.lines import Whose, whose
from psmagic.redirect import Redirect

from tests.parts.ipython import run, state
from tests.parts.sshd import Sshd

pytestmark = pytest.mark.live


def test_every_cell_goes_to_the_remote_until_exit(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, "x = 41")
    before = state(shell)
    assert run(shell, capsys, entering)[1] is None

    assert ("42\n", None) == run(shell, capsys, "$x = 42; $x")
    assert ("\u00e9 % ! ? $x\n", None) == run(shell, capsys, "'\u00e9 % ! ? $x'")
    assert ("1\n2\n", None) == run(shell, capsys, "\n\n1, 2 |\n  %{ $_ }  # a remark \\")
    assert ("a\n{x}\n", None) == run(shell, capsys, "@'\na\n{x}\n'@")
    assert ("here 41\n", None) == run(shell, capsys, "%%local\nprint('here', x)")
    assert ("42\n", None) == run(shell, capsys, "$x")
    assert ("", None) == run(shell, capsys, "exit")

    assert before == state(shell)
    assert ("41\n", None) == run(shell, capsys, "print(x)")


@pytest.mark.parametrize(
    "leaving",
    [
        "exit",
        "exit 3",
        "Exit-PSSession",
        "%exit_pssession",
        "exit_pssession",
        " EXIT ; ",
        "exit-pssession # done",
        "# done\n\nexit\n# really\n",
    ],
)
def test_all_ways_to_leave_put_everything_back(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, leaving: str
) -> None:
    before = state(shell)
    run(shell, capsys, entering)
    run(shell, capsys, leaving)

    assert before == state(shell)


def test_a_script_that_exits_fails_and_no_cell_runs_as_python_until_the_user_leaves(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    before = state(shell)
    run(shell, capsys, entering)

    shown, ended = run(shell, capsys, "'bye'; exit 3")
    _, refused = run(shell, capsys, "hit = 'python'")
    _, again = run(shell, capsys, "hit = 'python'")

    assert shown.startswith("bye\n")
    assert "SessionExited" == type(ended).__name__
    assert "exit 3" in str(ended)
    assert ["SessionLost", "SessionLost"] == [type(refused).__name__, type(again).__name__]
    assert "hit" not in shell.user_ns
    assert ("", None) == run(shell, capsys, "%exit_pssession")
    assert before == state(shell)


def test_a_lost_session_can_be_entered_again(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    before = state(shell)
    run(shell, capsys, entering)
    run(shell, capsys, "[Environment]::Exit(1)")

    assert run(shell, capsys, entering)[1] is None
    assert ("again\n", None) == run(shell, capsys, "'again'")
    run(shell, capsys, "exit")
    assert before == state(shell)


def test_a_cell_that_names_another_target_is_not_run(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, engine_sshd: Sshd
) -> None:
    run(shell, capsys, entering)

    _, refused = run(shell, capsys, "#% target ssh://db01\n$ran = 1")
    own = f'#% target ssh://{engine_sshd.user}@127.0.0.1:{engine_sshd.port}\n"ran: $ran"'

    assert "TargetError" == type(refused).__name__
    assert "ssh://db01" in str(refused)
    assert ("ran: \n", None) == run(shell, capsys, own)


def test_quit_is_the_remotes_word(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str) -> None:
    run(shell, capsys, entering)

    assert "CommandNotFoundException" in str(run(shell, capsys, "quit; $Error[0].FullyQualifiedErrorId")[0])
    assert ("1\n", None) == run(shell, capsys, "1")


def test_an_error_of_the_remote_fails_the_cell_without_pythons_frames(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    shown, error = run(shell, capsys, "throw 'bad'")

    assert "bad" == str(error)
    assert shown.startswith("Error: bad\n")
    assert "Traceback" not in shown
    assert ("still\n", None) == run(shell, capsys, "'still'")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_remote_and_keeps_the_session(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shell, capsys, entering)
    run(shell, capsys, "$kept = 5")
    begun = threading.Event()
    real = print

    def watching(*texts: Any, **options: Any) -> None:
        real(*texts, **options)
        if "begun" in str(texts):
            begun.set()

    monkeypatch.setattr("builtins.print", watching)
    threading.Thread(target=lambda: begun.wait(60) and _thread.interrupt_main()).start()

    _, error = run(shell, capsys, "'begun'; while ($true) { Start-Sleep -Milliseconds 20 }")

    assert "PipelineStopped" == type(error).__name__
    assert ("5\n", None) == run(shell, capsys, "$kept")


def test_after_a_lost_connection_a_cell_is_refused_and_never_python(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)
    _, lost = run(shell, capsys, "[Environment]::Exit(1)")

    _, refused = run(shell, capsys, "hit = 'python'")

    assert "ConnectionLost" == type(lost).__name__
    assert "SessionLost" == type(refused).__name__
    assert "This cell was not run" in str(refused)
    assert "hit" not in shell.user_ns


def test_completion_and_completeness_come_from_the_remote(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    completions = [c.text for c in shell.Completer.completions("Get-ChildIt", 11)]

    assert ["Get-ChildItem"] == completions
    assert "incomplete" == shell.check_complete("if ($true) {")[0]
    assert "complete" == shell.check_complete("cd C:\\")[0]


def test_a_question_mark_behind_a_command_asks_for_its_help(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    assert "Get-ChildItem [[-Path] <string[]>]" in run(shell, capsys, "Get-ChildItem?")[0]
    assert ("There is no help for No-Such?\n", None) == run(shell, capsys, "No-Such?")
    assert ("2\n", None) == run(shell, capsys, "1, 2 | ? { $_ -gt 1 }")


@pytest.mark.parametrize(
    ("line", "error_id"),
    [
        ("%enter_pssession -HostName a -UseSSL", "AmbiguousParameterSet"),
        ("%enter_pssession", "MissingMandatoryParameter"),
        ("%enter_pssession -HostName -oProxyCommand=x", "ParserError"),
        ("%enter_pssession -HostName '-oProxyCommand=x'", "PSSessionInvalidComputerName"),
        ("%enter_pssession -Name $null", "RemoteRunspaceNotAvailableForSpecifiedName"),
        ("%enter_pssession -HostName a -KeyFilePath /no/such", "PathNotFound"),
        ("%enter_pssession -ConnectionUri http://", "CannotConvertArgumentNoMessage"),
        ("%enter_pssession -ConnectionUri http://-x", "PSSessionInvalidComputerName"),
        ("%enter_pssession '-x'", "PSSessionInvalidComputerName"),
        ("%enter_pssession -HostName 'a:b:c'", "PSSessionInvalidComputerName"),
        ("%enter_pssession -HostName $nothing", "VariableIsUndefined"),
        ("%enter_pssession web01 -Authentication Digest", "NotSupported"),
        ("%enter_pssession -HostName 127.0.0.1:1", "TargetUnreachable"),
    ],
)
def test_what_cannot_be_entered_is_one_error_and_changes_nothing(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], line: str, error_id: str
) -> None:
    before = state(shell)

    shown, error = run(shell, capsys, line)

    assert error_id == type(error).__name__
    assert "Traceback" not in shown
    assert before == state(shell)


def test_a_second_session_is_refused_while_one_is_entered(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    assert "SessionIsEntered" == type(run(shell, capsys, entering)[1]).__name__
    assert ("1\n", None) == run(shell, capsys, "1")


class Nowhere:
    """A remote that is never asked."""


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
def test_what_is_sent_is_what_was_typed(shell: InteractiveShell, text: str) -> None:
    redirect = Redirect(shell, Nowhere(), lambda: None)  # type: ignore[arg-type]
    try:
        typed = text + "\n'end'"
        code = shell.transform_cell(typed)
    finally:
        redirect.undo()

    if whose(typed) is not Whose.REMOTES:
        return  # a magic of ours
    (call,) = ast.parse(code).body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert typed == ast.literal_eval(call.value.args[2])


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("'a\r\nb'.Length", "4\n"),
        ("'a\0b'.Length", "3\n"),
        ("[int]'\ud800'[0]", "55296\n"),
        ("'" + "x" * 10_000_000 + "'.Length", "10000000\n"),
        ("'\x1b[31m'.Length", "5\n"),
        ("# nothing but a remark", ""),
    ],
    ids=["CRLF", "NUL", "surrogate", "10 MB", "ESC", "remark"],
)
def test_odd_cells_arrive_as_they_are(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, cell: str, shown: str
) -> None:
    run(shell, capsys, entering)

    assert (shown, None) == run(shell, capsys, cell)


def test_leaving_puts_everything_back_after_a_reset_and_after_errors(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, "%load_ext autoreload")
    run(shell, capsys, "%reset -f")
    before = state(shell)
    run(shell, capsys, entering)
    run(shell, capsys, "throw 'bad'")
    run(shell, capsys, "if (1 {")
    run(shell, capsys, "%%local\n%reset -f")
    run(shell, capsys, "%%local\n1/0")
    run(shell, capsys, "%enter_pssession -HostName x -UseSSL")

    run(shell, capsys, "exit")

    after = state(shell)
    # Its contents are the user's; reset has emptied it.
    for part in ("shell.ns_table", "completer.namespace", "completer.global_namespace"):
        before.pop(part, None), after.pop(part, None)
    assert before == after
    assert ("2\n", None) == run(shell, capsys, "print(1 + 1)")


def test_what_the_remote_receives_is_what_was_typed(shell: InteractiveShell, entering: str) -> None:
    """The remote itself says which script it runs, in UTF-16, for 2,000 texts."""
    ask = "\n[int[]][char[]]$MyInvocation.MyCommand.Definition -join ' '"
    shell.run_cell(entering)

    @settings(max_examples=2000, deadline=None)
    @given(text=st.text(st.characters(exclude_categories=[]), max_size=60).filter(lambda text: "#>" not in text))
    def check(text: str) -> None:
        typed = f"<#{text} #>{ask}"
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            result = shell.run_cell(typed)
        assert result.success
        units = array.array("H", typed.encode("utf-16", "surrogatepass")[2:])
        assert units.tolist() == list(map(int, shown.getvalue().split()))

    check()


@pytest.mark.parametrize(
    "cell",
    [
        "%get_pssession\nhit = 'python'",
        "%get_job\n!(echo hit)",
        "%exit_pssession\nhit = 'python'",
        "$hit = 1\n%exit_pssession",
        "found = %get_pssession\n$hit = 1",
        "# remark\n%remove_pssession 1\n$hit = 1",
        "# note\n%%invoke_command -HostName x\n$hit = 1",
        "# note\n%%local\nhit = 'python'",
        "%%Invoke-Command -HostName x\n$hit = 1",
        "%%writefile x\n$hit = 1",
        "%exit_pssession; $hit = 1",
    ],
)
def test_a_magic_among_other_lines_is_refused_and_none_of_them_runs_anywhere(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, cell: str
) -> None:
    run(shell, capsys, entering)

    shown, error = run(shell, capsys, cell)

    assert "MagicNotAlone" == type(error).__name__
    assert "Nothing of it was run or sent" in shown
    assert "hit" not in shell.user_ns
    assert ("hit: \n", None) == run(shell, capsys, '"hit: $hit"')


@pytest.mark.parametrize("below", ["hit = 'python'", "Get-Service ssh | Format-List", "print(1)\n%exit_pssession"])
def test_a_cell_that_goes_on_after_entering_is_refused_before_it_enters(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, below: str
) -> None:
    before = state(shell)

    shown, error = run(shell, capsys, f"early = 1\n{entering}\n# remark\n\n{below}")

    assert "MagicNotAlone" == type(error).__name__
    assert "%enter_pssession must be the last line of its cell" in shown
    assert {"early", "hit"}.isdisjoint(shell.user_ns)
    assert before == state(shell)


def test_python_may_stand_above_entering_and_remarks_below(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    cell = f"text = '''\n%enter_pssession -HostName x\n'''\nhost = 1\n{entering}  # a remark\n\n# another\n"

    assert run(shell, capsys, cell)[1] is None
    assert ("there\n", None) == run(shell, capsys, "'there'")
    assert "\n%enter_pssession -HostName x\n" == shell.user_ns["text"]


def test_magics_and_what_they_return_stay_here_while_entered(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    assert run(shell, capsys, "found = %get_pssession -Name no-such-*")[1] is None
    assert [] == shell.user_ns["found"]
    assert run(shell, capsys, "option = %new_pssessionoption -NoCompression")[1] is None
    assert shell.user_ns["option"].no_compression
    for line in ("%disconnect_pssession -Id 999", "%connect_pssession -Id 999", "%receive_pssession -Id 999"):
        assert "999" in str(run(shell, capsys, line)[1])


@pytest.mark.parametrize(
    "cell",
    [
        "%time {entering}\nhit = 'python'",
        "{by_call}\n!echo hit\nhit = 'python'",
        "from psmagic import load_ipython_extension as load\nload(get_ipython())\n{by_call}\nhit = 'python'",
    ],
    ids=["time", "call", "load"],
)
def test_what_stands_behind_entering_in_a_cell_never_runs_however_it_got_there(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, cell: str
) -> None:
    by_call = f"get_ipython().run_line_magic('enter' + '_pssession', {entering.removeprefix('%enter_pssession ')!r})"
    run(shell, capsys, "%time 1")  # IPython loads what it needs for that
    before = state(shell)["events.callbacks"]

    shown, error = run(shell, capsys, cell.replace("{by_call}", by_call).replace("{entering}", entering))

    assert "MagicNotAlone" == type(error).__name__
    assert "no session is entered" in shown
    assert "hit" not in shell.user_ns
    assert ("2\n", None) == run(shell, capsys, "print(1 + 1)")
    assert before == state(shell)["events.callbacks"]
    assert "run_code" not in vars(shell)


def test_the_extension_loaded_in_the_cell_that_enters(
    capsys: pytest.CaptureFixture[str], shell: InteractiveShell, entering: str
) -> None:
    unload_ipython_extension(shell)

    _, error = run(shell, capsys, f"%load_ext psmagic\n{entering}\nhit = 'python'")

    assert "MagicNotAlone" == type(error).__name__
    assert "hit" not in shell.user_ns
    assert run(shell, capsys, entering)[1] is None
    assert ("there\n", None) == run(shell, capsys, "'there'")


def test_an_error_of_a_local_cell_is_shown_once_and_is_pythons(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    shown, error = run(shell, capsys, "  %%local\nx = 1\n1/0")

    assert "ZeroDivisionError" == type(error).__name__
    assert 1 == shown.count("ZeroDivisionError: ")
    assert "raise_error" not in shown


def test_leaving_takes_nothing_and_unloading_is_told(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)

    assert "NamedParameterNotFound" == type(run(shell, capsys, "%exit_pssession -foo")[1]).__name__
    assert ("here\n", None) == run(shell, capsys, "'here'")
    unload_ipython_extension(shell)
    assert "was left" in capsys.readouterr().err
    load_ipython_extension(shell)


def test_help_of_a_lost_session_is_refused_as_every_cell_is(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str
) -> None:
    run(shell, capsys, entering)
    run(shell, capsys, "[Environment]::Exit(1)")

    assert "SessionLost" == type(run(shell, capsys, "Get-Process?")[1]).__name__
