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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.kernel import kernel_figures
from benchmarks.wire import WireClient
from pskernel.connect import connect
from pskernel.protocol.pipelines import PipelineShape
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from tests.parts.sshd import Sshd, running_sshd

LINE = '"line $_ of the output which is a bit longer"'
ROUNDS = 7
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


async def session_figures(target: Target, lines: int, cells: int) -> dict[str, float]:
    opens = []
    for _ in range(3):
        began = time.perf_counter()
        runspace = await connect(target)
        opens.append((time.perf_counter() - began) * 1e3)
        if len(opens) < 3:
            await runspace.aclose()
    figures = {"open_ms": statistics.median(opens)}
    async with runspace:
        times = await cell_times(runspace, cells)
        figures["cell_p50_ms"], figures["cell_p95_ms"] = times[cells // 2], times[int(cells * 0.95)]
        objects = lines // 6
        for _ in range(2):  # the first time is the warm-up
            figures["objects_per_s"] = await rate(
                runspace.invoke, f"1..{objects} | ForEach-Object {{ {OBJECT} }}", objects
            )
    return figures


async def throughput(sshd: Sshd, lines: int) -> dict[str, dict[str, float]]:
    """Lines and strings a second of the wire and of both SSH backends: medians of rounds in which each has its turn.

    The same engine does the same work at rates that differ by a third, and gets slower with every line it has sent in
    its life: each takes up time in its small garbage collections, until a full one, which therefore goes first.
    """
    text = f"1..{lines} | ForEach-Object {{ {LINE} }}"
    seen: dict[str, list[dict[str, float]]] = {"wire": [], "asyncssh": [], "openssh": []}
    wire = WireClient(["ssh", "-T", "-F", str(sshd.config), "-p", str(sshd.port), "-s", "127.0.0.1", "powershell"])
    async with await connect(target_of(sshd)) as built_in, await connect(target_of(sshd, backend="openssh")) as system:
        for _ in range(1 + ROUNDS):
            wire.rate(PipelineShape.QUERY, COLLECT)
            seen["wire"].append(
                {"lines": wire.rate(PipelineShape.CELL, text), "strings": wire.rate(PipelineShape.QUERY, text)}
            )
            for name, runspace in (("asyncssh", built_in), ("openssh", system)):
                await runspace.query(COLLECT)
                seen[name].append(
                    {
                        "lines": await rate(runspace.run_cell, text, lines),
                        "strings": await rate(runspace.invoke, text, lines),
                    }
                )
    wire.close()
    # The first round is each engine's warm-up.
    return {
        name: {what: statistics.median(found[what] for found in rounds[1:]) for what in ("lines", "strings")}
        for name, rounds in seen.items()
    }


async def cell_times(runspace: Runspace, cells: int) -> list[float]:
    for _ in range(30):
        await drain(await runspace.run_cell("1"))
    times = []
    for _ in range(cells):
        began = time.perf_counter()
        await drain(await runspace.run_cell("1"))
        times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)


def engine_figures(pwsh: str, sshd: Sshd, lines: int, cells: int) -> dict[str, float]:
    script = Path(__file__).with_name("yardstick.ps1")
    login = f"-HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath '{sshd.key}'"
    call = f"& '{script}' {login} -KnownHosts '{sshd.known_hosts}' -Lines {lines} -Cells {cells}"
    said = subprocess.run([pwsh, "-NoProfile", "-c", call], stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(said.stdout.strip().splitlines()[-1]), "lines_per_s": entered_lines(pwsh, sshd, lines)}


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
    server = f"{pwsh} -sshs -NoLogo -NoProfile"
    with running_sshd({"powershell": server}) as sshd:
        engine = engine_figures(pwsh, sshd, lines, cells)
        ours = asyncio.run(session_figures(target_of(sshd), lines, cells))
        system = asyncio.run(session_figures(target_of(sshd, backend="openssh"), lines, cells))
        rates = asyncio.run(throughput(sshd, lines))
        kernel = kernel_figures(target_of(sshd), cells)
    wire, own = rates["wire"], rates["asyncssh"]
    client, limit = "PowerShell's client", "only reading"
    return [
        Row("open a session", ours["open_ms"], engine["open_ms"], "ms", client),
        Row("warm one-line cell, p50", ours["cell_p50_ms"], engine["cell_p50_ms"], "ms", "Invoke-Command", "≤ 0.9"),
        Row("the same, p95", ours["cell_p95_ms"], engine["cell_p95_ms"], "ms", "Invoke-Command"),
        Row("the same by system ssh, p50", system["cell_p50_ms"], engine["cell_p50_ms"], "ms", "Invoke-Command"),
        Row("lines through Out-Default", own["lines"], wire["lines"], "/s", limit, "≥ 0.8"),
        Row("the same", own["lines"], engine["lines_per_s"], "/s", "Enter-PSSession"),
        Row("the same by system ssh", rates["openssh"]["lines"], wire["lines"], "/s", limit),
        Row("strings", own["strings"], wire["strings"], "/s", limit, "≥ 0.6"),
        Row("the same", own["strings"], engine["strings_per_s"], "/s", client),
        Row("objects of 10 properties", ours["objects_per_s"], engine["objects_per_s"], "/s", client),
        Row(
            "cell through the kernel, p50",
            kernel["cell_p50_ms"],
            engine["cell_p50_ms"],
            "ms",
            "Invoke-Command",
            "≤ 1.5",
        ),
        Row("kernel start to first answer", kernel["start_s"], kernel["ipykernel_start_s"], "s", "plain ipykernel"),
        Row("memory growth, 1,000,000 lines", kernel["growth_mb"], 150.0, "MB", "the bound", "≤ 1"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pwsh", default=os.environ.get("PSKERNEL_TEST_PWSH") or shutil.which("pwsh"))
    parser.add_argument("--lines", type=int, default=30_000)
    parser.add_argument("--cells", type=int, default=300)
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
