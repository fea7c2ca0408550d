"""What stands behind an entering magic in its cell, found out when it is about to run.

Most such cells are refused from their text, before any of them runs. Not all can be: a cell that loads the extension
first, `%time %enter_pssession`, an alias, a script that IPython runs as one cell. IPython runs the statements of a cell
one by one, and that is where the next one is stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["RestOfCell"]


class RestOfCell:
    """Stops the statements of the running cell from here on. Over with that cell, or when another one begins.

    Args:
        shell: the InteractiveShell.
        leave: called before the first of them is refused.
        refusal: code that raises the error.
    """

    def __init__(self, shell: Any, leave: Callable[[], object], refusal: str) -> None:
        self._shell = shell
        self._leave = leave
        self._refusal = refusal
        self._run_code = shell.run_code
        shell.run_code = self._refuse
        for event in ("pre_execute", "post_execute"):
            shell.events.register(event, self.end)

    def end(self) -> None:
        """Statements run again."""
        if vars(self._shell).get("run_code") == self._refuse:
            del self._shell.run_code
        for event in ("pre_execute", "post_execute"):
            with contextlib.suppress(ValueError):  # it was taken out already
                self._shell.events.unregister(event, self.end)

    async def _refuse(self, _code: Any, result: Any = None, **_: Any) -> bool:
        self.end()
        self._leave()
        failed: bool = await self._run_code(compile(self._refusal, "<pskernel>", "exec"), result)
        return failed
