"""A real JupyterLab in a real browser, with the kernel on the real engine.

Each step leaves a picture in the folder that PSKERNEL_SCREENSHOTS names (pytest's temporary one otherwise).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.parts.jupyterserver import TOKEN, install_spec, running

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

KERNEL = "remote-powershell-in-lab"
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


@pytest.fixture(scope="module")
def address(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with one kernelspec for the engine, and an empty notebook for it."""
    folder = tmp_path_factory.mktemp("lab")
    install_spec(folder, KERNEL, f"process:{pwsh}")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
    notebook.metadata.kernelspec = {"name": KERNEL, "display_name": "Remote PowerShell", "language": "powershell"}
    nbformat.write(notebook, folder / "work.ipynb")
    with running("jupyterlab", folder) as server:
        yield f"http://{server}/lab/tree/work.ipynb?token={TOKEN}&reset"


@pytest.fixture(scope="module")
def lab(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("no chromium is installed")
    pictures = Path(os.environ.get("PSKERNEL_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.goto(address)
        # Before that, a cell that is run is only queued for a kernel that is not there.
        page.get_by_text("Remote PowerShell | Idle").wait_for()
        yield Lab(page, pictures)
        browser.close()


def test_a_table_an_error_and_a_warning_are_shown_in_powershells_colours(lab: Lab) -> None:
    first = lab.run("[pscustomobject]@{ Name = 'web01'; Cpu = 71 }, [pscustomobject]@{ Name = 'db01'; Cpu = 88 }")
    expect(first.locator(".jp-OutputArea")).to_contain_text("Connected to local PowerShell")
    expect(first.locator("span[class*='ansi-green']").first).to_contain_text("Name")
    warning = lab.run("Write-Warning 'slow'; Write-Error 'full'; 'after'")
    expect(warning.locator("span[class*='ansi-yellow']")).to_contain_text("WARNING: slow")
    expect(warning.locator("span[class*='ansi-red']")).to_contain_text("full")
    failed = lab.run("throw 'read-only'")
    expect(failed.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_contain_text("Error: read-only")
    lab.picture("1-table-warning-error")


def test_a_progress_bar_moves_and_is_gone_at_the_end(lab: Lab) -> None:
    cell = lab.start(
        '1..4 | ForEach-Object { Write-Progress -Activity Copy -Status "file $_" -PercentComplete (25 * $_)\n'
        "Start-Sleep -Milliseconds 700 }; 'copied'"
    )
    expect(cell.locator("progress[value='25']")).to_be_visible()
    lab.picture("2-progress")
    expect(cell.locator("progress[value='75']")).to_be_visible()
    lab.ended(cell)
    expect(cell.locator("progress")).to_have_count(0)
    expect(cell.locator(".jp-OutputArea")).to_contain_text("copied")


def test_read_host_is_answered_below_the_cell(lab: Lab) -> None:
    cell = lab.start("\"hello $(Read-Host 'Name')\"")
    box = cell.locator(".jp-Stdin-input")
    box.fill("Ann")
    expect(box).not_to_have_attribute("type", "password")
    lab.picture("3-read-host")
    box.press("Enter")
    lab.ended(cell)
    expect(cell.locator(".jp-OutputArea")).to_contain_text("hello Ann")


def test_a_password_is_masked_and_stays_out_of_the_notebook(lab: Lab) -> None:
    cell = lab.start("(Read-Host 'Password' -AsSecureString).Length")
    box = cell.locator(".jp-Stdin-input")
    expect(box).to_have_attribute("type", "password")
    box.fill("hunter2")
    lab.picture("4-password")
    box.press("Enter")
    lab.ended(cell)
    expect(cell.locator(".jp-OutputArea")).to_contain_text("7")
    expect(cell.locator(".jp-OutputArea")).not_to_contain_text("hunter2")


def test_the_stop_button_stops_the_remote_and_keeps_the_session(lab: Lab) -> None:
    lab.run("$kept = 5")
    cell = lab.start("'begun'; while ($true) { Start-Sleep -Milliseconds 20 }")
    expect(cell.locator(".jp-OutputArea")).to_contain_text("begun")
    lab.page.locator("[data-command='notebook:interrupt-kernel']").click()
    lab.ended(cell)
    expect(cell.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_contain_text("stopped")
    lab.picture("5-stopped")
    expect(lab.run("$kept").locator(".jp-OutputArea")).to_contain_text("5")


def test_tab_shows_the_remotes_completions(lab: Lab) -> None:
    lab.type("Get-Ch")
    lab.page.keyboard.press("Tab")
    item = lab.page.locator(".jp-Completer-item", has_text="Get-ChildItem").first
    expect(item).to_be_visible()
    lab.picture("6-completion")
    lab.page.keyboard.press("Escape")
