"""What PowerShell takes for true."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from typing import Any

import pytest

from pskernel.cells.assertion import is_true
from pskernel.protocol.clixml import PSObject

VALUES: list[tuple[str, Any]] = [
    ("$true", True), ("$false", False), ("$null", None), ("0", 0), ("-1", -1), ("0.0", 0.0), ("0.5", 0.5),
    ("[decimal]0", Decimal(0)), ("''", ""), ("'False'", "False"), ("@()", []), ("@(0)", [0]), ("@(1)", [1]), ("@(0, 0)", [0, 0]),
    ("@('')", [""]), ("@($false, $false)", [False, False]),
]  # fmt: skip


@pytest.mark.live
def test_it_is_what_the_engine_takes_for_true(pwsh: str) -> None:
    script = "ConvertTo-Json @(" + ", ".join(f"[bool]({text})" for text, _ in VALUES) + ")"
    told = json.loads(subprocess.run([pwsh, "-c", script], capture_output=True, text=True, check=True).stdout)

    assert told == [is_true(value) for _, value in VALUES]


def test_objects_are_true_and_covers_are_what_they_cover() -> None:
    assert is_true(PSObject(type_names=("X",), properties={}))
    assert not is_true(PSObject(type_names=("System.Int32",), properties={}, value=0))
    assert is_true(object())
