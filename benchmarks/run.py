"""One table of ratios, in one run: pskernel against PowerShell's own client and against the wire limit.

    python benchmarks/run.py [--pwsh PATH] [--lines N] [--cells N] [--json FILE]

Everything goes over one sshd that this script starts on loopback (OpenSSH must be installed). Absolute numbers depend on
the machine; the ratios are what docs/performance.md quotes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.kernel import driven, kernel_figures
from benchmarks.wire import WireClient
from benchmarks.yardstick import Yardstick
from pskernel.connect import connect
from pskernel.protocol.pipelines import PipelineShape
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.parts.sshd import Sshd, running_sshd

LINE = '"line $_ of the output which is a bit longer"'
ROUNDS = 7
WARM_UP = 300
COLLECT = "[gc]::Collect()"
OBJECT = (
    '[pscustomobject]@{ Id = $_; Name = "server$_"; Cpu = 1.5; Ok = $true; A = "a"; B = "b"; C = 3; D = 4L; '
    'When = [datetime]::UnixEpoch; Note = "some text" }'
)


@dataclass
class Row:
    what: str
    ours: float
    theirs: float
    unit: str
    against: str
    goal: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def target_of(sshd: Sshd, **options: str) -> Target:
    return Target.parse(
        f"ssh://{sshd.user}@127.0.0.1:{sshd.port}",
        {"ssh_config": str(sshd.config), **options},
    )


async def drain(pipeline: Pipeline) -> int:
    count = 0
    async for batch in pipeline.batches():
        count += len(batch)
    return count


async def rate(start: Callable[[str], object], script: str, count: int) -> float:
    began = time.perf_counter()
    await drain(await start(script))  # type: ignore[misc]
    return count / (time.perf_counter() - began)


async def open_times(target: Target) -> list[float]:
    began = time.perf_counter()
    runspace = await connect(target)
    seconds = time.perf_counter() - began
    await runspace.aclose()
    return [seconds * 1e3]


async def cell_times(runspace: Runspace, cells: int) -> list[float]:
    times = []
    for _ in range(cells):
        began = time.perf_counter()
        await drain(await runspace.run_cell("1"))
        times.append((time.perf_counter() - began) * 1e3)
    return times


async def latencies(sshd: Sshd, engine: Yardstick, cells: int) -> dict[str, list[float]]:
    """Milliseconds of each of the one-line cells, and of opening, of everybody who can run them.

    Both ends get faster for some hundred cells, and the machine's speed changes by the minute: all have run the same
    number before, and take turns.
    """
    target = target_of(sshd)
    seen: dict[str, list[float]] = defaultdict(list)
    with driven(target) as kernel, driven(None) as plain:
        async with await connect(target) as built_in, await connect(target_of(sshd, backend="openssh")) as system:
            for turn in range(1 + ROUNDS):
                count = cells if turn else WARM_UP
                found = {
                    "engine": engine.ask(f"cells {count}"),
                    "built-in": await cell_times(built_in, count),
                    "system": await cell_times(system, count),
                    "kernel": kernel.times("1", count),
                    "empty": kernel.times(" ", count),
                    "ipykernel": plain.times("1", count),
                    "open": await open_times(target),
                    "engine open": engine.ask("open"),
                }
                for name, times in found.items():
                    seen[name] += times if turn else []
    return seen


async def throughput(sshd: Sshd, engine: Yardstick, lines: int) -> dict[str, dict[str, float]]:
    """Lines, strings and objects a second: medians of rounds in which each client has its turn.

    The same engine does the same work at rates that differ by a third, and gets slower with every line it has sent in
    its life: each takes up time in its small garbage collections, until a full one, which therefore goes first.
    """
    text, objects = f"1..{lines} | ForEach-Object {{ {LINE} }}", lines // 6
    things = f"1..{objects} | ForEach-Object {{ {OBJECT} }}"
    seen: dict[str, list[dict[str, float]]] = defaultdict(list)
    wire = WireClient(["ssh", "-T", "-F", str(sshd.config), "-p", str(sshd.port), "-s", "127.0.0.1", "powershell"])
    async with await connect(target_of(sshd)) as built_in, await connect(target_of(sshd, backend="openssh")) as system:
        for _ in range(1 + ROUNDS):
            wire.rate(PipelineShape.QUERY, COLLECT)
            seen["wire"].append(
                {"lines": wire.rate(PipelineShape.CELL, text), "strings": wire.rate(PipelineShape.QUERY, text)}
            )
            for name, runspace in (("built-in", built_in), ("system", system)):
                await runspace.query(COLLECT)
                seen[name].append(
                    {
                        "lines": await rate(runspace.run_cell, text, lines),
                        "strings": await rate(runspace.invoke, text, lines),
                        "objects": await rate(runspace.invoke, things, objects),
                    }
                )
            seen["engine"].append(
                {"strings": engine.median(f"strings {lines}"), "objects": engine.median(f"objects {objects}")}
            )
    wire.close()
    # The first round is each engine's warm-up.
    return {
        name: {what: statistics.median(found[what] for found in rounds[1:]) for what in rounds[0]}
        for name, rounds in seen.items()
    }


def entered_lines(pwsh: str, sshd: Sshd, lines: int) -> float:
    """Lines a second that the engine's own Enter-PSSession shows, from the first line to the last."""
    options = f"@{{UserKnownHostsFile='{sshd.known_hosts}'}}"
    enter = f"Enter-PSSession -HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath {sshd.key}"
    warm_up = f"1..{lines} | ForEach-Object {{ {LINE.replace('line', 'warm-up')} }}"
    measured = f"{COLLECT}\n1..{lines} | ForEach-Object {{ {LINE} }}"
    typed = f"{enter} -Options {options}\n{warm_up}\n{measured}\nexit\nexit\n"
    child = subprocess.Popen([pwsh, "-NoLogo", "-NoProfile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(typed)
    child.stdin.close()
    began = shown = 0.0
    for line in child.stdout:
        if "line 1 of the output" in line:
            began = time.perf_counter()
        elif f"line {lines} of the output" in line:
            shown = time.perf_counter()
    child.wait()
    return (lines - 1) / (shown - began)


def table(rows: list[Row]) -> str:
    text = ["| what | pskernel | compared with | ratio | goal |", "|---|---|---|---|---|"]
    for row in rows:
        ours, theirs = (f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in (row.ours, row.theirs))
        text.append(
            f"| {row.what} | {ours} {row.unit} | {theirs} {row.unit} ({row.against}) | {row.ratio:.2f} | {row.goal} |"
        )
    return "\n".join(text)


def compare(pwsh: str, lines: int, cells: int) -> list[Row]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as sshd:
        engine = Yardstick(pwsh, sshd)
        times = asyncio.run(latencies(sshd, engine, cells))
        rates = asyncio.run(throughput(sshd, engine, lines))
        engine.close()
        entered = entered_lines(pwsh, sshd, lines)
        kernel = kernel_figures(target_of(sshd))
    p50 = {name: statistics.median(found) for name, found in times.items()}
    p95 = {name: statistics.quantiles(found, n=20)[-1] for name, found in times.items()}
    wire, own, system = rates["wire"], rates["built-in"], rates["system"]
    client, limit, command = "PowerShell's client", "only reading", "Invoke-Command"
    return [
        Row("open a session", p50["open"], p50["engine open"], "ms", client),
        Row("warm one-line cell, p50", p50["built-in"], p50["engine"], "ms", command, "≤ 0.9"),
        Row("the same, p95", p95["built-in"], p95["engine"], "ms", command),
        Row("the same by system ssh, p50", p50["system"], p50["engine"], "ms", command, "≤ 0.9"),
        Row("cell through the kernel, p50", p50["kernel"], p50["engine"], "ms", command, "≤ 1.5"),
        Row("the same", p50["kernel"], p50["ipykernel"], "ms", "the same cell in plain ipykernel"),
        Row("an empty cell through the kernel, p50", p50["empty"], p50["engine"], "ms", command),
        Row("lines through Out-Default", own["lines"], wire["lines"], "/s", limit, "≥ 0.8"),
        Row("the same by system ssh", system["lines"], wire["lines"], "/s", limit, "≥ 0.8"),
        Row("the same", own["lines"], entered, "/s", "Enter-PSSession"),
        Row("strings", own["strings"], wire["strings"], "/s", limit, "≥ 0.6"),
        Row("the same", own["strings"], rates["engine"]["strings"], "/s", client),
        Row("objects of 10 properties", own["objects"], rates["engine"]["objects"], "/s", client),
        Row("kernel start to first answer", kernel["start_s"], kernel["ipykernel_start_s"], "s", "plain ipykernel"),
        Row("completion, the slowest of 27", kernel["completion_ms"], 1000.0, "ms", "what JupyterLab waits", "≤ 1"),
        Row("the same while a cell runs, of 20", kernel["while_busy_ms"], 1000.0, "ms", "the same", "≤ 1"),
        Row("interrupt at a prompt, the slowest of 5", kernel["interrupt_ms"], 1000.0, "ms", "a second", "≤ 1"),
        Row("memory growth, 1,000,000 lines", kernel["growth_mb"], 150.0, "MB", "the bound", "≤ 1"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pwsh", default=os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh"))
    parser.add_argument("--lines", type=int, default=30_000)
    parser.add_argument("--cells", type=int, default=60, help="of each client in each round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.pwsh:
        parser.error("no PowerShell: name one with --pwsh, or put pwsh on PATH")
    rows = compare(arguments.pwsh, arguments.lines, arguments.cells)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([{**vars(row), "ratio": row.ratio} for row in rows], indent=1))


if __name__ == "__main__":
    main()
