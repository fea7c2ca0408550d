"""What a script returned: plain Python values and inert records, as a list that shows itself as a table."""

from __future__ import annotations

import itertools
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
_HOST = "PSComputerName"
# What Invoke-Command adds to every object.
_ADDED = {"pscomputername", "runspaceid", "psshowcomputername"}
# Of more columns than are shown, these are shown first.
_TELLING = {"pscomputername", "name", "fullname", "displayname", "id", "state", "status"}
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
        an enum member is its name; lists and tables are Python's; whatever else is nested stays the object it is. A
        table (``@{ }``) with text for keys is a row with them as columns; what has no properties is in ``Value``.

        Raises:
            PSKernelError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise PSKernelError("to_frame() needs pandas: pip install 'pskernel[frame]'.") from None
        columns, rows = _table(self)
        seen: dict[int, Any] = {}
        data = {name: [_plain(row.get(name.casefold(), _MISSING), seen) for row in rows] for name in columns}
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()})
        return frame.apply(_typed) if columns else frame

    def _shown(self) -> tuple[list[str], list[list[str]], str]:
        columns, rows = _table(self[:_MAX_ROWS])
        # The host is worth a column only where there are several.
        hosts = {
            str(item.properties[_HOST]) for item in self if isinstance(item, PSObject) and _HOST in item.properties
        }
        hidden = _ADDED - {_HOST.casefold()} if len(hosts) > 1 else _ADDED
        columns = [name for name in columns if name.casefold() not in hidden]
        shown = _chosen(columns)
        texts = [[_text(row.get(name.casefold(), _MISSING)) for name in shown] for row in rows]
        left_out = [f"{len(self) - len(rows):,} more"] if len(self) > len(rows) else []
        if len(columns) > len(shown):
            left_out.append(f"{len(columns) - len(shown):,} columns that are not shown; to_frame() has all")
        return [_text(name) for name in shown], texts, f"... and {', and '.join(left_out)}" if left_out else ""

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
    if isinstance(item.value, dict) and _are_columns(item.value):
        # Who sent it comes last: no key of the remote's stands for that.
        return {**item.value, **item.properties}
    if item.value is None and not item.properties.keys() <= {_HOST, "RunspaceId"}:
        return item.properties
    # What was added to it (by whom it was sent, how a date is shown) is not what it is.
    host = item.properties.get(_HOST)
    return {_VALUE: item} if host is None else {_VALUE: item, _HOST: host}


def _are_columns(table: dict[Any, Any]) -> bool:
    """Whether a table's keys are names as a record has them: text, and not two of them the same but for case."""
    return 0 < len(table) == len({key.casefold() for key in table if isinstance(key, str)})


def _chosen(columns: list[str]) -> list[str]:
    """The columns that are shown, in their order."""
    if len(columns) <= _MAX_COLUMNS:
        return columns
    telling = [name for name in columns if name.casefold() in _TELLING]
    others = [name for name in columns if name.casefold() not in _TELLING][: _MAX_COLUMNS - len(telling)]
    return [name for name in columns if name in telling or name in others]


def _is_covered(item: PSObject) -> bool:
    """Whether it is a primitive, with a cover of properties or a type's name."""
    return item.value is not None and not isinstance(item.value, list | dict)


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """A value of a frame: as :func:`_cell`, and lists and tables are Python's. ``seen`` are those made already.

    A remote's lists may hold themselves, or one another often: each is made once.
    """
    if isinstance(value, tuple):
        return tuple(_plain(item, seen) for item in value)  # of a table whose keys Python cannot keep apart
    if not isinstance(value, PSObject) or not isinstance(value.value, list | dict):
        return _cell(value)
    if id(value) not in seen:
        made: Any = type(value.value)()
        seen[id(value)] = made
        if isinstance(value.value, list):
            made.extend(_plain(item, seen) for item in value.value)
        else:
            made.update((key, _plain(item, seen)) for key, item in value.value.items())
    return seen[id(value)]


def _cell(value: Any) -> Any:
    """None where there is nothing, the name of an enum's member, what a primitive is without its cover."""
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
    text = strip(neutralise(_raw(value)[: 4 * _MAX_TEXT])).replace("\n", " ")
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "\u2026"


def _raw(value: Any) -> str:
    if isinstance(value, PSObject) and isinstance(value.value, list | dict):
        # As PowerShell shows them in a table: what is nested in them by its text.
        items = value.value if isinstance(value.value, list) else value.value.items()
        shown = [_item(item) for item in itertools.islice(items, _MAX_COLUMNS)]
        return f"{{{', '.join(shown)}{', ...' if len(items) > len(shown) else ''}}}"
    value = _cell(value)
    return "" if value is None else str(value)


def _item(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join('' if part is None else _item(part) for part in value)}]"
    value = _cell(value)
    return "$null" if value is None else str(value)[:_MAX_TEXT]
