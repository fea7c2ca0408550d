"""Named subsystems as session configurations, over a real sshd to the real engine, with both SSH clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.render.ansi import strip
from pskernel.target import Target
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def sshd(sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    """One subsystem without a language, one with a constrained one, and one with all."""
    folder = tmp_path_factory.mktemp("endpoints")
    modes = {
        "restricted": (
            "SessionType = 'RestrictedRemoteServer'; LanguageMode = 'NoLanguage'; VisibleCmdlets = 'Get-Date'"
        ),
        "constrained": "LanguageMode = 'ConstrainedLanguage'",
    }
    server = f"{pwsh} -sshs -NoLogo -NoProfile"
    subsystems = {"powershell": server}
    for name, mode in modes.items():
        (folder / name).with_suffix(".pssc").write_text(f"@{{ SchemaVersion = '2.0.0.0'; {mode} }}")
        subsystems[name] = f"{server} -ConfigurationFile {folder / name}.pssc"
    started: Sshd = sshd_factory(subsystems)
    return started


def target(sshd: Sshd, backend: str) -> Target:
    return Target.parse(
        f"ssh://{sshd.user}@127.0.0.1:{sshd.port}",
        {"backend": backend, "ssh_config": "none", "key_file": str(sshd.key), "known_hosts": str(sshd.known_hosts)},
    )


@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
def test_a_named_subsystem_is_a_session_configuration(sshd: Sshd, backend: str, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in ("Get-Date -Format yyyy", "$x = 1")]
    source, out = str(tmp_path / "in.ipynb"), tmp_path / "out.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    words = ["run", source, "--target", str(target(sshd, backend)), "--option", "subsystem=restricted", "-o", str(out)]
    assert 1 == CliRunner().invoke(app, words).exit_code
    year, refused = [
        strip("".join(output.get("text", output.get("evalue", "")) for output in cell.outputs))
        for cell in nbformat.read(out, as_version=4).cells
    ]
    assert year.strip().isdecimal()
    assert "not supported by this runspace" in refused


def steps_of(sshd: Sshd, subsystem: str) -> dict[str, dict[str, Any]]:
    found = CliRunner().invoke(
        app, ["doctor", "--json", str(target(sshd, "asyncssh")), "--option", f"subsystem={subsystem}"]
    )
    return {step["name"]: step for step in json.loads(found.stdout)["steps"]}


def test_doctor_tells_what_a_subsystem_allows(sshd: Sshd) -> None:
    found = steps_of(sshd, "restricted")["PowerShell"]
    assert "warning" == found["state"]
    assert (
        "It is a restricted endpoint, which takes commands and no script (LanguageMode NoLanguage)."
        == found["lines"][0]
    )
    assert found["lines"][1].startswith("Its commands: Clear-Host, Exit-PSSession, Get-Command, Get-Date, ")
    found = steps_of(sshd, "constrained")["PowerShell"]
    assert ("warning", "It is a restricted endpoint: its LanguageMode is ConstrainedLanguage.") == (
        found["state"],
        found["lines"][1],
    )
    assert 1 == len(steps_of(sshd, "powershell")["PowerShell"]["lines"])
    missing = steps_of(sshd, "jea")["subsystem"]
    assert "has no subsystem jea. Add this line to sshd_config there and restart sshd:" in missing["lines"][0]
    assert "Subsystem jea /usr/bin/pwsh -sshs -NoLogo -NoProfile" in "".join(missing["lines"])
