"""The recorded messages of a console session show here what they showed on that console."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.differences import SCREEN, compare, still_differs
from tests.parity.recording import replayed
from tests.parity.screens import Recorded, recorded_cells, recorded_numbers

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def cells(golden: Path) -> list[Recorded]:
    return recorded_cells(golden)


@pytest.fixture(scope="module")
def shown(golden: Path) -> list[str]:
    return replayed(golden)


@pytest.mark.parametrize("number", recorded_numbers(shown=True))
def test_a_recorded_cell_shows_what_the_console_showed(cells: list[Recorded], shown: list[str], number: int) -> None:
    recorded = cells[number]
    assert recorded.screen is not None
    compare(recorded.cell.text, recorded.screen, shown[number], SCREEN)


@pytest.mark.parametrize("text", SCREEN)
def test_what_is_accepted_still_differs(cells: list[Recorded], shown: list[str], text: str) -> None:
    (number,) = (number for number, recorded in enumerate(cells) if recorded.cell.text == text)
    screen = cells[number].screen
    assert screen is not None
    still_differs(SCREEN[text], screen, shown[number])
