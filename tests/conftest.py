"""Fixtures shared by all tests: where the real parts are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pwsh() -> str:
    """The real PowerShell engine: PSKERNEL_TEST_PWSH, or pwsh on PATH."""
    found = os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh")
    if not found:
        pytest.skip("no PowerShell engine: set PSKERNEL_TEST_PWSH or put pwsh on PATH")
    return str(Path(found).absolute())


@pytest.fixture(scope="session")
def golden() -> Path:
    """Recordings of a real PowerShell console that are not part of this project."""
    found = os.environ.get("PSKERNEL_TEST_GOLDEN")
    if not found:
        pytest.skip("no golden recordings: set PSKERNEL_TEST_GOLDEN")
    return Path(found)
