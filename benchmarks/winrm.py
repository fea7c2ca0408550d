"""WinRM against a local process of the same engine and against PowerShell's own Invoke-Command, in one run.

    python benchmarks/winrm.py [--pwsh PATH] [--lines N] [--cells N]

The service is the tests' WSMan bridge, in a process of its own: what it takes is part of every figure. PowerShell's client has
no WinRM outside of Windows; its Invoke-Command goes over an sshd, as in benchmarks/run.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.run import COLLECT, LINE, Row, cell_times, open_times, rate, table
from benchmarks.yardstick import Yardstick
from pskernel.connect import connect
from pskernel.target import Target
from tests.parts.sshd import running_sshd

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
WARM_UP = 200
PASSWORD = "benchmark"
SERVICE = """
import sys
from tests.fakes.wsman_bridge import WsmanBridge
with WsmanBridge([sys.argv[1], "-s", "-NoLogo", "-NoProfile"], {"bench": sys.argv[2]}, require_encryption=False) as bridge:
    print(bridge.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def bridge(pwsh: str) -> Iterator[dict[str, Target]]:
    """Targets by name: with sealed messages, and with readable ones, which is what sealing takes."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVICE, pwsh, PASSWORD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "password")
        file.touch(mode=0o600)
        file.write_text(PASSWORD)
        url = f"winrm://bench@127.0.0.1:{child.stdout.readline().strip()}?credential=file:{file}"
        plain = "auth=basic&no_encryption=true&allow_unencrypted=true"
        try:
            yield {"winrm": Target.parse(f"{url}&auth=ntlm"), "readable": Target.parse(f"{url}&{plain}")}
        finally:
            child.communicate()


async def measure(targets: dict[str, Target], engine: Yardstick, cells: int, lines: int) -> dict[str, list[float]]:
    """All take turns; the first round warms up."""
    seen: dict[str, list[float]] = defaultdict(list)
    text = f"1..{lines} | ForEach-Object {{ {LINE} }}"
    async with AsyncExitStack() as stack:
        runspaces = {name: await stack.enter_async_context(await connect(target)) for name, target in targets.items()}
        for turn in range(1 + ROUNDS):
            count = cells if turn else WARM_UP
            found = {"engine cell": engine.ask(f"cells {count}"), "engine open": engine.ask("open")}
            for name, runspace in runspaces.items():
                found[f"{name} cell"] = await cell_times(runspace, count)
                found[f"{name} open"] = await open_times(targets[name])
                await runspace.query(COLLECT)
                found[f"{name} lines"] = [await rate(runspace.run_cell, text, lines)]
            for what, values in found.items():
                seen[what] += values if turn else []
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pwsh", default=os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh"))
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--cells", type=int, default=60, help="of each in each round")
    arguments = parser.parse_args()
    if not arguments.pwsh:
        parser.error("no PowerShell: name one with --pwsh, or put pwsh on PATH")
    with (
        running_sshd({"powershell": f"{arguments.pwsh} -sshs -NoLogo -NoProfile"}) as sshd,
        bridge(arguments.pwsh) as targets,
    ):
        targets["process"] = Target.parse(f"process:{arguments.pwsh}")
        engine = Yardstick(arguments.pwsh, sshd)
        seen = asyncio.run(measure(targets, engine, arguments.cells, arguments.lines))
        engine.close()
    p50 = {name: statistics.median(values) for name, values in seen.items()}
    p95 = {name: statistics.quantiles(values, n=20)[-1] for name, values in seen.items()}
    local, command = "process:", "Invoke-Command over SSH"
    rows = [
        Row("open a session", p50["winrm open"], p50["process open"], "ms", local),
        Row("the same", p50["winrm open"], p50["engine open"], "ms", "New-PSSession over SSH"),
        Row("warm one-line cell, p50", p50["winrm cell"], p50["process cell"], "ms", local),
        Row("the same", p50["winrm cell"], p50["engine cell"], "ms", command),
        Row("the same, p95", p95["winrm cell"], p95["engine cell"], "ms", command),
        Row("the same, messages readable, p50", p50["readable cell"], p50["engine cell"], "ms", command),
        Row("lines through Out-Default", p50["winrm lines"], p50["process lines"], "/s", local),
        Row("the same, messages readable", p50["readable lines"], p50["process lines"], "/s", local),
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
