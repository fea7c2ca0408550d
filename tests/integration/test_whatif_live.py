"""Dry run on the real engine: which cells may run, why others may not, and that those that run change nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from pskernel import Target, connect
from pskernel.errors import PSKernelError
from pskernel.protocol.pipelines import Command
from pskernel.records import HostText
from pskernel.session.runspace import Runspace
from pskernel.session.whatif import examine, what_if
from tests.parts.whatif_cells import PLACES, REFUSED, RUNS

pytestmark = pytest.mark.live

# What a cell could change in the session: names and values, in the form of a text each. What PowerShell itself sets
# with every command is left out.
SNAPSHOT = """& {
    $own = -split 'args input ? ^ $ _ PSItem Error MyInvocation PSBoundParameters PSCommandPath PSScriptRoot StackTrace
        ExecutionContext this foreach switch PWD own each PSCmdlet Matches LASTEXITCODE null'
    foreach ($each in Get-ChildItem variable:) { if ($each.Name -notin $own) { "variable:$($each.Name)=$($each.Value)" } }
    foreach ($each in Get-ChildItem function:) { "function:$($each.Name)=$($each.ScriptBlock)" }
    foreach ($each in Get-ChildItem alias:) { "alias:$($each.Name)=$($each.Definition)" }
    foreach ($each in Get-ChildItem env:) { "env:$($each.Name)=$($each.Value)" }
    foreach ($each in Get-PSDrive) { "drive:$($each.Name)=$($each.Root)" }
    foreach ($each in Get-Job) { "job:$($each.Name)" }
    foreach ($each in Get-EventSubscriber) { "subscriber:$($each.SourceIdentifier)" }
    foreach ($each in Get-PSBreakpoint) { "breakpoint:$each" }
    "type:$((Get-TypeData System.Int32).Members.Keys)"
    "umask:$(/bin/sh -c umask)"
}"""
LOADED = "Import-Module Microsoft.PowerShell.Management, Microsoft.PowerShell.Utility, Microsoft.PowerShell.Security"
# Nothing here is of a module that is not loaded from the beginning.
SET_UP = """
$null = $ExecutionContext.SessionState.Path.SetLocation('{folder}')
$env:PSK_KEEP = 'keep'; $keep = 'keep'; function keep {{ 'keep' }}; ${{alias:kept}} = 'Get-Date'
function Get-Clean {{ param([string] $Name, $More) Get-ChildItem $Name | Where-Object Length -gt 0 }}
function Get-Dirty {{ /bin/touch dirty; 'dirty' }}
function Invoke-Clean {{ Get-Clean @args }}
function Get-Uptime {{ /bin/touch shadowed }}
function Remove-Both {{ [CmdletBinding(SupportsShouldProcess)] param([string] $Path) Remove-Item $Path; Remove-Item d -Recurse }}
function Get-Dynamic {{ [CmdletBinding()] param() dynamicparam {{ /bin/touch dynamic }} end {{ }} }}
function Get-Removed {{ [CmdletBinding()] param() dynamicparam {{ Remove-Item a.txt }} end {{ }} }}
${{function:Get-Bound}} = {{ /bin/touch bound }}.GetNewClosure()
${{alias:rmx}} = 'Remove-Item'; ${{alias:evil}} = '/bin/touch'; ${{alias:rmxx}} = 'rmx'
New-Module -Name InMemory {{ function Set-Thing {{ [CmdletBinding(SupportsShouldProcess)] param() /bin/touch thing }} }} |
    Import-Module
"""


class Scratch:
    """A session in a folder, and a loop to run both in."""

    def __init__(self, runner: asyncio.Runner, runspace: Runspace, folder: Path) -> None:
        self.runspace = runspace
        self.folder = folder
        self.run: Callable[[Coroutine[Any, Any, Any]], Any] = runner.run

    def files(self) -> dict[str, str]:
        assert (self.folder / "a.txt").exists(), "what could be changed is gone"
        return {
            str(path.relative_to(self.folder)): f"{path.lstat().st_mode:o} "
            + (f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else "")
            for path in self.folder.rglob("*")
        }

    def state(self) -> set[str]:
        values = self.run(self.runspace.query(SNAPSHOT, timeout=60))
        return {str(value) for value in values} | {f"file:{name}={what}" for name, what in self.files().items()}

    async def cell(self, text: str) -> str:
        pipeline = await self.runspace.run_cell(text)
        return "".join([record.text async for record in pipeline if isinstance(record, HostText)])

    async def dry(self, text: str) -> str:
        async with what_if(self.runspace):
            return await self.cell(text)


@pytest.fixture(scope="module")
def scratch(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "d").mkdir()
    (folder / "d" / "b.csv").write_text("Name,Size\nx,1\ny,2\n")
    (folder / "script.ps1").write_text("/bin/touch script\n")
    (folder / "evil.psm1").write_text("/bin/touch module\n")
    (folder / "data.psd1").write_text("@{ A = 1 }\n")
    (folder / "ro.txt").write_text("read only\n")
    (folder / "ro.txt").chmod(0o444)
    (folder / "tmp").mkdir()
    (folder / "modules" / "Auto").mkdir(parents=True)
    (folder / "modules" / "Auto" / "Auto.psm1").write_text(
        "/bin/touch loaded\nfunction Get-Auto { /bin/touch auto }\nfunction Get-Auto2 { }\n"
    )
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setenv("PSModulePath", str(folder / "modules"))
        runspace = runner.run(connect(Target.parse(f"process:{pwsh}")))
        scratch = Scratch(runner, runspace, folder)
        output = runner.run(scratch.cell(f"{LOADED}\n{SET_UP.format(folder=folder)}"))
        assert "" == output
        yield scratch
        runner.run(runspace.aclose())


@pytest.mark.parametrize(("cell", "assigns"), RUNS, ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_a_cell_that_may_run_changes_nothing_but_its_variables(scratch: Scratch, cell: str, assigns: str) -> None:
    before = scratch.state()
    assert () == scratch.run(examine(scratch.runspace, cell)).reasons
    scratch.run(scratch.dry(cell))

    changed = before ^ scratch.state()
    own = tuple(f"{name}=" if ":" in name else f"variable:{name}=" for name in assigns.split())
    assert [] == [line for line in sorted(changed) if not line.casefold().startswith(own or ("none",))]


@pytest.mark.parametrize(
    "cell", ["'x' > f", "Get-Date | Export-Csv f", *(cell for cell, _ in RUNS)], ids=lambda value: value[:60]
)
def test_what_may_run_may_also_be_the_first_cell_of_a_session(scratch: Scratch, pwsh: str, cell: str) -> None:
    """In a process of its own: what one has loaded of a module stays in it."""

    async def examined() -> tuple[str, ...]:
        async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
            await runspace.query(SET_UP.format(folder=scratch.folder))
            return (await examine(runspace, cell)).reasons

    assert () == scratch.run(examined())


@pytest.mark.parametrize(("cell", "reason"), REFUSED, ids=lambda value: value[:60])
def test_a_cell_that_may_change_something_does_not_run(scratch: Scratch, cell: str, reason: str) -> None:
    before = scratch.files()

    examination = scratch.run(examine(scratch.runspace, cell))

    assert not examination.runs
    assert reason in "\n".join(examination.reasons)
    assert all(each.startswith("line ") for each in examination.reasons)
    assert before == scratch.files()


@pytest.mark.parametrize("place", PLACES)
def test_a_command_is_seen_wherever_it_stands(scratch: Scratch, place: str) -> None:
    native = scratch.run(examine(scratch.runspace, place.replace("COMMAND", "/bin/touch seen")))
    known = scratch.run(examine(scratch.runspace, place.replace("COMMAND", "Remove-Item a.txt")))
    before = scratch.files()

    scratch.run(scratch.dry(place.replace("COMMAND", "Remove-Item a.txt")))

    assert "/bin/touch is a native command" in "\n".join(native.reasons)
    assert () == known.reasons
    assert before == scratch.files()


# The whole text, as the remote has it, in hexadecimal digits.
WHOLE = "[BitConverter]::ToString([Text.Encoding]::BigEndianUnicode.GetBytes({}))"


@pytest.mark.parametrize(
    "text",
    ["_x000A_touch", "_x005F_", "a\r\nb\rc\nd", "\u0085\u2028\u2029", "\U0001f600", "\x0b\x01\x00", "\ufeff", "\ud83d"],
)
def test_what_is_examined_is_what_would_run(scratch: Scratch, text: str) -> None:
    cell = WHOLE.format("$MyInvocation.MyCommand.Definition") + f"\n<#{text}#>"
    examined = Command(f"& {{ param($t) {WHOLE.format('$t')} }} @args", ((None, cell),), is_script=True)

    assert [scratch.run(scratch.cell(cell)).replace("\n", "")] == scratch.run(scratch.runspace.query([[examined]]))


def test_there_are_enough_cells() -> None:
    assert len(RUNS) >= 60
    assert len(REFUSED) >= 100


@pytest.mark.parametrize(
    "cell",
    [
        "Set-Content new.txt x",
        "$env:PSK_NEW = 1",
        "$new = 1",
        "Set-Alias new Get-Item",
        "(Get-Item a.txt).IsReadOnly = $true",
    ],
)
def test_the_look_at_the_state_would_see_it(scratch: Scratch, cell: str) -> None:
    before = scratch.state()

    scratch.run(scratch.cell(cell))

    assert before != scratch.state()
    undo = "Set-ItemProperty a.txt IsReadOnly $false; Remove-Item new.txt, env:PSK_NEW, variable:new, alias:new -ErrorAction Ignore"
    scratch.run(scratch.cell(undo))


def test_the_reason_says_what_the_terminal_can_show(scratch: Scratch) -> None:
    examination = scratch.run(examine(scratch.runspace, f"\n& 'x\x1b[31m\x1b]0;{'y' * 1000}\x07'"))

    assert 1 == len(examination.reasons)
    assert examination.reasons[0].startswith("line 2: x [31m ]0;yyyy")
    assert 300 == len(examination.reasons[0])


def test_a_cell_with_very_many_reasons_gives_some(scratch: Scratch) -> None:
    examination = scratch.run(examine(scratch.runspace, "\n".join(f"nosuch{number}" for number in range(2000))))

    assert 50 == len(examination.reasons)


def test_a_very_long_cell_is_not_examined(scratch: Scratch) -> None:
    examination = scratch.run(examine(scratch.runspace, "#" * 200_001))

    assert ("line 1: the cell is longer than 200,000 characters, and is not examined",) == examination.reasons


def test_a_long_cell_is_examined(scratch: Scratch) -> None:
    cell = "\n".join(f"Get-Item a{number}.txt | Where-Object Length -gt {number}" for number in range(500))

    assert scratch.run(examine(scratch.runspace, cell)).runs


@pytest.mark.parametrize(
    ("before", "cell", "reason"),
    [
        (
            "Set-StrictMode -Version Latest; $ErrorActionPreference = 'Stop'",
            "Get-Item a.txt -Force | ri -Confirm:$false; keep2 > q; function keep2([int] $x) { $x }",
            "",
        ),
        ("$PSDefaultParameterValues['Remove-Item:WhatIf'] = $false", "Remove-Item a.txt", "$PSDefaultParameterValues"),
        ("function Out-File { /bin/touch out }", "'x' > a.txt", "in the function Out-File: /bin/touch"),
        ("function Get-ChildItem { /bin/touch out }", "dir", "in the function Get-ChildItem: /bin/touch"),
        ("function gci { /bin/touch out }", "gci", ""),  # the alias goes before the function
        ("Set-Alias Get-Date /bin/touch", "Get-Date", "Get-Date (touch) is a native command"),
        (
            "$private:WhatIfPreference = $false; $PSModuleAutoLoadingPreference = 'None'",
            "Remove-Item a.txt; 'x' > q",
            "",
        ),
        ("$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'", "Get-Date", "language"),
        ("$ExecutionContext.SessionState.LanguageMode = 'NoLanguage'", "Get-Date", "does not let cells be examined"),
    ],
)
def test_what_the_session_has_counts(scratch: Scratch, pwsh: str, before: str, cell: str, reason: str) -> None:
    async def examined() -> tuple[str, ...]:
        async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
            await runspace.query(f"Set-Location '{scratch.folder}'; {before}")
            own = Scratch.__new__(Scratch)
            own.runspace = runspace
            found = await examine(runspace, cell)
            if found.runs:
                await own.dry(cell)
            return found.reasons

    files = scratch.files()
    reasons = scratch.run(examined())

    assert reason in "\n".join(reasons)
    assert bool(reason) == bool(reasons)
    assert files == scratch.files()


def test_modules_can_be_vouched_for(scratch: Scratch) -> None:
    def vouched(cell: str) -> tuple[str, ...]:
        reasons: tuple[str, ...] = scratch.run(
            examine(scratch.runspace, cell, vouched=["InMemory", "Some.Module"])
        ).reasons
        return reasons

    assert () == vouched("Set-Thing; Import-Module Some.Module")
    assert vouched("Set-Thing -WhatIf:$false")
    assert vouched("Import-Module Other.Module")
    assert vouched("Import-Module Some.Module -Force -ArgumentList { touch x }")
    assert vouched("Import-Module $x")
    assert not scratch.run(examine(scratch.runspace, "1", vouched=["a\nb"])).runs


PREFERENCES = '$WhatIfPreference; "$PSModuleAutoLoadingPreference"; (Get-Variable PSModuleAuto*).Count'


@pytest.mark.parametrize("cell", ["throw 'x'", "Remove-Item a.txt", "exit 3", "if (", "$WhatIfPreference = 5"])
def test_the_preference_is_set_back(scratch: Scratch, cell: str) -> None:
    before = scratch.run(scratch.runspace.query(PREFERENCES))

    scratch.run(scratch.dry(cell))

    assert before == scratch.run(scratch.runspace.query(PREFERENCES))
    assert "False" == scratch.run(scratch.cell("$WhatIfPreference")).strip()


def test_the_preference_is_one_of_the_cell_alone(scratch: Scratch) -> None:
    assert "True" in scratch.run(scratch.dry("$WhatIfPreference"))
    assert "False" in scratch.run(scratch.cell("$WhatIfPreference"))
    assert "What if:" in scratch.run(scratch.dry("Remove-Item a.txt"))


def test_a_preference_that_was_set_before_stays(scratch: Scratch) -> None:
    scratch.run(scratch.cell("$WhatIfPreference = $true; $PSModuleAutoLoadingPreference = 'All'"))
    try:
        scratch.run(scratch.dry("1"))

        assert [True, "All"] == scratch.run(scratch.runspace.query(PREFERENCES))[:2]
    finally:
        scratch.run(scratch.cell("$WhatIfPreference = $false; Remove-Variable PSModuleAutoLoadingPreference"))


def test_the_preference_is_set_back_where_the_run_is_cancelled(scratch: Scratch) -> None:
    async def cancelled() -> None:
        async def run() -> None:
            async with what_if(scratch.runspace):
                entered.set()
                await asyncio.Event().wait()

        entered = asyncio.Event()
        task = asyncio.create_task(run())
        await entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scratch.run(cancelled())

    assert False is scratch.run(scratch.runspace.query(PREFERENCES))[0]


def test_where_the_preference_cannot_be_set_nothing_is_run(pwsh: str) -> None:
    async def run() -> None:
        async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
            await runspace.query("Set-Variable WhatIfPreference $false -Option ReadOnly -Scope Global -Force")
            with pytest.raises(PSKernelError, match="could not be set on the remote, so the cell was not run"):
                async with what_if(runspace):
                    raise AssertionError

    asyncio.run(run())


def test_a_session_that_ends_meanwhile_takes_the_preference_with_it(pwsh: str) -> None:
    async def run() -> None:
        runspace = await connect(Target.parse(f"process:{pwsh}"))
        async with what_if(runspace):
            assert True is (await runspace.query(PREFERENCES))[0]
            await runspace.aclose()

    asyncio.run(run())
