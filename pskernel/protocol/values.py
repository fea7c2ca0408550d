"""Python values to CLIXML (MS-PSRP 2.2.5), as arguments of scripts: exact, or refused.

===================================== ================================================================
None, bool, str                       $null, Boolean, String (all of Unicode, halves of pairs included)
int                                   Int32, Int64 or Decimal, the first that holds it
float, Decimal                        Double, Decimal
datetime, date                        DateTime: with a zone the same instant, without one unspecified
timedelta, time                       TimeSpan
bytes, bytearray, memoryview, UUID    Byte[], Guid
enum members, paths                   their value, their text
lists and other sequences, sets       Object[]; a set in order where its items have one
dict and other mappings               OrderedDictionary; Hashtable if a key is no text
dataclasses, named tuples             PSCustomObject
numpy scalars and arrays              what their items are
pandas frames and series              Object[] of PSCustomObject, Object[]; what is missing is $null
PSObject (what came from a remote)    the same, with ``Deserialized.`` in its type's name
Secret, Login                         SecureString, PSCredential, encrypted with the session's key
===================================== ================================================================
"""

from __future__ import annotations

import dataclasses
import enum
import math
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pskernel.errors import LocalProtocolError
from pskernel.protocol.clixml import EncryptedString, PSObject
from pskernel.protocol.clixml_text import escape_text
from pskernel.protocol.hostvalues import Login, Secret

__all__ = ["Value", "encode", "has_secret"]

# PowerShell reads no more levels than that below the message's own.
_MAX_DEPTH = 40
_MAX_TIMESPAN = timedelta(microseconds=(2**63 - 1) // 10)
_MAX_DECIMAL, _MAX_SCALE = 2**96 - 1, 28
_ARRAY = ("System.Object[]", "System.Array", "System.Object")
_TABLE = ("System.Collections.Hashtable", "System.Object")
_ORDERED = ("System.Collections.Specialized.OrderedDictionary", "System.Object")
_CUSTOM = ("System.Management.Automation.PSCustomObject", "System.Object")
_NO_KEY = b'<Nil N="Key"/>'
_CREDENTIAL = ("System.Management.Automation.PSCredential", "System.Object")


def _as_it_is(value: Any) -> Any:
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """Marks an argument as a Python value that :func:`encode` writes.

    ``read`` says what stands for it, and for each value in it: a caller's own types are unknown here.
    """

    value: Any = dataclasses.field(repr=False)
    read: Callable[[Any], Any] = dataclasses.field(default=_as_it_is, repr=False)


def encode(value: Value, name: str, references: Iterator[int], encrypt: Callable[[str], str] | None = None) -> bytes:
    """Write one value as an element.

    Args:
        value: see the table above.
        name: its ``N`` attribute; empty for none.
        references: numbers for ``RefId`` that are used nowhere else in the document.
        encrypt: encrypts a secret; None where no key has been exchanged.

    Raises:
        LocalProtocolError: the value, or one in it, has no counterpart. The message says where it is, and not what.
    """
    return _Writer(references, encrypt, value.read).write(value.value, name, "")


def has_secret(values: Iterable[Value]) -> bool:
    """Whether one of them cannot be written before keys are exchanged, wherever in it the secret is."""
    try:
        return any(_holds_secret(value.value, value.read, ()) for value in values)
    except Exception:  # noqa: BLE001 - a user's object may raise what it likes; it is refused when it is written
        return False


def _holds_secret(value: Any, read: Callable[[Any], Any], around: tuple[int, ...]) -> bool:
    value = read(value)
    if isinstance(value, Secret | Login):
        return True
    if isinstance(value, str | int | float | bytes | None) or id(value) in around:
        return False
    return any(_holds_secret(item, read, (*around, id(value))) for item in _held(value))


def _held(value: Any) -> Iterable[Any]:
    """What is in a value, as far as it can be anything."""
    if type(value).__module__.partition(".")[0] in {"numpy", "pandas"}:
        if type(value).__name__ == "DataFrame":
            value = value.loc[:, value.dtypes.eq("object")].to_numpy()
        held: Iterable[Any] = value.tolist() if getattr(value, "dtype", None) == "object" else ()
        return held
    if isinstance(value, PSObject):
        return [*value.properties.values(), value.value]
    if isinstance(value, Mapping):
        return value.values()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return value if isinstance(value, Sequence | AbstractSet) else ()


class _Writer:
    def __init__(
        self, references: Iterator[int], encrypt: Callable[[str], str] | None, read: Callable[[Any], Any]
    ) -> None:
        self._references = references
        self._encrypt = encrypt
        self._unwrapped = read
        self._depth = 0

    def write(self, value: Any, name: str, where: str) -> bytes:
        value = _read(self._unwrapped(value), where)
        simple = _simple(value, where)
        if simple is not None:
            tag, text = simple
            return (
                b"<%b%b>%b</%b>" % (tag, _attribute(name), text, tag) if text else b"<%b%b/>" % (tag, _attribute(name))
            )
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise LocalProtocolError(f"The value has more than {_MAX_DEPTH} levels, or contains itself{_at(where)}.")
        element = self._compound(value, name, where)
        self._depth -= 1
        return element

    def _compound(self, value: Any, name: str, where: str) -> bytes:
        if isinstance(value, Secret | Login):
            return self._secret(value, name)
        if isinstance(value, PSObject):
            return self._record(value, name, where)
        if isinstance(value, Mapping):
            # A number in brackets is a position to an ordered one, and a key to the other.
            types = _ORDERED if all(isinstance(key, str) for key in value) else _TABLE
            return self._object(name, types, self._table(value.items(), where))
        if isinstance(value, AbstractSet):
            value = _in_order(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._members(name, dict(zip(value._fields, value, strict=True)), where)
        if isinstance(value, Sequence):
            return self._object(name, _ARRAY, self._items(value, where))
        if isinstance(value, EncryptedString):
            raise LocalProtocolError(f"A SecureString that came from a remote{_at(where)} can be read by nobody else.")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._members(name, members, where)
        raise LocalProtocolError(f"A Python {type(value).__name__}{_at(where)} has no counterpart in PowerShell.")

    def _items(self, items: Iterable[Any], where: str) -> bytes:
        return b"<LST>%b</LST>" % b"".join(self.write(item, "", f"{where}[{at}]") for at, item in enumerate(items))

    def _table(self, pairs: Iterable[tuple[Any, Any]], where: str) -> bytes:
        entries: dict[bytes, bytes] = {}
        for key, item in pairs:
            written = self.write(key, "Key", f"{where}[key]")
            # A server that reads no key never answers; of two that are the same, it keeps one.
            if written == _NO_KEY or written in entries:
                raise LocalProtocolError(f"A key of a table{_at(where)} is None, or there twice for PowerShell.")
            entries[written] = self.write(item, "Value", f"{where}[{key!r}]")
        return b"<DCT>%b</DCT>" % b"".join(b"<En>%b%b</En>" % entry for entry in entries.items())

    def _members(self, name: str, members: Mapping[str, Any], where: str) -> bytes:
        return self._object(name, _CUSTOM, self._properties(members, where))

    def _properties(self, members: Mapping[str, Any], where: str) -> bytes:
        # As for keys; and the names of properties have no case.
        if "" in members or len({key.lower() for key in members}) < len(members):
            raise LocalProtocolError(f"A property{_at(where)} has no name, or one that another has for PowerShell.")
        return b"<MS>%b</MS>" % b"".join(self.write(item, key, f"{where}.{key}") for key, item in members.items())

    def _record(self, record: PSObject, name: str, where: str) -> bytes:
        inner = b""
        if record.to_string is not None:
            inner += b"<ToString>%b</ToString>" % escape_text(record.to_string)
        # Its own type says how it is read; the element inside says what it holds.
        if isinstance(record.value, dict):
            inner += self._table(record.value.items(), where)
        elif isinstance(record.value, list):
            inner += self._table(record.value, where) if _is_pairs(record.value) else self._items(record.value, where)
        elif record.value is not None:
            inner += self.write(record.value, "", where)
        if record.properties:
            inner += self._properties(record.properties, where)
        # A primitive with a cover of properties has its own type.
        is_custom = record.value is None and not record.type_names
        return self._object(name, _CUSTOM if is_custom else record.type_names, inner)

    def _secret(self, value: Secret | Login, name: str) -> bytes:
        if self._encrypt is None:
            raise LocalProtocolError("A secret cannot be sent before keys are exchanged.")
        if isinstance(value, Secret):
            return b"<SS%b>%b</SS>" % (_attribute(name), self._encrypt(value.text).encode())
        user = b'<S N="UserName">%b</S>' % escape_text(value.user)
        return self._object(
            name, _CREDENTIAL, b"<Props>%b%b</Props>" % (user, self._secret(value.password, "Password"))
        )

    def _object(self, name: str, type_names: tuple[str, ...], inner: bytes) -> bytes:
        number = next(self._references)
        names = b"".join(b"<T>%b</T>" % escape_text(text) for text in type_names)
        types = b'<TN RefId="%d">%b</TN>' % (number, names) if names else b""
        return b'<Obj%b RefId="%d">%b%b</Obj>' % (_attribute(name), number, types, inner)


def _is_pairs(items: list[Any]) -> bool:
    """Whether it is a table whose keys Python could not keep apart; decode makes tuples of nothing else."""
    return bool(items) and all(type(item) is tuple and len(item) == 2 for item in items)


def _read(value: Any, where: str) -> Any:
    try:
        return _plain(value)
    except LocalProtocolError as error:
        raise LocalProtocolError(f"{error}{_at(where)}") from None
    except Exception as error:  # noqa: BLE001 - whatever another library raises, nothing is sent
        raise LocalProtocolError(
            f"A Python {type(value).__name__}{_at(where)} cannot be read ({type(error).__name__})."
        ) from None


def _plain(value: Any) -> Any:
    """What stands for a value of another library, or of a kind that is only a cover."""
    library = type(value).__module__.partition(".")[0]
    if library == "pandas":
        return _from_pandas(value)
    if library == "numpy":
        return _from_numpy(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if hasattr(type(value), "__fspath__"):
        return value.__fspath__()
    return value


def _from_numpy(value: Any) -> Any:
    kind = value.dtype.kind if hasattr(value, "dtype") and hasattr(value, "tolist") else ""
    if kind in {"m", "M", "V"} and value.ndim:
        return list(value)
    if kind == "V" and value.dtype.names:
        return PSObject(_CUSTOM, properties=dict(zip(value.dtype.names, value[()], strict=True)))
    if kind not in {"m", "M"}:
        return value.tolist() if kind else value
    # Nanoseconds, and what is out of Python's range, tolist() makes numbers; astype() makes months their average.
    found = value.astype("datetime64[us]" if kind == "M" else "timedelta64[us]").tolist()
    if isinstance(found, int) or (kind == "m" and value.dtype.str.endswith(("[M]", "[Y]"))):
        raise OverflowError
    return found


def _from_pandas(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "DataFrame":
        columns = [str(column) for column in value.columns]
        if len(set(columns)) < len(columns):
            raise LocalProtocolError("Two columns of a DataFrame have the same name")
        rows = value.astype(object).where(value.notna(), None).itertuples(index=False, name=None)
        return [PSObject(_CUSTOM, properties=dict(zip(columns, row, strict=True))) for row in rows]
    if hasattr(value, "isna") and hasattr(value, "astype"):
        return [None if gone else item for item, gone in zip(value, value.isna(), strict=True)]
    if kind in {"NaTType", "NAType"}:
        return None
    # A Timestamp and a Timedelta are those of Python, with nanoseconds that .NET does not have either.
    if isinstance(value, datetime):
        return value.to_pydatetime(warn=False)  # type: ignore[attr-defined]
    return value.to_pytimedelta() if kind == "Timedelta" else value


def _simple(value: Any, where: str) -> tuple[bytes, bytes] | None:
    """The element and the content of a primitive; None for what is none."""
    if value is None:
        return b"Nil", b""
    if isinstance(value, bool):
        return b"B", b"true" if value else b"false"
    for kind, write in _PRIMITIVES:
        if isinstance(value, kind):
            try:
                return write(value)
            except (ValueError, OverflowError):
                raise LocalProtocolError(
                    f"A Python {type(value).__name__}{_at(where)} is beyond what .NET's type holds."
                ) from None
    return None


def _integer(value: int) -> tuple[bytes, bytes]:
    if -(2**31) <= value < 2**31:
        return b"I32", b"%d" % value
    return (b"I64", b"%d" % value) if -(2**63) <= value < 2**63 else _decimal(Decimal(value))


def _double(value: float) -> tuple[bytes, bytes]:
    if math.isfinite(value):
        return b"Db", repr(float(value)).encode()
    return b"Db", b"NaN" if math.isnan(value) else b"INF" if value > 0 else b"-INF"


def _decimal(value: Decimal) -> tuple[bytes, bytes]:
    if not value.is_finite():
        raise ValueError
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    number = int("".join(map(str, digits)) or "0") * 10 ** max(0, int(exponent)) if abs(int(exponent)) < 100 else 2**96
    if number > _MAX_DECIMAL or scale > _MAX_SCALE:
        raise ValueError
    return b"D", f"{value:f}".encode()


def _moment(value: datetime) -> tuple[bytes, bytes]:
    offset = value.utcoffset()
    if offset is None:
        return b"DT", value.replace(tzinfo=None).isoformat().encode()
    # .NET would take the nearest instant that it has.
    instant = value.astimezone(UTC)
    if not offset or offset.seconds % 60 or offset.microseconds:
        return b"DT", instant.replace(tzinfo=None).isoformat().encode() + b"Z"
    return b"DT", value.isoformat().encode()


def _duration(value: timedelta) -> tuple[bytes, bytes]:
    if abs(value) > _MAX_TIMESPAN:
        raise ValueError
    sign, value = (b"-", -value) if value < timedelta() else (b"", value)
    return b"TS", sign + b"P%dDT%d.%06dS" % (value.days, value.seconds, value.microseconds)


def _time_of_day(value: time) -> tuple[bytes, bytes]:
    if value.tzinfo is not None:
        raise ValueError
    return _duration(timedelta(0, value.hour * 3600 + value.minute * 60 + value.second, value.microsecond))


_PRIMITIVES: tuple[tuple[Any, Callable[[Any], tuple[bytes, bytes]]], ...] = (
    (str, lambda value: (b"S", escape_text(value))),
    (int, _integer),
    (float, _double),
    (Decimal, _decimal),
    (datetime, _moment),
    (date, lambda value: (b"DT", value.isoformat().encode() + b"T00:00:00")),
    (timedelta, _duration),
    (time, _time_of_day),
    (bytes | bytearray | memoryview, lambda value: (b"BA", b64encode(bytes(value)))),
    (UUID, lambda value: (b"G", str(value).encode())),
)


def _in_order(items: AbstractSet[Any]) -> list[Any]:
    try:
        # The views of a dict have its order.
        return sorted(items) if isinstance(items, set | frozenset) else list(items)
    except TypeError:
        return list(items)


def _attribute(name: str) -> bytes:
    return b' N="%b"' % escape_text(name).replace(b'"', b"&quot;") if name else b""


def _at(where: str) -> str:
    return f" at {where[:200]}" if where else ""
