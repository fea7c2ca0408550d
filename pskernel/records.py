"""What a pipeline yields: frozen values, in the order in which the remote sent them.

A *cell* (a pipeline that ends in ``Out-Default``) speaks mostly through :class:`HostText` values: PowerShell formats
on the server and writes the lines to the client's host. A pipeline without ``Out-Default`` yields :class:`Output`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

__all__ = [
    "DebuggerStop",
    "ErrorRecord",
    "HostCall",
    "HostText",
    "Notice",
    "Output",
    "PipelineEnd",
    "PipelineState",
    "ProgressRecord",
    "Record",
    "StreamRecord",
    "TextKind",
]


class PipelineState(IntEnum):
    """PSInvocationState, MS-PSRP 2.2.3.8 (PIPELINE_STATE)."""

    NOT_STARTED = 0
    RUNNING = 1
    STOPPING = 2
    STOPPED = 3
    COMPLETED = 4
    FAILED = 5
    DISCONNECTED = 6


class TextKind(Enum):
    """Which line of the host's user interface a text was written to."""

    OUTPUT = "output"
    ERROR = "error"
    WARNING = "warning"
    VERBOSE = "verbose"
    DEBUG = "debug"


@dataclass(frozen=True, slots=True)
class HostText:
    """Text the remote wrote to the host (Write1 to WriteWarningLine, MS-PSRP 2.2.3.17 method ids 13-19, 21, 22).

    ``text`` ends in a newline where the method writes a line. Colours are ConsoleColor numbers 0 to 15, or None.
    Warning, verbose and debug texts come without their ``WARNING: `` prefix: adding it is the host's part.
    """

    text: str
    kind: TextKind = TextKind.OUTPUT
    foreground: int | None = None
    background: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One object of the pipeline's output: a Python primitive, or an inert ``pskernel.protocol.clixml.PSObject``."""

    value: Any


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """A PowerShell ErrorRecord: terminating (in :class:`PipelineEnd`) or one of the error stream.

    ``clixml`` holds the record exactly as it came: sending it back to ``Out-Default`` lets the remote render it with
    its own ``$ErrorView``; a re-serialised one renders differently.
    """

    message: str
    fully_qualified_error_id: str = ""
    exception_type: str = ""
    category: str = ""
    target: str = ""
    line: int | None = None
    column: int | None = None
    position_message: str = ""
    script_stack_trace: str = ""
    clixml: bytes = field(default=b"", repr=False, compare=False)

    @property
    def incomplete_input(self) -> bool:
        """Whether the parser only missed the rest of the text (an open brace, quote or here-string)."""
        return self.exception_type == "System.Management.Automation.IncompleteParseException"


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of the warning, verbose, debug or information stream (MS-PSRP 2.2.2.22-24, 26).

    A cell's host shows the same thing as :class:`HostText`; only pipelines without a host need these.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The state of one activity (MS-PSRP 2.2.2.25). ``percent`` and ``seconds_remaining`` are -1 where unknown."""

    source_id: int
    activity_id: int
    parent_id: int
    activity: str
    status: str
    operation: str
    percent: int
    seconds_remaining: int
    completed: bool


@dataclass(frozen=True, slots=True)
class HostCall:
    """A call of one of the host's methods that :class:`HostText` does not cover (MS-PSRP 2.2.2.27).

    ``call_id`` is None for void methods, which must not be answered.
    """

    method: str
    method_id: int
    parameters: tuple[Any, ...]
    call_id: int | None

    @property
    def expects_reply(self) -> bool:
        """Whether the remote waits for an answer."""
        return self.call_id is not None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should see that is not PowerShell's output: a banner, junk on the line, a message lost."""

    text: str


@dataclass(frozen=True, slots=True)
class DebuggerStop:
    """The pipeline has stopped in the debugger: ``breakpoints`` are the texts of those that were hit, if any."""

    breakpoints: tuple[str, ...]
    line: int | None
    script: str
    position_message: str


@dataclass(frozen=True, slots=True)
class PipelineEnd:
    """The last record of every pipeline. ``error`` is set when it failed or was stopped."""

    state: PipelineState
    error: ErrorRecord | None = None


Record = (
    HostText | Output | ErrorRecord | StreamRecord | ProgressRecord | HostCall | DebuggerStop | Notice | PipelineEnd
)
