"""CREATE_PIPELINE messages (MS-PSRP 2.2.2.10), made from templates.

psrpcore takes 1.5 ms to build the message for a cell, and every cell's message is the same but for its text. So each
shape is built once by psrpcore with a marker for the text, and then filled in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import psrpcore
from psrpcore import types as ps

from pskernel.protocol.clixml import escape_text

__all__ = ["PipelineShape", "Screen", "Templates", "host_info"]

_MARKER = "0f3c7e9a-text-of-the-cell"
# psrpcore gives every command a <ToString> of its text; PowerShell's own client does not, and a long cell would
# travel twice.
_COMMAND_TEXT_COPY = re.compile(b"</MS><ToString>" + _MARKER.encode() + b"</ToString></Obj>")


class PipelineShape(Enum):
    """What a pipeline is made of."""

    CELL = "the text as script, then Out-Default: what Enter-PSSession sends for a typed line"
    QUERY = "the text as script alone, its objects returned, not in the history"
    COMMAND = "the text as the name of one command, as QUERY otherwise: what an endpoint without a language still takes"
    DISPLAY = "Out-Default alone, fed with input: how a console shows a terminating error"


_RETURNS_OBJECTS = {PipelineShape.QUERY, PipelineShape.COMMAND}


@dataclass(frozen=True, slots=True)
class Screen:
    """The size that the remote formats for, in characters."""

    width: int = 120
    height: int = 50


def host_info(screen: Screen) -> ps.HostInfo:
    """Describe this client's host (MS-PSRP 2.2.3.14): all of it present, so that no prompt fails on the server."""
    size = ps.Size(screen.width, screen.height)
    origin = ps.Coordinates(0, 0)
    return ps.HostInfo(
        IsHostNull=False,
        IsHostUINull=False,
        IsHostRawUINull=False,
        UseRunspaceHost=False,
        HostDefaultData=ps.HostDefaultData(
            ForegroundColor=ps.ConsoleColor.Gray,
            BackgroundColor=ps.ConsoleColor.Black,
            CursorPosition=origin,
            WindowPosition=origin,
            CursorSize=25,
            BufferSize=size,
            WindowSize=size,
            MaxWindowSize=size,
            MaxPhysicalWindowSize=size,
            WindowTitle="pskernel",
        ),
    )


class Templates:
    """Builds CREATE_PIPELINE bodies for one pool. The members a command may have depend on the server's version."""

    def __init__(self, server: psrpcore.types.SessionCapability | None) -> None:
        self._server = server
        self._built: dict[tuple[PipelineShape, Screen | None], tuple[bytes, ...]] = {}

    def fill(self, shape: PipelineShape, text: str = "", screen: Screen | None = None) -> bytes:
        """The CLIXML body for a pipeline.

        Args:
            shape: which commands it has.
            text: the script, verbatim, or the command's name; unused for DISPLAY.
            screen: the size to format for; None keeps the pool's.
        """
        parts = self._built.get((shape, screen))
        if parts is None:
            parts = self._built[shape, screen] = self._build(shape, screen)
        return escape_text(text).join(parts)

    def _build(self, shape: PipelineShape, screen: Screen | None) -> tuple[bytes, ...]:
        # A pool of its own, never sent: starting a pipeline on the real one would register it there.
        pool = psrpcore.ClientRunspacePool()
        pool.state = ps.RunspacePoolState.Opened
        pool.their_capability = self._server
        host = host_info(screen) if screen else _pool_host()
        pipeline = psrpcore.ClientPowerShell(
            pool,
            host=host,
            add_to_history=shape is PipelineShape.CELL,
            no_input=shape is not PipelineShape.DISPLAY,
            # The default of PowerShell's API, true, is for pipelines whose error stream the client reads.
            redirect_shell_error_to_out=shape in _RETURNS_OBJECTS,
        )
        if shape is not PipelineShape.DISPLAY:
            script = psrpcore.Command(_MARKER, is_script=shape is not PipelineShape.COMMAND)
            if shape is PipelineShape.CELL:
                script.redirect_error(ps.PipelineResultTypes.Output)
            pipeline.add_command(script)
        if shape not in _RETURNS_OBJECTS:
            out_default = psrpcore.Command("Out-Default", use_local_scope=True)
            out_default.merge_unclaimed = True
            pipeline.add_command(out_default)
        pipeline.start()
        payload = pool.data_to_send()
        assert payload is not None  # noqa: S101 - start() always queues the message
        # 21 bytes of fragment header and 40 of message header precede the body.
        body = _COMMAND_TEXT_COPY.sub(b"</MS></Obj>", payload.data[61:])
        return tuple(body.split(_MARKER.encode()))


def _pool_host() -> ps.HostInfo:
    return ps.HostInfo(IsHostNull=True, IsHostUINull=True, IsHostRawUINull=True, UseRunspaceHost=True)
