"""CREATE_PIPELINE messages (MS-PSRP 2.2.2.10), made from templates.

psrpcore takes 1.5 ms to build the message for a cell, and every cell's message is the same but for its text. So each
shape is built once by psrpcore with a marker for the text, and then filled in.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psrpcore
from psrpcore import types as ps

from pskernel.protocol.clixml import escape_text
from pskernel.protocol.values import Value, encode

__all__ = ["Command", "PipelineShape", "Screen", "Statements", "Templates", "host_info"]

_MARKER = "0f3c7e9a-text-of-the-cell"
# Stands for a value of Python's, which is written by our own encoder.
_MARKED = "0f3c7e9a-value-%d"
_MARKED_ELEMENT = re.compile(rb'<S N="V">0f3c7e9a-value-([0-9]+)</S>')
# Beyond those that psrpcore gives.
_FIRST_REFERENCE = 1_000_000
# psrpcore gives every command a <ToString> of its text; PowerShell's own client does not, and a long cell would
# travel twice.
_COMMAND_TEXT_COPY = re.compile(b"</MS><ToString>" + _MARKER.encode() + b"</ToString></Obj>")


class PipelineShape(Enum):
    """What a pipeline is made of."""

    CELL = "the text as script, then Out-Default: what Enter-PSSession sends for a typed line"
    SHOWN = "as CELL, not in the history: what Invoke-Command runs, formatted by the remote"
    QUERY = "the text as script alone, its objects returned, not in the history"
    NESTED = "as CELL, for the debugger in which the pipeline that runs has stopped; not in the history"
    DEBUGGER = "as QUERY, for the debugger: what it reads itself"
    DISPLAY = "Out-Default alone, fed with input: how a console shows a terminating error"


# What the remote formats and writes to the host.
_SHOWN = {PipelineShape.CELL, PipelineShape.SHOWN, PipelineShape.NESTED}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a pipeline, or a script with arguments.

    An argument is a name with None (``-Id``), None with a value, which belongs to a name before it, or a name that ends
    in a colon with its value (``-Force:``, False). A value of the user's is in a :class:`Value`.
    """

    name: str
    arguments: tuple[tuple[str | None, Any], ...] = ()
    is_script: bool = False
    # Whether what the script sets is its own.
    is_local: bool = False


# Each a pipeline of commands.
Statements = Sequence[Sequence[Command]]


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

    def commands(
        self,
        shape: PipelineShape,
        statements: Statements,
        screen: Screen | None = None,
        encrypt: Callable[[str], str] | None = None,
    ) -> bytes:
        """The CLIXML body for commands that are sent as such, or for scripts with arguments.

        Args:
            shape: any but DISPLAY; where objects are returned, there is one statement.
            statements: each a pipeline of commands.
            screen: as for :meth:`fill`.
            encrypt: for secrets among the arguments.

        Raises:
            LocalProtocolError: an argument cannot be sent.
        """
        pool, pipeline = self._pipeline(shape, screen)
        values: list[Value] = []
        for number, commands in enumerate(statements):
            if number:
                pipeline.add_statement()
            for command in commands:
                sent = psrpcore.Command(
                    command.name, is_script=command.is_script, use_local_scope=command.is_local or None
                )
                for name, value in command.arguments:
                    if isinstance(value, Value):
                        values.append(value)
                    sent.add_parameter(name, _MARKED % (len(values) - 1) if isinstance(value, Value) else value)
                if shape in _SHOWN and (command.is_script or command is commands[-1]):
                    sent.redirect_error(ps.PipelineResultTypes.Output)
                pipeline.add_command(sent)
            if shape in _SHOWN:
                pipeline.add_command(_out_default())
        return _with_values(_body(pool, pipeline), values, encrypt)

    def _build(self, shape: PipelineShape, screen: Screen | None) -> tuple[bytes, ...]:
        pool, pipeline = self._pipeline(shape, screen)
        if shape is not PipelineShape.DISPLAY:
            script = psrpcore.Command(_MARKER, is_script=True)
            if shape in _SHOWN:
                script.redirect_error(ps.PipelineResultTypes.Output)
            pipeline.add_command(script)
        if shape in _SHOWN or shape is PipelineShape.DISPLAY:
            pipeline.add_command(_out_default())
        body = _COMMAND_TEXT_COPY.sub(b"</MS></Obj>", _body(pool, pipeline))
        return tuple(body.split(_MARKER.encode()))

    def _pipeline(
        self, shape: PipelineShape, screen: Screen | None
    ) -> tuple[psrpcore.ClientRunspacePool, psrpcore.ClientPowerShell]:
        # A pool of its own, never sent: starting a pipeline on the real one would register it there.
        pool = psrpcore.ClientRunspacePool()
        pool.state = ps.RunspacePoolState.Opened
        pool.their_capability = self._server
        return pool, psrpcore.ClientPowerShell(
            pool,
            host=host_info(screen) if screen else _pool_host(),
            add_to_history=shape is PipelineShape.CELL,
            no_input=shape is not PipelineShape.DISPLAY,
            # The default of PowerShell's API, true, is for pipelines whose error stream the client reads.
            redirect_shell_error_to_out=shape in {PipelineShape.QUERY, PipelineShape.DEBUGGER},
            is_nested=shape in {PipelineShape.NESTED, PipelineShape.DEBUGGER},
        )


def _out_default() -> psrpcore.Command:
    command = psrpcore.Command("Out-Default", use_local_scope=True)
    command.merge_unclaimed = True
    return command


def _body(pool: psrpcore.ClientRunspacePool, pipeline: psrpcore.ClientPowerShell) -> bytes:
    pipeline.start()
    payload = pool.data_to_send()
    assert payload is not None  # noqa: S101 - start() always queues the message
    # 21 bytes of fragment header and 40 of message header precede the body.
    return payload.data[61:]


def _with_values(body: bytes, values: Sequence[Value], encrypt: Callable[[str], str] | None) -> bytes:
    references = itertools.count(_FIRST_REFERENCE)
    encoded = [encode(value, "V", references, encrypt) for value in values]
    return _MARKED_ELEMENT.sub(lambda match: encoded[int(match[1])], body) if values else body


def _pool_host() -> ps.HostInfo:
    return ps.HostInfo(IsHostNull=True, IsHostUINull=True, IsHostRawUINull=True, UseRunspaceHost=True)
