"""What an endpoint allows, as far as it tells: for whoever looks at one before using it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.errors import PipelineFailed, RemoteProtocolError
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.pipelines import Command

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["list_commands", "read_language_mode"]

_SECONDS = 20.0


async def list_commands(runspace: Runspace) -> list[str]:
    """The names of the commands of an endpoint that takes no script; none where it does not list them.

    Raises:
        TransportClosed: the connection was lost.
    """
    try:
        found = await runspace.query([[Command("Get-Command")]], timeout=_SECONDS)
    except (PipelineFailed, RemoteProtocolError, TimeoutError):
        return []
    return [str(each.properties.get("Name")) for each in found if isinstance(each, PSObject)]


async def read_language_mode(runspace: Runspace) -> str:
    """PowerShell's LanguageMode, as FullLanguage; empty where it does not tell. Raises as :func:`list_commands`."""
    try:
        found = await runspace.query('"$($ExecutionContext.SessionState.LanguageMode)"', timeout=_SECONDS)
    except (PipelineFailed, RemoteProtocolError, TimeoutError):
        return ""
    return str(found[0]) if found else ""
