"""Envelopes: read as any client writes them, written as Windows or as OMI writes them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from uuid import uuid4
from xml.sax.saxutils import escape

from tests.fakes.wsman_bridge.faults import Fault, invalid_header, invalid_xml, stream_disconnected

__all__ = ["ANONYMOUS", "IDENTIFY", "NS", "Dialect", "Request", "answer", "fault_answer", "identify_answer", "seconds"]

NS = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "p": "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "n": "http://schemas.xmlsoap.org/ws/2004/09/enumeration",
    "f": "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault",
    "cfg": "http://schemas.microsoft.com/wbem/wsman/1/config",
    "wsmid": "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd",
    "pwsh": "http://schemas.microsoft.com/powershell",
}
ANONYMOUS = f"{NS['a']}/role/anonymous"
IDENTIFY = "Identify"
# The namespaces that answers declare; what is PowerShell's own is declared where it stands.
_DECLARED = ("s", "a", "w", "p", "rsp", "x", "n", "f", "cfg")
# OMI's prefixes for the same namespaces.
_FOREIGN = {"s": "SOAP-ENV", "a": "wsa", "w": "wsman", "p": "msftwinrm", "rsp": "p", "x": "wxf", "n": "wsen"}
# Prefixes stand in tags, in declarations, and in the names that are text of a fault.
_PREFIX = re.compile(r"(?<=[<>/])(s|a|w|p|rsp|x|n):|(?<=xmlns:)(s|a|w|p|rsp|x|n)=")
_FAULT_ACTIONS = {"a": f"{NS['a']}/fault", "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"}
_OMI_NUMBER = stream_disconnected().code
_OMI_SUBCODES = {
    "w:InvalidSelectors": "a:DestinationUnreachable",
    "a:DestinationUnreachable": "a:DestinationUnreachable",
}
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


@dataclass(frozen=True)
class Dialect:
    """How answers are written.

    ``foreign_prefixes``: with OMI's namespace prefixes. ``codeless_faults``: faults without a number, as OMI's are.
    """

    foreign_prefixes: bool = False
    codeless_faults: bool = False


class Request:
    """An envelope that was received.

    Raises:
        Fault: it is none.
    """

    def __init__(self, raw: bytes) -> None:
        if b"<!DOCTYPE" in raw:
            raise invalid_xml("a document type is not allowed")
        try:
            self._root = ET.fromstring(raw)
        except ET.ParseError as error:
            raise invalid_xml(str(error)) from None
        body = self._root.find("s:Body", NS)
        if body is None:
            raise invalid_xml("there is no Body")
        self.body = body
        self.message_id = self._header("a:MessageID")
        self.action = self._header("a:Action")
        identify = body.find("wsmid:Identify", NS) is not None
        self.operation = IDENTIFY if identify else self.action.rpartition("/")[2]
        self.resource_uri = self._header("w:ResourceURI")
        self.session_id = self._header("p:SessionId")
        chosen = self._root.iterfind("s:Header/w:SelectorSet/w:Selector", NS)
        self.shell_id = {each.get("Name"): (each.text or "").strip() for each in chosen}.get("ShellId", "").upper()

    @property
    def timeout(self) -> float:
        """OperationTimeout in seconds.

        Raises:
            Fault: it is none.
        """
        return seconds(self._header("w:OperationTimeout") or "PT60S", "timeout")

    @property
    def envelope_size(self) -> int:
        """MaxEnvelopeSize.

        Raises:
            Fault: it is none.
        """
        text = self._header("w:MaxEnvelopeSize") or "512000"
        if not (text.isascii() and text.isdigit()):
            raise invalid_header("MaxEnvelopeSize", text)
        return int(text)

    @property
    def command_id(self) -> str | None:
        """The command that the body speaks of, in capitals; None where it is the shell."""
        for each in self.body.iter():
            if each.get("CommandId"):
                return str(each.get("CommandId")).upper()
        return None

    def element(self, path: str) -> ET.Element:
        """An element that the body must have.

        Raises:
            Fault: it has not.
        """
        found = self.body.find(path, NS)
        if found is None:
            raise invalid_xml(f"{path.rpartition(':')[2]} is missing")
        return found

    def _header(self, name: str) -> str:
        return self._root.findtext(f"s:Header/{name}", "", NS).strip()


def seconds(text: str, field: str) -> float:
    """Read an XML duration.

    Raises:
        Fault: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise invalid_header(field, text)
    days, hours, minutes, rest = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def answer(request: Request, body: str, dialect: Dialect) -> bytes:
    """The answer to a request."""
    return _envelope(f"{request.action}Response", request.message_id, body, dialect)


def fault_answer(request: Request | None, fault: Fault, dialect: Dialect) -> bytes:
    """The answer of a service that cannot; ``request`` is None if it could not even be read."""
    # OMI has a number for one case only, and few names.
    codeless = dialect.codeless_faults and fault.code != _OMI_NUMBER
    subcode = _OMI_SUBCODES.get(fault.subcode, "w:InternalError") if dialect.codeless_faults else fault.subcode
    side = "s:Sender" if fault.sender else "s:Receiver"
    text = escape(fault.text)
    detail = (
        '<e:OMI_Error xmlns:e="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/OMI_Error">'
        f"<e:MessageID>OMI:MI_Result:1</e:MessageID><e:Message>{text}</e:Message></e:OMI_Error>"
        if codeless
        else f'<f:WSManFault Code="{fault.code}" Machine="localhost"><f:Message>{text}</f:Message></f:WSManFault>'
    )
    body = (
        f"<s:Fault><s:Code><s:Value>{side}</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{text}</s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>'
    )
    message_id = "" if request is None else request.message_id
    return _envelope(_FAULT_ACTIONS[subcode.partition(":")[0]], message_id, body, dialect)


def identify_answer(*, logged_in: bool) -> bytes:
    """Who answers. Windows tells its version only to those who have logged in."""
    version = "OS: 10.0.20348 SP: 0.0 Stack: 3.0" if logged_in else "OS: 0.0.0 SP: 0.0 Stack: 3.0"
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{NS["s"]}"><s:Header/><s:Body>'
        f'<wsmid:IdentifyResponse xmlns:wsmid="{NS["wsmid"]}">'
        f"<wsmid:ProtocolVersion>{NS['w']}</wsmid:ProtocolVersion>"
        "<wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor>"
        f"<wsmid:ProductVersion>{version}</wsmid:ProductVersion></wsmid:IdentifyResponse></s:Body></s:Envelope>"
    ).encode()


def _envelope(action: str, relates_to: str, body: str, dialect: Dialect) -> bytes:
    names = " ".join(f'xmlns:{prefix}="{NS[prefix]}"' for prefix in _DECLARED)
    relates = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>" if relates_to else ""
    text = (
        f'<s:Envelope xml:lang="en-US" {names}><s:Header><a:Action>{escape(action)}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid4()).upper()}</a:MessageID><a:To>{ANONYMOUS}</a:To>{relates}</s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )
    return (_with_foreign_prefixes(text) if dialect.foreign_prefixes else text).encode()


def _with_foreign_prefixes(text: str) -> str:
    def renamed(found: re.Match[str]) -> str:
        return f"{_FOREIGN[found[1] or found[2]]}{':' if found[1] else '='}"

    return _PREFIX.sub(renamed, text)
