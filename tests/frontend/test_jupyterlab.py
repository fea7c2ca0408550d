"""A real JupyterLab in a real browser, with the kernel on the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.parts.jupyterserver import install_spec
from tests.parts.lab import Lab, open_lab

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

KERNEL = "remote-powershell-in-lab"


@pytest.fixture(scope="module")
def lab(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    install_spec(folder, KERNEL, f"process:{pwsh}")
    with open_lab(folder, KERNEL, "Remote PowerShell", tmp_path_factory.mktemp("pictures")) as lab:
        yield lab


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
