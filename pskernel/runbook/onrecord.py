"""A run put on record in an audit log, cell by cell."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from pskernel.audit import AuditLog, CellRan, CellSent, Digest, Event, RunBegan, RunEnded, Where
from pskernel.cells.place import Place
from pskernel.masking import Masker
from pskernel.runbook.cellrun import Judged
from pskernel.runbook.report import Report

__all__ = ["OnRecord"]


class OnRecord:
    """Writes the events of one run.

    Args:
        log: where to.
        notebook: the notebook's path.
        sha256: of its file.
        masker: takes this run's secrets out, where the log does not do so itself.

    Every method raises AuditError if the event may not be on record.
    """

    def __init__(self, log: AuditLog, notebook: str, sha256: str, masker: Masker | None = None) -> None:
        self._log = log
        self._run_id = uuid4().hex
        self._notebook = notebook
        self._sha256 = sha256
        self._masker = masker

    @property
    def anchor(self) -> str:
        """What to keep elsewhere, so that nobody can take the end of the log away unseen."""
        return self._log.anchor

    async def began(self, place: Place) -> None:
        """The run begins."""
        await self._append(RunBegan(**self._common(place)))

    async def sent(self, place: Place, index: int, cell: Any) -> None:
        """A cell is about to be sent."""
        await self._append(CellSent(**self._common(place), **_which(index, cell)))

    async def ran(self, place: Place, index: int, cell: Any, judged: Judged, seconds: float) -> None:
        """A cell is over."""
        await self._append(
            CellRan(
                **self._common(place),
                **_which(index, cell),
                output=Digest.of(cell.outputs),
                state=str(judged.state),
                error_id=judged.error_id or None,
                exit_code=judged.exit_code,
                seconds=round(seconds, 3),
            )
        )

    async def ended(self, place: Place, report: Report) -> None:
        """The run is over."""
        await self._append(
            RunEnded(
                **self._common(place),
                state=str(report.state),
                exit_code=report.exit_code,
                problem=report.problem,
                seconds=report.duration,
            )
        )

    async def _append(self, event: Event) -> None:
        # It is on the disk when this returns.
        await asyncio.to_thread(self._log.append, event, self._masker)

    def _common(self, place: Place) -> dict[str, Any]:
        return {
            "run_id": self._run_id,
            "notebook": self._notebook,
            "notebook_sha256": self._sha256,
            "where": _where(place),
        }


def _which(index: int, cell: Any) -> dict[str, Any]:
    return {"cell_index": index, "cell_id": str(cell.get("id", "")), "source": cell.source}


def _where(place: Place) -> Where:
    target, session = place.target, place.session
    if target is None or session is None:
        return Where()
    peer = session.runspace.peer if session.runspace is not None else None
    return Where(
        target=target.redacted,
        transport=target.scheme,
        computer=session.facts.computer or None,
        user=session.facts.user or None,
        fingerprint=(peer.key if peer else "") or None,
        auth_method=(peer.auth if peer else "") or None,
        version=session.facts.version or None,
        place=session.place if session.is_away else None,
    )
