"""A notebook run from beginning to end with nobody watching: by nbclient, in a kernel of its own.

The kernel is started from no installed kernelspec, with this interpreter, so that a run depends on nothing but the
notebook and its target. The executed notebook is written before the first cell, after each one, and at the end: what
is on disk after a crash is what had happened by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from pskernel.runbook.notebook import (
    EXPECTED_TAG,
    SKIP_TAG,
    NotebookError,
    counts,
    join_streams,
    plain,
    runs,
    title_of,
    write_notebook,
)
from pskernel.runbook.report import AFTER_CELL, CellDone, CellState, Report, RunState, Watcher
from pskernel.target import Target

__all__ = ["KernelStart", "NotebookRun"]

_START_SECONDS = 60
# Between a reply and the idle that follows it, which nbclient would not wait for much longer than a moment.
_IDLE_SECONDS = 60
_INFO_SECONDS = 5.0
# A recording is written while the kernel shuts down; jupyter_client terminates the kernel after half of this.
_SHUTDOWN_SECONDS = 30.0
_INTERRUPT_AGAIN_SECONDS = 1.0
_LOG_CHARS = 2000
# What ipykernel logs below its errors is about its sockets, and explains nothing to anybody.
_CHATTER = re.compile(r"\[\w+\] (?:DEBUG|INFO|WARNING)\b")


@dataclass(frozen=True, slots=True)
class KernelStart:
    """How the kernel is started.

    Attributes:
        target: where cells run; None leaves it to a ``#% target`` line of the notebook.
        options: options of the target that such a line names; unused if ``target`` is given.
        env: variables to add to the kernel's environment.
        record: the file the kernel records the session to, or None.
    """

    target: Target | None
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    record: Path | None = None

    def spec(self) -> KernelSpec:
        """A kernelspec that only exists here."""
        # Notebooks lie beside files of any name; -P keeps a random.py there from being imported.
        argv = [sys.executable, "-P", "-m", "pskernel", "-f", "{connection_file}"]
        if self.target is not None:
            argv.append(f"--target={self.target}")
        else:
            argv += [f"--option={name}={value}" for name, value in self.options.items()]
        if self.record is not None:
            argv.append(f"--record={self.record.absolute()}")
        return KernelSpec(
            argv=argv,
            display_name="Remote PowerShell",
            language="powershell",
            interrupt_mode="message",
            env=dict(self.env),
        )


class _Manager(AsyncKernelManager):
    """Starts a kernel from a kernelspec that is not installed."""

    own_spec: KernelSpec

    @property
    def kernel_spec(self) -> KernelSpec:
        return self.own_spec


class NotebookRun:
    """One run of one notebook. ``notebook`` is changed: its outputs are those of this run.

    Args:
        notebook: as :func:`read_notebook` returns it.
        start: how to start the kernel.
        out: where to write the executed notebook.
        watcher: is told of each cell.

    Attributes:
        last_words: what the kernel had to say in its log, or the end of it, once the run is over. For whoever runs it:
            it may quote cells, and is not kept.
    """

    def __init__(self, notebook: Any, start: KernelStart, out: Path, watcher: Watcher) -> None:
        self._notebook = notebook
        self._out = out
        self._watcher = watcher
        self._manager = _Manager(kernel_name="pskernel-run", shutdown_wait_time=_SHUTDOWN_SECONDS)
        self._manager.own_spec = start.spec()
        self._client = NotebookClient(
            notebook,
            km=self._manager,
            startup_timeout=_START_SECONDS,
            iopub_timeout=_IDLE_SECONDS,
            # A failed cell is told by its reply.
            allow_errors=True,
            skip_cells_with_tag=SKIP_TAG,
            on_cell_executed=self._replied,
        )
        self.last_words = ""
        self._log: IO[bytes] | None = None
        self._reply: dict[str, Any] = {}
        self._asked = 0
        self._sent = False
        self._stop = asyncio.Event()
        self._began = 0.0
        self._facts: dict[str, Any] = {
            "target": None if start.target is None else start.target.redacted,
            "version": None,
            "started": "",
            "exit_code": None,
            "failed_cell": None,
            "state": RunState.RUNNING,
            "problem": "",
        }

    async def run(self) -> Report:
        """Run the notebook. Must be called once. Cancelling it ends the kernel, and leaves the notebook written.

        Raises:
            NotebookError: the executed notebook cannot be written. If that shows at once, nothing was run.
        """
        self._began = time.monotonic()
        self._facts["started"] = datetime.now(UTC).isoformat(timespec="seconds")
        for cell in self._notebook.cells:
            if runs(cell):
                cell.update(outputs=[], execution_count=None)
                cell.metadata.pop("execution", None)
        self._save()
        try:
            with tempfile.TemporaryFile() as self._log:
                try:
                    if await self._until_stopped(self._start_kernel()):
                        await self._run_cells()
                        await self._ask_language()
                finally:
                    await self._shut_down()
                    self.last_words = self._log_tail()
        finally:
            if self._facts["state"] is RunState.RUNNING:
                self._facts["state"] = RunState.INTERRUPTED
            self._save()
        return self._report()

    def interrupt(self) -> None:
        """Stop the running cell on the remote, then the run. A second time: kill the kernel without waiting."""
        self._asked += 1
        self._stop.set()

    async def _start_kernel(self) -> None:
        try:
            await self._manager.start_kernel(stdout=self._log, stderr=self._log)
            await self._client.async_start_new_kernel_client()
        except (RuntimeError, OSError) as error:
            self._facts["state"] = RunState.NOT_RUN
            self._facts["problem"] = f"The kernel could not be started: {error}."

    async def _until_stopped(self, work: Awaitable[None]) -> bool:
        """Whether the work was done before anybody asked to stop."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return not self._stop.is_set()

    async def _run_cells(self) -> None:
        cells = [(index, cell) for index, cell in enumerate(self._notebook.cells) if counts(cell)]
        for number, (index, cell) in enumerate(cells, 1):
            if self._facts["state"] is not RunState.RUNNING:
                return
            if self._stop.is_set():
                self._facts["state"] = RunState.INTERRUPTED
                return
            title = title_of(cell.source)
            began = time.monotonic()
            state, message = CellState.SKIPPED, ""
            if runs(cell):
                self._watcher.begins(number, len(cells), title)
                state, message = await self._run_cell(cell, index)
            if state in AFTER_CELL:
                failed = None if state is CellState.EXITED else index
                never_sent = state is CellState.UNSENT and not self._sent
                after = RunState.NOT_RUN if never_sent else AFTER_CELL[state]
                self._facts.update(state=after, failed_cell=failed, problem=message)
            seconds = time.monotonic() - began
            self._watcher.ended(CellDone(index, number, len(cells), title, state, seconds, message))
            # If this fails for good, the last attempt says so.
            with contextlib.suppress(NotebookError):
                self._save()
        if self._facts["state"] is RunState.RUNNING:
            self._facts["state"] = RunState.COMPLETED

    async def _run_cell(self, cell: Any, index: int) -> tuple[CellState, str]:
        count = self._client.code_cells_executed + 1
        executing = asyncio.ensure_future(self._client.async_execute_cell(cell, index, execution_count=count))
        try:
            await self._see_through(executing)
        except DeadKernelError:
            if self._stop.is_set():
                return (
                    CellState.INTERRUPTED,
                    "The kernel was killed while the cell ran; its command may still be running on the remote.",
                )
            return CellState.FAILED, "The kernel's process died while the cell ran."
        finally:
            cell.outputs = join_streams(cell.outputs)
        return self._judge(cell)

    async def _see_through(self, executing: asyncio.Future[Any]) -> None:
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({executing, stop}, return_when=asyncio.FIRST_COMPLETED)
            while not executing.done():
                if self._asked > 1:
                    await self._manager.shutdown_kernel(now=True)
                    break
                # A kernel that has not begun with the cell misses the message.
                await self._manager.interrupt_kernel()
                await asyncio.wait({executing}, timeout=_INTERRUPT_AGAIN_SECONDS)
            await executing
        finally:
            stop.cancel()
            executing.cancel()
            await asyncio.gather(stop, executing, return_exceptions=True)

    def _judge(self, cell: Any) -> tuple[CellState, str]:
        content = self._reply["content"]
        record = self._reply["metadata"].get("pskernel", {})
        sent = record.get("sent", True)
        self._sent = self._sent or sent
        for fact in ("target", "version", "exit_code"):
            if record.get(fact) not in (None, ""):
                self._facts[fact] = record[fact]
        if content["status"] == "ok":
            if record.get("exit_code") is not None:
                return CellState.EXITED, ""
            return (CellState.INTERRUPTED if self._stop.is_set() else CellState.OK), ""
        name = str(content.get("ename", ""))
        message = plain(str(content.get("evalue", "")))
        if self._stop.is_set():
            return CellState.INTERRUPTED, message
        # Also where the cell is tagged: what it announces is an error of PowerShell's. To go on after one of ours would
        # be another login for each cell, or cells in a new session without what the cells before have done.
        if not sent:
            return CellState.UNSENT, message
        if EXPECTED_TAG in cell.metadata.get("tags", []) and not record.get("own_error", False):
            return CellState.EXPECTED, message
        # `throw "text"` makes the text its own id.
        return CellState.FAILED, message if plain(name) == message else f"{plain(name)}: {message}"

    def _replied(self, *, execute_reply: dict[str, Any], **_: Any) -> None:
        self._reply = execute_reply

    async def _ask_language(self) -> None:
        """Note what language the kernel speaks; it knows the version once it is connected."""
        if self._client.kc is None or not await self._manager.is_alive():
            return
        with contextlib.suppress(TimeoutError, DeadKernelError):
            async with asyncio.timeout(_INFO_SECONDS):
                reply = await self._client.async_wait_for_reply(self._client.kc.kernel_info())
                self._notebook.metadata["language_info"] = reply["content"]["language_info"]

    async def _shut_down(self) -> None:
        if self._client.kc is not None:
            self._client.kc.stop_channels()
        if self._manager.has_kernel:
            await self._manager.shutdown_kernel(now=self._asked > 1)
        else:
            await self._manager.cleanup_resources()

    def _log_tail(self) -> str:
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_CHARS))
        lines = plain(self._log.read().decode("utf-8", "replace")).splitlines()
        return "\n".join(line for line in lines if not _CHATTER.match(line)).strip()

    def _report(self) -> Report:
        return Report(duration=round(time.monotonic() - self._began, 3), **self._facts)

    def _save(self) -> None:
        self._notebook.metadata["pskernel"] = nbformat.from_dict(asdict(self._report()))
        write_notebook(self._notebook, self._out)
