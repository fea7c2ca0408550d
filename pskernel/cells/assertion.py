"""A cell that states what must be so: it fails unless every value that it returns is true, as PowerShell means it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pskernel.cells.cell import Cell
from pskernel.cells.outcome import CellError, script_error
from pskernel.protocol.clixml import PSObject
from pskernel.records import Output, Record
from pskernel.render.ansi import neutralise, strip
from pskernel.render.text import StreamText
from pskernel.session.commandline import simple_statements

if TYPE_CHECKING:
    from pskernel.session.pipeline import Pipeline
    from pskernel.session.runspace import Runspace

__all__ = ["Assertion", "is_true"]

_MAX_TEXT = 200
# An object without a value, unlike other covers.
_SWITCH = "System.Management.Automation.SwitchParameter"


class Assertion(Cell):
    """Runs one cell without Out-Default, and looks at what comes."""

    debugs = False
    _count = 0
    # The number and the text of the first value that is not true.
    _false: tuple[int, str] | None = None

    async def _start(self, runspace: Runspace, text: str) -> Pipeline:
        return await runspace.invoke(text if self._session.facts.takes_script else simple_statements(text) or text)

    async def _record(self, pipeline: Pipeline, record: Record) -> None:
        if not isinstance(record, Output):
            await super()._record(pipeline, record)
            return
        self._count += 1
        shown = strip(neutralise(str(record.value)[:_MAX_TEXT])).replace("\n", " ")
        if not is_true(record.value) and self._false is None:
            self._false = self._count, shown
        await self._output.write(StreamText("stdout", f"{shown}\n"))

    async def _watch(self, pipeline: Pipeline) -> CellError | None:
        error = await super()._watch(pipeline)
        if error is not None:
            return error
        if not self._count:
            return _failed("The assertion returned nothing, so it does not hold.")
        if self._false is not None:
            which = f"Value {self._false[0]} of the assertion" if self._count > 1 else "The assertion"
            return _failed(f"{which} is {self._false[1] or 'empty'}, not true.")
        return None


def is_true(value: Any) -> bool:
    """Whether PowerShell takes a value for true (about_Booleans)."""
    if isinstance(value, PSObject) and any(name.removeprefix("Deserialized.") == _SWITCH for name in value.type_names):
        return bool(value.properties.get("IsPresent"))
    if isinstance(value, PSObject):
        value = value.value if value.value is not None else True
    if isinstance(value, list):
        return is_true(value[0]) if len(value) == 1 else bool(value)
    if isinstance(value, bool | int | float | Decimal | str | None):
        return bool(value)
    return True


def _failed(message: str) -> CellError:
    return script_error("AssertionFailed", message, own=False)
