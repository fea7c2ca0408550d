"""CLIXML (MS-PSRP 2.2.5) to plain Python values: light, inert and bounded.

Stands in front of psrpcore for the messages that carry output, which it reads ten times faster and keeps in a
fraction of the memory. A document selects no Python class and runs nothing: whatever it says becomes one of
the values that :func:`decode` lists. What is not CLIXML, or exceeds a limit, is a
:class:`~pskernel.errors.RemoteProtocolError` and nothing else.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from xml.etree import ElementTree as ET

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.clixml_text import (
    decode_escapes,
    decode_string_fast,
    escape_references,
    escape_text,
    host_call_text_fast,
    unescape_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "EncryptedString",
    "PSObject",
    "decode",
    "decode_string_fast",
    "escape_references",
    "escape_text",
    "host_call_text_fast",
    "unescape_text",
]

# Objects inside objects. PowerShell neither writes nor reads more (serialization.cs, MaxDepthBelowTopLevel).
MAX_DEPTH = 50
# Elements of one document. Tree and values take 100 to 400 bytes an element, so this is 800 MB at worst: the
# most that a remote can cost us with one message of the 200 MB that PowerShell allows.
MAX_ELEMENTS = 2_000_000
# An element takes at least four bytes, so a shorter document cannot have too many.
_MIN_ELEMENT_BYTES = 4
# PowerShell writes three attributes at most (N, RefId, S). Unlimited, they would be a way round the limit above.
_TOO_MANY_ATTRIBUTES = re.compile(rb"""<[^\s<>]++(?:\s++[^\s=<>]++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')){5}""")
# A remote can choose any number of decimals, GUIDs or times that Python hashes alike, and make a dict of them take
# hours. Of these types it cannot: the hash is salted, or too few values share one.
_SAFE_KEYS = frozenset((str, int, float, bool, bytes))
_MAX_UNSAFE_KEYS = 1000

_MAX_INTEGER_CHARACTERS = 20  # of UInt64.MaxValue and Int64.MinValue
_MAX_CHARACTER = 0xFFFF
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# XmlConvert.ToString(TimeSpan): days and smaller only.
_DURATION = re.compile(
    r"(-?)P(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:\.([0-9]{1,9}))?S)?)?",
)
_SEQUENCES = frozenset(("LST", "IE", "STK", "QUE"))
_MAX_SHOWN = 60  # characters of a remote text in a repr


@dataclass(slots=True, eq=False, repr=False)
class PSObject:
    """What CLIXML says about one .NET object: data without behaviour.

    Attributes:
        type_names: its type and base types, most derived first. ``Deserialized.`` is left in place.
        to_string: what its ToString returned on the server, if that was sent.
        properties: adapted properties, then extended ones, which replace adapted ones of the same name.
        value: what it wraps, if anything: a primitive (an enum's number), a list, a dict, a list of pairs.

    ``obj.Name`` and ``obj.name`` both read the property ``Name``, as in PowerShell. Properties named like one of
    the four above, or with an underscore at both ends (Python's protocols), are only found in ``properties``.
    Objects are compared by identity, because they may refer to themselves.
    """

    type_names: tuple[str, ...] = ()
    to_string: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    value: Any = None

    def __getattr__(self, name: str) -> Any:
        if not (name.startswith("_") and name.endswith("_")):
            # Not self.properties: where the slot is not set yet, that would come back here.
            properties: dict[str, Any] = object.__getattribute__(self, "properties")
            if name in properties:
                return properties[name]
            wanted = name.lower()
            for key, value in properties.items():
                if key.lower() == wanted:
                    return value
        raise AttributeError(f"The object has no property {name!r}.")

    def __str__(self) -> str:
        if self.to_string is not None:
            return self.to_string
        if self.value is None or isinstance(self.value, (list, dict, bytes)):
            # As .NET does by default.
            return self.type_names[0] if self.type_names else ""
        return str(self.value)

    def __repr__(self) -> str:
        type_name = _shorten(self.type_names[0]) if self.type_names else "PSObject"
        return f"<{type_name} {_shorten(str(self))!r}, {len(self.properties)} properties>"


@dataclass(frozen=True, slots=True)
class EncryptedString:
    """A SecureString as it travels: encrypted with the session key, which psrpcore holds."""

    ciphertext: str = field(repr=False)


def decode(data: bytes) -> Any:
    """Read one CLIXML element, in UTF-8 with or without a byte order mark. The caller bounds its size.

    ===================================== ================================================================
    S, ToString, SBK, XD, URI, Version    str
    C                                     str of one character, which may be half a surrogate pair
    B                                     bool
    By, SB, I16, U16, I32, U32, I64, U64  int
    Sg, Db; D                             float; Decimal
    DT, TS                                datetime (with its zone, if it has one), timedelta, both cut off
                                          after the microseconds; str where Python cannot hold the value
    G; BA; SS                             UUID; bytes; :class:`EncryptedString`
    Nil                                   None
    Obj, PR                               :class:`PSObject`, even if it wraps nothing but a primitive
    LST, IE, STK, QUE in an Obj           its value is a list, in the order of the document
    DCT in an Obj                         its value is a dict, or a list of (key, value) pairs where keys
                                          are the same to Python (1 and $true) or could be made to collide.
                                          A key that is an Obj is found by its identity only
    Ref                                   the same object again
    ===================================== ================================================================

    Raises:
        RemoteProtocolError: the bytes are no CLIXML, or exceed a limit.
    """
    _check_limits(data)
    # The encoding is the protocol's: a declaration in the document must not choose another one, in which what
    # _check_limits looks for would be spelled differently.
    parser = ET.XMLParser(encoding="utf-8")
    try:
        parser.feed(data)
        root = parser.close()
    except ET.ParseError:
        raise RemoteProtocolError("The remote sent a message that is not well-formed XML.") from None
    try:
        return _Reader().read(root, 1)
    except (ValueError, KeyError, ArithmeticError):
        raise RemoteProtocolError(
            "The remote sent CLIXML with a value, name or reference that cannot be read."
        ) from None


def _check_limits(data: bytes) -> None:
    # Without NUL there is no UTF-16, the one encoding that expat would switch to by itself.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        raise RemoteProtocolError("The remote sent XML with entities of its own, or with zero bytes: refused.")
    if len(data) <= MAX_ELEMENTS * _MIN_ELEMENT_BYTES:
        return
    if data.count(b"<") - data.count(b"</") > MAX_ELEMENTS:
        raise RemoteProtocolError(f"The remote sent CLIXML of more than {MAX_ELEMENTS} elements.")
    if _TOO_MANY_ATTRIBUTES.search(data):
        raise RemoteProtocolError("The remote sent CLIXML with more attributes than PowerShell writes.")


class _Reader:
    """One document's tables of references."""

    __slots__ = ("_objects", "_type_names")

    def __init__(self) -> None:
        self._objects: dict[str, PSObject] = {}
        self._type_names: dict[str, tuple[str, ...]] = {}

    def read(self, element: ET.Element, depth: int) -> Any:
        tag = element.tag
        if tag in _PRIMITIVES:
            return _read_primitive(element)
        if tag == "Obj":
            return self._read_object(element, depth)
        if tag == "Ref":
            return self._objects[element.attrib["RefId"]]
        if tag == "PR":
            return _read_progress(element)
        raise RemoteProtocolError("The remote sent CLIXML with an element that does not exist.")

    def _read_object(self, element: ET.Element, depth: int) -> PSObject:
        if depth > MAX_DEPTH:
            raise RemoteProtocolError(f"The remote sent CLIXML of more than {MAX_DEPTH} levels.")
        result = PSObject()
        reference = element.get("RefId")
        if reference is not None:
            # Before its members are read: they may refer to it.
            self._objects[reference] = result
        extended: dict[str, Any] = {}
        for part in element:
            tag = part.tag
            if tag == "Props":
                self._read_members(part, result.properties, depth)
            elif tag == "MS":
                self._read_members(part, extended, depth)
            elif tag in {"TN", "TNRef"}:
                result.type_names = self._read_type_names(part)
            elif tag == "ToString":
                result.to_string = _read_primitive(part)
            elif tag in _SEQUENCES:
                result.value = [self.read(item, depth + 1) for item in part]
            elif tag == "DCT":
                result.value = self._read_dictionary(part, depth)
            else:
                result.value = _read_primitive(part)
        result.properties.update(extended)
        return result

    def _read_type_names(self, element: ET.Element) -> tuple[str, ...]:
        reference = element.attrib["RefId"]
        if element.tag == "TN":
            self._type_names[reference] = tuple(decode_escapes(name.text or "") for name in element)
        return self._type_names[reference]

    def _read_members(self, element: ET.Element, members: dict[str, Any], depth: int) -> None:
        for member in element:
            members[decode_escapes(member.attrib["N"])] = self.read(member, depth + 1)

    def _read_dictionary(self, element: ET.Element, depth: int) -> dict[Any, Any] | list[tuple[Any, Any]]:
        pairs = []
        for entry in element:
            parts = {part.get("N"): part for part in entry}
            pairs.append((self.read(parts["Key"], depth + 1), self.read(parts["Value"], depth + 1)))
        if len(pairs) > _MAX_UNSAFE_KEYS and not all(type(key) in _SAFE_KEYS for key, _ in pairs):
            return pairs
        table = dict(pairs)
        # 1 and $true are two keys in PowerShell and one in Python.
        return table if len(table) == len(pairs) else pairs


def _read_primitive(element: ET.Element) -> Any:
    if len(element):
        raise RemoteProtocolError("The remote sent CLIXML with elements inside a primitive value.")
    return _PRIMITIVES[element.tag](element.text or "")


def _read_integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_CHARACTERS:
        raise ValueError
    return int(text)


def _read_decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError
    return number


def _read_character(text: str) -> str:
    code = _read_integer(text)
    if code > _MAX_CHARACTER:
        raise ValueError
    return chr(code)


def _read_datetime(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _read_duration(text: str) -> timedelta | str:
    match = _DURATION.fullmatch(text)
    if match is None:
        return text
    sign, days, hours, minutes, seconds, fraction = match.groups()
    microseconds = int((fraction or "0").ljust(6, "0")[:6])
    try:
        length = timedelta(
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=microseconds,
        )
    except OverflowError:
        return text
    return -length if sign else length


def _read_progress_type(text: str) -> PSObject:
    # In the shape in which a PROGRESS_RECORD message carries it.
    return PSObject(
        ("System.Management.Automation.ProgressRecordType", "System.Enum"),
        to_string=text,
        value=("Processing", "Completed").index(text),
    )


def _read_nil(_text: str) -> None:
    return None


def _read_progress(element: ET.Element) -> PSObject:
    result = PSObject(("System.Management.Automation.ProgressRecord",))
    for part in element:
        name, convert = _PROGRESS_MEMBERS[part.tag]
        result.properties[name] = convert(part.text or "")
    return result


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


_PRIMITIVES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("S", "ToString", "SBK", "XD", "URI", "Version"), decode_escapes),
    **dict.fromkeys(("By", "SB", "I16", "U16", "I32", "U32", "I64", "U64"), _read_integer),
    "C": _read_character,
    "B": lambda text: _BOOLEANS[text.strip()],
    "Sg": float,
    "Db": float,
    "D": _read_decimal,
    "DT": _read_datetime,
    "TS": _read_duration,
    "G": UUID,
    "BA": a2b_base64,
    "SS": EncryptedString,
    "Nil": _read_nil,
}
# Of a progress record outside remoting (``pwsh -OutputFormat xml``); names as remoting writes them.
_PROGRESS_MEMBERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "AV": ("Activity", decode_escapes),
    "AI": ("ActivityId", _read_integer),
    "Nil": ("CurrentOperation", _read_nil),
    "S": ("CurrentOperation", decode_escapes),
    "PI": ("ParentActivityId", _read_integer),
    "PC": ("PercentComplete", _read_integer),
    "T": ("Type", _read_progress_type),
    "SR": ("SecondsRemaining", _read_integer),
    "SD": ("StatusDescription", decode_escapes),
}
