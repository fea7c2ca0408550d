"""What a script returned: plain Python values and inert records, as a list that shows itself as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pskernel.errors import PSKernelError
from pskernel.protocol.clixml import PSObject
from pskernel.render.ansi import neutralise, strip
from pskernel.render.tables import html_table, text_table

if TYPE_CHECKING:
    import pandas as pd

    from pskernel.render.text import StreamText

__all__ = ["Objects"]

# What a display shows at most.
_MAX_ROWS, _MAX_COLUMNS, _MAX_TEXT = 50, 20, 200
# A value that is no record is shown below this name.
_VALUE = "Value"
_MISSING = object()
_MAX_EXACT = 2**53


class Objects(list[Any]):
    """Objects that came back.

    Primitives are Python's own, everything else is a :class:`pskernel.PSObject`: its properties, and nothing that
    could run.

    Attributes:
        streams: what the script wrote as text besides, warnings and errors included.
        failed: the hosts on which it failed, where it ran on several.
    """

    def __init__(
        self, items: Iterable[Any] = (), *, streams: Sequence[StreamText] = (), failed: Sequence[Any] = ()
    ) -> None:
        super().__init__(items)
        self.streams = streams
        self.failed = failed

    def to_frame(self) -> pd.DataFrame:
        """The objects as rows, their properties as columns in the order in which they first appear.

        Numbers, texts, booleans and times have their own column types, with missing values where an object has none;
        an enum member is its name; whatever else is nested stays the object it is.

        Raises:
            PSKernelError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise PSKernelError("to_frame() needs pandas: pip install 'pskernel[frame]'.") from None
        columns, rows = _table(self)
        data = {name: [_cell(row.get(name.casefold(), _MISSING)) for row in rows] for name in columns}
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()})
        return frame.apply(_typed) if columns else frame

    def _shown(self) -> tuple[list[str], list[list[str]], str]:
        columns, rows = _table(self[:_MAX_ROWS])
        # What Invoke-Command adds to every object; the host is worth a column only where there are several.
        hosts = {row.get("pscomputername") for row in rows}
        hidden = {"runspaceid", "psshowcomputername"} | ({"pscomputername"} if len(hosts) < 2 else set())
        columns = [name for name in columns if name.casefold() not in hidden][:_MAX_COLUMNS]
        texts = [[_text(row.get(name.casefold(), _MISSING)) for name in columns] for row in rows]
        more = len(self) - len(rows)
        return [_text(name) for name in columns], texts, f"... and {more:,} more" if more else ""

    def __repr__(self) -> str:
        columns, rows, more = self._shown()
        return "\n".join(part for part in (text_table(columns, rows), more) if part) if self else "[]"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        columns, rows, more = self._shown()
        return html_table(columns, rows) + (f"<p>{more}</p>" if more else "")


def _table(items: list[Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names, and for each object its values by name in lower case: PowerShell's names have no case."""
    names: dict[str, str] = {}
    rows = []
    for item in items:
        members = _members(item)
        for name in members:
            names.setdefault(name.casefold(), name)
        rows.append({name.casefold(): value for name, value in members.items()})
    return list(names.values()), rows


def _members(item: Any) -> dict[str, Any]:
    if not isinstance(item, PSObject):
        return {_VALUE: item}
    if _is_covered(item):
        # What was added to it (by whom it was sent, how a date is shown) is not what it is.
        host = item.properties.get("PSComputerName")
        return {_VALUE: item} if host is None else {_VALUE: item, "PSComputerName": host}
    return item.properties or {_VALUE: item}


def _is_covered(item: PSObject) -> bool:
    """Whether it is a primitive, with a cover of properties or a type's name."""
    return item.value is not None and not isinstance(item.value, list | dict)


def _cell(value: Any) -> Any:
    """A value of a frame: None where there is none, the name of an enum's member."""
    if value is _MISSING:
        return None
    if not isinstance(value, PSObject) or not _is_covered(value):
        return value
    is_enum = "System.Enum" in {name.removeprefix("Deserialized.") for name in value.type_names}
    return str(value) if is_enum else value.value


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of its values' one type; of several types it stays one of objects."""
    import pandas as pd  # noqa: PLC0415

    kinds = {type(value) for value in column if value is not None}
    if kinds == {int} and column.isna().any():
        small = all(-(2**63) <= value < 2**63 for value in column if value is not None)
        return column.astype("Int64") if small else column
    # An integer that a double does not hold exactly stays what it is.
    if kinds == {int, float} and all(type(value) is float or abs(value) <= _MAX_EXACT for value in column.dropna()):
        return column.astype("float64")
    if kinds == {bool} and column.isna().any():
        return column.astype("boolean")
    if kinds == {str}:
        return column.astype("string")
    try:
        return column.infer_objects() if len(kinds) == 1 else column
    except (OverflowError, ValueError, pd.errors.OutOfBoundsDatetime):
        return column


def _text(value: Any) -> str:
    value = _cell(value)
    if value is None:
        return ""
    if isinstance(value, PSObject) and isinstance(value.value, list):
        # As PowerShell shows a list in a table; what is nested in it by its text.
        shown = [_item(item) for item in value.value[:_MAX_COLUMNS]]
        value = f"{{{', '.join(shown)}{', ...' if len(value.value) > len(shown) else ''}}}"
    text = strip(neutralise(str(value)[: 4 * _MAX_TEXT])).replace("\n", " ")
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "\u2026"


def _item(value: Any) -> str:
    value = _cell(value)
    return "$null" if value is None else str(value)[:_MAX_TEXT]
