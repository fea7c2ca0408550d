"""Files copied over a session of the list, which is taken meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pskernel.copying.copy import receive_items, send_items
from pskernel.copying.progress import CopyResult
from pskernel.questions import NobodyToAsk

if TYPE_CHECKING:
    from pskernel.records import ProgressRecord
    from pskernel.remoting.listed import ListedSession

__all__ = ["Transfer"]


class Transfer:
    """One copy. Belongs to the sessions' loop.

    Args:
        session: the session.
        paths: what is copied.
        destination: where to.
        to_remote: whether it goes there, or comes from there.
        literal, recurse, force, tell: as :func:`pskernel.copying.copy.send_items` has them.

    Raises:
        RemotingError: the session is not open, or a command runs in it.
    """

    def __init__(
        self,
        session: ListedSession,
        paths: Sequence[str],
        destination: str,
        *,
        to_remote: bool,
        literal: bool = False,
        recurse: bool = False,
        force: bool = False,
        tell: Callable[[ProgressRecord], object] | None = None,
    ) -> None:
        session.claim()
        self._session = session
        self._paths = paths
        self._destination = destination
        self._copy = send_items if to_remote else receive_items
        self._literal = literal
        self._recurse = recurse
        self._force = force
        self._tell = tell
        self._task: asyncio.Task[CopyResult] | None = None

    async def run(self) -> CopyResult:
        """Copy it all.

        Raises:
            PSKernelError: something could not be copied.
            CancelledError: :meth:`cancel` was called; the next copy goes on from there.
        """
        self._task = asyncio.create_task(self._run())
        try:
            return await self._task
        finally:
            self._session.release()

    def cancel(self) -> None:
        """End it where it is."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> CopyResult:
        # Which asks where the session is, if another host is in front of it.
        runspace = await self._session.session.ready(NobodyToAsk())
        total: CopyResult | None = None
        for path in self._paths:
            result = await self._copy(
                runspace,
                path,
                self._destination,
                literal=self._literal,
                recurse=self._recurse,
                force=self._force,
                tell=self._tell,
            )
            total = result if total is None else total.plus(result)
        assert total is not None  # noqa: S101 - there is one path at least
        return total
