"""PowerShell's own client, asked to do what is measured."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

from tests.parts.sshd import Sshd


class Yardstick:
    """A PowerShell that holds a session over ``sshd``; yardstick.ps1 says what it can be asked."""

    def __init__(self, pwsh: str, sshd: Sshd) -> None:
        script = Path(__file__).with_name("yardstick.ps1")
        login = f"-HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath '{sshd.key}'"
        self._child = subprocess.Popen(
            [pwsh, "-NoLogo", "-NoProfile", "-c", f"& '{script}' {login} -KnownHosts '{sshd.known_hosts}'"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: str) -> list[float]:
        """Milliseconds, or a rate per second."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{question}\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            raise RuntimeError(f"PowerShell's client did not answer {question!r}")
        return [float(number) for number in answer.split()]

    def median(self, question: str) -> float:
        return statistics.median(self.ask(question))

    def close(self) -> None:
        self._child.communicate()
