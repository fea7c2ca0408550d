"""What a server said by PSRP, in plain words: read from a recording by psrpcore, and from our own records.

Both sides become the same tuples of texts and numbers, so that they can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psrpcore
from psrpcore import types as ps

from pskernel.protocol import clixml
from pskernel.protocol.hostvalues import plain as host_value
from pskernel.records import (
    ErrorRecord,
    HostCall,
    HostText,
    Output,
    PipelineEnd,
    ProgressRecord,
    Record,
    StreamRecord,
)
from tests.fakes.wsman_replay import Recording
from tests.fakes.wsman_replay.fragments import (
    ENCRYPTED_SESSION_KEY,
    RUNSPACE_AVAILABILITY,
    Fragment,
    fragments,
    joined,
    payloads,
)

__all__ = ["Words", "our_words", "recorded_words", "unasked"]

Words = tuple[Any, ...]
# These answer a question that psrpcore has not asked here, or are sealed for another's key.
_ANSWERS = {ENCRYPTED_SESSION_KEY, RUNSPACE_AVAILABILITY}
_TEXTS = {
    13: ("output", ""), 14: ("output", ""), 15: ("output", "\n"), 16: ("output", "\n"), 17: ("output", "\n"),
    18: ("error", "\n"), 19: ("debug", "\n"), 21: ("verbose", "\n"), 22: ("warning", "\n"),
}  # fmt: skip
_WRITE_PROGRESS = 20
_OUTPUT = 0x00041004
_HIDDEN = b"Plain."
_PREFIXES = re.compile(r"(?:Plain\.|Deserialized\.)*")
_ENDS = {ps.PSInvocationState.Stopped, ps.PSInvocationState.Completed, ps.PSInvocationState.Failed}
_DEPTH = 12


# ---- the recording ----


def recorded_words(recording: Recording) -> dict[tuple[str, int | None], list[Words]]:
    """What was said to each command of each shell, and (None) to the pool."""
    told: dict[tuple[str, int | None], list[Words]] = {(shell, None): [] for shell in recording.shells}
    told |= {target: [] for target in recording.commands}
    pools = {shell: _pool(names.psrp) for shell, names in recording.shells.items()}
    for each in sorted(recording.exchanges, key=lambda each: each.ended):
        if each.shell not in pools or each.operation not in {"Receive", "Connect"}:
            continue
        pool = pools[each.shell]
        if each.command is not None and (each.shell, each.command) in recording.commands:
            _expect(pool, recording.commands[each.shell, each.command].psrp)
        for event in _events(pool, each.response):
            told[each.shell, each.command] += _said(event)
    return told


def _pool(pool_id: UUID | None) -> psrpcore.ClientRunspacePool:
    pool = psrpcore.ClientRunspacePool(runspace_pool_id=pool_id)
    pool.open()
    return pool


def _expect(pool: psrpcore.ClientRunspacePool, pipeline_id: UUID | None) -> None:
    """psrpcore takes states only of pipelines that it knows."""
    assert pipeline_id is not None
    known = pool.pipeline_table.get(pipeline_id)
    if known is None or known.state in _ENDS:
        pool.pipeline_table.pop(pipeline_id, None)
        psrpcore.ClientPowerShell(pool, pipeline_id=pipeline_id).state = ps.PSInvocationState.Running


def unasked(response: str) -> list[bytes]:
    """The payloads of an envelope without answers to what only the recorded client had asked, or sealed for its key."""
    kept = [[each for each in fragments(data) if each.message_type not in _ANSWERS] for data in payloads(response)]
    return [joined(iter(parts)) for parts in kept if parts]


def _events(pool: psrpcore.ClientRunspacePool, response: str) -> Iterator[Any]:
    for data in unasked(response):
        parts = list(fragments(data))
        # Objects as they came, and not what psrpcore would make of those that it knows.
        plain = [_plain(each) if each.message_type == _OUTPUT else each for each in parts]
        try:
            events = list(_fed(pool, plain))
        except AttributeError:
            # Records of PowerShell 2.0 lack what psrpcore looks for.
            events = list(_fed(pool, [_plain(each) for each in parts]))
        yield from events


def _fed(pool: psrpcore.ClientRunspacePool, parts: list[Fragment]) -> Iterator[Any]:
    pool.receive_data(psrpcore.PSRPPayload(joined(iter(parts)), psrpcore.StreamType.default, None))
    while (event := pool.next_event()) is not None:
        yield event


def _plain(part: Fragment) -> Fragment:
    return replace(part, blob=part.blob.replace(b"<T>", b"<T>" + _HIDDEN))


def _said(event: Any) -> list[Words]:
    match event:
        case psrpcore.PipelineOutputEvent():
            return [("output", _psrpcore_value(event.data))]
        case psrpcore.ErrorRecordEvent():
            return [("error", *_psrpcore_error(event.record))]
        case psrpcore.DebugRecordEvent():
            return [("debug", _message(event.record))]
        case psrpcore.VerboseRecordEvent():
            return [("verbose", _message(event.record))]
        case psrpcore.WarningRecordEvent():
            return [("warning", _message(event.record))]
        case psrpcore.InformationRecordEvent():
            return [("information", str(event.record.MessageData))]
        case psrpcore.ProgressRecordEvent():
            return [_psrpcore_progress(0, event.record)]
        case psrpcore.PipelineHostCallEvent() | psrpcore.RunspacePoolHostCallEvent():
            return [_psrpcore_call(event)]
        case psrpcore.PipelineStateEvent() if event.state in _ENDS:
            reason = None if event.reason is None else _psrpcore_error(event.reason)
            return [("end", int(event.state), reason)]
    return []


def _message(record: Any) -> str:
    return str(record.Message if isinstance(record, ps.InformationalRecord) else record)


def _psrpcore_error(record: Any) -> Words:
    details = record.ErrorDetails.Message if record.ErrorDetails is not None else None
    kind = str(record.Exception.PSObject.type_names[0]).removeprefix("Deserialized.")
    return str(details or record.Exception.Message), str(record.FullyQualifiedErrorId), kind


def _psrpcore_progress(source: int, record: Any) -> Words:
    completed = int(record.RecordType) == 1 if isinstance(record, ps.ProgressRecord) else int(record.Type) == 1
    said = [str(getattr(record, name, None) or "") for name in ("Activity", "StatusDescription", "CurrentOperation")]
    return "progress", source, int(record.ActivityId), int(record.ParentActivityId), *said, completed


def _psrpcore_call(event: Any) -> Words:
    method, parameters = int(event.method_identifier), list(event.method_parameters)
    if method in _TEXTS:
        kind, end = _TEXTS[method]
        colours: list[int | None] = [int(each) for each in parameters[:-1]] or [None, None]
        return "text", kind, (str(parameters[-1]) if parameters else "") + end, *colours
    if method == _WRITE_PROGRESS:
        return _psrpcore_progress(int(parameters[0]), parameters[1])
    call_id = None if event.ci == -100 else int(event.ci)
    # The one thing that both sides have in common: what the values mean is tested with the host methods.
    shown = tuple(repr(host_value(each)) for each in parameters)
    return "call", event.method_identifier.name, shown, call_id


def _psrpcore_value(value: Any, depth: int = 0) -> Any:
    if isinstance(value, ps.PSSecureString):
        return "(sealed)"
    if isinstance(value, ps.PSChar):
        return chr(int(value))
    if isinstance(value, ps.PSDuration):
        return str(timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds))
    if not _has_members(value):
        return _primitive(value)
    if depth > _DEPTH:
        return "..."
    members = value.PSObject
    found = {each.name: each.get_value(value) for each in (*members.adapted_properties, *members.extended_properties)}
    said: Words = tuple(sorted((name, repr(_psrpcore_value(each, depth + 1))) for name, each in found.items()))
    if isinstance(value, dict):
        said += tuple((str(key), repr(_psrpcore_value(each, depth + 1))) for key, each in value.items())
    elif isinstance(value, list):
        said += tuple(repr(_psrpcore_value(each, depth + 1)) for each in value)
    return [_bare(members.type_names), *said]


def _has_members(value: Any) -> bool:
    return isinstance(value, list | dict) or type(value) is ps.PSObject


# ---- ours ----


def our_words(record: Record) -> Words:
    """What one of our records says."""
    match record:
        case Output(value):
            return "output", _our_value(value)
        case ErrorRecord():
            return "error", *_our_error(record)
        case StreamRecord(kind, message):
            return kind, message
        case ProgressRecord():
            said = (record.activity, record.status, record.operation, record.completed)
            return "progress", record.source_id, record.activity_id, record.parent_id, *said
        case HostText(text, kind, foreground, background):
            return "text", kind.value, text, foreground, background
        case HostCall(method, _, parameters, call_id):
            return "call", method, tuple(repr(each) for each in parameters), call_id
        case PipelineEnd(state, error):
            return "end", int(state), None if error is None else _our_error(error)
    return (type(record).__name__, str(record))


def _our_error(record: ErrorRecord) -> Words:
    return record.message, record.fully_qualified_error_id, record.exception_type


def _our_value(value: Any, depth: int = 0) -> Any:
    if isinstance(value, clixml.EncryptedString):
        return "(sealed)"
    if not isinstance(value, clixml.PSObject):
        return _primitive(value)
    wrapped = value.value
    if wrapped is not None and not isinstance(wrapped, list | dict):
        return _primitive(wrapped)
    if depth > _DEPTH:
        return "..."
    said: Words = tuple(sorted((name, repr(_our_value(each, depth + 1))) for name, each in value.properties.items()))
    if isinstance(wrapped, dict):
        said += tuple((str(key), repr(_our_value(each, depth + 1))) for key, each in wrapped.items())
    elif isinstance(wrapped, list):
        said += tuple(repr(_our_value(each, depth + 1)) for each in wrapped)
    return [_bare(value.type_names), *said]


def _primitive(value: Any) -> Any:
    """Python's own, of whichever subclass it came."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case datetime():
            return value.isoformat()
    return str(value)


def _bare(type_names: Any) -> str:
    return _PREFIXES.sub("", str(next(iter(type_names), "")), count=1)
