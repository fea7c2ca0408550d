"""The differences from PowerShell's console that are accepted: each with its reason, and no wider than its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.parity.screens import normalised


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the console shows ``theirs``, ``ours`` is shown here."""

    reason: str
    theirs: str
    ours: str

    def expected(self, screen: str) -> str:
        """What is to be shown here where the console shows ``screen``."""
        assert self.theirs in screen, f"{self.theirs!r} is not on the console any more: {screen!r}"
        return screen.replace(self.theirs, self.ours, 1)


def compare(cell: str, screen: str, shown: str, differences: Mapping[str, Difference]) -> None:
    """Compare what is shown here with a console's screen, but for the differences that are accepted."""
    screen, shown = normalised(screen), normalised(shown)
    if cell in UNORDERED:
        screen, shown = ("\n".join(sorted(text.split("\n"))) for text in (screen, shown))
    difference = differences.get(cell)
    assert shown == (screen if difference is None else difference.expected(screen))


def still_differs(difference: Difference, screen: str, shown: str) -> None:
    """Check that the difference has not gone away."""
    assert difference.theirs in normalised(screen)
    assert normalised(screen) != normalised(shown)


# The engine reads a program's two outputs side by side: which comes first is not ruled, on a console either.
UNORDERED = {
    "/bin/sh -c 'echo out; echo err 1>&2; exit 3'",
    "/bin/sh -c 'echo err >&2; echo out' 2>&1 | ForEach-Object { $_.GetType().Name }",
}

_AS_COMMAND = "a console parses simple lines itself and sends them as commands; a notebook's cells are script, verbatim"
_TERMINAL = "a terminal breaks a caption at its width, and ends the line of a password"
_PROGRESS = "a console draws progress on the screen and wipes it out; a notebook has a display of its own for it"
_NOTHING = "where the remote renders nothing, a notebook shows the error's message"

_WARNING = "is requesting your credentials. Enter your{}credentials only if you trust the remote computer and"

# In the recorded session: of the screen, whatever sends the messages.
SCREEN = {
    "$c = Get-Credential; $c.UserName": Difference(
        _TERMINAL,
        f"{_WARNING.format(chr(10))} the application or script that is requesting them.\n\nEnter your credentials.\n"
        "User:\nPassword for user joe:\n\njoe",
        f"{_WARNING.format(' ')} the application or script that is requesting them.\n\nEnter your credentials.\n"
        "User:\nPassword for user joe:\njoe",
    ),
    "$c = Get-Credential -UserName ann -Message 'why'; $c.GetNetworkCredential().Password.Length": Difference(
        _TERMINAL,
        f"{_WARNING.format(chr(10))} the application or script that is requesting them.\n\nwhy\n"
        "Password for user ann:\n\n6",
        f"{_WARNING.format(' ')} the application or script that is requesting them.\n\nwhy\nPassword for user ann:\n6",
    ),
    "Write-Progress -Activity 'a' -Status 's' -PercentComplete 50; Write-Progress -Activity 'a' -Completed; 'p'": (
        Difference(_PROGRESS, f"a [s{' ' * 113}]{' ' * 120}p", "p")
    ),
}

# In the recorded session: of the messages, because the console sends other ones.
FORM = {
    "Write-Host 1,2,3 -Separator '-'": Difference(_AS_COMMAND, "1 2 3", "1-2-3"),
    "nosuchcommand": Difference(_AS_COMMAND, "Error: ", "nosuchcommand: "),
    "exit_not": Difference(_AS_COMMAND, "Error: ", "exit_not: "),
    "Get-ChildItem -NoSuchParameter": Difference(_AS_COMMAND, "Error: ", "Get-ChildItem: "),
    "Get-Process -Id abc": Difference(_AS_COMMAND, "Error: Cannot bind", "Get-Process: Cannot bind"),
    "Get-PSCallStack | Select-Object -First 1 Command": Difference(
        _AS_COMMAND, "", "\nCommand\n-------\n<ScriptBlock>"
    ),
    "Write-Error -Exception ([System.ArgumentException]::new('argh'))": Difference(
        _AS_COMMAND,
        "Error: Cannot bind parameter 'Exception'. Cannot convert value \"System.ArgumentException: argh\" to type "
        '"System.Exception". Error: "Cannot convert the "System.ArgumentException: argh" value of type '
        '"Deserialized.System.ArgumentException" to type "System.Exception"."',
        "Write-Error: argh",
    ),
}
RECORDED = {**SCREEN, **FORM}

# In the cells that are run in the engine's own console too, which sends script as the kernel does.
MORE = {
    "throw ''": Difference(
        "The console names the category where a message is empty.",
        "Error: OperationStopped: (:String) [], RuntimeException",
        "Error:",
    ),
    "throw 'view in categories'": Difference(_NOTHING, "", "view in categories"),
}
