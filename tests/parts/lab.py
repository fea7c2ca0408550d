"""A notebook in a real JupyterLab in a real browser.

Each step leaves a picture in the folder that PSKERNEL_SCREENSHOTS names (pytest's temporary one otherwise).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.parts.jupyterserver import TOKEN, running

__all__ = ["WAIT_MS", "Lab", "open_lab"]

WAIT_MS = 30_000


class Lab:
    """One notebook in the browser; cells are typed one below the other."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self.page = page
        self._pictures = pictures
        self._cells = 0

    def type(self, code: str) -> Locator:
        """Type into the last cell, which is empty; return the cell."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(self._cells)
        cell.locator(".cm-content").click()
        # Inserted at once: typed, the editor would add brackets of its own.
        self.page.keyboard.insert_text(code)
        return cell

    def start(self, code: str) -> Locator:
        """Type and run; a new cell appears below."""
        cell = self.type(code)
        self.page.keyboard.press("Shift+Enter")
        self._cells += 1
        return cell

    def run(self, code: str) -> Locator:
        """Type, run, and wait for the end."""
        cell = self.start(code)
        self.ended(cell)
        return cell

    def ended(self, cell: Locator) -> None:
        """Wait until the cell has its number."""
        expect(cell.locator(".jp-InputPrompt").first).to_contain_text(re.compile(r"\[\d+\]"), timeout=WAIT_MS)

    def picture(self, name: str) -> None:
        self.page.screenshot(path=self._pictures / f"{name}.png")


@contextlib.contextmanager
def open_lab(folder: Path, kernel: str, display_name: str, pictures: Path) -> Iterator[Lab]:
    """Open JupyterLab in a folder, with an empty notebook for a kernel, and wait until the kernel is idle."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("no chromium is installed")
    pictures = Path(os.environ.get("PSKERNEL_SCREENSHOTS") or pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
    notebook.metadata.kernelspec = {"name": kernel, "display_name": display_name}
    nbformat.write(notebook, folder / "work.ipynb")
    with running("jupyterlab", folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.goto(f"http://{server}/lab/tree/work.ipynb?token={TOKEN}&reset")
        # Before that, a cell that is run is only queued for a kernel that is not there.
        page.get_by_text(f"{display_name} | Idle").wait_for()
        yield Lab(page, pictures)
        browser.close()
