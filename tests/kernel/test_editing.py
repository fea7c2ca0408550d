"""What an editor asks the kernel: completion, help, whether a text is complete, history. On the real engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.parts.kernels import Gate, Kernel, Starter

pytestmark = pytest.mark.live


def ask(kernel: Kernel, kind: str, **content: Any) -> Mapping[str, Any]:
    reply: Mapping[str, Any] = kernel.ask(kind, content).reply["content"]
    return reply


def complete(kernel: Kernel, code: str, cursor: int | None = None) -> Mapping[str, Any]:
    return ask(kernel, "complete_request", code=code, cursor_pos=len(code) if cursor is None else cursor)


@pytest.mark.parametrize(
    ("code", "match", "start"),
    [
        ("Get-ChildIt", "Get-ChildItem", 0),
        ("Get-ChildItem -LiteralP", "-LiteralPath", 14),
        ("'\u00e9\U0001f600'; $PSVersionT", "$PSVersionTable", 6),
        ("'text'.ToUpp", "ToUpper(", 7),
        ("1; [datetime]::UtcN", "UtcNow", 15),
        ("Get-Item /et", "/etc", 9),
    ],
)
def test_the_remote_completes(kernel: Kernel, code: str, match: str, start: int) -> None:
    kernel.run("1")

    reply = complete(kernel, code)

    assert match in reply["matches"]
    assert (start, len(code)) == (reply["cursor_start"], reply["cursor_end"])


def test_variables_of_the_session_are_completed_and_after_a_cell_the_new_ones_too(kernel: Kernel) -> None:
    kernel.run("$zebra1 = 1")
    assert ["$zebra1"] == complete(kernel, "$zeb")["matches"]
    kernel.run("$zebra2 = 1")
    assert ["$zebra1", "$zebra2"] == complete(kernel, "$zeb")["matches"]


def test_a_completion_in_the_middle_leaves_the_rest(kernel: Kernel) -> None:
    kernel.run("1")

    reply = complete(kernel, "Get-ChildIt | Sort-Object", 11)

    assert (["Get-ChildItem"], 0, 11) == (reply["matches"], reply["cursor_start"], reply["cursor_end"])


def test_typing_on_needs_no_new_answer(kernel: Kernel) -> None:
    kernel.run("1")
    first = complete(kernel, "Get-Ch")["matches"]

    narrowed = complete(kernel, "Get-Chi")

    assert ["Get-ChildItem"] == narrowed["matches"]
    assert set(narrowed["matches"]) <= set(first)
    assert 7 == narrowed["cursor_end"]


def test_while_a_cell_runs_command_names_that_are_known_are_completed_at_once(kernel: Kernel, gate: Gate) -> None:
    kernel.run("1")
    complete(kernel, "Get-ChildIt")
    # The names of commands are being fetched now; this waits for its turn behind them.
    while ask(kernel, "is_complete_request", code="{")["status"] == "unknown":
        pass
    request = kernel.send(f"'waiting'; {gate.wait}")
    kernel.shows(request, "waiting")

    began = time.monotonic()
    reply = complete(kernel, "Get-ChildIt")
    seconds = time.monotonic() - began

    assert "Get-ChildItem" in reply["matches"]
    assert seconds < 1
    gate.open()
    assert "ok" == kernel.finish(request).status


def test_nothing_is_completed_before_there_is_a_session(start: Starter) -> None:
    kernel = start()

    assert [] == complete(kernel, "Get-Chi")["matches"]
    assert "unknown" == ask(kernel, "is_complete_request", code="1")["status"]
    assert not ask(kernel, "inspect_request", code="Get-Item", cursor_pos=3, detail_level=0)["found"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1+1", "complete"),
        ("if ($true) {", "incomplete"),
        ("@'\ntext", "incomplete"),
        ("1, 2 |", "incomplete"),
        ("1 + }", "invalid"),
        ("'\u00e9", "incomplete"),
    ],
)
def test_the_remotes_parser_says_whether_a_text_is_complete(kernel: Kernel, code: str, status: str) -> None:
    kernel.run("1")

    assert status == ask(kernel, "is_complete_request", code=code)["status"]


def test_help_shows_syntax_as_text_and_html(kernel: Kernel) -> None:
    kernel.run("1")

    reply = ask(kernel, "inspect_request", code="Get-ChildItem -Path /", cursor_pos=4, detail_level=0)

    assert reply["found"]
    assert "Get-ChildItem [[-Path] <string[]>]" in reply["data"]["text/plain"]
    assert "Get-ChildItem [[-Path] &lt;string[]&gt;]" in reply["data"]["text/html"]


def test_help_on_an_argument_is_that_of_its_command(kernel: Kernel) -> None:
    kernel.run("1")

    code = "1 | ForEach-Object -Process"
    reply = ask(kernel, "inspect_request", code=code, cursor_pos=len(code), detail_level=0)

    assert "ForEach-Object" in reply["data"]["text/plain"]


def test_a_native_command_has_no_other_commands_help(kernel: Kernel) -> None:
    kernel.run("1")

    text = ask(kernel, "inspect_request", code="ls /", cursor_pos=1, detail_level=0)["data"]["text/plain"]

    assert text.rstrip().endswith("/ls")


def test_there_is_no_help_for_what_does_not_exist(kernel: Kernel) -> None:
    kernel.run("1")

    assert not ask(kernel, "inspect_request", code="No-SuchThing", cursor_pos=3, detail_level=0)["found"]


def test_without_a_target_there_is_no_history_yet(start: Starter) -> None:
    assert [] == ask(start(), "history_request", hist_access_type="tail", n=10, output=False, raw=True)["history"]


def test_the_history_is_what_was_typed_on_this_target_and_outlives_the_kernel(pwsh: str, start: Starter) -> None:
    first = start(f"process:{pwsh}")
    for cell in ("'one'", "'two'", "$password = 'x'", "'one'"):
        first.run(cell, allow_stdin=True)
    first.run("'of a run'")
    start.end(first)
    second = start(f"process:{pwsh}")
    second.run("'three'", allow_stdin=True)

    def history(**content: Any) -> list[str]:
        found = ask(second, "history_request", **{"output": False, "raw": True, **content})["history"]
        return [text for _, _, text in found]

    assert ["'one'", "'two'", "'one'", "'three'"] == history(hist_access_type="tail", n=10)
    assert ["'one'", "'three'"] == history(hist_access_type="tail", n=2)
    assert ["'one'", "'two'", "'one'"] == history(hist_access_type="range", session=-1, start=1, stop=10)
    assert ["'three'"] == history(hist_access_type="range", session=0, start=0, stop=None)
    assert ["'one'", "'one'"] == history(hist_access_type="search", pattern="*ne'", n=10)
    assert ["'one'"] == history(hist_access_type="search", pattern="*ne'", n=10, unique=True)
