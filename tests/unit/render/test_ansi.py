"""What a remote's escape sequences may do: colour text, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pskernel.render.ansi import neutralise, paint, strip

NASTY = st.lists(
    st.sampled_from(
        [
            "\x1b[",
            "\x1b]",
            "\x1bP",
            "\x1b",
            "\x9b",
            "\x07",
            "\x1b\\",
            "8;;",
            "52;c;",
            "m",
            "31",
            ";",
            "H",
            "2J",
            "é",
            "\ud83d",
            "\n",
            "\t",
            "\r",
            "x",
        ]
    )
    | st.text(max_size=3)
).map("".join)
SGR = re.compile(r"\x1b\[[0-9;:]*m")


@given(NASTY)
@example("\x1b[\x1b[31mm")
@example("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\")
def test_only_colours_and_white_space_are_left(text: str) -> None:
    left = SGR.sub("", neutralise(text))

    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", left)
    left.encode()


@given(NASTY)
def test_taking_it_out_twice_changes_nothing(text: str) -> None:
    assert neutralise(text) == neutralise(neutralise(text))


@given(NASTY)
def test_stripped_text_has_no_escapes_at_all(text: str) -> None:
    assert "\x1b" not in strip(neutralise(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[32;1mName\x1b[0m", "\x1b[32;1mName\x1b[0m"),
        ("a\x1b[38;2;1;2;3mb", "a\x1b[38;2;1;2;3mb"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;ZWNobyBoYWNrZWQ=\x1b\\x", "x"),
        ("\x1b]8;;file:///etc/passwd\x07click\x1b]8;;\x07", "click"),
        ("\x1b[2Jx\x1b[1;1Hy\x1b[6n", "xy"),
        ("\x1bP1$r\x1b\\x", "x"),
        ("\x1bcx", "x"),
        ("\x1b]unterminated", ""),
        ("tab\tnew\r\n", "tab\tnew\r\n"),
        ("\x07bell", "bell"),
        ("half \ud83d", "half \ufffd"),
        ("whole \ud83d\ude00", "whole 😀"),
    ],
)
def test_cases(text: str, expected: str) -> None:
    assert expected == neutralise(text)


@pytest.mark.parametrize(
    ("text", "foreground", "background", "expected"),
    [
        ("x\n", None, None, "x\n"),
        ("x\n", 12, 0, "\x1b[91mx\x1b[0m\n"),
        ("x", 0, 15, "\x1b[30;107mx\x1b[0m"),
        ("\n", 12, 0, "\n"),
        ("x", 99, -1, "x"),
    ],
)
def test_painting(text: str, foreground: int | None, background: int | None, expected: str) -> None:
    assert expected == paint(text, foreground, background)
