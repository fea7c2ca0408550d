"""Records as text."""

from __future__ import annotations

import re

import pytest

from pskernel.records import (
    ErrorRecord,
    HostCall,
    HostText,
    Notice,
    Output,
    PipelineEnd,
    PipelineState,
    ProgressRecord,
    Record,
    StreamRecord,
    TextKind,
)
from pskernel.render.text import StreamText, error_traceback, render


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (HostText("plain\n"), StreamText("stdout", "plain\n")),
        (HostText("red\n", TextKind.OUTPUT, 12, 0), StreamText("stdout", "\x1b[91mred\x1b[0m\n")),
        (HostText("w\n", TextKind.WARNING), StreamText("stdout", "\x1b[33;1mWARNING: w\x1b[0m\n")),
        (HostText("v\n", TextKind.VERBOSE), StreamText("stdout", "\x1b[33;1mVERBOSE: v\x1b[0m\n")),
        (HostText("d\n", TextKind.DEBUG), StreamText("stdout", "\x1b[33;1mDEBUG: d\x1b[0m\n")),
        (HostText("e\n", TextKind.ERROR), StreamText("stderr", "\x1b[31;1me\x1b[0m\n")),
        (HostText("\x1b]0;t\x07x\n"), StreamText("stdout", "x\n")),
        (Notice("line"), StreamText("stderr", "line\n")),
        (ErrorRecord("bad"), StreamText("stderr", "\x1b[31;1mbad\x1b[0m\n")),
        # The same is written to the host: shown here too it would be doubled.
        (StreamRecord("warning", "w"), None),
        (Output("x"), None),
        (HostCall("SetWindowTitle", 42, ("t",), None), None),
    ],
)
def test_what_a_cell_shows(record: Record, expected: StreamText | None) -> None:
    assert expected == render(record)


def test_an_error_shows_what_the_remote_made_of_it_and_where() -> None:
    error = ErrorRecord("m", position_message="At line:1 char:1\n+ throw")

    expected = ["\x1b[31;1mError: m\x1b[0m", "At line:1 char:1", "+ throw"]
    assert expected == error_traceback(error, [HostText("Error: m\n")])


def test_without_the_remotes_rendering_the_message_stands() -> None:
    assert ["\x1b[31;1mm\x1b[0m"] == error_traceback(ErrorRecord("m"), [])


def test_a_position_that_is_shown_already_is_not_repeated() -> None:
    error = ErrorRecord("m", position_message="At line:1 char:1")

    assert 1 == "\n".join(error_traceback(error, [HostText("m\nAt line:1 char:1\n")])).count("At line:1")


HOSTILE = "\x1b]52;c;ZWNobw==\x07\x1b[2Jx\ud83d"


@pytest.mark.parametrize(
    "record",
    [
        *(HostText(HOSTILE, kind) for kind in TextKind),
        HostText(HOSTILE, TextKind.OUTPUT, 12, 4),
        Notice(HOSTILE),
        ErrorRecord(HOSTILE),
    ],
)
def test_whatever_is_shown_is_harmless(record: Record) -> None:
    shown = render(record)

    assert shown is not None
    assert not re.search(r"\x1b(?!\[[0-9;]*m)|[\x07\x9b\ud800-\udfff]", shown.text)
    assert "x\ufffd" in shown.text


def test_an_error_is_harmless_too() -> None:
    error = ErrorRecord(HOSTILE, position_message=f"At line:1{HOSTILE}")

    for shown in ([], [HostText(HOSTILE)]):
        text = "\n".join(error_traceback(error, shown))
        assert not re.search(r"\x1b(?!\[[0-9;]*m)|[\x07\x9b\ud800-\udfff]", text)


@pytest.mark.parametrize(
    "record",
    [
        Output("x"),
        StreamRecord("information", "x"),
        ProgressRecord(0, 1, -1, "copy", "half", "", 50, -1, completed=False),
        HostCall("ReadLine", 11, (), 1),
        PipelineEnd(PipelineState.COMPLETED),
    ],
)
def test_what_is_no_text_is_not_shown(record: Record) -> None:
    assert render(record) is None


def test_every_line_of_an_error_has_its_own_colour() -> None:
    lines = error_traceback(ErrorRecord("m"), [HostText("first\n"), HostText("second\n"), HostText("\n")])

    assert ["\x1b[31;1mfirst\x1b[0m", "\x1b[31;1msecond\x1b[0m"] == lines


def test_a_warning_without_a_newline_ends_its_line() -> None:
    assert StreamText("stdout", "\x1b[33;1mWARNING: w\x1b[0m\n") == render(HostText("w", TextKind.WARNING))
