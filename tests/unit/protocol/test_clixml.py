"""The CLIXML decoder against PowerShell's spelling, against psrpcore's deserialiser, and against hostile bytes."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import psrpcore.types as ps
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol import clixml
from pskernel.protocol.clixml import (
    EncryptedString,
    PSObject,
    decode,
    decode_string_fast,
    escape_references,
    escape_text,
    host_call_text_fast,
    unescape_text,
)

BOM = b"\xef\xbb\xbf"
# The machine may be busy: how long an example takes says nothing about the code.
busy = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- psrpcore as the yardstick ------------------------------------------------------------------------------------


class NoCipher(ps.PSCryptoProvider):
    def decrypt(self, value: str) -> str:
        return value

    def encrypt(self, value: str) -> str:
        return value

    def register_key(self, key: bytes) -> None:
        raise NotImplementedError


def psrpcore_decode(document: bytes) -> Any:
    return ps.deserialize(ET.fromstring(document), NoCipher())


def without_known_types(document: bytes) -> bytes:
    """So that psrpcore reads every object as it stands, and does not turn it into a class of its own."""
    return document.replace(b"<T>", b"<T>Plain.")


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def check_same(ours: Any, theirs: Any, depth: int = 0) -> None:
    """Assert that two decoders saw the same, as far as psrpcore can tell."""
    if depth > 60:
        return  # a self-reference
    if not isinstance(ours, PSObject):
        check_same_primitive(ours, theirs)
        return
    members = theirs.PSObject
    if ours.type_names:
        assert ours.type_names == tuple(name.removeprefix("Deserialized.") for name in members.type_names)
    if ours.to_string is not None:
        assert ours.to_string == members.to_string
    expected = {p.name: p.get_value(theirs) for p in members.adapted_properties}
    expected |= {p.name: p.get_value(theirs) for p in members.extended_properties}
    assert set(ours.properties) == set(expected)
    for name, value in ours.properties.items():
        check_same(value, expected[name], depth + 1)
    if isinstance(ours.value, list):
        items = list(theirs.queue) if isinstance(theirs, ps.PSQueue) else list(theirs)
        assert len(ours.value) == len(items)
        for one, other in zip(ours.value, items, strict=True):
            check_same(one, other, depth + 1)
    elif isinstance(ours.value, dict):
        assert len(ours.value) == len(theirs)
        for (key, value), (their_key, their_value) in zip(ours.value.items(), theirs.items(), strict=True):
            check_same(key, their_key, depth + 1)
            check_same(value, their_value, depth + 1)
    elif ours.value is not None:
        check_same_primitive(ours.value, theirs)


def check_same_primitive(ours: Any, theirs: Any) -> None:
    match theirs:
        case ps.PSChar():
            assert ours == chr(int(theirs))
        case ps.PSVersion():
            assert ours == str(theirs)
        case ps.PSSecureString():
            assert isinstance(ours, EncryptedString)
        case ps.PSDuration():
            assert ours == timedelta(days=theirs.days, seconds=theirs.seconds, microseconds=theirs.microseconds)
        case float():
            assert isinstance(ours, float)
            assert ours == float(theirs) or (math.isnan(ours) and math.isnan(theirs))
        case str():
            assert isinstance(ours, str)
            assert utf16(ours) == utf16(str(theirs))
        case None | bool():
            assert ours is theirs
        case _:
            assert type(ours) in type(theirs).__mro__
            assert ours == theirs


# --- text ---------------------------------------------------------------------------------------------------------

# What PowerShell 7.6 writes ([PSSerializer]::Serialize).
SPELLINGS = [
    ("", b""),
    ("a b", b"a b"),
    ("a\r\n\tb", b"a_x000D__x000A__x0009_b"),
    ("_x", b"_x005F_x"),
    ("_X0041_", b"_x005F_X0041_"),
    ("_xa", b"_x005F_xa"),
    ("a_", b"a_"),
    ("_y", b"_y"),
    ("é\U0001f600", "é_xD83D__xDE00_".encode()),
    ("\x7f\x85", b"_x007F__x0085_"),
    ("\"'<>&", b"\"'&lt;&gt;&amp;"),
    ("\ud83d", b"_xD83D_"),
    ("\u2028\ufeff", "\u2028\ufeff".encode()),
    ("\x1b[31m", b"_x001B_[31m"),
]

# fmt: off
AWKWARD_PIECES = [
    "_", "x", "X", "_x000A_", "_x005F_", "005F", "000a", "\r\n", "\n", "&", "<", ">", "]]>", "&lt;", "&#65;", "é", " ",
    "\ud83d", "\ude00", "\U0001f600", "\ufffe", "\uffff", "\x00", "\x1b", "\x85", '"', "'",
]
# fmt: on
any_text = st.text(st.characters(codec=None, exclude_categories=()))
awkward_text = any_text | st.lists(st.sampled_from(AWKWARD_PIECES)).map("".join)


@pytest.mark.parametrize(("text", "content"), SPELLINGS)
def test_text_is_written_and_read_as_powershell_does(text: str, content: bytes) -> None:
    assert escape_text(text) == content
    assert unescape_text(content) == text
    assert unescape_text(content.decode()) == text


def test_the_two_characters_that_powershell_writes_and_xml_forbids() -> None:
    element = escape_references(b"<S>a&#xFFFE;&#xFFFF;&#xFFFD;</S>")

    assert "a\ufffe\uffff\ufffd" == decode(element)
    member = escape_references(b'<Obj RefId="0"><MS><I32 N="&#xFFFE;">1</I32></MS></Obj>')
    assert {"\ufffe": 1} == decode(member).properties


@busy
@given(awkward_text)
def test_every_text_survives(text: str) -> None:
    content = escape_text(text)
    document = b"<S>" + content + b"</S>"

    for read in (decode, decode_string_fast, psrpcore_decode):
        value = read(document)
        assert value is not None
        assert utf16(value) == utf16(text)
    assert utf16(unescape_text(content)) == utf16(text)
    # All of it as PowerShell's own XML reader takes it: no character below space, none outside XML.
    assert re.fullmatch("[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]*", content.decode())


def test_escapes_are_read_as_dotnet_reads_them() -> None:
    assert unescape_text("_X000a_") == "\n"
    assert unescape_text("_x005F_x000A_") == "_x000A_"
    assert unescape_text("__x000A__") == "_\n_"
    assert unescape_text("_x000A_x000A_") == "\nx000A_"
    assert unescape_text("_x000g_") == "_x000g_"
    assert unescape_text("_xD83D__xDE00_") == "\U0001f600"
    assert unescape_text("_xD83D_-_xDE00_") == "\ud83d-\ude00"


def test_unescaping_reads_entities_before_escapes() -> None:
    assert unescape_text(b"&amp;lt;&quot;&apos;_x0026_lt;") == "&lt;\"'&lt;"


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        unescape_text(b"\xff")


@pytest.mark.live
def test_powershell_reads_what_we_write(pwsh: str) -> None:
    texts = [text for text, _ in SPELLINGS] + ["\ufffe\uffff", "\x00", "_x_X_x000A_", "\udc00\ud800", "]]>"]
    document = "".join(f"<S>{escape_text(text).decode()}</S>" for text in texts)
    script = (
        "$objects = [Management.Automation.PSSerializer]::Deserialize([Console]::In.ReadToEnd());"
        "foreach ($o in $objects) { '=' + -join ($o.ToCharArray() | ForEach-Object { '{0:x4}' -f [int]$_ }) }"
    )
    done = subprocess.run(
        [pwsh, "-NoProfile", "-NonInteractive", "-Command", script],
        input=f'<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{document}</Objs>',
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == ["=" + text.encode("utf-16-be", "surrogatepass").hex() for text in texts]


# --- primitives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("<S>a &lt;b&gt; _x000A_</S>", "a <b> \n"),
        ("<S />", ""),
        ("<S><![CDATA[a<b]]>&#65;</S>", "a<bA"),
        ("<S>a\r\nb</S>", "a\nb"),
        ("<S>a<!-- not ours -->b</S>", "ab"),
        ("<ToString>x</ToString>", "x"),
        ("<SBK>1 + 1_x000A_</SBK>", "1 + 1\n"),
        ("<XD>&lt;a /&gt;</XD>", "<a />"),
        ("<URI>http://host/</URI>", "http://host/"),
        ("<Version>7.6.0</Version>", "7.6.0"),
        ("<C>65</C>", "A"),
        ("<C>55357</C>", "\ud83d"),
        ("<B>true</B>", True),
        ("<B> false </B>", False),
        ("<B>1</B>", True),
        ("<By>255</By>", 255),
        ("<SB>-128</SB>", -128),
        ("<I16>-1</I16>", -1),
        ("<U16>65535</U16>", 65535),
        ("<I32> 5 </I32>", 5),
        ("<U32>4294967295</U32>", 4294967295),
        ("<I64>-9223372036854775808</I64>", -9223372036854775808),
        ("<U64>18446744073709551615</U64>", 18446744073709551615),
        ("<Sg>1.5</Sg>", 1.5),
        ("<Db>1E-05</Db>", 1e-05),
        ("<Db>INF</Db>", math.inf),
        ("<Sg>-INF</Sg>", -math.inf),
        ("<D>79228162514264337593543950335</D>", Decimal(79228162514264337593543950335)),
        ("<D>0.10</D>", Decimal("0.10")),
        ("<DT>2024-02-29T23:59:59.1234567Z</DT>", datetime(2024, 2, 29, 23, 59, 59, 123456, UTC)),
        (
            "<DT>2024-02-29T23:59:59.5+05:30</DT>",
            datetime(2024, 2, 29, 23, 59, 59, 500000, timezone(timedelta(hours=5, minutes=30))),
        ),
        ("<DT>0001-01-01T00:00:00</DT>", datetime(1, 1, 1)),  # noqa: DTZ001 - DateTimeKind.Unspecified
        ("<DT>9999-12-31T23:59:59.9999999</DT>", datetime(9999, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
        ("<DT>10000-01-01T00:00:00</DT>", "10000-01-01T00:00:00"),
        ("<TS>PT0S</TS>", timedelta(0)),
        ("<TS>P1DT2H3M4.0050007S</TS>", timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5000)),
        ("<TS>-PT1.5S</TS>", timedelta(seconds=-1.5)),
        ("<TS>P10675199DT2H48M5.4775807S</TS>", timedelta(10675199, 10085, 477580)),
        ("<TS>P999999999DT999999999H</TS>", "P999999999DT999999999H"),
        ("<TS>P1Y</TS>", "P1Y"),
        ("<G>8f3f0d2c-0000-4000-8000-00000000abcd</G>", UUID("8f3f0d2c-0000-4000-8000-00000000abcd")),
        ("<BA>AAEC/w==</BA>", b"\x00\x01\x02\xff"),
        ("<SS>c2VjcmV0</SS>", EncryptedString("c2VjcmV0")),
        ("<Nil />", None),
    ],
)
def test_primitives(document: str, value: Any) -> None:
    for prefix in (b"", BOM):
        decoded = decode(prefix + document.encode())
        assert decoded == value
        assert type(decoded) is type(value)


def test_nan() -> None:
    assert math.isnan(decode(b"<Db>NaN</Db>"))


def test_an_encrypted_string_does_not_show_itself() -> None:
    assert "c2Vj" not in repr(decode(b"<SS>c2VjcmV0</SS>"))
    assert "c2Vj" not in str(decode(b'<Obj RefId="0"><MS><SS N="p">c2VjcmV0</SS></MS></Obj>').p)


# --- objects ------------------------------------------------------------------------------------------------------

PROCESS = b"""<Obj RefId="0"><TN RefId="0"><T>System.Diagnostics.Process</T><T>System.Object</T></TN>
<ToString>System.Diagnostics.Process (pwsh)</ToString><Props><S N="Name">pwsh</S><I32 N="Id">7</I32>
<I32 N="a_x000A_b">8</I32></Props><MS><S N="Id">seven</S><Obj N="Day" RefId="1"><TN RefId="1"><T>System.DayOfWeek</T>
<T>System.Enum</T></TN><ToString>Monday</ToString><I32>1</I32></Obj><Obj N="Other" RefId="2"><TNRef RefId="1" />
<ToString>Tuesday</ToString><I32>2</I32></Obj><Ref N="Again" RefId="1" /><Ref N="Self" RefId="0" /></MS></Obj>"""


def test_an_object() -> None:
    process = decode(PROCESS)

    assert process.type_names == ("System.Diagnostics.Process", "System.Object")
    assert str(process) == "System.Diagnostics.Process (pwsh)"
    assert list(process.properties) == ["Name", "Id", "a\nb", "Day", "Other", "Again", "Self"]
    assert process.properties["Id"] == "seven"  # the extended member hides the adapted one
    assert process.Name == process.name == "pwsh"
    assert process.Self is process
    assert process.Again is process.Day
    assert (process.Day.value, str(process.Day)) == (1, "Monday")
    assert process.Other.type_names == ("System.DayOfWeek", "System.Enum")


def test_attribute_access_prefers_the_exact_name_and_leaves_pythons_protocols_alone() -> None:
    thing = decode(
        b'<Obj RefId="0"><MS><S N="name">lower</S><S N="NAME">upper</S><S N="_id">1</S><S N="Value">v</S>'
        b'<S N="_repr_html_">evil</S><S N="__class__">evil</S><S N="__reduce_ex__">evil</S></MS></Obj>'
    )

    assert (thing.name, thing.NAME, thing.Name, thing._id) == ("lower", "upper", "lower", "1")
    assert (thing.Value, thing.value) == ("v", None)
    assert type(thing) is PSObject
    for name in ("_repr_html_", "__array__", "missing"):
        assert not hasattr(thing, name)
    assert thing.properties["_repr_html_"] == "evil"
    with pytest.raises(AttributeError, match="has no property 'missing'"):
        _ = thing.missing
    assert copy.copy(thing).properties == pickle.loads(pickle.dumps(thing)).properties == thing.properties


def test_the_text_of_an_object() -> None:
    assert str(decode(b"<Obj><I32>5</I32></Obj>")) == "5"
    assert str(decode(b'<Obj RefId="0"><TN RefId="0"><T>System.Array</T></TN><LST><I32>5</I32></LST></Obj>')) == (
        "System.Array"
    )
    assert str(decode(b'<Obj RefId="0" />')) == ""
    assert str(decode(b'<Obj RefId="0"><ToString /><I32>5</I32></Obj>')) == ""


def test_repr_is_short_and_does_not_follow_references() -> None:
    assert repr(decode(PROCESS)) == ("<System.Diagnostics.Process 'System.Diagnostics.Process (pwsh)', 7 properties>")
    long = decode(
        b'<Obj RefId="0"><TN RefId="0"><T>' + b"T" * 10_000 + b"</T></TN><ToString>" + b"s" * 10_000 + b"</ToString>"
        b'<LST><Ref RefId="0" /></LST></Obj>'
    )
    assert len(repr(long)) < 200
    assert len(repr(long.value)) < 200
    assert repr(decode(b'<Obj RefId="0" />')) == "<PSObject '', 0 properties>"


@pytest.mark.parametrize("tag", ["LST", "IE", "STK", "QUE"])
def test_sequences(tag: str) -> None:
    document = f'<Obj RefId="0"><{tag}><I32>1</I32><Nil /><Obj RefId="1"><{tag} /></Obj></{tag}></Obj>'
    value = decode(document.encode()).value

    assert value[:2] == [1, None]
    assert value[2].value == []


def dictionary(*entries: str) -> bytes:
    return f'<Obj RefId="0"><DCT>{"".join(f"<En>{entry}</En>" for entry in entries)}</DCT></Obj>'.encode()


def test_dictionaries() -> None:
    assert decode(dictionary()).value == {}
    assert decode(
        dictionary('<S N="Key">a</S><I32 N="Value">1</I32>', '<Nil N="Value" /><I32 N="Key">2</I32>')
    ).value == {"a": 1, 2: None}


def test_a_dictionary_that_python_cannot_express_is_a_list_of_pairs() -> None:
    one, true = '<I32 N="Key">1</I32><S N="Value">one</S>', '<B N="Key">true</B><S N="Value">true</S>'
    assert decode(dictionary(one, true)).value == [(1, "one"), (True, "true")]


def test_a_key_that_is_an_object_can_be_used() -> None:
    array = '<Obj N="Key" RefId="1"><LST><I32>1</I32></LST></Obj><S N="Value">x</S>'
    (key, value), *rest = decode(dictionary(array)).value.items()
    assert (key.value, value, rest) == ([1], "x", [])


def test_keys_made_to_collide_do_not_become_a_dict() -> None:
    keys = [UUID(int=n * (2**61 - 1)) for n in range(1, 60_000)]
    assert len({hash(key) for key in keys}) == 1
    pairs = decode(dictionary(*(f'<G N="Key">{key}</G><Nil N="Value" />' for key in keys))).value
    assert [key for key, _ in pairs] == keys


def test_a_progress_record_outside_remoting() -> None:
    progress = decode(
        b"<PR><AV>Copying_x000A_</AV><AI>1</AI><Nil /><PI>-1</PI><PC>50</PC><T>Completed</T><SR>-1</SR><SD>s</SD></PR>"
    )

    assert (progress.Activity, progress.CurrentOperation, progress.PercentComplete) == ("Copying\n", None, 50)
    assert (progress.Type.value, str(progress.Type)) == (1, "Completed")


# --- limits and damage --------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    return b'<Obj RefId="0"><LST>' * levels + b"</LST></Obj>" * levels


def test_depth_is_limited() -> None:
    value = decode(nested(clixml.MAX_DEPTH))
    for _ in range(clixml.MAX_DEPTH - 1):
        value = value.value[0]
    assert value.value == []
    with pytest.raises(RemoteProtocolError, match="50 levels"):
        decode(nested(clixml.MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "document",
    [
        nested(100_000),
        b'<Obj RefId="0"><MS><Obj N="a" RefId="0"><MS>' * 50_000 + b"</MS></Obj></MS></Obj>" * 50_000,
        b'<Obj RefId="0"><DCT><En><S N="Key">k</S><Obj N="Value" RefId="0"><DCT><En><S N="Key">k</S>' * 60
        + b"</En></DCT></Obj></En></DCT></Obj>" * 60,
        b"<S>" * 100_000 + b"</S>" * 100_000,
    ],
)
def test_hostile_nesting_is_an_error_and_no_crash(document: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(document)


def test_the_number_of_elements_is_limited() -> None:
    count = clixml.MAX_ELEMENTS * 6 // 10
    document = b'<Obj RefId="0"><LST>' + b"<S></S>" * count + b"</LST></Obj>"
    assert len(decode(document).value) == count
    with pytest.raises(RemoteProtocolError, match="2000000 elements"):
        decode(document.replace(b"<S></S>", b"<S/><S/>"))


@pytest.mark.parametrize("quote", ["'", '"'])
def test_the_number_of_attributes_is_limited(quote: str) -> None:
    text = "x" * clixml.MAX_ELEMENTS * 4
    attributes = [f"\na{n} = {quote}>{quote}" for n in range(5)]
    assert decode(f"<S {''.join(attributes[:4])}>{text}</S>".encode()) == text
    with pytest.raises(RemoteProtocolError, match="attributes"):
        decode(f"<S {''.join(attributes)}>{text}</S>".encode())


def test_a_large_document_of_few_elements_is_fine() -> None:
    text = b'a="1" ' * 2_000_000
    assert decode(b'<Obj N="a" RefId="0"><S N="x">' + text + b"</S></Obj>").value == text.decode()


BOMB = '<!DOCTYPE S [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><S>&b;</S>'


@pytest.mark.parametrize(
    "document",
    [
        BOMB.encode(),
        BOM + BOMB.encode(),
        BOMB.encode("utf-16"),
        BOMB.encode("utf-16-le"),
        BOMB.encode("utf-16-be"),
        b'<?xml version="1.0" encoding="cp037"?>' + BOMB.encode("cp037"),
        b'<?xml version="1.0" encoding="utf-7"?>' + BOMB.encode("utf-7"),
        b'<!DOCTYPE S SYSTEM "file:///etc/passwd"><S>a</S>',
        b"<S>&b;</S>",
    ],
)
def test_no_entities_in_any_encoding(document: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(document)


def test_a_declaration_does_not_choose_the_encoding() -> None:
    document = '<?xml version="1.0" encoding="iso-8859-1"?><S>é</S>'.encode()
    assert decode(document) == "é"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"text",
        b"<S>",
        b"<S>a</S><S>b</S>",
        b"<S>\xff</S>",
        b"<S>\x01</S>",
        b"<S>a<b/>c</S>",
        b"<Foo>5</Foo>",
        b"<Objs><S>a</S></Objs>",
        b'<S xmlns="urn:x">a</S>',
        b"<LST />",
        b"<B>yes</B>",
        b"<I32 />",
        b"<I32>x</I32>",
        b"<I64>" + b"9" * 21 + b"</I64>",
        b"<Db>x</Db>",
        b"<D>x</D>",
        b"<D>NaN</D>",
        b"<D>sNaN</D>",
        b"<C>65536</C>",
        b"<C>-1</C>",
        b"<G>x</G>",
        b"<BA>A</BA>",
        "<BA>é</BA>".encode(),
        b'<Ref RefId="0" />',
        b"<Ref />",
        b'<Obj RefId="0"><MS><S>no name</S></MS></Obj>',
        b'<Obj RefId="0"><TNRef RefId="0" /></Obj>',
        b'<Obj RefId="0"><TN><T>a</T></TN></Obj>',
        b'<Obj RefId="0"><Obj RefId="1" /></Obj>',
        b'<Obj RefId="0"><Ref RefId="0" /></Obj>',
        b'<Obj RefId="0"><DCT><En><S N="Key">a</S></En></DCT></Obj>',
        b'<Obj RefId="0"><DCT><En><S N="Value">a</S></En></DCT></Obj>',
        b"<PR><XX>1</XX></PR>",
        b"<PR><T>Other</T></PR>",
    ],
)
def test_damage_is_a_protocol_error(document: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(document)
    assert str(caught.value).endswith((".", "refused."))


def host_call(method: int, name: str, parameters: bytes, call_id: int = -100) -> bytes:
    """A host call in the shape in which PowerShell 7.7 sends it."""
    content = b"<LST>" + parameters + b"</LST>" if parameters else b"<LST />"
    return (
        b'<Obj RefId="0"><MS><I64 N="ci">%d</I64><Obj N="mi" RefId="1"><TN RefId="0">'
        b"<T>System.Management.Automation.Remoting.RemoteHostMethodId</T><T>System.Enum</T><T>System.ValueType</T>"
        b"<T>System.Object</T></TN><ToString>%s</ToString><I32>%d</I32></Obj>"
        b'<Obj N="mp" RefId="2"><TN RefId="1"><T>System.Collections.ArrayList</T><T>System.Object</T></TN>%s</Obj>'
        b"</MS></Obj>" % (call_id, name.encode(), method, content)
    )


SEEDS = [
    PROCESS,
    nested(3),
    dictionary(
        '<S N="Key">a</S><D N="Value">1.5</D>', '<G N="Key">8f3f0d2c00004000800000000000abcd</G><Nil N="Value" />'
    ),
    host_call(16, "WriteLine2", b"<S>_x001B_[31m&lt;text_x000A_</S>"),
    host_call(17, "WriteLine3", b"<I32>12</I32><I32>-1</I32><S>red</S>"),
    (
        b'<Obj RefId="0"><MS><DT N="a">2024-02-29T23:59:59.1234567Z</DT><TS N="b">-P1DT2H3M4.5S</TS><C N="c">65</C>'
        b'<BA N="d">AAEC</BA><SS N="e">AA</SS><Db N="f">-INF</Db><B N="g">true</B><Version N="h">1.2</Version></MS></Obj>'
    ),
    b"<PR><AV>a</AV><AI>1</AI><Nil /><PI>-1</PI><PC>50</PC><T>Processing</T><SR>-1</SR><SD>s</SD></PR>",
]
# fmt: off
SPLINTERS = [
    b"<", b">", b"/", b"&", b";", b"&#0;", b"&amp;", b"<S>", b"</S>", b"<S />", b"<![CDATA[", b"]]>", b"<!--", b"-->",
    b"<?x?>", b"\x00", b"\r", b"\xff", b"\xef\xbf\xbe", b"_xD83D_", b"-1", b"99999999999999999999999", b"INF", b"1e9",
    b'RefId="0"', b'RefId="9"', b'N="Key"', b"<Ref ", b"<Obj ", b"<DCT>", b"<En>", b"<TNRef ", b"<!DOCTYPE", b"",
]
# fmt: on


@st.composite
def damaged_documents(draw: st.DrawFn) -> bytes:
    document = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(document)))
        length = draw(st.sampled_from([0, 1, 3, 20]))
        splinter = draw(st.sampled_from(SPLINTERS) | st.binary(max_size=4))
        document = document[:start] + splinter + document[start + length :]
    return document


@settings(busy, max_examples=500)
@given(damaged_documents() | st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_protocol_error(document: bytes) -> None:
    fast, call = decode_string_fast(document), host_call_text_fast(document)
    try:
        value = decode(document)
    except RemoteProtocolError:
        assert fast is None
        assert call is None
        return
    assert len(repr(value)) < 100_000
    assert fast is None or fast == value
    assert call is None or call == slow_host_call(document)


# --- the fast paths -----------------------------------------------------------------------------------------------

# fmt: off
CONTENT_PIECES = [
    "a", "é", "\U0001f600", " ", "\t", "\n", "\r", "\x01", "\x7f", "\x85", "\ufffe", "\uffff", "\u2028", '"', "'",
    "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#65;", "&#x41;", "&bogus;", "&", "&amp", ">", "]]>", "<b/>", "<",
    "<![CDATA[x]]>", "<!-- c -->", "<?p?>", "_", "x", "_x000A_", "_x005F_", "_xd83d_", "_xDE00_", "_X000A_", "_xFFFE_",
    "</S><S>", "</S>", "<S>",
]
# fmt: on
xml_content = st.lists(st.sampled_from(CONTENT_PIECES)).map("".join)


def decode_or_none(document: bytes) -> Any:
    try:
        return decode(document)
    except RemoteProtocolError:
        return None


@settings(busy, max_examples=500)
@given(xml_content, st.sampled_from([b"", BOM]))
@example("\r", b"")
@example("]]>", b"")
def test_the_fast_path_of_strings_never_differs(content: str, prefix: bytes) -> None:
    document = prefix + b"<S>" + content.encode() + b"</S>"

    fast = decode_string_fast(document)

    assert fast is None or fast == decode_or_none(document)
    if fast is not None and "_X" not in content:  # psrpcore does not know _X; .NET does
        assert utf16(fast) == utf16(str(psrpcore_decode(document)))


@pytest.mark.parametrize(
    "document",
    [
        b"<S></S>",
        b"<S />",
        b"<S/>",
        b"<S>a</S>",
        BOM + b"<S>a</S>",
        BOM + b"<S />",
        "<S>a\n\té&amp;_x001B_</S>".encode(),
    ],
)
def test_the_fast_path_takes_plain_strings(document: bytes) -> None:
    assert decode_string_fast(document) == decode(document)


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"<S>", b"</S>", b"<I32>1</I32>", b'<S N="a">b</S>', b"<S>a</S>\n", b"<S>a<S></S></S>"),
        *(b"<S>&#65;</S>", b"<S><![CDATA[a]]></S>", b"<S>\xff</S>", b"<S>a\rb</S>", BOM + BOM + b"<S>a</S>"),
    ],
)
def test_the_fast_path_leaves_everything_else(document: bytes) -> None:
    assert decode_string_fast(document) is None


def slow_host_call(document: bytes) -> tuple[int, str, int | None, int | None] | None:
    """What the full decoder says of a host call, in the fast path's terms."""
    call = decode(document)
    assert call.ci == -100
    *colours, text = call.mp.value or [""]
    foreground, background = [None if colour == -1 else colour for colour in colours] or [None, None]
    return call.mi.value, text, foreground, background


def psrpcore_host_call(document: bytes) -> tuple[int, str, int | None, int | None]:
    call = psrpcore_decode(without_known_types(document))
    assert call.ci == -100
    *colours, text = list(call.mp) or [""]
    foreground, background = [None if colour == -1 else int(colour) for colour in colours] or [None, None]
    return int(call.mi), str(text), foreground, background


TEXT_METHODS = [
    (13, "Write1"),
    (16, "WriteLine2"),
    (18, "WriteErrorLine"),
    (19, "WriteDebugLine"),
    (21, "WriteVerboseLine"),
    (22, "WriteWarningLine"),
]
COLOUR_METHODS = [(14, "Write2"), (17, "WriteLine3")]


@pytest.mark.parametrize(("method", "name"), TEXT_METHODS)
@pytest.mark.parametrize(("element", "text"), [(b"<S>a&lt;_x000A_</S>", "a<\n"), (b"<S></S>", ""), (b"<S />", "")])
def test_host_calls_with_text(method: int, name: str, element: bytes, text: str) -> None:
    document = host_call(method, name, element)
    assert host_call_text_fast(document) == host_call_text_fast(BOM + document) == (method, text, None, None)


@pytest.mark.parametrize(("method", "name"), COLOUR_METHODS)
def test_host_calls_with_colours(method: int, name: str) -> None:
    document = host_call(method, name, b"<I32>15</I32><I32>-1</I32><S>text</S>")
    assert host_call_text_fast(document) == (method, "text", 15, None)


def test_a_host_call_without_parameters() -> None:
    assert host_call_text_fast(host_call(15, "WriteLine1", b"")) == (15, "", None, None)


@pytest.mark.parametrize(
    "document",
    [
        host_call(16, "WriteLine2", b"<S>a</S>", call_id=1),
        host_call(16, "WriteLine2", b""),
        host_call(15, "WriteLine1", b"<S>a</S>"),
        host_call(16, "WriteLine2", b"<I32>1</I32><I32>2</I32><S>a</S>"),
        host_call(17, "WriteLine3", b"<S>a</S>"),
        host_call(17, "WriteLine3", b"<I32>16</I32><I32>2</I32><S>a</S>"),
        host_call(17, "WriteLine3", b"<I32>1</I32><S>a</S>"),
        host_call(16, "WriteLine2", b"<S>a</S><S>b</S>"),
        host_call(16, "WriteLine2", b"<Nil />"),
        host_call(16, "WriteLine2", b"<S>&#65;</S>"),
        host_call(20, "WriteProgress", b"<S>a</S>"),
        host_call(42, "SetWindowTitle", b"<S>a</S>"),
        host_call(16, "WriteLine2", b"<S>a</S>") + b" ",
    ],
)
def test_every_other_host_call_is_left_to_the_slow_path(document: bytes) -> None:
    assert host_call_text_fast(document) is None


@settings(busy, max_examples=300)
@given(
    method=st.sampled_from([*TEXT_METHODS, *COLOUR_METHODS, (15, "WriteLine1"), (20, "WriteProgress"), (42, "X")]),
    colours=st.none() | st.tuples(st.integers(-2, 17), st.integers(-2, 17)),
    content=awkward_text.map(lambda text: escape_text(text).decode()) | xml_content,
)
def test_the_fast_path_of_host_calls_never_differs(
    method: tuple[int, str], colours: tuple[int, int] | None, content: str
) -> None:
    parameters = b"" if colours is None else b"<I32>%d</I32><I32>%d</I32>" % colours
    document = host_call(*method, parameters + b"<S>" + content.encode() + b"</S>")

    fast = host_call_text_fast(document)

    if fast is not None:
        assert fast == slow_host_call(document)
        if "_X" not in content:
            assert fast == psrpcore_host_call(document)


@busy
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")), data=st.data())
def test_host_calls_that_psrpcore_writes(text: str, data: st.DataObject) -> None:
    number, _ = data.draw(st.sampled_from([*TEXT_METHODS, *COLOUR_METHODS]))
    parameters = [ps.ConsoleColor(4), ps.ConsoleColor(15), text] if number in {14, 17} else [text]
    call = ps.PipelineHostCall(ci=-100, mi=ps.HostMethodIdentifier(number), mp=parameters)
    document = ET.tostring(ps.serialize(call, NoCipher()), encoding="utf-8", xml_declaration=False)

    assert host_call_text_fast(document) in (None, slow_host_call(document))
    decoded = decode(document)
    assert decoded.mi.value == number
    assert utf16(decoded.mp.value[-1]) == utf16(text)


# --- against psrpcore ---------------------------------------------------------------------------------------------

# psrpcore writes neither lone surrogates nor the characters XML forbids in a way it can read.
plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=20)
primitives = st.one_of(
    st.none(),
    st.booleans(),
    plain_text.map(ps.PSString),
    plain_text.map(ps.PSScriptBlock),
    plain_text.map(ps.PSUri),
    plain_text.map(ps.PSXml),
    st.integers(0, 0xFFFF).map(ps.PSChar),
    st.integers(0, 255).map(ps.PSByte),
    st.integers(-128, 127).map(ps.PSSByte),
    st.integers(-(2**31), 2**31 - 1).map(ps.PSInt),
    st.integers(-(2**63), 2**63 - 1).map(ps.PSInt64),
    st.integers(0, 2**64 - 1).map(ps.PSUInt64),
    st.floats(allow_infinity=False, allow_nan=False).map(ps.PSDouble),
    st.floats(width=32, allow_infinity=False, allow_nan=False).map(ps.PSSingle),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(ps.PSDecimal),
    st.binary(max_size=20).map(ps.PSByteArray),
    st.uuids().map(lambda value: ps.PSGuid(str(value))),
    st.just(ps.PSVersion("1.2.3.4")),
    st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.sampled_from([UTC, None])).map(  # noqa: DTZ001
        lambda value: ps.PSDateTime(*value.timetuple()[:6], microsecond=value.microsecond, tzinfo=value.tzinfo)
    ),
    st.timedeltas(timedelta(0), timedelta(days=10_000_000)).map(
        lambda value: ps.PSDuration(days=value.days, seconds=value.seconds, microseconds=value.microseconds)
    ),
)
names = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=8)


def make_object(properties: dict[str, Any], type_name: str) -> Any:
    value = ps.PSCustomObject()
    value.PSObject.type_names = [type_name, "System.Object"]
    for name, member in properties.items():
        ps.add_note_property(value, name, member, force=True)
    return value


def make_extended(value: Any, properties: dict[str, Any]) -> Any:
    for name, member in properties.items():
        ps.add_note_property(value, name, member, force=True)
    return value


hash_keys = plain_text.map(ps.PSString) | st.integers(0, 1000).map(ps.PSInt)
trees = st.recursive(
    primitives,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(ps.PSList),
        st.lists(inner, max_size=4).map(ps.PSStack),
        st.lists(inner, max_size=4).map(ps.PSIEnumerable),
        st.dictionaries(hash_keys, inner, max_size=4).map(ps.PSDict),
        st.builds(make_object, st.dictionaries(names, inner, max_size=4), names),
        st.builds(make_extended, plain_text.map(ps.PSString), st.dictionaries(names, inner, max_size=2)),
        st.builds(make_extended, st.integers(0, 9).map(ps.PSInt), st.dictionaries(names, inner, max_size=2)),
    ),
    max_leaves=12,
)


@settings(busy, max_examples=200)
@given(trees)
def test_object_trees_are_what_psrpcore_reads(tree: Any) -> None:
    document = ET.tostring(ps.serialize(tree, NoCipher()), encoding="utf-8", xml_declaration=False)
    document = without_known_types(document)

    check_same(decode(document), psrpcore_decode(document))


@pytest.mark.parametrize("document", [PROCESS, *SEEDS[2:5]], ids=str)
def test_powershells_shapes_are_what_psrpcore_reads(document: bytes) -> None:
    document = without_known_types(document)
    check_same(decode(document), psrpcore_decode(document))


@pytest.mark.golden
def test_every_recorded_message_is_what_psrpcore_reads(golden: Path) -> None:
    recordings = sorted(golden.glob("*.messages.jsonl"))
    assert recordings
    seen = texts = 0
    for recording in recordings:
        for line in recording.read_text(encoding="utf-8").splitlines():
            message = json.loads(line)
            if message["side"] != "server" or not message.get("clixml"):
                continue
            seen += 1
            document = message["clixml"].encode()
            check_same(decode(without_known_types(document)), psrpcore_decode(without_known_types(document)))
            string = decode_string_fast(document)
            assert string is None or string == decode(document)
            call = host_call_text_fast(document)
            if call is not None:
                assert call == slow_host_call(document) == psrpcore_host_call(document)
            is_text = re.search(rb"<ToString>Write(?!Progress)\w+</ToString>", document)
            assert (call is not None) == bool(is_text and message["message"].endswith("HOST_CALL"))
            texts += call is not None
    assert seen > 500
    assert texts > 300
