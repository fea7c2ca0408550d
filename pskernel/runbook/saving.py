"""The executed notebook on its way to the disk, again and again while a run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat

from pskernel.locks import held
from pskernel.masking import Masker
from pskernel.runbook.notebook import NotebookError, write_notebook
from pskernel.runbook.report import Report, RunState

__all__ = ["Saving", "alone"]


class Saving:
    """Writes one notebook to one place, with its run's report.

    Args:
        notebook: the notebook.
        report: goes into its metadata.
        out: the place.
        masker: what it has learned since the last time is taken out of all cells before they are written.

    Attributes:
        written: where the notebook is by now; None if nowhere.
    """

    def __init__(self, notebook: Any, report: Report, out: Path, masker: Masker) -> None:
        self.written: Path | None = None
        self._notebook = notebook
        self._report = report
        self._out = out
        self._masker = masker
        self._known = 0
        self._began = time.monotonic()
        self._writing = asyncio.Lock()

    async def save(self) -> None:
        """Write it. Nobody may change the notebook before this returns, or was cancelled and :meth:`end` begins.

        Raises:
            NotebookError: it cannot be written.
        """
        # A write that has begun goes to its end, whoever is cancelled, and the next one waits for it.
        await asyncio.shield(asyncio.create_task(self._write(self._out)))

    async def end(self) -> None:
        """Write it for the last time; if that fails, to the temporary directory, and the report says so."""
        try:
            await self.save()
        except NotebookError as error:
            await self._save_elsewhere(str(error))

    async def _save_elsewhere(self, why: str) -> None:
        report, self.written = self._report, None
        if report.state in (RunState.COMPLETED, RunState.EXITED, RunState.RUNNING):
            report.state, report.error_id = RunState.FAILED, NotebookError.__name__
        before = report.problem if report.problem.endswith(why) or not report.problem else f"{report.problem} {why}"
        try:
            # A folder of our own: what others have put into the shared one is not written over.
            other = Path(tempfile.mkdtemp(prefix="pskernel-")) / self._out.name
            report.problem = f"{before or why} What the run has come to was written to {other} instead."
            await asyncio.shield(asyncio.create_task(self._write(other)))
        except (NotebookError, OSError):
            report.problem = f"{before or why} Nor could it be written to the temporary directory."

    async def _write(self, place: Path) -> None:
        async with self._writing:
            self._report.duration = round(time.monotonic() - self._began, 3)
            self._mask_again()
            self._notebook.metadata["pskernel"] = nbformat.from_dict(asdict(self._report))
            # A notebook may be large: neither signals nor other hosts' cells need wait for it.
            await asyncio.to_thread(write_notebook, self._notebook, place)
            self.written = place

    def _mask_again(self) -> None:
        """Take what was only learned now to be secret out of the cells that had shown it before."""
        known, self._known = self._known, self._masker.known
        if known == self._known:
            return
        for cell in self._notebook.cells:
            if cell.get("outputs"):
                cell.outputs = nbformat.from_dict(self._masker.mask_all(cell.outputs))
            record = cell.metadata.get("pskernel")
            if record is not None and record.get("error_id"):
                record["error_id"] = self._masker.mask(str(record["error_id"]))
        self._report.problem, self._report.error_id = map(
            self._masker.mask, (self._report.problem, self._report.error_id)
        )


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs from the same file: the two would write over each other, and a cell might run twice.

    Raises:
        NotebookError: another run has it, or nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        try:
            ours = stack.enter_context(held(out.absolute().with_name(f".{out.absolute().name}.lock")))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise NotebookError(f"The notebook {out} cannot be written: {reason}.") from None
        if not ours:
            raise NotebookError(
                f"Another run is writing {out}. Wait for its end, stop it, or name another file with --output."
            )
        yield
