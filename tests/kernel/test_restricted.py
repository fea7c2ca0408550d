"""An endpoint without a language (JEA): simple command lines travel as commands. On the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.kernels import Kernel, Starter
from tests.parts.winrm import PASSWORD, USER, url_of

pytestmark = pytest.mark.live

CONFIGURATION = """\
@{
    SchemaVersion = '2.0.0.0'
    GUID = 'a2b1b4b0-0000-4000-8000-000000000001'
    SessionType = 'RestrictedRemoteServer'
    LanguageMode = 'NoLanguage'
    VisibleCmdlets = 'Get-Process'
    VisibleExternalCommands = '/bin/echo'
    VisibleFunctions = 'Get-Greeting', 'Get-Sum'
    FunctionDefinitions = @(
        @{ Name = 'Get-Greeting'; ScriptBlock = { param($Name, [switch] $Loud) if ($Loud) { "HELLO $Name" } else { "hello $Name" } } }
        @{ Name = 'Get-Sum'; ScriptBlock = { param([int[]] $Of) $sum = 0; foreach ($one in $Of) { $sum += $one }; $sum } }
    )
}
"""


@pytest.fixture(scope="module", params=["process", "winrm"])
def kernel(request: pytest.FixtureRequest, pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("restricted")
    file = Path(folder) / "jea.pssc"
    file.write_text(CONFIGURATION)
    starter = Starter(folder)
    if request.param == "process":
        yield starter(f"process:{pwsh}", f"arguments=-NoLogo -NoProfile -ConfigurationFile {file}")
        starter.end_all()
        return
    engine = [pwsh, "-s", "-NoLogo", "-NoProfile", "-ConfigurationFile", str(file)]
    with WsmanBridge(engine, {USER: PASSWORD}, configurations=["maintenance"]) as bridge:
        yield starter(url_of(bridge, folder, "configuration=maintenance"))
        starter.end_all()


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("Get-Greeting -Name 'Ann'", "hello Ann\n"),
        ("Get-Greeting Ann -Loud", "HELLO Ann\n"),
        ("Get-Greeting -Name:Ann -Loud:$false", "hello Ann\n"),
        ("Get-Greeting A; Get-Greeting B", "hello A\nhello B\n"),
        ('# who\nGet-Greeting A\nGet-Greeting "B C"', "hello A\nhello B C\n"),
        ("Get-Sum -Of 1,2,39", "42\n"),
        ("/bin/echo hi", "hi\n"),
    ],
)
def test_simple_lines_run(kernel: Kernel, cell: str, shown: str) -> None:
    run = kernel.run(cell)

    assert ("ok", shown) == (run.status, run.stdout)


@pytest.mark.parametrize("cell", ["1+1", "$x", "Get-Greeting $x", "if (1) { 2 }"])
def test_what_needs_a_language_is_refused_in_the_endpoints_words(kernel: Kernel, cell: str) -> None:
    run = kernel.run(cell)

    assert "ScriptsNotAllowed" == run.ename
    assert "The syntax is not supported by this runspace." in run.evalue


@pytest.mark.parametrize(("cell", "missing"), [("Get-Date", "Get-Date"), ("Get-Greeting B | Out-String", "Out-String")])
def test_a_command_that_is_not_visible_does_not_exist(kernel: Kernel, cell: str, missing: str) -> None:
    run = kernel.run(cell)

    assert "CommandNotFoundException" == run.ename
    assert f"The term '{missing}' is not recognized" in run.evalue


def test_a_session_is_left_with_the_command_for_it(kernel: Kernel) -> None:
    assert "ok" == kernel.run("Exit-PSSession").status
    assert "You left the session with Exit-PSSession" in kernel.run("Get-Greeting A").evalue
    assert "hello A\n" == kernel.run("Get-Greeting A").stdout
