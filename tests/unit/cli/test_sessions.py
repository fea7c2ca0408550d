"""`pskernel sessions`: what is asked for wrongly. What is kept at real places is in the integration tests."""

from __future__ import annotations

import pytest

from pskernel.cli.sessions import _span
from tests.unit.cli.conftest import Invoke


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing says where to look"),
        (["web01"], "Write ssh://web01 to use SSH"),
        (["ssh://web01", "--kernel", "web01"], "not both"),
        (["--kernel", "web01"], "There is no Remote PowerShell kernel web01"),
        (["ssh://web01", "--take-over"], "--take-over is for --end"),
        (["ssh://web01", "--end", "x", "--json"], "Give --end alone"),
        (["ssh://web01", "--end", "x", "--clean"], "Give --end alone"),
        (["winrm://web01", "--clean"], "--clean is for relays"),
        (["unix:/nowhere"], "keeps no sessions"),
    ],
)
def test_what_is_refused(invoke: Invoke, words: list[str], said: str) -> None:
    result = invoke("sessions", *words)

    assert (2, "") == (result.status, result.stdout)
    assert said in result.stderr


def test_the_target_of_a_kernel_and_of_the_environment(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("install", "one", "--target", "unix:/one")
    monkeypatch.setenv("PSKERNEL_TARGET", "unix:/other")

    assert "/one keeps no sessions" in invoke("sessions", "--kernel", "one").stderr
    assert "/other keeps no sessions" in invoke("sessions").stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")],
)
def test_how_long_nobody_has_been_there(seconds: float, text: str) -> None:
    assert text == _span(seconds)
