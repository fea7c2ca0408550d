"""The sessions that a server keeps, for whoever wants to come back to one (MS-WSMV 3.1.4.13, Enumerate)."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from typing import Final

from pypsrp.wsman import NAMESPACES, WSManAction

from pskernel.errors import PSKernelError
from pskernel.transports.base import KeptPool
from pskernel.transports.streams import plain_text
from pskernel.transports.winrm.channels import Channels
from pskernel.transports.winrm.endpoint import WinRMEndpoint
from pskernel.transports.winrm.faults import FAILURES, as_connect_error
from pskernel.transports.winrm.line import Line
from pskernel.transports.winrm.messages import selectors, uuid_of
from pskernel.transports.winrm.tls import Certificates

__all__ = ["list_shells"]

_SHELLS: Final = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_COMMANDS: Final = f"{_SHELLS}/Command"
_POWERSHELL: Final = "http://schemas.microsoft.com/powershell/"
_FILTER: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman/SelectorFilter"
_MOST: Final = 32_000
_MAX_TEXT: Final = 200
# A server may claim to have as many shells as it likes.
_MOST_ASKED: Final = 100
_AT_A_TIME: Final = 4


async def list_shells(endpoint: WinRMEndpoint) -> list[KeptPool]:
    """The PowerShell sessions at an endpoint that its user may see.

    Raises:
        ConnectError: the subclasses say why.
    """
    channels = Channels(endpoint, Line(endpoint.host, 0, lambda _: None), Certificates(endpoint))
    try:
        answer = await channels.call(WSManAction.ENUMERATE, _SHELLS, _enumerate(), timeout=endpoint.operation_timeout)
        found = [shell for each in answer.iter(f"{{{NAMESPACES['rsp']}}}Shell") if (shell := _read(each)) is not None]
        return await _with_all_commands(channels, found, endpoint.operation_timeout)
    except (*FAILURES, PSKernelError) as error:
        raise as_connect_error(error, endpoint) from None
    finally:
        channels.close()


async def _with_all_commands(channels: Channels, shells: list[KeptPool], seconds: float) -> list[KeptPool]:
    """Those whose commands are not told in time are listed without them."""
    free = asyncio.Semaphore(_AT_A_TIME)

    async def ask(shell: KeptPool) -> KeptPool:
        async with free:
            return await _with_commands(channels, shell)

    asking = [asyncio.create_task(ask(shell)) for shell in shells[:_MOST_ASKED]]
    try:
        if asking:
            await asyncio.wait(asking, timeout=seconds)
        told = [task.result() if task.done() else shell for task, shell in zip(asking, shells, strict=False)]
    finally:
        for task in asking:
            task.cancel()
    return [*told, *shells[_MOST_ASKED:]]


async def _with_commands(channels: Channels, shell: KeptPool) -> KeptPool:
    body = _enumerate()
    chosen = ET.SubElement(body, f"{{{NAMESPACES['wsman']}}}Filter", Dialect=_FILTER)
    chosen.append(selectors(shell.pool_id).pack())
    try:
        answer = await channels.call(WSManAction.ENUMERATE, _COMMANDS, body)
    except (*FAILURES, PSKernelError):
        return shell  # not every server tells
    ids = (uuid_of(each.text) for each in answer.iter(f"{{{NAMESPACES['rsp']}}}CommandId"))
    running = tuple(each for each in ids if each is not None)
    return KeptPool(shell.pool_id, shell.name, shell.configuration, shell.owner, shell.connected, running)


def _enumerate() -> ET.Element:
    body = ET.Element(f"{{{NAMESPACES['wsen']}}}Enumerate")
    ET.SubElement(body, f"{{{NAMESPACES['wsman']}}}OptimizeEnumeration")
    ET.SubElement(body, f"{{{NAMESPACES['wsman']}}}MaxElements").text = str(_MOST)
    return body


def _read(element: ET.Element) -> KeptPool | None:
    """None for what is no PowerShell."""
    uri, shell_id = _text(element, "ResourceUri"), uuid_of(_text(element, "ShellId"))
    if shell_id is None or not uri.lower().startswith(_POWERSHELL):
        return None
    connected = _text(element, "State").lower() == "connected"
    return KeptPool(shell_id, _text(element, "Name"), uri[len(_POWERSHELL) :], _text(element, "Owner"), connected)


def _text(element: ET.Element, name: str) -> str:
    found = element.findtext(f"rsp:{name}", "", NAMESPACES)
    return plain_text(found).replace("\n", " ").strip()[:_MAX_TEXT]
