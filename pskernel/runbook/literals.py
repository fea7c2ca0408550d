"""PowerShell literals of Python values: exact, and without a way to inject code.

==============================  =======================================================================
Python                          PowerShell
==============================  =======================================================================
None, bool                      $null, $true, $false
int                             Int32, Int64, Decimal or BigInteger: the first that holds it
float                           Double, also NaN and the infinities
decimal.Decimal                 Decimal, with its trailing zeros
str, pathlib's paths            String
datetime, date                  DateTime: with a zone the same instant in UTC, without one unspecified
timedelta                       TimeSpan
UUID                            Guid
bytes, bytearray                Byte[]
list, tuple                     Object[]
dict                            an ordered dictionary, with keys of any of the kinds above that are one value
==============================  =======================================================================

Texts stand in single quotes, in which nothing is expanded; PowerShell takes five characters for that quote. Whatever
could be changed on the way (line ends, other control characters, halves of characters) is a number. Nothing here
depends on the remote's culture, and all of it also works in the constrained language mode.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pskernel.errors import PSKernelError

__all__ = ["LiteralError", "check_name", "literal"]

# Deeper ones would take more of the stacks of both sides than there may be.
_MAX_DEPTH = 64
# Of a literal. In YAML, a few lines of aliases are a list of billions of elements.
_MAX_CHARS = 1024 * 1024
# PowerShell's parser needs time that grows with the square of the digits; Python's own bound is 4300.
_MAX_DIGITS = 4000

_QUOTES = "'\u2018\u2019\u201a\u201b"
_QUOTE = re.compile(f"([{_QUOTES}])")
# Control characters, line and paragraph separators, marks that change how a line reads, halves of characters, the byte
# order mark and its mirror image, which decoders drop.
_BY_NUMBER = re.compile(
    "([\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\uffff])"
)
_LETTERS = {"Lu", "Ll", "Lt", "Lm", "Lo"}
# Read-only, constant and automatic variables of PowerShell 7.6 (`Get-Variable`, SpecialVariables), and those of Windows
# PowerShell, events, the debugger and remoting. Preference variables are none: a runbook may have them as parameters.
_RESERVED = """
args ConsoleFileName EnabledExperimentalFeatures Error Event EventArgs EventSubscriber ExecutionContext false
foreach HOME Host input IsCoreCLR IsLinux IsMacOS IsWindows LASTEXITCODE Matches MyInvocation NestedPromptLevel null
OFS PID PSBoundParameters PSCmdlet PSCommandPath PSCulture PSDebugContext PSEdition PSHOME PSItem PSScriptRoot
PSSenderInfo PSStyle PSUICulture PSVersionTable PWD Sender ShellId StackTrace switch this true _
""".casefold().split()
_MAX_DECIMAL = Decimal(2**96 - 1)
_MAX_TIMESPAN = timedelta(microseconds=(2**63 - 1) // 10)


class LiteralError(PSKernelError):
    """The value cannot be written in PowerShell so that it arrives as it is, or the name cannot be a variable's."""


def check_name(name: str) -> None:
    """Refuse what is no plain name of a variable, and the variables that are PowerShell's own.

    Raises:
        LiteralError: it is one of these.
    """
    if not name or not all(map(_in_name, name)) or name[0].isdecimal():
        raise LiteralError(
            f"{name[:60]!r} cannot be the name of a parameter: a name has letters, digits and _ only, and begins "
            "with no digit."
        )
    if name.casefold() in _RESERVED:
        raise LiteralError(
            f"${name} cannot be a parameter: PowerShell keeps this variable for itself. Choose another name."
        )


def _in_name(character: str) -> bool:
    # What .NET takes for a letter or a digit.
    category = unicodedata.category(character)
    return character == "_" or ((category in _LETTERS or category == "Nd") and character <= "\uffff")


def literal(value: Any) -> str:
    """The value as a PowerShell expression, which may stand on the right of ``=``, in a list or in parentheses.

    Raises:
        LiteralError: there is no exact one.
    """
    return _Writer().write(value, 0)


def _no(why: str) -> LiteralError:
    return LiteralError(f"The value cannot be given to PowerShell: {why}.")


class _Writer:
    """Writes one value. What it holds together is bounded: by its own text, not by the value's size in memory."""

    def __init__(self) -> None:
        self._left = _MAX_CHARS

    def write(self, value: Any, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise _no(f"its lists and dictionaries are more than {_MAX_DEPTH} deep")
        if isinstance(value, dict):
            text = self._dictionary(value, depth)
        elif isinstance(value, list | tuple):
            text = self._list(value, depth)
        else:
            text = _atom(value)
            # The few characters are for what stands around it.
            self._left -= len(text) + 4
            if self._left < 0:
                raise _no(f"written out it is longer than {_MAX_CHARS >> 20} MB, which belongs in a file")
        return text

    def _list(self, value: Iterable[Any], depth: int) -> str:
        self._left -= 4
        elements = [self.write(element, depth + 1) for element in value]
        # @() alone would take a single list for its own elements.
        return f"@(,{elements[0]})" if len(elements) == 1 else f"@({', '.join(elements)})"

    def _dictionary(self, value: dict[Any, Any], depth: int) -> str:
        self._left -= 12
        seen: dict[str, str] = {}
        entries = []
        for key, element in value.items():
            if key is None or isinstance(key, tuple | dict | bytes):
                raise _no(f"a dictionary has a key that is {_kind(key)}, which PowerShell's have not")
            if isinstance(key, float) and math.isnan(key):
                raise _no("a dictionary has the key NaN, which nothing would find")
            if isinstance(key, str):
                other = seen.setdefault(_without_case(key), key)
                if other != key:
                    raise _no(
                        f"a dictionary has the keys {other[:40]!r} and {key[:40]!r}, which are the same to PowerShell"
                    )
            entries.append(f"{self._key(key, depth)} = {self.write(element, depth + 1)}")
        return f"[ordered]@{{ {'; '.join(entries)} }}" if entries else "[ordered]@{}"

    def _key(self, key: Any, depth: int) -> str:
        text = self.write(key, depth + 1)
        return text if text.startswith("'") else f"({text})"


def _atom(value: Any) -> str:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise _no(f"there is no literal for {_kind(value)}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"of Python's type {type(value).__name__}"


def _without_case(text: str) -> str:
    """As .NET compares without regard to case: character by character, and no character becomes two."""
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in text)


def _text(value: str) -> str:
    parts = [
        f"[char]{ord(part)}" if number % 2 else "'" + _QUOTE.sub(r"\1\1", part) + "'"
        for number, part in enumerate(_BY_NUMBER.split(value))
        if part
    ]
    if len(parts) == 1 and parts[0].startswith("'"):
        return parts[0]
    # Not +: thousands of these would be nested as deep, and PowerShell's stack would overflow.
    return f"(-join ({', '.join(parts)}))" if len(parts) > 1 else f"[string]{parts[0]}" if parts else "''"


def _integer(value: int) -> str:
    value = int(value)
    if -(2**63) <= value < 2**63:
        # PowerShell takes the type that the number needs, Int32 or Int64.
        return str(value)
    if abs(value) <= _MAX_DECIMAL:
        return f"{value}d"
    if abs(value) >= 10**_MAX_DIGITS:
        raise _no(f"it is an integer of more than {_MAX_DIGITS} digits")
    # A cast from text goes by way of a double. The sign of the remote's culture may be another one.
    return f"[bigint]::Parse('{value}', [cultureinfo]::InvariantCulture)"


def _float(value: float) -> str:
    value = float(value)
    if math.isnan(value):
        return "[double]::NaN"
    if math.isinf(value):
        return "[double]::PositiveInfinity" if value > 0 else "[double]::NegativeInfinity"
    return f"[double]'{value!r}'"


def _decimal(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise _no(f"{value} is no number of the type decimal")
    if exponent > 28 or exponent < -28 or len(digits) > 29 or abs(Decimal(value)) > _MAX_DECIMAL:
        raise _no("it is a decimal number larger or finer than the type decimal holds")
    if int("".join(map(str, digits))) > _MAX_DECIMAL:
        raise _no("it is a decimal number larger or finer than the type decimal holds")
    # A cast from text would lose trailing zeros.
    return f"{value:f}d"


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return f"[datetime]'{value.replace(fold=0).isoformat()}'"
    try:
        instant = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise _no(f"{value} is a time that .NET does not have in UTC") from None
    return f"[datetime]::SpecifyKind('{instant.isoformat()}', 'Utc')"


def _duration(value: timedelta) -> str:
    if abs(value) > _MAX_TIMESPAN:
        raise _no("it is a duration longer than a TimeSpan holds")
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    hours, seconds = divmod(value.seconds, 3600)
    clock = f"{hours:02}:{seconds // 60:02}:{seconds % 60:02}.{value.microseconds:06}"
    return f"[timespan]'{sign}{value.days}.{clock}'"


# The first that fits: a bool is an int, a datetime is a date.
_WRITERS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (type(None), lambda _: "$null"),
    (bool, lambda value: "$true" if value else "$false"),
    (int, _integer),
    (float, _float),
    (Decimal, _decimal),
    (str, lambda value: _text(str.__str__(value))),
    (PurePath, lambda value: _text(str(value))),
    (datetime, _moment),
    (date, lambda value: f"[datetime]'{value.isoformat()}T00:00:00'"),
    (timedelta, _duration),
    (UUID, lambda value: f"[guid]'{value}'"),
    (bytes | bytearray, lambda value: f"[byte[]]@({', '.join(map(str, value))})"),
)
