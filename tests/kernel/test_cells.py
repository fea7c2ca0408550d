"""What a cell is: sent as typed, shown as it comes, counted, failed, aborted."""

from __future__ import annotations

import hashlib
import json

import pytest

from pskernel.render.ansi import strip
from tests.parts.kernels import Gate, Kernel

pytestmark = pytest.mark.live

# The text of the cell itself, as UTF-16 without any encoder's opinion of it.
HASH_OF_CELL = """
$text = $MyInvocation.MyCommand.Definition.ToCharArray()
$bytes = [byte[]]::new(2 * $text.Length)
[Buffer]::BlockCopy($text, 0, $bytes, 0, $bytes.Length)
"$($text.Length) " + [Convert]::ToHexString([Security.Cryptography.SHA256]::HashData($bytes))
"""


def test_a_line_is_shown_while_the_cell_still_runs(kernel: Kernel, gate: Gate) -> None:
    request = kernel.send(f"'first'; {gate.wait}; 'last'")
    kernel.shows(request, "first\n")
    assert "last" not in kernel.text(request)
    assert request not in kernel.replies
    gate.open()
    assert kernel.finish(request).stdout == "first\nlast\n"


def test_all_output_comes_before_the_idle_and_the_reply(kernel: Kernel) -> None:
    run = kernel.run("1..3000 | ForEach-Object { \"line $_\" }; Write-Error 'end'")
    assert run.stdout == "".join(f"line {number}\n" for number in range(1, 3001))
    assert "end" in run.stderr
    assert run.kinds[:2] == ["status", "execute_input"]
    assert run.kinds[-1] == "status"
    last_text = max(i for i, kind in enumerate(run.kinds) if kind == "stream")
    assert run.messages[last_text]["header"]["date"] <= run.reply["header"]["date"]
    assert last_text == len(run.kinds) - 2


def test_a_few_lines_are_few_messages(kernel: Kernel) -> None:
    run = kernel.run("1..500 | ForEach-Object { $_ }")
    assert run.stdout.count("\n") == 500
    assert len(run.streams) < 20


def test_the_two_streams_keep_their_order(kernel: Kernel) -> None:
    run = kernel.run('1..5 | ForEach-Object { "out $_"; Write-Error "err $_" }')
    shown = strip("".join(text for _, text in run.streams)).splitlines()
    assert [line.rpartition(": ")[2] for line in shown] == [f"{s} {n}" for n in range(1, 6) for s in ("out", "err")]
    assert [name for name, _ in run.streams] == ["stdout", "stderr"] * 5


def test_warnings_and_the_like_keep_their_place_and_prefix(kernel: Kernel) -> None:
    run = kernel.run(
        "'a'; Write-Warning w; $VerbosePreference = 'Continue'; Write-Verbose v; 'b'; Write-Information i -InformationAction Continue; "
        "$VerbosePreference = 'SilentlyContinue'"
    )
    shown = "".join(text for _, text in run.streams)
    places = [shown.index(text) for text in ("a\n", "WARNING: w", "VERBOSE: v", "b\n", "i\n")]
    assert places == sorted(places)
    assert run.stderr == ""


def test_variables_functions_and_location_live_from_cell_to_cell(kernel: Kernel) -> None:
    kernel.run("$x = 40; function Add-Two($n) { $n + 2 }; Set-Location /")
    assert kernel.run('Add-Two $x; "$PWD"').stdout == "42\n/\n"


def test_an_error_that_does_not_end_the_cell(kernel: Kernel) -> None:
    run = kernel.run("Get-Item /no/such/file; 'after'")
    assert run.status == "ok"
    assert run.errors == []
    assert "/no/such/file" in run.stderr
    assert run.stdout == "after\n"
    assert kernel.run("$?").stdout == "True\n"
    kernel.run("Get-Item /no/such/file")
    assert kernel.run("$?").stdout == "False\n"


@pytest.mark.parametrize(
    ("cell", "name", "message"),
    [
        ("throw 'boo'", "boo", "boo"),
        ("throw [InvalidOperationException]'not now'", "not now", "not now"),
        ("Write-Error 'e' -ErrorId 'My.Id' -ErrorAction Stop", "My.Id", "e"),
        (
            "Get-Item /no/such -ErrorAction Stop",
            "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
            "Cannot find path '/no/such' because it does not exist.",
        ),
        ("1 | ForEach-Object { throw 'inner' }", "inner", "inner"),
    ],
)
def test_an_error_that_ends_the_cell(kernel: Kernel, cell: str, name: str, message: str) -> None:
    run = kernel.run(f"'before'; {cell}; 'after'")
    assert run.status == "error"
    assert run.stdout == "before\n"
    assert run.stderr == ""
    assert run.kinds.count("error") == 1
    assert (run.ename, run.evalue) == (name, message)
    assert message in "\n".join(run.errors[0]["traceback"])
    for field in ("ename", "evalue", "traceback"):
        assert run.reply["content"][field] == run.errors[0][field]
    assert kernel.run("'alive'").stdout == "alive\n"


def test_the_traceback_shows_where(kernel: Kernel) -> None:
    run = kernel.run("$a = 1\nthrow 'here'")
    traceback = "\n".join(run.errors[0]["traceback"])
    assert "line:2 char:1" in traceback.lower()
    assert "throw 'here'" in traceback


def test_an_error_carries_no_escape_sequences_but_colours(kernel: Kernel) -> None:
    run = kernel.run('throw "`e]0;title`a`e[31mred`e[2J`e[H"')
    error = run.errors[0]
    assert (error["ename"], error["evalue"]) == ("red", "red")
    assert "title" not in json.dumps(error["traceback"][0])
    assert "\x1b[31mred" in error["traceback"][0]
    assert "\x1b[2J" not in "".join(error["traceback"])


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("'a'; if (1) {", "MissingEndCurlyBrace"),
        ("'a'; )", "UnexpectedToken"),
        ("'a'; \"open", "TerminatorExpectedAtEndOfString"),
        ("'a'; @(", "MissingEndParenthesisInSubexpression"),
    ],
)
def test_code_that_cannot_be_parsed_runs_not_at_all(kernel: Kernel, cell: str, name: str) -> None:
    run = kernel.run(cell)
    assert run.status == "error"
    assert run.ename == name
    assert run.stdout == ""


def test_a_native_command_that_fails(kernel: Kernel) -> None:
    run = kernel.run("/bin/sh -c 'echo out; echo err >&2; exit 3'; \"code $LASTEXITCODE\"")
    assert run.status == "ok"
    shown = "".join(text for _, text in run.streams)
    assert "out\n" in shown
    assert "err" in shown
    assert shown.endswith("code 3\n")
    assert run.record["exit_code"] is None


def test_a_failed_cell_aborts_those_behind_it(kernel: Kernel, gate: Gate) -> None:
    first = kernel.send(f"'begun'; {gate.wait}; throw 'stop here'")
    kernel.shows(first, "begun")
    behind = [kernel.send(f"$global:ran += '{number}'") for number in range(3)]
    gate.open()
    assert kernel.finish(first).status == "error"
    for request in behind:
        run = kernel.finish(request)
        assert run.status == "aborted"
        assert run.kinds == ["status", "status"]
    assert kernel.run('"[$ran]"').stdout == "[]\n"


def test_cells_behind_a_failed_one_run_where_that_was_asked_for(kernel: Kernel, gate: Gate) -> None:
    first = kernel.send(f"{gate.wait}; throw 'go on'", stop_on_error=False)
    second = kernel.send("'ran'")
    gate.open()
    assert kernel.finish(first).status == "error"
    assert kernel.finish(second).stdout == "ran\n"


def test_a_silent_cell_sends_nothing_and_does_not_count(kernel: Kernel) -> None:
    before = kernel.run("1").reply["content"]["execution_count"]
    run = kernel.run("'secret'; Write-Error 'secret'; $quiet = 7", silent=True)
    assert run.status == "ok"
    assert run.kinds == ["status", "status"]
    failed = kernel.run("throw 'secret'", silent=True)
    assert failed.status == "error"
    assert failed.kinds == ["status", "status"]
    after = kernel.run("$quiet")
    assert after.stdout == "7\n"
    assert after.reply["content"]["execution_count"] == before + 1


def test_a_cell_that_is_not_stored_does_not_count(kernel: Kernel) -> None:
    before = kernel.run("1").reply["content"]["execution_count"]
    assert kernel.run("'shown'", store_history=False).stdout == "shown\n"
    assert kernel.run("throw 'x'", store_history=False).status == "error"
    assert kernel.run("1").reply["content"]["execution_count"] == before + 1


@pytest.mark.parametrize("cell", ["", "  \n\t\n", "# nothing but a comment", "<# nor\nhere #>", ";"])
def test_a_cell_that_does_nothing(kernel: Kernel, cell: str) -> None:
    run = kernel.run(cell)
    assert run.status == "ok"
    assert run.kinds == ["status", "execute_input", "status"]


@pytest.mark.parametrize(
    "text",
    [
        "é ß € 漢字 😀 ‍👩‍👩‍👧",
        "one\r\ntwo\rthree\nfour",
        "nul \0 bell \x07 escape \x1b[31m delete \x7f next line \x85",
        "separators \u2028 \u2029 \u00a0 \u200b bom \ufeff not a character \uffff \ufffe",
        "half \ud800 other half \udc00 wrong way round \udc00\ud800",
        "names of escapes _x000A_ _x005F_ &amp; <![CDATA[ ]]> \\ud800",
        "  spaces at the end  \n\n\n",
        "%magic and !bang and ?help",
    ],
)
def test_the_remote_gets_what_was_typed(kernel: Kernel, text: str) -> None:
    # As browsers write JSON: half characters are only possible escaped.
    kernel.client.session.pack = lambda value: json.dumps(value, default=str).encode()
    assert_arrives_whole(kernel, f"<# {text} #>")


def test_the_remote_gets_a_cell_of_a_megabyte_as_typed(kernel: Kernel) -> None:
    assert_arrives_whole(kernel, "<#\n" + "".join(f"line {n} é😀\r\n" for n in range(60_000)) + "#>")


def assert_arrives_whole(kernel: Kernel, cell: str) -> None:
    cell += HASH_OF_CELL
    data = cell.encode("utf-16-le", "surrogatepass")
    run = kernel.run(cell)
    assert run.status == "ok", run.errors
    assert run.stdout == f"{len(data) // 2} {hashlib.sha256(data).hexdigest().upper()}\n"


def test_a_question_in_a_run_without_stdin_fails_at_once(kernel: Kernel) -> None:
    run = kernel.run("Read-Host 'name' -ErrorAction Continue; 'after'")
    assert "NonInteractive mode" in run.stderr
    assert run.stdout == "after\n"


def test_what_the_kernel_says_of_itself(kernel: Kernel) -> None:
    kernel.run("1")
    info = kernel.ask("kernel_info_request", {}).reply["content"]
    assert info["status"] == "ok"
    assert info["implementation"] == "pskernel"
    assert info["supported_features"] == []
    language = info["language_info"]
    assert language["name"] == "powershell"
    assert language["codemirror_mode"] == "powershell"
    assert language["file_extension"] == ".ps1"
    assert language["version"] == kernel.run('"$($PSVersionTable.PSVersion)"').stdout.strip()


def test_the_reply_says_where_the_cell_ran(kernel: Kernel, pwsh: str) -> None:
    record = kernel.run("1").record
    assert record["target"].startswith(
        (f"process:{pwsh}", "winrm://CORP%5Cadmin@127.0.0.1:", "container://podman/psk-", "pid:", "ssh://")
    )
    assert record["sent"] is True
    assert record["exit_code"] is None
    assert record["version"]
