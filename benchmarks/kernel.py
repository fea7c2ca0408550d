"""Figures of the kernel as a front end sees it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from pskernel.target import Target

ROOT = str(Path(__file__).resolve().parent.parent)
OURS = [sys.executable, "-m", "pskernel", "-f", "{connection_file}"]
PLAIN = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


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
        message = self.client.execute(code)
        while True:
            heard = self.client.get_iopub_msg(timeout=300)
            done = heard["msg_type"] == "status" and heard["content"]["execution_state"] == "idle"
            if done and heard["parent_header"].get("msg_id") == message:
                break
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


def kernel_figures(target: Target, cells: int) -> dict[str, float]:
    starts, plain_starts = [], []
    for _ in range(3):
        for argv, starts_of in ((PLAIN, plain_starts), ([*OURS, f"--target={target}"], starts)):
            driven = Driven(argv)
            starts_of.append(driven.start_s)
            if argv is PLAIN or len(starts) < 3:
                driven.close()
    for _ in range(30):
        driven.run("1")
    times = []
    for _ in range(cells):
        began = time.perf_counter()
        assert driven.run("1")["status"] == "ok"
        times.append((time.perf_counter() - began) * 1e3)
    before = driven.resident_mb
    assert driven.run('1..1000000 | ForEach-Object { "line $_ of the output which is a bit longer" }')["status"] == "ok"
    growth = driven.resident_mb - before
    driven.close()
    return {
        "cell_p50_ms": sorted(times)[cells // 2],
        "start_s": sorted(starts)[1],
        "ipykernel_start_s": sorted(plain_starts)[1],
        "growth_mb": max(growth, 0.1),
    }
