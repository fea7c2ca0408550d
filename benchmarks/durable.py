"""Durable sessions against plain ones, over one sshd and as a process of this machine, in one run.

    python benchmarks/durable.py [--pwsh PATH] [--lines N] [--cells N]

All take turns, cell by cell. The relay is a PowerShell process too, and gets faster for some hundred cells.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.run import COLLECT, LINE, Row, cell_times, open_times, rate, table
from pskernel.connect import connect
from pskernel.target import Target
from tests.parts.sshd import running_sshd

ROUNDS = 7
WARM_UP = 300


async def measure(targets: dict[str, Target], cells: int, lines: int) -> dict[str, list[float]]:
    """All take turns; the first round warms up."""
    seen: dict[str, list[float]] = defaultdict(list)
    text = f"1..{lines} | ForEach-Object {{ {LINE} }}"
    async with AsyncExitStack() as stack:
        runspaces = {name: await stack.enter_async_context(await connect(target)) for name, target in targets.items()}
        for turn in range(1 + ROUNDS):
            found: dict[str, list[float]] = defaultdict(list)
            for _ in range(cells if turn else WARM_UP):
                for name, runspace in runspaces.items():
                    found[f"{name} cell"] += await cell_times(runspace, 1)
            for name, runspace in runspaces.items():
                await runspace.query(COLLECT)
                found[f"{name} lines"] = [await rate(runspace.run_cell, text, lines)]
                found[f"{name} open"] = await open_times(targets[name])
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
    with running_sshd({"powershell": f"{arguments.pwsh} -sshs -NoLogo -NoProfile"}) as sshd:
        ssh = f"ssh://{sshd.user}@{sshd.host}:{sshd.port}?ssh_config={sshd.config}"
        urls = {
            "ssh": ssh, "durable ssh": f"{ssh}&durable=1",
            "process": f"process:{arguments.pwsh}", "durable process": f"process:{arguments.pwsh}?durable=1",
        }  # fmt: skip
        targets = {name: Target.parse(url) for name, url in urls.items()}
        seen = asyncio.run(measure(targets, arguments.cells, arguments.lines))
    p50 = {name: statistics.median(values) for name, values in seen.items()}
    p95 = {name: statistics.quantiles(values, n=20)[-1] for name, values in seen.items()}
    rows = []
    for kind in ("ssh", "process"):
        plain, durable = f"plain {kind}", f"durable {kind}"
        rows += [
            Row(f"open a session ({kind})", p50[f"{durable} open"], p50[f"{kind} open"], "ms", plain),
            Row("warm one-line cell, p50", p50[f"{durable} cell"], p50[f"{kind} cell"], "ms", plain, "≤ 1.3"),
            Row("the same, p95", p95[f"{durable} cell"], p95[f"{kind} cell"], "ms", plain),
            Row("lines through Out-Default", p50[f"{durable} lines"], p50[f"{kind} lines"], "/s", plain, "≥ 0.7"),
        ]
    print(table(rows))


if __name__ == "__main__":
    main()
