"""What a recording has that its notebook has no more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pskernel.connect import recorded_cells
from pskernel.runbook.notebook import read_notebook, runs, title_of

__all__ = ["missing_cells"]


def missing_cells(notebook: Path, cassette: Path) -> list[str]:
    """The titles of the recorded cells that the notebook would not run. What it has besides fails when it is run.

    Raises:
        NotebookError, ReplayError: a file cannot be read.
    """
    ours = Counter(cell.source for cell in read_notebook(notebook).cells if runs(cell))
    gone = Counter(recorded_cells(str(cassette))) - ours
    return [title_of(text) for text in gone]
