"""Text inside CLIXML: PowerShell's ``_xHHHH_`` escapes, and the two kinds of message that are all text.

XML cannot carry control characters or half a surrogate pair, so PowerShell writes each such UTF-16 unit as
``_xHHHH_``, and an underscore that could be taken for the beginning of one as ``_x005F_`` (serialization.cs,
EncodeString; it reads with .NET's XmlConvert.DecodeName, for which ``_X`` is as good as ``_x``).

The fast paths recognise by their bytes the messages that make up nearly all output of a cell. They answer
None wherever an XML parser could see something else than they do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pskernel.errors import RemoteProtocolError

__all__ = [
    "decode_escapes",
    "decode_string_fast",
    "escape_references",
    "escape_text",
    "host_call_text_fast",
    "unescape_text",
]

# C0, C1, surrogates, the two characters XML forbids, and all that takes two UTF-16 units.
_TO_ESCAPE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U00010000-\U0010ffff]|_(?=[xX])",
)
# What PowerShell's writer makes of the two characters that XML forbids; no parser reads it.
_FORBIDDEN_REFERENCE = re.compile(rb"&#xFFF([EF]);")
_ESCAPE = re.compile("_[xX]([0-9a-fA-F]{4})_")
_FIRST_SURROGATE = "\ud800"

# What a parser refuses, or does not pass on unchanged: markup, a carriage return (it becomes a newline), the
# other controls, references that it would have to resolve.
_NOT_PLAIN = bytes({*range(0x20), *b"<>"} - {*b"\t\n"})
_NOT_PLAIN_REFERENCE = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)")

_BOM = b"\xef\xbb\xbf"
_START, _END, _EMPTY = b"<S>", b"</S>", (b"<S />", b"<S/>")

_COLOUR = rb"<I32>(-1|[0-9]|1[0-5])</I32>"
# A host call that expects no answer (call id -100), as PowerShell's RemoteHostCall writes it.
_HOST_CALL = re.compile(
    rb'(?:\xef\xbb\xbf)?<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"><TN RefId="0">'
    rb"<T>System\.Management\.Automation\.Remoting\.RemoteHostMethodId</T><T>System\.Enum</T>"
    rb"<T>System\.ValueType</T><T>System\.Object</T></TN><ToString>[A-Za-z0-9]+</ToString>"
    rb'<I32>(1[3-9]|2[12])</I32></Obj><Obj N="mp" RefId="2"><TN RefId="1">'
    rb"<T>System\.Collections\.ArrayList</T><T>System\.Object</T></TN><LST(?: ?/>|>"
    rb"(?:" + _COLOUR + _COLOUR + rb")?(<S(?: ?/>|>[^<]*</S>))</LST>)</Obj></MS></Obj>"
)
_WRITE_LINE_1 = 15  # an empty line: it has no parameters
_COLOURED = frozenset((14, 17))  # Write2, WriteLine3: foreground, background, text; the others: text


def escape_text(text: str) -> bytes:
    """Write ``text`` as the content, in UTF-8, of a CLIXML text element (``<S>`` and its like; no attribute).

    Every string is accepted, lone surrogates included, and arrives unchanged.
    """
    text = _TO_ESCAPE.sub(_escape, text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()


def unescape_text(content: bytes | str) -> str:
    """Read the content of a text element as it stands in the document; the inverse of :func:`escape_text`.

    Numeric character references are left alone: PowerShell writes none.

    Raises:
        RemoteProtocolError: the bytes are not UTF-8.
    """
    if isinstance(content, bytes):
        try:
            content = content.decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("The remote sent text that is not UTF-8.") from None
    if "&" in content:
        content = content.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        content = content.replace("&apos;", "'").replace("&amp;", "&")
    return decode_escapes(content)


def escape_references(body: bytes) -> bytes:
    """Write the references to U+FFFE and U+FFFF, which PowerShell sends and XML forbids, as ``_xHHHH_``."""
    return _FORBIDDEN_REFERENCE.sub(rb"_xFFF\1_", body) if b"&#xFFF" in body else body


def decode_escapes(text: str) -> str:
    """Undo the ``_xHHHH_`` escapes in text that an XML parser has read, joining halves of surrogate pairs."""
    if "_" not in text:
        return text
    # Plain text and hexadecimal digits take turns.
    parts = _ESCAPE.split(text)
    if len(parts) == 1:
        return text
    units = parts[1::2] = [_unit(digits) for digits in parts[1::2]]
    text = "".join(parts)
    if max(units) >= _FIRST_SURROGATE:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def decode_string_fast(data: bytes) -> str | None:
    """Read a document that is one plain ``<S>`` element; it may begin with a byte order mark.

    Returns what ``decode`` would, or None if only ``decode`` can tell.
    """
    data = data.removeprefix(_BOM)
    if not (data.startswith(_START) and data.endswith(_END)):
        return "" if data in _EMPTY else None
    content = data[len(_START) : -len(_END)]
    if len(content.translate(None, _NOT_PLAIN)) != len(content):
        return None
    if b"&" in content and _NOT_PLAIN_REFERENCE.search(content):
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if "\ufffe" in text or "\uffff" in text:
        return None
    return unescape_text(text)


def host_call_text_fast(data: bytes) -> tuple[int, str, int | None, int | None] | None:
    """Read a host call that writes text and expects no answer: methods 13 to 19, 21, 22 (MS-PSRP 2.2.3.17).

    Returns the method id, the text without a line end, and the foreground and background colour: ConsoleColor
    numbers 0 to 15, or None where the call names none (in Write2 and WriteLine3, PowerShell then writes -1).
    Returns None if the message is anything else, or is not written as PowerShell does: see ``decode``.
    """
    match = _HOST_CALL.fullmatch(data)
    if match is None:
        return None
    number, foreground, background, string = match.groups()
    method = int(number)
    if (foreground is not None) != (method in _COLOURED) or (string is None) != (method == _WRITE_LINE_1):
        return None
    text = "" if string is None else decode_string_fast(string)
    return None if text is None else (method, text, _colour(foreground), _colour(background))


@lru_cache(maxsize=256)  # nearly all are of a few controls: ESC and the line ends
def _unit(digits: str) -> str:
    return chr(int(digits, 16))


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"_x{units[i : i + 4]}_" for i in range(0, len(units), 4))


def _colour(number: bytes | None) -> int | None:
    return None if number is None or number == b"-1" else int(number)
