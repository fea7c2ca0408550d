"""A Hyper-V host for tests: a powershell.exe where Windows has it that runs the engine with a Get-VM, and machines that answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pskernel.transports import hyperv
from tests.fakes.hyperv import VirtualMachine

__all__ = ["HyperVHost", "hyperv_host"]

# Hands the script over to the real engine, with a Get-VM in front of it, and keeps how it was called.
_STAND_IN = """#!{python}
import json, os, sys
with open({log!r}, "w") as log:
    json.dump(sys.argv[1:], log)
*options, script = sys.argv[1:]
engine = {engine!r}
os.execv(engine, [engine, "-NoLogo", "-NoProfile", "-c", open({setup!r}).read() + "\\n" + script])
"""


class HyperVHost:
    """What this machine would be on Windows. ``vms`` is what its Get-VM returns: name, id, state."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._setup, self._log = folder / "setup.ps1", folder / "log"
        self.program = folder / "powershell.exe"
        self.program.write_text(
            _STAND_IN.format(python=sys.executable, log=str(self._log), engine=engine, setup=str(self._setup))
        )
        self.program.chmod(0o755)
        self.set_up("")

    def set_up(self, script: str) -> None:
        """What is defined before the script that lists the machines runs."""
        self._setup.write_text(script)

    def has(self, *vms: tuple[str, object, str]) -> None:
        """Make its Get-VM return these."""
        rows = json.dumps([{"Name": name, "Id": str(number), "State": state} for name, number, state in vms])
        quoted = rows.replace("'", "''")
        self.set_up(f"function Get-VM {{ foreach ($vm in ConvertFrom-Json '{quoted}') {{ $vm }} }}")

    def called(self) -> list[str]:
        """The arguments of the last call."""
        found: list[str] = json.loads(self._log.read_text())
        return found


@pytest.fixture
def hyperv_host(
    pwsh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[HyperVHost, Callable[..., VirtualMachine]]]:
    """A host, and what starts machines on it. Only their sockets are of another kind than Hyper-V's."""
    folder = tmp_path / "System32" / "WindowsPowerShell" / "v1.0"
    folder.mkdir(parents=True)
    host = HyperVHost(folder, str(Path(pwsh).resolve()))
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    machines: list[VirtualMachine] = []

    def start(name: str = "Web 01", **traits: object) -> VirtualMachine:
        machine = VirtualMachine([pwsh, "-s", "-NoLogo", "-NoProfile"], **traits)  # type: ignore[arg-type]
        machines.append(machine.__enter__())
        host.has((name, machine.id, "Running"))
        monkeypatch.setattr(hyperv, "connect_hyperv", machine.connect)
        return machine

    yield host, start
    for each in machines:
        each.__exit__()
