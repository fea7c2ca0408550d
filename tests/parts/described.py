"""What a value is, in words that PowerShell and Python find each for themselves: type and content, to the last bit."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

# Defines the command Describe. No property is asked for that a key of a dictionary could stand in for.
DESCRIBE = r"""
function global:Describe($v) {
    if ($null -eq $v) { return 'null' }
    $type = ([object]$v).GetType().Name
    switch ($type) {
        'String' { return 's' + (-join ($v.ToCharArray() | ForEach-Object { ([int]$_).ToString('x4') })) }
        'Boolean' { return "b$v" }
        'Int32' { return "i$v" }
        'Int64' { return "l$v" }
        'Decimal' { return 'd' + ([decimal]::GetBits($v) -join ',') }
        'BigInteger' { return 'g' + $v.ToString([cultureinfo]::InvariantCulture) }
        'Double' { if ([double]::IsNaN($v)) { return 'fNaN' }; return 'f' + [BitConverter]::DoubleToInt64Bits($v) }
        'DateTime' { return "t$($v.Ticks)$($v.Kind)" }
        'TimeSpan' { return "p$($v.Ticks)" }
        'Guid' { return "u$v" }
        'Byte[]' { return 'y' + (-join ($v | ForEach-Object { $_.ToString('x2') })) }
        'Object[]' { return '[' + (($v | ForEach-Object { Describe $_ }) -join ' ') + ']' }
        'OrderedDictionary' {
            return '{' + (($v.GetEnumerator() | ForEach-Object { "$(Describe $_.Key)=$(Describe $_.Value)" }) -join ' ') + '}'
        }
    }
    return "?$type"
}
"""


def describe(value: Any) -> str:
    """The same of a Python value, as it should arrive."""
    if isinstance(value, dict):
        return "{" + " ".join(f"{describe(key)}={describe(element)}" for key, element in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(describe, value)) + "]"
    return _atom(value)


def _atom(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"b{value}"
        case int():
            kind = next((k for k, bits in (("i", 31), ("l", 63)) if -(1 << bits) <= value < 1 << bits), "g")
            return _decimal(Decimal(value)) if kind == "g" and abs(value) < 2**96 else f"{kind}{value}"
        case float():
            return "fNaN" if value != value else f"f{struct.unpack('>q', struct.pack('>d', value))[0]}"
        case Decimal():
            return _decimal(value)
        case str() | PurePath():
            return "s" + str(value).encode("utf-16-be", "surrogatepass").hex()
        case datetime():
            instant = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return f"t{_ticks(instant - datetime(1, 1, 1))}{'Unspecified' if value.tzinfo is None else 'Utc'}"  # noqa: DTZ001
        case date():
            return f"t{_ticks(value - date(1, 1, 1))}Unspecified"
        case timedelta():
            return f"p{_ticks(value)}"
        case UUID():
            return f"u{value}"
        case bytes():
            return f"y{value.hex()}"
    raise AssertionError(type(value))


def _ticks(value: timedelta) -> int:
    return value // timedelta(microseconds=1) * 10


def _decimal(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    words = [number >> shift & 0xFFFFFFFF for shift in (0, 32, 64)] + [sign << 31 | max(-exponent, 0) << 16]
    return "d" + ",".join(str(word - (1 << 32) if word >> 31 else word) for word in words)


# What breaks other people's quoting.
HOSTILE = [
    "'", "\u2018", "\u2019", "\u201a", "\u201b", '"', "\u201c", "\u201d", "\u201e", "`", "$", "$(", ")", "${", "}", "@'\n", "\n'@",
    '@"\n', '\n"@', "\n", "\r", "\r\n", "\t", "\0", "\x1b[31m", "#", "<#", "#>", "--%", ";", "|", "&", "$env:PATH", "$(exit 3)",
    "`n", "\\", "{0}", "%", "\ud800", "\udfff", "\U0001f600", "\u00e9", "e\u0301", "\u2028", "\u2029", "\u200b", "\u202e", "\ufeff",
    "\uffff", "\x85", " ", "''", "[char]10", "\x7f",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=[]), max_size=5), max_size=8).map(
    "".join
)
INTEGERS = (
    st.integers()
    | st.integers(-(2**200), 2**200)
    | st.sampled_from([sign * 2**n + d for n in (31, 32, 63, 64, 96) for sign in (1, -1) for d in (-1, 0, 1)])
)
# What JSON and YAML have, and so what papermill writes into the notebook that it makes.
PLAIN_ATOMS = st.none() | st.booleans() | INTEGERS | st.floats() | TEXTS


def nested(atoms: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists and dictionaries of these, in these. Keys that PowerShell takes for one are not made."""
    return st.recursive(
        atoms,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(st.tuples(keys, inner), max_size=4, unique_by=lambda entry: str(entry[0]).upper()).map(dict)
        ),
        max_leaves=12,
    )
