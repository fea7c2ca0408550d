"""Fixtures shared by all tests: where the real parts are."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# What is slow says nothing here: the machine may be busy with something else. Examples are others each time, but where
# the same commit is to have the same answer (PSKERNEL_TEST_SAME_EXAMPLES).
settings.register_profile("pskernel", deadline=None, derandomize=bool(os.environ.get("PSKERNEL_TEST_SAME_EXAMPLES")))
settings.load_profile("pskernel")


@pytest.fixture(scope="session")
def pwsh() -> str:
    """The real PowerShell engine: PSKERNEL_TEST_PWSH, or pwsh on PATH."""
    found = os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh")
    if not found:
        pytest.skip("no PowerShell engine: set PSKERNEL_TEST_PWSH or put pwsh on PATH")
    return str(Path(found).absolute())


@pytest.fixture(scope="session")
def golden() -> Path:
    """Recordings of a real PowerShell console, and of WinRM servers, that are not part of this project."""
    found = os.environ.get("PSKERNEL_TEST_GOLDEN")
    if not found:
        pytest.skip("no golden recordings: set PSKERNEL_TEST_GOLDEN")
    return Path(found)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the slow, real ones last, so that a broken rule shows first."""
    order = {"unit": 0, "contract": 1, "kernel": 2, "parity": 3, "integration": 4, "frontend": 5}
    items.sort(key=lambda item: order.get(Path(item.path).relative_to(config.rootpath / "tests").parts[0], 0))


def pytest_collection_finish() -> None:
    """Thousands of tests need not be looked through whenever IPython, as a shell ends, collects what is not used."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where every part is promised (PSKERNEL_TEST_NO_SKIPS), a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("PSKERNEL_TEST_NO_SKIPS"):
        return
    skipped = len(reporter.stats.get("skipped", []))
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{skipped} tests were skipped, and none may be here", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
