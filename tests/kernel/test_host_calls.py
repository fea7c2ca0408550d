"""Every method of the host that a script can call, on the real engine: shown, answered, ignored or refused.

Prompts are in test_prompts.py. Servers answer by themselves what only reads, from what the client said of its screen.
"""

from __future__ import annotations

import pytest

from pskernel.render.ansi import strip
from pskernel.session.host import METHODS
from tests.parts.kernels import Kernel

pytestmark = pytest.mark.live

HOST = "[Management.Automation.Host.%s]::new(%s)"
AT, AREA, SIZE = HOST % ("Coordinates", "0, 0"), HOST % ("Rectangle", "0, 0, 1, 1"), HOST % ("Size", "80, 25")
CELL = HOST % ("BufferCell", "'x', 'Red', 'Black', 'Complete'")
RAW = "$Host.UI.RawUI"

# Method, what to run, and what stdout then shows.
SHOWN = [
    ("GetName", "$Host.Name", "ServerRemoteHost\n"),
    ("GetVersion", "$Host.Version.Major", "7\n"),
    ("GetInstanceId", "$Host.InstanceId.GetType().Name", "Guid\n"),
    ("GetCurrentCulture", "$Host.CurrentCulture.GetType().Name", "CultureInfo\n"),
    ("GetCurrentUICulture", "$Host.CurrentUICulture.GetType().Name", "CultureInfo\n"),
    ("ExitNestedPrompt", "$Host.ExitNestedPrompt()", ""),
    ("NotifyBeginApplication", "$Host.NotifyBeginApplication()", ""),
    ("NotifyEndApplication", "$Host.NotifyEndApplication()", ""),
    ("Write1", "$Host.UI.Write('a')", "a"),
    ("Write2", "$Host.UI.Write('Red', 'Black', 'a')", "\x1b[91ma\x1b[0m"),
    ("WriteLine1", "$Host.UI.WriteLine()", "\n"),
    ("WriteLine2", "$Host.UI.WriteLine('a')", "a\n"),
    ("WriteLine3", "$Host.UI.WriteLine('Red', 'Black', 'a')", "\x1b[91ma\x1b[0m\n"),
    ("WriteDebugLine", "$Host.UI.WriteDebugLine('a')", "\x1b[33;1mDEBUG: a\x1b[0m\n"),
    ("WriteVerboseLine", "$Host.UI.WriteVerboseLine('a')", "\x1b[33;1mVERBOSE: a\x1b[0m\n"),
    ("WriteWarningLine", "$Host.UI.WriteWarningLine('a')", "\x1b[33;1mWARNING: a\x1b[0m\n"),
    ("WriteProgress", "Write-Progress a", ""),
    ("GetForegroundColor", f"{RAW}.ForegroundColor", "Gray\n"),
    ("SetForegroundColor", f"{RAW}.ForegroundColor = 'Red'; {RAW}.ForegroundColor", "Red\n"),
    ("GetBackgroundColor", f"{RAW}.BackgroundColor", "Black\n"),
    ("SetBackgroundColor", f"{RAW}.BackgroundColor = 'Blue'; {RAW}.BackgroundColor", "Blue\n"),
    ("GetCursorPosition", f"{RAW}.CursorPosition.X", "0\n"),
    ("SetCursorPosition", f"{RAW}.CursorPosition = {AT}", ""),
    ("GetWindowPosition", f"{RAW}.WindowPosition.X", "0\n"),
    ("SetWindowPosition", f"{RAW}.WindowPosition = {AT}", ""),
    ("GetCursorSize", f"{RAW}.CursorSize", "25\n"),
    ("SetCursorSize", f"{RAW}.CursorSize = 50", ""),
    ("GetBufferSize", f"{RAW}.BufferSize.Width", "120\n"),
    ("SetBufferSize", f"{RAW}.BufferSize = {SIZE}; {RAW}.BufferSize.Width", "80\n"),
    ("GetWindowSize", f"{RAW}.WindowSize.Width", "120\n"),
    ("SetWindowSize", f"{RAW}.WindowSize = {SIZE}; {RAW}.WindowSize.Width", "80\n"),
    ("GetWindowTitle", f"{RAW}.WindowTitle", "pskernel\n"),
    ("SetWindowTitle", f"{RAW}.WindowTitle = 'x'; {RAW}.WindowTitle", "x\n"),
    ("GetMaxWindowSize", f"{RAW}.MaxWindowSize.Width", "120\n"),
    ("GetMaxPhysicalWindowSize", f"{RAW}.MaxPhysicalWindowSize.Width", "120\n"),
    ("FlushInputBuffer", f"{RAW}.FlushInputBuffer()", ""),
    ("SetBufferContents1", f"{RAW}.SetBufferContents({AREA}, {CELL})", ""),
    ("SetBufferContents2", f"{RAW}.SetBufferContents({AT}, {RAW}.NewBufferCellArray(1, 1, {CELL}))", ""),
    ("ScrollBufferContents", f"{RAW}.ScrollBufferContents({AREA}, {AT}, {AREA}, {CELL})", ""),
    ("GetIsRunspacePushed", "$Host.IsRunspacePushed", "False\n"),
    ("GetRunspace", "$Host.Runspace.GetType().Name", "LocalRunspace\n"),
]
# Method, what to run, and what stderr then says.
REFUSED = [
    ("EnterNestedPrompt", "$Host.EnterNestedPrompt()", "Remote host method EnterNestedPrompt is not implemented."),
    ("GetBufferContents", f"{RAW}.GetBufferContents({AREA})", "GetBufferContents is not implemented."),
    ("PushRunspace", "$Host.PushRunspace($null)", "Cannot enter Runspace because it is not a remote Runspace."),
    ("WriteErrorLine", "$Host.UI.WriteErrorLine('a')", "a\n"),
]
ELSEWHERE = {
    "ReadLine", "ReadLineAsSecureString", "Prompt", "PromptForCredential1", "PromptForCredential2", "PromptForChoice",
    "PromptForChoiceMultipleSelection", "ReadKey",  # test_prompts.py
    "SetShouldExit", "PopRunspace",  # test_loss.py
    "GetKeyAvailable",  # the engine answers nothing at all
}  # fmt: skip


@pytest.mark.parametrize(("method", "cell", "shown"), SHOWN)
def test_what_is_shown_or_known_or_nothing(kernel: Kernel, method: str, cell: str, shown: str) -> None:
    run = kernel.run(cell)

    assert ("ok", shown, "") == (run.status, run.stdout, run.stderr), method


def test_clearing_the_screen_as_windows_does_clears_the_output(kernel: Kernel) -> None:
    whole = HOST % ("Rectangle", "-1, -1, -1, -1")

    run = kernel.run(f"'before'; {RAW}.SetBufferContents({whole}, {CELL}); 'after'")

    assert ["stream", "clear_output", "stream"] == [k for k in run.kinds if k in {"stream", "clear_output"}]
    assert "clear_output" not in kernel.run(f"{RAW}.SetBufferContents({AREA}, {CELL})").kinds


@pytest.mark.parametrize(("method", "cell", "said"), REFUSED)
def test_what_fails_says_so_as_in_powershell(kernel: Kernel, method: str, cell: str, said: str) -> None:
    run = kernel.run(cell)

    assert said in strip(run.stderr), method


def test_there_is_a_test_for_every_row_of_the_table() -> None:
    tested = {row[0] for row in [*SHOWN, *REFUSED]} | ELSEWHERE

    assert {name for name, _ in METHODS.values()} == tested
