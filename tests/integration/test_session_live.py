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
from pskernel.records import HostCall, HostText, Output, PipelineEnd, PipelineState, ProgressRecord, Record, TextKind
from pskernel.render.ansi import strip
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.outofproc import OutOfProcTransport
from pskernel.transports.process import open_process

pytestmark = pytest.mark.live


def live(target: str, test: Callable[[Runspace], Awaitable[None]]) -> None:
    async def main() -> None:
        async with await connect(Target.parse(target)) as runspace:
            await test(runspace)

    asyncio.run(main())


async def cell(runspace: Runspace, text: str) -> list[Record]:
    return [record async for record in await runspace.run_cell(text)]


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, HostText)]


def test_state_errors_and_history_stay_right_from_cell_to_cell(anywhere: str) -> None:
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

    live(anywhere, test)


def test_streams_come_in_order(anywhere: str) -> None:
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

    live(anywhere, test)


def test_progress_arrives_as_values(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        found = await cell(runspace, "Write-Progress -Activity copy -Status half -PercentComplete 50")
        progress = [r for r in found if isinstance(r, ProgressRecord)]
        assert ("copy", "half", 50) == (progress[0].activity, progress[0].status, progress[0].percent)

    live(anywhere, test)


async def free(runspace: Runspace) -> None:
    """Wait until the engine, which reports a stop a moment early, takes the next pipeline."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(PipelineFailed):
                await runspace.query("1")
                return


@pytest.mark.parametrize("text", ["while($true){}", "1 | % { while ($true) { $_ } }", "Start-Sleep 100"])
def test_a_stop_right_after_the_start_is_not_lost(anywhere: str, text: str) -> None:
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

    live(anywhere, test)


def test_a_debugger_break_does_not_hang_a_cell(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        async with asyncio.timeout(30):
            assert ["a\n", "b\n"] == texts(await cell(runspace, "'a'; Wait-Debugger; 'b'"))

    live(anywhere, test)


def test_a_reset_forgets_variables(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        await cell(runspace, "$x = 5")
        await runspace.reset()
        assert [None] == await runspace.query("$x")

    live(anywhere, test)


def test_large_values_in_both_directions(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        text = "é😀<&'_x000A_\r\n\t" * 20_000
        (length,) = await runspace.query("('" + text.replace("'", "''") + "').Length")
        assert len(text.encode("utf-16-le")) // 2 == length
        (back,) = await runspace.query("'é<&😀' * 100000")
        assert "é<&😀" * 100_000 == back

    live(anywhere, test)


def test_a_million_strings_do_not_pile_up(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        count = 0
        async for batch in (await runspace.invoke("1..100000 | % { 'line' }")).batches():
            count += sum(isinstance(record, Output) for record in batch)
        assert 100_000 == count

    live(anywhere, test)


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
            assert any("Welcome to web01" in str(notice) for notice in runspace.idle.take())
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


def test_prompts_can_be_answered_refused_or_stopped(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        for answer in ("typed", None):
            pipeline = await runspace.run_cell('$x = $Host.UI.ReadLine(); "got $x"')
            shown = []
            async for record in pipeline:
                if isinstance(record, HostCall) and record.expects_reply:
                    assert "ReadLine" == record.method
                    if answer is None:
                        await pipeline.refuse(record, "nobody is here")
                    else:
                        await pipeline.reply(record, answer)
                elif isinstance(record, HostText):
                    shown.append(record.text)
            assert ("got typed" if answer else "nobody is here") in "".join(shown)
        pipeline = await runspace.run_cell("$Host.UI.PromptForChoice('t', 'm', @('&a', '&b'), 0)")
        async for record in pipeline:
            if isinstance(record, HostCall) and record.expects_reply:
                assert "PromptForChoice" == record.method
                await pipeline.stop()
                await pipeline.stop()
        assert pipeline.end is not None
        assert PipelineState.STOPPED is pipeline.end.state
        await free(runspace)
        assert ["1\n"] == texts(await cell(runspace, "1"))

    live(anywhere, test)


def test_a_session_that_nobody_reads_makes_the_engine_wait(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        pipeline = await runspace.run_cell("$n = 0; while ($true) { $n++; 'x' * 1000 }")
        async with asyncio.timeout(30):
            while pipeline._drained.is_set():
                await asyncio.sleep(0)
        full = pipeline._queued_bytes
        for _ in range(20_000):
            await asyncio.sleep(0)
        assert full == pipeline._queued_bytes < 5_000_000
        await pipeline.stop()
        async with asyncio.timeout(20):
            await pipeline.wait_ended()
        assert 0 == pipeline.dropped_records
        shown = len(texts([record async for record in pipeline]))
        await free(runspace)
        # What the engine had produced beyond that is what fits into pipes and its own buffers.
        (produced,) = await runspace.query("$n")
        assert shown <= produced < shown + 5000

    live(anywhere, test)


def test_a_query_that_takes_too_long_costs_only_itself(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        await cell(runspace, "$x = 5")
        with pytest.raises(TimeoutError):
            await runspace.query("Start-Sleep 100", timeout=0.5)
        await free(runspace)
        assert [5] == await runspace.query("$x")

    live(anywhere, test)


def test_a_terminating_error_is_shown_by_the_remote(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        for text, view, expected in (
            ("throw 'broken'", "ConciseView", "Error: broken"),
            ("throw 'broken'", "NormalView", "broken"),
            ("1 +", "ConciseView", "You must provide a value expression"),
        ):
            await cell(runspace, f"$ErrorView = '{view}'")
            end = (await cell(runspace, text))[-1]
            assert isinstance(end, PipelineEnd)
            assert end.error is not None
            assert ("1 +" == text) == end.error.incomplete_input
            shown = strip("".join(line.text for line in await runspace.display_error(end.error)))
            assert expected in shown
        assert ["False\n"] == texts(await cell(runspace, "$Error.Count -eq 0"))

    live(anywhere, test)


def test_events_between_cells_are_kept_and_their_prompts_refused(anywhere: str) -> None:
    async def test(runspace: Runspace) -> None:
        await cell(
            runspace,
            "$t = [Timers.Timer]::new(10); $t.AutoReset = $false; $null = Register-ObjectEvent $t Elapsed -Action { "
            'Write-Host ticked; try { $Host.UI.ReadLine() } catch { Write-Host "refused: $_" } }; $t.Start()',
        )
        idle: list[Record] = []
        async with asyncio.timeout(20):
            while 2 > len(idle):
                idle += runspace.idle.take()
                await asyncio.sleep(0)
        first, second = texts(idle)
        assert "ticked\n" == first
        assert "no cell is running" in second
        assert ["1\n"] == texts(await cell(runspace, "1"))

    live(anywhere, test)


# ---- no process is left ----


async def gone(pid: int) -> None:
    """Wait until a process is no more (a zombie would still be one of ours to bury)."""
    async with asyncio.timeout(15):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0)


async def engine(pwsh: str) -> tuple[Runspace, int]:
    stream = await open_process([pwsh, "-s", "-NoLogo", "-NoProfile"])
    return await Runspace.open(OutOfProcTransport(stream)), stream.pid


@pytest.mark.parametrize("how", ["aclose", "cancelled aclose", "abandon"])
@pytest.mark.parametrize("text", ["1", "while ($true) { 'x' }", "[Threading.Thread]::Sleep(60000)"])
def test_no_engine_is_left(pwsh: str, text: str, how: str) -> None:
    async def main() -> None:
        runspace, pid = await engine(pwsh)
        pipeline = await runspace.run_cell(f"'go'; {text}")
        async for _ in pipeline.batches():
            break
        if how == "aclose":
            await runspace.aclose(grace=0.2)
        elif how == "abandon":
            await runspace.abandon("No patience.")
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await runspace.aclose()
        await gone(pid)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())


def test_a_call_that_cannot_be_stopped_can_be_abandoned(pwsh: str) -> None:
    async def main() -> None:
        runspace, pid = await engine(pwsh)
        pipeline = await runspace.run_cell("'go'; [Threading.Thread]::Sleep(60000); 'done'")
        found = []
        with pytest.raises(TransportClosed, match="did not stop"):
            async for record in pipeline:
                found.append(record)
                await pipeline.stop()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(pipeline.wait_ended(), 0.5)
                await runspace.abandon("It did not stop.")
        assert ["go\n"] == texts(found)
        await gone(pid)

    asyncio.run(main())


@pytest.mark.parametrize("patience", [0, 0.02, 0.1, 0.2, 0.3])
def test_an_opening_that_is_given_up_leaves_no_engine(pwsh: str, patience: float) -> None:
    async def main() -> None:
        stream = await open_process([pwsh, "-s", "-NoLogo", "-NoProfile"])
        opening = asyncio.create_task(Runspace.open(OutOfProcTransport(stream)))
        try:
            await (await asyncio.wait_for(opening, patience)).aclose()
        except TimeoutError:
            if not opening.cancelled():
                await (await opening).aclose()
        else:
            assert patience
        if patience:
            await gone(stream.pid)
        await stream.aclose()
        await gone(stream.pid)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())
