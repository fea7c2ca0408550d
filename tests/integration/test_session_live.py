"""What only the real engine can show about a session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pskernel.connect import connect
from pskernel.errors import ConnectError, NotPowerShell, PipelineFailed, TransportClosed
from pskernel.records import HostText, Output, PipelineEnd, PipelineState, ProgressRecord, Record, TextKind
from pskernel.session.runspace import Runspace
from pskernel.target import Target

pytestmark = pytest.mark.live


def live(pwsh: str, test: Callable[[Runspace], Awaitable[None]]) -> None:
    async def main() -> None:
        async with await connect(Target.parse(f"process:{pwsh}")) as runspace:
            await test(runspace)

    asyncio.run(main())


async def cell(runspace: Runspace, text: str) -> list[Record]:
    return [record async for record in await runspace.run_cell(text)]


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, HostText)]


def test_state_errors_and_history_stay_right_from_cell_to_cell(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        await cell(runspace, "$x = 5; Get-Item /no/such/thing")
        # A query of ours in between must not be seen.
        assert ["there"] == await runspace.query("'there'")
        assert ["False\n", "5\n"] == texts(await cell(runspace, "$?; $x"))
        assert ["True\n"] == texts(await cell(runspace, "$?"))
        assert ["Cannot find path '/no/such/thing' because it does not exist.\n"] == texts(
            await cell(runspace, "$Error[0].Exception.Message")
        )
        history = "".join(texts(await cell(runspace, "(Get-History).CommandLine")))
        assert "$x = 5" in history
        assert "there" not in history

    live(pwsh, test)


def test_streams_come_in_order(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        found = await cell(
            runspace,
            "'a'; Write-Warning b; Write-Verbose c -Verbose; Write-Error d; Write-Host e -ForegroundColor Red; 'f'",
        )
        kinds = [(r.kind, r.text.strip()) for r in found if isinstance(r, HostText)]
        expected = [
            (TextKind.OUTPUT, "a"),
            (TextKind.WARNING, "b"),
            (TextKind.VERBOSE, "c"),
            (TextKind.ERROR, "Write-Error: d"),
            (TextKind.OUTPUT, "e"),
            (TextKind.OUTPUT, "f"),
        ]
        assert expected == kinds

    live(pwsh, test)


def test_progress_arrives_as_values(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        found = await cell(runspace, "Write-Progress -Activity copy -Status half -PercentComplete 50")
        progress = [r for r in found if isinstance(r, ProgressRecord)]
        assert ("copy", "half", 50) == (progress[0].activity, progress[0].status, progress[0].percent)

    live(pwsh, test)


async def free(runspace: Runspace) -> None:
    """Wait until the engine, which reports a stop a moment early, takes the next pipeline."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(PipelineFailed):
                await runspace.query("1")
                return


@pytest.mark.parametrize("text", ["while($true){}", "1 | % { while ($true) { $_ } }", "Start-Sleep 100"])
def test_a_stop_right_after_the_start_is_not_lost(pwsh: str, text: str) -> None:
    async def test(runspace: Runspace) -> None:
        for _ in range(10):
            pipeline = await runspace.run_cell(text)
            await pipeline.stop()
            async with asyncio.timeout(20):
                end = [record async for record in pipeline][-1]
            assert isinstance(end, PipelineEnd)
            assert PipelineState.STOPPED is end.state
            await free(runspace)
        assert ["1\n"] == texts(await cell(runspace, "1"))

    live(pwsh, test)


def test_a_debugger_break_does_not_hang_a_cell(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        async with asyncio.timeout(30):
            assert ["a\n", "b\n"] == texts(await cell(runspace, "'a'; Wait-Debugger; 'b'"))

    live(pwsh, test)


def test_a_reset_forgets_variables(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        await cell(runspace, "$x = 5")
        await runspace.reset()
        assert [None] == await runspace.query("$x")

    live(pwsh, test)


def test_large_values_in_both_directions(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        text = "é😀<&'_x000A_\r\n\t" * 20_000
        (length,) = await runspace.query("('" + text.replace("'", "''") + "').Length")
        assert len(text.encode("utf-16-le")) // 2 == length
        (back,) = await runspace.query("'é<&😀' * 100000")
        assert "é<&😀" * 100_000 == back

    live(pwsh, test)


def test_a_million_strings_do_not_pile_up(pwsh: str) -> None:
    async def test(runspace: Runspace) -> None:
        count = 0
        async for batch in (await runspace.invoke("1..100000 | % { 'line' }")).batches():
            count += sum(isinstance(record, Output) for record in batch)
        assert 100_000 == count

    live(pwsh, test)


def test_a_killed_engine_is_a_lost_connection(pwsh: str) -> None:
    async def main() -> None:
        runspace = await connect(Target.parse(f"process:{pwsh}"))
        (pid,) = await runspace.query("$PID")
        pipeline = await runspace.run_cell(
            f"'before'; [Diagnostics.Process]::GetProcessById({pid}).Kill(); Start-Sleep 60"
        )
        found: list[str] = []
        with pytest.raises(TransportClosed) as caught:
            async for record in pipeline:
                assert isinstance(record, HostText)
                found.append(record.text)
        assert ["before\n"] == found
        assert 1 == str(caught.value).count(signal.Signals.SIGKILL.name)
        await runspace.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        ("#!/bin/sh\necho fatal: no runtime >&2; exit 3\n", NotPowerShell, "fatal: no runtime"),
        ("#!/bin/sh\nexec cat\n", NotPowerShell, "sends back what it was sent"),
        ("#!/bin/sh\nexec yes\n", NotPowerShell, "not as PowerShell does"),
        ("#!/bin/sh\necho HTTP/1.1 400 Bad Request\n", NotPowerShell, "HTTP/1.1 400 Bad Request"),
        ("#!/bin/sh\nexec sleep 100\n", NotPowerShell, "within 2 seconds"),
    ],
)
def test_what_is_no_powershell_is_told(tmp_path: Path, program: str, error: type[ConnectError], says: str) -> None:
    file = tmp_path / "program"
    file.write_text(program)
    file.chmod(0o755)

    async def main() -> None:
        with pytest.raises(error, match=says):
            await connect(Target.parse(f"process:{file}?open_timeout=2"))

    asyncio.run(main())


def test_a_banner_before_powershell_is_only_a_notice(pwsh: str, tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\necho 'Welcome to web01'\nexec {pwsh} \"$@\"\n")
    file.chmod(0o755)

    async def main() -> None:
        async with await connect(Target.parse(f"process:{file}")) as runspace:
            assert any("Welcome to web01" in str(notice) for notice in runspace.take_idle_records())
            assert ["1\n"] == texts(await cell(runspace, "1"))

    asyncio.run(main())


def test_a_running_powershell_can_be_attached_to(pwsh: str) -> None:
    async def main() -> None:
        host = await asyncio.create_subprocess_exec(
            pwsh,
            "-NoLogo",
            "-NoProfile",
            "-c",
            "'ready'; [Console]::In.ReadLine()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert host.stdout is not None
        assert b"ready\n" == await host.stdout.readline()
        try:
            async with await connect(Target.parse(f"pid:{host.pid}")) as runspace:
                assert [host.pid] == await runspace.query("$PID")
        finally:
            host.kill()
            await host.wait()

    asyncio.run(main())
