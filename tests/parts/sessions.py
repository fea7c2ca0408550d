"""Sessions to record and to replay: the cells, and what running them shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from pskernel.records import HostCall, HostText, Notice, PipelineState
from pskernel.session.runspace import Runspace
from pskernel.transports.base import Transport
from pskernel.transports.cassettes.cassette import Cassette
from pskernel.transports.cassettes.recording import RecordingTransport
from pskernel.transports.outofproc import OutOfProcTransport
from pskernel.transports.process import open_process

# Recorded from a real engine. To make it anew: asyncio.run(record(pwsh, SAMPLE_CELLS))[0].save(SAMPLE)
# The cells tell nothing of the computer: Write-Host and Write-Information would.
SAMPLE = Path(__file__).parents[1] / "data" / "session.jsonl"
COUNT = "$n = 1 + $n; $n"
ENDLESS = "'go'; while ($true) {}"
PROMPT = "$null = $Host.UI.ReadLine(); 'thanks'"
SAMPLE_CELLS = [
    "1+1",
    COUNT,
    "Write-Warning w; Write-Progress a b -PercentComplete 5; 1/0; 'after'",
    COUNT,
    "throw 'x'",
    PROMPT,
    "'h\u00e9 \U0001f600'; exit 3",
    ENDLESS,
    "$n",
]


async def run_cell(runspace: Runspace, text: str, *, answer: str | None = None) -> list[str]:
    """Run a cell and return what it shows. Prompts are refused without an answer; an endless cell is stopped."""
    pipeline = await runspace.run_cell(text)
    seen = []
    async for record in pipeline:
        seen.append(repr(record))
        if isinstance(record, HostCall) and record.expects_reply:
            if answer is None:
                await pipeline.refuse(record, "nobody is here")
            else:
                await pipeline.reply(record, answer)
        if text == ENDLESS and isinstance(record, HostText):
            await pipeline.stop()
    if pipeline.end is not None and pipeline.end.state is PipelineState.FAILED:
        assert pipeline.end.error is not None
        seen += [repr(line) for line in await runspace.display_error(pipeline.end.error)]
    return seen


async def run_cells(runspace: Runspace, cells: Iterable[str]) -> list[list[str]]:
    return [await run_cell(runspace, text) for text in cells]


async def until_idle(runspace: Runspace) -> None:
    """Wait until the last pipeline has been seen off."""
    while runspace._turn.locked():
        await asyncio.sleep(0)


async def open_recorder(pwsh: str) -> RecordingTransport:
    stream = await open_process([pwsh, "-s", "-NoLogo", "-NoProfile"])
    return RecordingTransport(OutOfProcTransport(stream), target="process:")


async def record(pwsh: str, cells: Iterable[str]) -> tuple[Cassette, list[list[str]]]:
    """Run cells on a real engine. Returns the recording, and what they showed."""
    recorder = await open_recorder(pwsh)
    async with await Runspace.open(recorder) as runspace:
        seen = await run_cells(runspace, cells)
    return recorder.cassette(), seen


async def run_through(transport: Transport, cells: Iterable[str]) -> list[list[str]]:
    """Run cells over any transport."""
    async with await Runspace.open(transport) as runspace:
        return await run_cells(runspace, cells)


def notices(seen: list[str]) -> list[str]:
    return [line for line in seen if line.startswith(Notice.__name__)]
