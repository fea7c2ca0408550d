"""Records as text."""

from __future__ import annotations

import pytest

from pskernel.records import ErrorRecord, HostCall, HostText, Notice, Output, Record, StreamRecord, TextKind
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
