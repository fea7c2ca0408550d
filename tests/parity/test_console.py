"""The cells of a recorded console session show in the kernel what they showed on that console.

Where a screen is kept apart, what this side makes of the recorded messages stands for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.cells import CELLS
from tests.parity.differences import RECORDED, UNORDERED, compare, still_differs
from tests.parity.recording import replayed
from tests.parity.screens import Recorded, recorded_cells, recorded_numbers, run_cells
from tests.parts.kernels import Kernel

pytestmark = [pytest.mark.live, pytest.mark.sshd, pytest.mark.golden]


@pytest.fixture(scope="module")
def cells(golden: Path) -> list[Recorded]:
    return recorded_cells(golden)


@pytest.fixture(scope="module")
def screens(golden: Path, cells: list[Recorded]) -> list[str]:
    """What the console showed."""
    made = replayed(golden)
    return [text if recorded.screen is None else recorded.screen for recorded, text in zip(cells, made, strict=True)]


@pytest.fixture(scope="module")
def shown(parity_kernel: Kernel, cells: list[Recorded]) -> list[str]:
    """What the kernel shows. The recording has an empty line where an answer was typed."""
    return run_cells(parity_kernel, [recorded.cell for recorded in cells], echo="\n")


@pytest.mark.parametrize("number", recorded_numbers())
def test_a_cell_shows_what_the_console_showed(
    cells: list[Recorded], screens: list[str], shown: list[str], number: int
) -> None:
    compare(cells[number].cell.text, screens[number], shown[number], RECORDED)


@pytest.mark.parametrize("text", RECORDED)
def test_what_is_accepted_still_differs(cells: list[Recorded], screens: list[str], shown: list[str], text: str) -> None:
    (number,) = (number for number, recorded in enumerate(cells) if recorded.cell.text == text)
    still_differs(RECORDED[text], screens[number], shown[number])


def test_what_has_no_order_is_among_the_cells(cells: list[Recorded]) -> None:
    assert {cell.text for cell in [*CELLS, *(recorded.cell for recorded in cells)]} >= UNORDERED
