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


COLOURS = st.lists(st.integers(0, 255), max_size=6).map(lambda codes: f"\x1b[{';'.join(map(str, codes))}m")
PLAIN = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=10) | st.sampled_from(["\n", "\t", "\r\n"])
# Whole sequences that are no colours, each of which ends by itself.
HOSTILE = st.sampled_from(
    [
        "\x1b[2J",
        "\x1b[1;1H",
        "\x1b[?25l",
        "\x1b[>4;2m",
        "\x1b[6n",
        "\x1b[!p",
        "\x1b]0;title\x07",
        "\x1b]8;;http://evil\x1b\\",
        "\x1b]52;c;ZWNobw==\x9c",
        "\x1b]1337;File=inline=1:AAAA\x07",
        "\x1bP1$r0m\x1b\\",
        "\x1b_payload\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstart\x1b\\",
        "\x1bc",
        "\x1b7",
        "\x1b(0",
        "\x1b#8",
        "\x07",
        "\x08",
        "\x7f",
        "\x00",
        "\x85",
        "\x9b",
    ]
)


@given(st.lists(PLAIN | COLOURS).map("".join))
def test_text_and_colours_are_kept_byte_for_byte(text: str) -> None:
    assert text == neutralise(text)


@given(st.lists(st.tuples(st.booleans(), PLAIN | COLOURS, HOSTILE)))
def test_what_is_taken_out_takes_nothing_along(pieces: list[tuple[bool, str, str]]) -> None:
    text = "".join(hostile if bad else good for bad, good, hostile in pieces)
    kept = "".join(good for bad, good, _ in pieces if not bad)

    assert kept == neutralise(text)
    assert SGR.sub("", kept) == strip(neutralise(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[" + "1;" * 40 + "m", ""),
        ("\x1b[31", ""),
        ("\x1b[31\n", "\n"),
        ("\x1b[31;", ""),
        ("\x1b", ""),
        ("\x1b\x1b[31mx", "\x1b[31mx"),
        ("\x1b[3\x001mx", "1mx"),
        ("\x1b]0;a\x1b[31mred", "0;a\x1b[31mred"),
        ("\x1b[٣m", "٣m"),
        ("\x1b[4:3mcurly\x1b[m", "\x1b[4:3mcurly\x1b[m"),
    ],
)
def test_what_only_looks_like_a_colour(text: str, expected: str) -> None:
    assert expected == neutralise(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "\x1b]" * 300_000,
        "\x1b[" * 300_000,
        "\x1b[" + "1" * 600_000,
        "\x1bP" + "x" * 600_000,
        "\x1b" * 600_000,
        "\x1b[ " * 200_000,
        "\ud83d" * 600_000,
        "\x1b[0m" * 150_000,
    ],
    ids=lambda text: repr(text[:4]),
)
def test_the_worst_text_is_read_once(text: str) -> None:
    """A quadratic reading of these would take hours."""
    assert len(neutralise(text)) <= len(text)
    assert "\x1b" not in strip(text)


@given(st.text(), st.none() | st.integers(-1, 20), st.none() | st.integers(-1, 20))
def test_paint_adds_colours_and_nothing_else(text: str, foreground: int | None, background: int | None) -> None:
    painted = paint(text, foreground, background)

    assert text in {painted, SGR.sub("", painted)} or SGR.search(text)
    assert painted.endswith("\n") == text.endswith("\n")
