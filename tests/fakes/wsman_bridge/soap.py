"""Envelopes and faults, as Windows writes them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from uuid import uuid4
from xml.sax.saxutils import escape

__all__ = ["ANONYMOUS", "NS", "Fault", "Request", "bad_selector", "envelope", "fault_body", "timed_out"]

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
    "pwsh": "http://schemas.microsoft.com/powershell",
}
ANONYMOUS = f"{NS['a']}/role/anonymous"


class Fault(Exception):
    """What a service answers instead."""

    def __init__(self, code: int, subcode: str, text: str, *, sender: bool = False) -> None:
        super().__init__(text)
        self.code, self.subcode, self.text, self.sender = code, subcode, text, sender


def timed_out() -> Fault:
    """Nothing to say within OperationTimeout."""
    return Fault(
        2150858793,
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
    )


def bad_selector() -> Fault:
    """No such shell."""
    return Fault(
        2150858843,
        "w:InvalidSelectors",
        "The request for the Windows Remote Shell with ShellId failed because the shell was not found on the server.",
        sender=True,
    )


class Request:
    """An envelope that was received."""

    def __init__(self, raw: bytes) -> None:
        self._root = ET.fromstring(raw)
        self.action = self._text("s:Header/a:Action")
        self.operation = self.action.rpartition("/")[2]
        self.message_id = self._text("s:Header/a:MessageID")
        self.resource_uri = self._text("s:Header/w:ResourceURI")
        self.timeout = float(self._text("s:Header/w:OperationTimeout", "PT60S")[2:-1])
        self.envelope_size = int(self._text("s:Header/w:MaxEnvelopeSize", "512000"))
        chosen = self._root.iterfind("s:Header/w:SelectorSet/w:Selector", NS)
        self.shell_id = {each.get("Name"): each.text or "" for each in chosen}.get("ShellId", "").upper()
        body = self._root.find("s:Body", NS)
        assert body is not None
        self.body = body

    def _text(self, path: str, otherwise: str = "") -> str:
        return self._root.findtext(path, otherwise, NS).strip()


def envelope(request: Request | None, body: str) -> bytes:
    """The answer to a request."""
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NS.items() if prefix != "pwsh")
    action = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault" if request is None else f"{request.action}Response"
    relates = "" if request is None else f"<a:RelatesTo>{escape(request.message_id)}</a:RelatesTo>"
    return (
        f'<s:Envelope xml:lang="en-US" {names}><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid4()).upper()}</a:MessageID><a:To>{ANONYMOUS}</a:To>{relates}</s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault_body(fault: Fault) -> str:
    """The body of a fault."""
    side = "s:Sender" if fault.sender else "s:Receiver"
    text = escape(fault.text)
    return (
        f"<s:Fault><s:Code><s:Value>{side}</s:Value><s:Subcode><s:Value>{fault.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{text}</s:Text></s:Reason><s:Detail>'
        f'<f:WSManFault Code="{fault.code}" Machine="localhost"><f:Message>{text}</f:Message></f:WSManFault>'
        "</s:Detail></s:Fault>"
    )
