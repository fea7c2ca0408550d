"""Further cells, in the kernel and in the engine's own console, on the same server: both show the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.cells import CELLS
from tests.parity.console import console_screens
from tests.parity.differences import MORE, compare, still_differs
from tests.parity.screens import Cell, as_console, numbered, run_cells
from tests.parts.kernels import Kernel
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]

_FOLDER = "<folder>"


def in_folder(folder: Path) -> list[Cell]:
    """The cells, in a folder of their own: they make the same files."""
    return [Cell(f"Set-Location '{folder}'"), *CELLS]


@pytest.fixture(scope="module")
def screens(pwsh: str, sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the console shows."""
    folder = tmp_path_factory.mktemp("their-folder")
    return [text.replace(str(folder), _FOLDER) for text in console_screens(pwsh, sshd, in_folder(folder))[1:]]


@pytest.fixture(scope="module")
def shown(parity_kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the kernel shows. The console's standard input is no terminal, so it leaves nothing where it asks."""
    # The names are of one length: some of what is shown is cut to a width.
    folder = tmp_path_factory.mktemp("other-folder")
    return [text.replace(str(folder), _FOLDER) for text in run_cells(parity_kernel, in_folder(folder), echo="")[1:]]


@pytest.mark.parametrize("number", numbered(CELLS))
def test_a_cell_shows_what_the_console_shows(screens: list[str], shown: list[str], number: int) -> None:
    compare(CELLS[number].text, screens[number], shown[number], MORE)


@pytest.mark.parametrize("text", MORE)
def test_what_is_accepted_still_differs(screens: list[str], shown: list[str], text: str) -> None:
    (number,) = (number for number, cell in enumerate(CELLS) if cell.text == text)
    still_differs(MORE[text], screens[number], shown[number])


def test_only_a_notebook_shows_the_position_below_an_error(parity_kernel: Kernel) -> None:
    """The comparisons leave it out (screens.as_console)."""
    (error,) = parity_kernel.run("throw 'positioned'").errors
    traceback = "\n".join(error["traceback"])
    assert "At line:1 char:1\n+ throw 'positioned'" in traceback
    assert "At line" not in as_console(traceback)
