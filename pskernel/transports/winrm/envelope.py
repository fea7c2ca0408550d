"""How large a message the server takes."""

from __future__ import annotations

import asyncio
from typing import Final

from pypsrp.wsman import NAMESPACES, WSManAction

from pskernel.errors import PSKernelError
from pskernel.transports.winrm.channels import Channels
from pskernel.transports.winrm.faults import FAILURES

__all__ = ["find_envelope"]

_CONFIG: Final = "http://schemas.microsoft.com/wbem/wsman/1/config"
_SMALLEST_KB: Final = 32
# Nobody waits long for what only makes things faster.
_SECONDS: Final = 3.0
_LARGEST_KB: Final = 4096
_MAX_DIGITS: Final = 10


async def find_envelope(channels: Channels) -> int | None:
    """Ask for MaxEnvelopeSizekb. Returns bytes, or None where the server does not tell: it tells administrators."""
    try:
        async with asyncio.timeout(_SECONDS):
            body = await channels.call(WSManAction.GET, _CONFIG, twice=True)
    except (*FAILURES, PSKernelError, TimeoutError):
        return None
    text = body.findtext("cfg:Config/cfg:MaxEnvelopeSizekb", "", NAMESPACES).strip()
    if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
        return None
    return 1024 * max(_SMALLEST_KB, min(int(text), _LARGEST_KB))
