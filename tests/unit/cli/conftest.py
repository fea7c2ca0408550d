"""A machine of its own for each test of the command line: its own Jupyter folders, and no target in the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jupyter_core.paths
import pytest
from typer.testing import CliRunner

from pskernel.cli.app import app

Invoke = Callable[..., "Result"]


class Result:
    """What a command said and returned."""

    def __init__(self, outcome: object) -> None:
        self.status: int = outcome.exit_code  # type: ignore[attr-defined]
        self.stdout: str = outcome.stdout  # type: ignore[attr-defined]
        self.stderr: str = outcome.stderr  # type: ignore[attr-defined]

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.stdout.splitlines()]


@pytest.fixture(autouse=True)
def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's Jupyter folder. Nothing of the machine's is seen."""
    for name in ("PSKERNEL_TARGET", "JUPYTER_PATH", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / "jupyter" / name.lower()))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(jupyter_core.paths, "ENV_JUPYTER_PATH", [])
    monkeypatch.setattr(jupyter_core.paths, "SYSTEM_JUPYTER_PATH", [])
    return tmp_path / "jupyter" / "data"


@pytest.fixture
def invoke() -> Invoke:
    """Run the command line in this process. An exception that is not an exit is the test's failure."""

    def run(*arguments: object) -> Result:
        outcome = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
            raise outcome.exception
        return Result(outcome)

    return run
