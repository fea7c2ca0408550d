"""The magics in a Python notebook in a real JupyterLab, over a real sshd with the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.parts.ipython import ssh_parameters
from tests.parts.lab import Lab, open_lab
from tests.parts.sshd import running_sshd

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

OUTPUT = ".jp-OutputArea"


@pytest.fixture(scope="module")
def lab(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A notebook that has entered a host."""
    folder = tmp_path_factory.mktemp("magics")
    pictures = tmp_path_factory.mktemp("pictures")
    with (
        running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server,
        open_lab(folder, "python3", "Python 3 (ipykernel)", pictures) as lab,
    ):
        lab.run("%load_ext psmagic")
        lab.run("before = 41")
        entered = lab.run(f"%enter_pssession {ssh_parameters(server)}")
        expect(entered.locator(OUTPUT)).to_contain_text("Cells go there until exit.")
        yield lab


def test_cells_are_powershell_with_its_colours_until_exit(lab: Lab) -> None:
    table = lab.run("[pscustomobject]@{ Name = 'web01'; Cpu = 71 }")
    expect(table.locator("span[class*='ansi-green']").first).to_contain_text("Name")
    verbatim = lab.run('1, 2 | %{ "$_ % {x} !ls ?" }')
    expect(verbatim.locator(OUTPUT)).to_contain_text("2 % {x} !ls ?")
    failed = lab.run("throw 'read-only'")
    expect(failed.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_contain_text("Error: read-only")
    here = lab.run("%%local\nprint('python', before)")
    expect(here.locator(OUTPUT)).to_contain_text("python 41")
    lab.picture("magics-1-entered")


def test_progress_moves_and_prompts_are_asked_below_the_cell(lab: Lab) -> None:
    cell = lab.start(
        '1..4 | ForEach-Object { Write-Progress -Activity Copy -Status "file $_" -PercentComplete (25 * $_)\n'
        "Start-Sleep -Milliseconds 700 }; \"hello $(Read-Host 'Name')\""
    )
    expect(cell.locator("progress[value='50']")).to_be_visible()
    lab.picture("magics-2-progress")
    box = cell.locator(".jp-Stdin-input")
    box.fill("Ann")
    box.press("Enter")
    lab.ended(cell)
    expect(cell.locator(OUTPUT)).to_contain_text("hello Ann")
    expect(cell.locator("progress")).to_have_count(0)
    masked = lab.start("(Read-Host 'Password' -AsSecureString).Length")
    expect(masked.locator(".jp-Stdin-input")).to_have_attribute("type", "password")
    masked.locator(".jp-Stdin-input").fill("hunter2")
    masked.locator(".jp-Stdin-input").press("Enter")
    lab.ended(masked)
    expect(masked.locator(OUTPUT)).to_contain_text("7")


def test_the_stop_button_stops_the_remote_and_keeps_the_session(lab: Lab) -> None:
    lab.run("$kept = 5")
    cell = lab.start("'begun'; while ($true) { Start-Sleep -Milliseconds 20 }")
    expect(cell.locator(OUTPUT)).to_contain_text("begun")
    lab.page.locator("[data-command='notebook:interrupt-kernel']").click()
    lab.ended(cell)
    expect(lab.run("$kept").locator(OUTPUT)).to_contain_text("5")


def test_completions_come_from_the_remote_and_python_is_back_after_exit(lab: Lab) -> None:
    cell = lab.type("Get-Chi")
    lab.page.keyboard.press("Tab")
    item = lab.page.locator(".jp-Completer-item", has_text="Get-ChildItem").first
    expect(item).to_be_visible()
    lab.page.keyboard.press("Escape")
    cell.locator(".cm-content").click()
    lab.page.keyboard.press("Control+A")
    lab.page.keyboard.press("Delete")
    lab.run("exit")
    back = lab.run("before + 1")
    expect(back.locator(OUTPUT)).to_contain_text("42")
    lab.picture("magics-3-left")


def test_sessions_and_objects_are_tables(lab: Lab) -> None:
    listed = lab.run("%get_pssession")
    expect(listed.locator("th").first).to_contain_text("Id")
