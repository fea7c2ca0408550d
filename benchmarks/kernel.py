"""Figures of the kernel as a front end sees it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from pskernel.target import Target

ROOT = str(Path(__file__).resolve().parent.parent)
OURS = [sys.executable, "-m", "pskernel", "-f", "{connection_file}"]
PLAIN = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

# Collecting now and then keeps the engine from slowing down, and says nothing of our memory.
MILLION_LINES = (
    '1..1000000 | ForEach-Object { if ($_ % 50000 -eq 0) { [gc]::Collect() }; "line $_ of the output, a bit longer" }'
)
# Nothing is heard for as long as the middle of a long output goes to the log.
PATIENCE_SECONDS = 900


class Driven:
    """A kernel and its client; the seconds from start to the first kernel_info_reply are in ``start_s``."""

    def __init__(self, argv: list[str]) -> None:
        spec = KernelSpec(
            argv=argv, display_name="benchmark", language="any", interrupt_mode="message", env={"PYTHONPATH": ROOT}
        )
        self.manager = KernelManager()
        self.manager._kernel_spec = spec
        began = time.perf_counter()
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.start_s = time.perf_counter() - began

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell to its idle message; return the reply's content."""
        message = self.client.execute(code, allow_stdin=False)
        self._heard(message, lambda heard: heard["content"].get("execution_state") == "idle")
        return self._reply(message)

    def times(self, code: str, count: int) -> list[float]:
        """Milliseconds of each of ``count`` runs."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            assert self.run(code)["status"] == "ok"
            times.append((time.perf_counter() - began) * 1e3)
        return times

    def completion(self, code: str) -> float:
        """Milliseconds until the completions of a text are there."""
        began = time.perf_counter()
        self._reply(self.client.complete(code))
        return (time.perf_counter() - began) * 1e3

    def while_busy(self, code: str, count: int) -> list[float]:
        """Completions while a cell runs."""
        cell = self.client.execute("'busy'; while ($true) { Start-Sleep -Milliseconds 10 }")
        self._heard(cell, lambda heard: "busy" in str(heard["content"].get("text")))
        times = [self.completion(code) for _ in range(count)]
        self.manager.interrupt_kernel()
        self._reply(cell)
        return times

    def interrupt_at_prompt(self) -> float:
        """Milliseconds from the stop button to the end of a cell that waits for an answer."""
        cell = self.client.execute("Read-Host 'Name'", allow_stdin=True)
        self.client.get_stdin_msg(timeout=60)
        began = time.perf_counter()
        self.manager.interrupt_kernel()
        assert self._reply(cell)["status"] == "error"
        return (time.perf_counter() - began) * 1e3

    def _heard(self, message: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
        while True:
            heard = self.client.get_iopub_msg(timeout=PATIENCE_SECONDS)
            if heard["parent_header"].get("msg_id") == message and wanted(heard):
                return

    def _reply(self, message: str) -> dict[str, Any]:
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != message:
            pass
        content: dict[str, Any] = reply["content"]
        return content

    @property
    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.manager.provisioner.pid}/status").read_text()  # type: ignore[union-attr]
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()


@contextmanager
def driven(target: Target | None) -> Iterator[Driven]:
    """A kernel for the target, or a plain ipykernel."""
    kernel = Driven(PLAIN if target is None else [*OURS, f"--target={target}"])
    try:
        yield kernel
    finally:
        kernel.close()


def kernel_figures(target: Target) -> dict[str, float]:
    starts: dict[bool, list[float]] = {True: [], False: []}
    for plain in (True, False) * 3:
        with driven(None if plain else target) as kernel:
            starts[plain].append(kernel.start_s)
    with driven(target) as kernel:
        kernel.times("1", 30)
        completions = [kernel.completion(f"Get-ChildItem -{letter}") for letter in "PFRDNAHSL" * 3]
        while_busy = kernel.while_busy("Get-ChildI", 20)
        interrupts = [kernel.interrupt_at_prompt() for _ in range(5)]
        before = kernel.resident_mb
        kernel.times(MILLION_LINES, 1)
        growth = kernel.resident_mb - before
    return {
        "start_s": statistics.median(starts[False]),
        "ipykernel_start_s": statistics.median(starts[True]),
        "growth_mb": max(growth, 0.1),
        "completion_ms": max(completions),
        "while_busy_ms": max(while_busy),
        "interrupt_ms": max(interrupts),
    }
