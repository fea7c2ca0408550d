"""What goes into a WSMan message for a PowerShell shell, and what is read from one (MS-WSMV, MS-PSRP 3.1.5.3).

Servers other than Windows spell prefixes, actions and empty answers differently; nothing here goes by them.
"""

from __future__ import annotations

import base64
import binascii
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pypsrp.wsman import NAMESPACES, OptionSet, SelectorSet

from pskernel.errors import RemoteProtocolError

__all__ = [
    "CODE_STOP", "CODE_TERMINATE", "KEEP_ALIVE", "Received", "command", "commanded", "connect", "connected", "created",
    "disconnect", "options", "pool_options", "read_received", "receive", "selectors", "send", "shell",
    "signal", "uuid_of",
]  # fmt: skip

_RSP: Final = NAMESPACES["rsp"]
_POWERSHELL: Final = "http://schemas.microsoft.com/powershell"
# PowerShell compares the code letter by letter, and its own constant is misspelt (WSManPluginConstants).
CODE_STOP: Final = "powershell/signal/crtl_c"
CODE_TERMINATE: Final = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/Terminate"
KEEP_ALIVE: Final = {"WSMAN_CMDSHELL_OPTION_KEEPALIVE": "True"}
_PROTOCOL_VERSION: Final = "2.3"


@dataclass(frozen=True, slots=True)
class Received:
    """The answer to a Receive: fragments, and whether the command is over."""

    streams: tuple[bytes, ...]
    done: bool


def shell(shell_id: UUID, creation: bytes, *, name: str, idle_timeout: float | None = None) -> ET.Element:
    """The body of Create. Some servers want ``Name`` and ``ShellId`` both."""
    element = ET.Element(_q("Shell"), ShellId=_id(shell_id), Name=name)
    if idle_timeout is not None:
        ET.SubElement(element, _q("IdleTimeOut")).text = f"PT{idle_timeout:.3f}S"
    ET.SubElement(element, _q("InputStreams")).text = "stdin pr"
    ET.SubElement(element, _q("OutputStreams")).text = "stdout"
    ET.SubElement(element, f"{{{_POWERSHELL}}}creationXml").text = _b64(creation)
    return element


def command(pipeline_id: UUID, data: bytes) -> ET.Element:
    """The body of Command, with the first fragment of a pipeline."""
    element = ET.Element(_q("CommandLine"), CommandId=_id(pipeline_id))
    ET.SubElement(element, _q("Command")).text = ""
    ET.SubElement(element, _q("Arguments")).text = _b64(data)
    return element


def send(pipeline_id: UUID | None, data: bytes, *, prompt_response: bool) -> ET.Element:
    """The body of Send."""
    element = ET.Element(_q("Send"))
    stream = ET.SubElement(element, _q("Stream"), Name="pr" if prompt_response else "stdin")
    if pipeline_id is not None:
        stream.set("CommandId", _id(pipeline_id))
    stream.text = _b64(data)
    return element


def receive(pipeline_id: UUID | None) -> ET.Element:
    """The body of Receive, for a pipeline or the pool."""
    element = ET.Element(_q("Receive"))
    stream = ET.SubElement(element, _q("DesiredStream"))
    stream.text = "stdout"
    if pipeline_id is not None:
        stream.set("CommandId", _id(pipeline_id))
    return element


def signal(pipeline_id: UUID, code: str) -> ET.Element:
    """The body of Signal."""
    element = ET.Element(_q("Signal"), CommandId=_id(pipeline_id))
    ET.SubElement(element, _q("Code")).text = code
    return element


def disconnect(*, idle_timeout: float | None, buffering: str) -> ET.Element:
    """The body of Disconnect."""
    element = ET.Element(_q("Disconnect"))
    if idle_timeout is not None:
        ET.SubElement(element, _q("IdleTimeOut")).text = f"PT{idle_timeout:.3f}S"
    if buffering != "none":
        ET.SubElement(element, _q("BufferMode")).text = buffering.capitalize()
    return element


def connect(data: bytes | None, pipeline_id: UUID | None = None) -> ET.Element:
    """The body of Connect: to the pool, with its first fragments, or to a pipeline."""
    element = ET.Element(_q("Connect"))
    if pipeline_id is not None:
        element.set("CommandId", _id(pipeline_id))
    if data is not None:
        ET.SubElement(element, f"{{{_POWERSHELL}}}connectXml").text = _b64(data)
    return element


def connected(body: ET.Element) -> bytes:
    """The fragments in the answer to Connect.

    Raises:
        RemoteProtocolError: there are none.
    """
    found = body.find(f".//{{{_POWERSHELL}}}connectResponseXml")
    if found is None:
        raise RemoteProtocolError("The server's answer to Connect holds no connectResponseXml.")
    return _bytes(found.text)


def created(body: ET.Element) -> UUID | None:
    """The id of the shell in the answer to Create; None where it says none."""
    found = (each.text for each in body.iter(f"{{{NAMESPACES['wsman']}}}Selector") if each.get("Name") == "ShellId")
    return uuid_of(next(found, None))


def commanded(body: ET.Element) -> UUID | None:
    """The id of the command in the answer to Command; None where it says none."""
    return uuid_of(body.findtext(f".//{_q('CommandId')}"))


def read_received(body: ET.Element) -> Received:
    """The answer to Receive.

    Raises:
        RemoteProtocolError: it is none, or holds no base64.
    """
    answer = body.find(_q("ReceiveResponse"))
    if answer is None:
        raise RemoteProtocolError("The server's answer to Receive holds no ReceiveResponse.")
    state = answer.find(_q("CommandState"))
    done = state is not None and (state.get("State") or "").rpartition("/")[2] == "Done"
    return Received(tuple(data for each in answer.findall(_q("Stream")) if (data := _bytes(each.text))), done)


def selectors(shell_id: UUID) -> SelectorSet:
    """Which shell a message is for."""
    chosen = SelectorSet()
    chosen.add_option("ShellId", _id(shell_id))
    return chosen


def options(values: dict[str, str], *, must_comply: bool = False) -> OptionSet:
    """Options of a message."""
    chosen = OptionSet()
    for name, value in values.items():
        chosen.add_option(name, value, {"MustComply": "true"} if must_comply else {})
    return chosen


def pool_options(*, profile: bool = True) -> OptionSet:
    """Options of Create and Connect; without a ``profile`` the user's is not loaded."""
    more = {} if profile else {"WINRS_NOPROFILE": "TRUE"}
    return options({"protocolversion": _PROTOCOL_VERSION, **more}, must_comply=True)


def _q(tag: str) -> str:
    return f"{{{_RSP}}}{tag}"


def _id(number: UUID) -> str:
    return str(number).upper()


def uuid_of(text: str | None) -> UUID | None:
    """The id that a text is; None if it is none."""
    try:
        return UUID((text or "").strip())
    except ValueError:
        return None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str | None) -> bytes:
    try:
        # Old servers wrap lines.
        return base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("A stream of the server is not base64.") from None
