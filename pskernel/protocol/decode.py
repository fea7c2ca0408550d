"""CLIXML of pipeline messages to the values of :mod:`pskernel.records`.

Only messages that turn into a value are read here, with the light decoder: PowerShell's own shapes vary (an error of a
second hop lacks half the members of a local one) and a member that is missing or odd must cost that member, not the
message. Messages that drive the protocol's state are psrpcore's.
"""

from __future__ import annotations

import re
from typing import Any

from pskernel.errors import RemoteProtocolError
from pskernel.protocol import clixml
from pskernel.protocol.fragments import MessageType
from pskernel.records import (
    DebuggerStop,
    ErrorRecord,
    HostText,
    Output,
    PipelineEnd,
    PipelineState,
    ProgressRecord,
    Record,
    StreamRecord,
    TextKind,
)

__all__ = [
    "as_received_error",
    "decode_debugger_stop",
    "decode_error",
    "decode_host_progress",
    "decode_host_text",
    "decode_output",
    "decode_state",
    "decode_stream_record",
    "host_text",
    "progress_record",
]

# RemoteHostMethodId of the void methods that write text (PowerShell's RemoteHostMethodInfo).
_TEXT_KINDS = {
    13: (TextKind.OUTPUT, ""),  # Write1
    14: (TextKind.OUTPUT, ""),  # Write2
    15: (TextKind.OUTPUT, "\n"),  # WriteLine1
    16: (TextKind.OUTPUT, "\n"),  # WriteLine2
    17: (TextKind.OUTPUT, "\n"),  # WriteLine3
    18: (TextKind.ERROR, "\n"),  # WriteErrorLine
    19: (TextKind.DEBUG, "\n"),  # WriteDebugLine
    21: (TextKind.VERBOSE, "\n"),  # WriteVerboseLine
    22: (TextKind.WARNING, "\n"),  # WriteWarningLine
}
_STREAM_KINDS = {
    MessageType.WARNING_RECORD: "warning",
    MessageType.VERBOSE_RECORD: "verbose",
    MessageType.DEBUG_RECORD: "debug",
    MessageType.INFORMATION_RECORD: "information",
}
_PLAIN_STATE = re.compile(rb'<Obj RefId="0"><MS><I32 N="PipelineState">(\d)</I32></MS></Obj>\Z')
_STATE_NUMBER = re.compile(rb'<I32 N="PipelineState">(\d)</I32>')
_STATE_ERROR = re.compile(
    rb'<Obj(?P<before> RefId="\d+")? N="ExceptionAsErrorRecord"(?P<after> RefId="\d+")?>(?P<record>.*)</MS></Obj>\Z',
    re.DOTALL,
)
_WRITE_PROGRESS = re.compile(rb"<ToString>WriteProgress</ToString><I32>20</I32>")
_INVOCATION = re.compile(rb'(<Obj(?: RefId="\d+")? N=)"InvocationInfo"')
_DEBUGGER_STOP = re.compile(rb'N="PSEventArgs.SourceIdentifier">PSInternalRemoteDebuggerStopEvent<')
_FINAL = {PipelineState.STOPPED, PipelineState.COMPLETED, PipelineState.FAILED}


def as_received_error(clixml_record: bytes) -> bytes:
    """An error record as PowerShell's own client holds it, to be shown by the remote as its console would.

    A record that has come over the wire is one of the remote: its position belongs to the other side's invocation, and
    nobody throws it here. Sent back unchanged, it would be shown as one of the server's own, with the source line.
    """
    record = _INVOCATION.sub(rb'\1"SerializedInvocationInfo"', clixml_record)
    return record.replace(
        b'<B N="WasThrownFromThrowStatement">true</B>', b'<B N="WasThrownFromThrowStatement">false</B>'
    )


def decode_debugger_stop(body: bytes) -> DebuggerStop | None:
    """A USER_EVENT message (MS-PSRP 2.2.2.12) that says that the debugger has stopped; None if it is any other event.

    Raises:
        RemoteProtocolError: the body is no CLIXML, or exceeds a limit.
    """
    if not _DEBUGGER_STOP.search(body, 0, 600):
        return None
    arguments = _get(clixml.decode(body), "PSEventArgs.SourceArgs", None)
    stop = next(iter(_items(arguments)), None)
    invocation = _get(stop, "SerializedInvocationInfo", None)
    line = _number(_get(invocation, "InvocationInfo_ScriptLineNumber", None), 0)
    return DebuggerStop(
        breakpoints=tuple(_text(hit) for hit in _items(_get(stop, "Breakpoints", None))),
        line=line or None,
        script=_text(_get(invocation, "InvocationInfo_ScriptName")),
        position_message=_text(_get(invocation, "InvocationInfo_PositionMessage")),
    )


def decode_output(body: bytes) -> Output:
    """A PIPELINE_OUTPUT message (MS-PSRP 2.2.2.19). An empty body is ``$null``.

    Raises:
        RemoteProtocolError: the body is no CLIXML, or exceeds a limit.
    """
    if not body:
        return Output(None)
    text = clixml.decode_string_fast(body)
    return Output(clixml.decode(body) if text is None else text)


def decode_host_text(body: bytes) -> HostText | None:
    """A host call that writes text; None if it is any other call."""
    call = clixml.host_call_text_fast(body)
    if call is None:
        return None
    method, text, foreground, background = call
    kind, end = _TEXT_KINDS[method]
    return HostText(text + end, kind, foreground, background)


def host_text(method_id: int, parameters: tuple[Any, ...]) -> HostText | None:
    """The same from a call that was decoded in full: its method and parameters."""
    if method_id not in _TEXT_KINDS:
        return None
    kind, end = _TEXT_KINDS[method_id]
    text = str(parameters[-1]) if parameters else ""
    colours = [_colour(colour) for colour in parameters[:-1]]
    if len(colours) == 2:
        return HostText(text + end, kind, colours[0], colours[1])
    return HostText(text + end, kind)


def _colour(value: Any) -> int | None:
    """A ConsoleColor; PowerShell sends -1 for "no change"."""
    number = int(value)
    return number if 0 <= number <= 15 else None


def decode_host_progress(body: bytes) -> ProgressRecord | None:
    """A host call of WriteProgress (method 20); None if it is any other call.

    Raises:
        RemoteProtocolError: the body is no CLIXML, or exceeds a limit.
    """
    if not _WRITE_PROGRESS.search(body, 0, 600):
        return None
    parameters = _get(clixml.decode(body), "mp", None)
    match getattr(parameters, "value", parameters):
        case [int(source), progress]:
            return progress_record(source, progress)
        case _:
            return None


def decode_state(body: bytes) -> PipelineEnd | None:
    """A PIPELINE_STATE message (MS-PSRP 2.2.2.21); None while the pipeline goes on.

    Raises:
        RemoteProtocolError: the body is no pipeline state.
    """
    plain = _PLAIN_STATE.match(body)
    if plain:
        number, error = int(plain[1]), None
    else:
        number, error = _state_and_error(body)
    try:
        state = PipelineState(number)
    except ValueError:
        raise RemoteProtocolError("The remote sent a pipeline state that does not exist.") from None
    return PipelineEnd(state, error) if state in _FINAL else None


def _state_and_error(body: bytes) -> tuple[Any, ErrorRecord | None]:
    try:
        message = clixml.decode(body)
    except RemoteProtocolError as problem:
        # An error may hold anything, nested as deep as one likes; the cell has ended all the same.
        state = _STATE_NUMBER.search(body)
        if state is None:
            raise
        return int(state[1]), ErrorRecord(f"The error with which the command ended could not be read: {problem}")
    reason = _get(message, "ExceptionAsErrorRecord", None)
    error = None if reason is None else _error(reason, _error_clixml(body))
    return _get(message, "PipelineState", None), error


def decode_error(body: bytes) -> ErrorRecord:
    """An ERROR_RECORD message (MS-PSRP 2.2.2.20).

    Raises:
        RemoteProtocolError: the body is no CLIXML, or exceeds a limit.
    """
    return _error(clixml.decode(body), body)


def decode_stream_record(message_type: int, body: bytes) -> Record:
    """A warning, verbose, debug, information or progress record (MS-PSRP 2.2.2.22 to 2.2.2.26).

    Raises:
        RemoteProtocolError: the body is no CLIXML, or exceeds a limit.
    """
    record = clixml.decode(body)
    if message_type == MessageType.PROGRESS_RECORD:
        return progress_record(0, record)
    if message_type == MessageType.INFORMATION_RECORD:
        return StreamRecord("information", _text(_get(record, "MessageData")))
    return StreamRecord(_STREAM_KINDS[MessageType(message_type)], _text(_get(record, "InformationalRecord_Message")))


def progress_record(source_id: int, record: Any) -> ProgressRecord:
    """A progress record from its members, as the record stream or WriteProgress carries them."""
    return ProgressRecord(
        source_id=source_id,
        activity_id=_number(_get(record, "ActivityId"), 0),
        parent_id=_number(_get(record, "ParentActivityId"), -1),
        activity=_text(_get(record, "Activity")),
        status=_text(_get(record, "StatusDescription")),
        operation=_text(_get(record, "CurrentOperation")),
        percent=_number(_get(record, "PercentComplete"), -1),
        seconds_remaining=_number(_get(record, "SecondsRemaining"), -1),
        completed=_number(_get(record, "Type"), 0) == 1,
    )


def _error_clixml(body: bytes) -> bytes:
    """Cut the ErrorRecord out of a state message, bytes unchanged but for the member name.

    Type names and references inside are numbered from the record on: nothing before it in the message defines any.
    Where it is not so, or something follows the record, the piece is no CLIXML by itself and is not kept.
    """
    match = _STATE_ERROR.search(body)
    if match is None:
        return b""
    record = b"<Obj" + (match["before"] or match["after"] or b"") + b">" + match["record"]
    try:
        clixml.decode(record)
    except RemoteProtocolError:
        return b""
    return record


def _error(record: Any, raw: bytes) -> ErrorRecord:
    exception = _get(record, "Exception")
    invocation = _get(record, "InvocationInfo")
    types: tuple[str, ...] = getattr(exception, "type_names", ()) or ("",)

    def info(name: str) -> Any:
        flat = _get(record, f"InvocationInfo_{name}", None)
        return _get(invocation, name, None) if flat is None else flat

    message = _text(_get(record, "ErrorDetails_Message")) or _text(_get(exception, "Message")) or _text(record)
    line, column = _number(info("ScriptLineNumber"), 0), _number(info("OffsetInLine"), 0)
    return ErrorRecord(
        message=message,
        fully_qualified_error_id=_text(_get(record, "FullyQualifiedErrorId")),
        exception_type=types[0].removeprefix("Deserialized."),
        category=_text(_get(record, "ErrorCategory_Message")),
        target=_text(_get(record, "TargetObject")),
        line=line or None,
        column=column or None,
        position_message=_text(info("PositionMessage")),
        script_stack_trace=_text(_get(record, "ErrorDetails_ScriptStackTrace")),
        clixml=raw,
    )


def _get(value: Any, name: str, default: Any = "") -> Any:
    if not isinstance(value, clixml.PSObject):
        return default
    return value.properties.get(name, default)


def _items(value: Any) -> list[Any]:
    value = getattr(value, "value", value)
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, clixml.PSObject) and isinstance(value.value, str):
        return value.value
    return str(value)


def _number(value: Any, default: int) -> int:
    if isinstance(value, clixml.PSObject):
        value = value.value
    return value if isinstance(value, int) else default
