"""``%copy_item``: files between this side and a session's host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from pskernel.cells.progress import ProgressDisplay
from pskernel.copying.progress import CopyResult
from pskernel.remoting.loop import LOOP
from pskernel.remoting.transfer import Transfer
from psmagic.arguments import ArgumentError
from psmagic.base import PowerShellMagics, command_magic
from psmagic.binding import Bound
from psmagic.commands.copy_item import COPY_ITEM
from psmagic.progress import progress_of
from psmagic.pump import Pump

if TYPE_CHECKING:
    from pskernel.remoting.pssession import PSSession

__all__ = ["CopyMagics"]


@magics_class
class CopyMagics(PowerShellMagics):
    """Copies files."""

    shell: Any

    @line_magic
    @no_var_expand
    @command_magic(COPY_ITEM)
    def copy_item(self, bound: Bound) -> CopyResult:
        """Copy files and folders to or from a session's host, verified; interrupted, it goes on where it stopped."""
        to, source = bound.get("ToSession"), bound.get("FromSession")
        if to is not None and source is not None:
            raise ArgumentError(
                "'-FromSession' and '-ToSession' are mutually exclusive and cannot be specified at the same time.",
                "InvalidInput",
            )
        if to is None and source is None:
            raise ArgumentError("Give one of -ToSession $name and -FromSession $name.", "AmbiguousParameterSet")
        # As with Copy-Item, what has no destination comes into the current folder.
        destination = bound.get("Destination") or ("." if source is not None else None)
        if destination is None:
            raise ArgumentError(
                "The parameter 'Destination' cannot be null or empty.", "CopyItemRemoteDestinationIsNullOrEmpty"
            )
        session: PSSession = to or source
        progress = progress_of(self.shell)
        pump = Pump(LOOP, progress=progress)
        display = ProgressDisplay(pump.draw if progress is not None else None)
        transfer = Transfer(
            session,
            bound.get("Path") or bound.get("LiteralPath"),
            destination,
            to_remote=to is not None,
            literal=bound.set_name == "LiteralPath",
            recurse=bool(bound.get("Recurse")),
            force=bool(bound.get("Force")),
            tell=display.update,
        )

        async def work() -> CopyResult:
            try:
                return await transfer.run()
            finally:
                await display.finish()

        return pump.run(work(), transfer.cancel)
