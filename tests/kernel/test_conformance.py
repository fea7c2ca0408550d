"""jupyter_kernel_test, with a sample for every test that can apply to a kernel whose output is streams."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import jupyter_kernel_test
import pytest

ROOT = Path(__file__).parents[2]
NAME = "remote-powershell-under-test"

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", autouse=True)
def installed(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kernelspec where Jupyter looks for it, with nothing of the user's."""
    folder = tmp_path_factory.mktemp("conformance")
    spec = folder / "data" / "kernels" / NAME
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "pskernel", "-f", "{connection_file}", f"--target=process:{pwsh}"]
    text = {"argv": argv, "display_name": NAME, "language": "powershell", "interrupt_mode": "message"}
    (spec / "kernel.json").write_text(json.dumps(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(folder / "data"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("XDG_DATA_HOME", str(folder / "share"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


class TestConformance(jupyter_kernel_test.KernelTests):
    kernel_name = NAME
    language_name = "powershell"
    file_extension = ".ps1"
    code_hello_world = "'hello, world'"
    code_stderr = "Write-Error 'oops'"
    code_generate_error = "throw 'oops'"
    code_inspect_sample = "Get-ChildItem"
    code_clear_output = (
        "$Host.UI.RawUI.SetBufferContents([Management.Automation.Host.Rectangle]::new(-1, -1, -1, -1), "
        "[Management.Automation.Host.BufferCell]::new(' ', 'White', 'Black', 'Complete')); 'then'"
    )
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "Get-ChildIt", "matches": {"Get-ChildItem"}},
        {"text": "Get-ChildItem -LiteralP", "matches": {"-LiteralPath"}},
        {"text": "$PSVersionTab", "matches": {"$PSVersionTable"}},
    ]
    complete_code_samples: ClassVar[list[str]] = ["1+1", "if ($true) { 1 }", "'text'", "# a remark"]
    incomplete_code_samples: ClassVar[list[str]] = ["if ($true) {", "@'\ntext", "1, 2 |", "'text"]
    invalid_code_samples: ClassVar[list[str]] = ["1 + }", "if (1) 2 }"]
    # Progress is what a cell displays beside its streams.
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "Write-Progress Busy; Start-Sleep -Milliseconds 300", "mime": "text/html"}
    ]
    # For the history alone, see below.
    code_execute_result: ClassVar[list[dict[str, str]]] = [{"code": code} for code in ("'one'", "'two'", "'three'")]
    supported_history_operations = ("tail", "range", "search")
    code_history_pattern = "'one*"

    # Out-Default writes to the host: a cell has streams and no result, as a line typed at a console has.
    test_execute_result = None
    # PowerShell's pager is a program of the remote's terminal, which a session has not.
    test_pager = None

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # The first cell of a session also says where it runs.
        cls.kc.execute_interactive("1", timeout=60, output_hook=lambda _: None)


class TestWelcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = NAME
    support_iopub_welcome = True
