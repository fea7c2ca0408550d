"""A transport that plays a cassette: what a recorded remote said, said again to whoever asks the same."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from copy import copy
from typing import TYPE_CHECKING
from uuid import UUID

from psrpcore import PSRPPayload, ResetRunspaceStateEvent, ServerRunspacePool, StreamType
from psrpcore import types as ps
from psrpcore.types import PSRPMessageType as Kind

from pskernel.errors import TransportClosed
from pskernel.protocol.clixml import escape_text
from pskernel.protocol.fragments import build_message, fragment
from pskernel.records import Notice, PipelineState
from pskernel.transports.base import Payload
from pskernel.transports.cassettes.asked import ClientMessage, ClientReader, Key, Request
from pskernel.transports.cassettes.cassette import Act, Event, Mark, Sent

if TYPE_CHECKING:
    from pskernel.transports.cassettes.cassette import Cassette

__all__ = ["ReplayTransport"]

_MAX_PAYLOAD = 32_768
# The longest that a replay waits between two messages, in seconds as they are played.
_MAX_GAP = 10.0
# A cell that was stopped ends by itself that much later: a run in CI has nobody who would stop it again.
_STOP_PATIENCE = 3.0
# What one call of receive returns at most, so that a long recording does not hold up everything else.
_BATCH_ITEMS = 256
_BATCH_BYTES = 1024 * 1024
# Messages of the recording are numbered far above those that psrpcore numbers from 1.
_FIRST_OBJECT_ID = 1 << 32
_TO_CLIENT = b"\x01\x00\x00\x00"
_NEEDS_REPLY = {Kind.PublicKey, Kind.ResetRunspaceState}
_HOW_TO_GO_LIVE = "use a live target (--target ssh://user@host), or record it anew with `pskernel record`"

# How PowerShell reports a pipeline that failed or was stopped (MS-PSRP 2.2.2.21), without what is empty here.
_END = (
    '<Obj RefId="0"><MS><I32 N="PipelineState">{state}</I32><Obj N="ExceptionAsErrorRecord" RefId="1"><TN RefId="0">'
    "<T>System.Management.Automation.ErrorRecord</T><T>System.Object</T></TN><ToString>{message}</ToString><MS>"
    '<Obj N="Exception" RefId="2"><TN RefId="1">{types}</TN><ToString>{exception}: {message}</ToString><Props>'
    '<S N="Message">{message}</S><Nil N="InnerException" /><I32 N="HResult">-2146233087</I32></Props></Obj>'
    '<Nil N="TargetObject" /><S N="FullyQualifiedErrorId">{id}</S><Nil N="InvocationInfo" />'
    '<I32 N="ErrorCategory_Category">{category}</I32><S N="ErrorCategory_Activity"></S>'
    '<S N="ErrorCategory_Reason">{reason}</S><S N="ErrorCategory_TargetName"></S><S N="ErrorCategory_TargetType"></S>'
    '<S N="ErrorCategory_Message">{category_name}: (:) [], {reason}</S><B N="SerializeExtendedInfo">false</B>'
    "</MS></Obj></MS></Obj>"
)
_RUNTIME_EXCEPTION = (
    "System.Management.Automation.RuntimeException",
    "System.SystemException",
    "System.Exception",
    "System.Object",
)
# FullyQualifiedErrorId, ErrorCategory, and the exception's type with its base types.
_ENDS = {
    PipelineState.STOPPED: (
        "PipelineStopped",
        14,
        "OperationStopped",
        ("System.Management.Automation.PipelineStoppedException", *_RUNTIME_EXCEPTION),
    ),
    PipelineState.FAILED: ("CellNotRecorded", 13, "ObjectNotFound", _RUNTIME_EXCEPTION),
}


class ReplayTransport:
    """A :class:`pskernel.transports.base.Transport` without a remote: nothing is run.

    A pipeline is found by what it asks for: the n-th pipeline that asks for the same gets the n-th recording of it. Its
    messages come at the recorded pace, and wait where the client had answered a host call or stopped the pipeline.
    Answers change nothing. Stopped elsewhere, a pipeline ends as Stopped at once. A recording without an end was cut by
    the loss of its connection: there the replay loses it too.

    A key exchange is answered with a key of this replay, so SecureStrings of the recording cannot be decrypted.

    Args:
        cassette: the recording.
        speed: 1.0 is the recorded pace, 2.0 twice as fast; 0 waits for nothing but the client.
        strict: a cell fails that is run more often than recorded, or earlier than one that was recorded before it.
            Otherwise it gets its last recorded answer with a note.
    """

    def __init__(self, cassette: Cassette, *, speed: float = 1.0, strict: bool = False) -> None:
        self._cassette = cassette
        self._speed = speed
        self._strict = strict
        self._client = ClientReader()
        # Only answers what a recording cannot: it never learns of pipelines.
        self._server = ServerRunspacePool()
        self._server.state = ps.RunspacePoolState.Opened
        self._next_object_id = _FIRST_OBJECT_ID
        self._found: dict[Key, list[int]] = {}
        for index, recording in enumerate(cassette.recordings):
            self._found.setdefault(recording.key, []).append(index)
        self._played: Counter[Key] = Counter()
        self._latest_cell = -1
        self._awaiting_input: dict[UUID, Request] = {}
        self._tracks: deque[_Track] = deque()
        self._ready: deque[Payload | Notice] = deque()
        self._changed = asyncio.Event()
        self._closed: TransportClosed | None = None

    @property
    def max_payload(self) -> int:
        """Bytes one payload carries."""
        return _MAX_PAYLOAD

    async def open(self, data: bytes) -> None:
        """Create the pool."""
        self._hear(data)

    async def command(self, pipeline_id: UUID, data: bytes) -> None:  # noqa: ARG002 - the message names it
        """Create a pipeline."""
        self._hear(data)

    async def send(
        self,
        pipeline_id: UUID | None,  # noqa: ARG002 - the message names it
        data: bytes,
        *,
        prompt_response: bool = False,  # noqa: ARG002 - there is one lane
    ) -> None:
        """Take further fragments."""
        self._hear(data)

    async def signal(self, pipeline_id: UUID) -> None:
        """Stop a pipeline: as recorded where it was stopped when recorded, or else at once."""
        self._require_open()
        waiting = self._awaiting_input.pop(pipeline_id, None)
        track = next((track for track in self._tracks if track.pipeline_id == pipeline_id), None)
        if track is not None and track.stop(_now()):
            self._changed.set()
        elif track is not None or waiting is not None:
            if track is not None:
                self._tracks.remove(track)
            self._end(pipeline_id, PipelineState.STOPPED, "The pipeline has been stopped.")

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        """Forget a pipeline."""
        self._require_open()
        self._awaiting_input.pop(pipeline_id, None)

    async def close_pool(self) -> None:
        """Close the pool; there is nobody to wait for."""
        self._require_open()

    async def receive(self) -> list[Payload | Notice]:
        """Return what is due by now.

        Raises:
            TransportClosed: this side has closed the transport, or the connection was lost when it was recorded.
        """
        while True:
            self._require_open()
            items = self._due()
            if items:
                return items
            self._require_open()
            self._changed.clear()
            delay = self._tracks[0].delay(_now()) if self._tracks else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def aclose(self) -> None:
        """Stop playing."""
        if self._closed is None:
            self._closed = TransportClosed("The replay was closed on this side.")
        self._changed.set()

    def diagnostics(self) -> str:
        """Which recording this is."""
        return f"This is a replay of {self._name}."

    @property
    def _name(self) -> str:
        return f"the recording {self._cassette.path or 'in memory'} of {self._cassette.target}"

    def _require_open(self) -> None:
        if self._closed is not None:
            raise self._closed

    # ---- what the client says ----

    def _hear(self, data: bytes) -> None:
        self._require_open()
        for message in self._client.feed(data):
            self._take(message)
        self._changed.set()

    def _take(self, message: ClientMessage) -> None:
        kind, pipeline_id = message.message_type, message.pipeline_id
        if kind == Kind.InitRunspacePool:
            self._server.runspace_pool_id = message.runspace_id
            self._tracks.append(_Track(None, self._cassette.opening, self._speed, lost=False))
        elif kind == Kind.CreatePipeline:
            asked = Request(message.body)
            if asked.takes_input:
                self._awaiting_input[pipeline_id] = asked
            else:
                self._start(pipeline_id, asked.key())
        elif kind == Kind.PipelineInput and pipeline_id in self._awaiting_input:
            self._awaiting_input[pipeline_id].add_input(message.body)
        elif kind == Kind.EndOfPipelineInput and pipeline_id in self._awaiting_input:
            self._start(pipeline_id, self._awaiting_input.pop(pipeline_id).key())
        elif kind == Kind.PipelineHostResponse:
            for track in self._tracks:
                if track.pipeline_id == pipeline_id:
                    track.answers += 1
        elif kind in _NEEDS_REPLY:
            self._reply(message)

    def _reply(self, message: ClientMessage) -> None:
        whole = fragment(0, message.raw, len(message.raw) + 64)[0]
        self._server.receive_data(PSRPPayload(whole, StreamType.default, None))
        event = self._server.next_event()
        if isinstance(event, ResetRunspaceStateEvent):
            self._server.runspace_availability_response(event.ci, response=True)
        while (payload := self._server.data_to_send(_MAX_PAYLOAD)) is not None:
            self._ready.append(Payload(None, payload.data))

    def _start(self, pipeline_id: UUID, key: Key) -> None:
        found = self._found.get(key, [])
        turn = self._played[key]
        self._played[key] += 1
        objection = self._objection(key, found, turn)
        if objection:
            self._refuse(pipeline_id, f"{objection} Nothing was run. To run it, {_HOW_TO_GO_LIVE}.")
            return
        index = found[min(turn, len(found) - 1)]
        # The kernel's own queries are asked when it sees fit, and answered as often.
        if key.cell is not None:
            self._latest_cell = index
            if turn >= len(found):
                text = (
                    f"This cell was recorded {_times(found)} in {self._name}; showing its last recorded answer again."
                )
                self._ready.append(Notice(text))
        recording = self._cassette.recordings[index]
        self._tracks.append(_Track(pipeline_id, recording.events, self._speed, lost=recording.end is None))

    def _objection(self, key: Key, found: list[int], turn: int) -> str:
        """Why a pipeline cannot be played, or nothing."""
        if not found:
            what = "This cell" if key.cell is not None else "This query"
            return f"{what} is not in {self._name}."
        if not self._strict or key.cell is None:
            return ""
        if turn >= len(found):
            return f"This cell was recorded {_times(found)} in {self._name}, and this is time {turn + 1}."
        if found[turn] < self._latest_cell:
            return f"This cell was recorded before the one that ran last, in {self._name}, and the replay is strict."
        return ""

    # ---- what it is told ----

    def _due(self) -> list[Payload | Notice]:
        items = list(self._ready)
        self._ready.clear()
        size, now = 0, _now()
        while self._tracks and len(items) < _BATCH_ITEMS and size < _BATCH_BYTES:
            track = self._tracks[0]
            sent = track.take(now)
            if sent is not None:
                items.append(self._payload(track.pipeline_id, sent))
                size += len(sent.body)
                continue
            if not track.exhausted:
                break
            self._tracks.popleft()
            if track.lost:
                self._closed = TransportClosed(
                    f"The connection was lost here when {self._name} was made, so the recording ends within this cell."
                )
                break
        return items

    def _payload(self, track_id: UUID | None, sent: Sent) -> Payload:
        pipeline_id = None if sent.for_pool else track_id
        message = build_message(sent.message_type, self._server.runspace_pool_id, pipeline_id, sent.body)
        message = _TO_CLIENT + message[len(_TO_CLIENT) :]
        self._next_object_id += 1
        return Payload(pipeline_id, b"".join(fragment(self._next_object_id, message, _MAX_PAYLOAD)))

    def _refuse(self, pipeline_id: UUID, text: str) -> None:
        self._end(pipeline_id, PipelineState.FAILED, text)

    def _end(self, pipeline_id: UUID, state: PipelineState, text: str) -> None:
        identifier, category, name, exceptions = _ENDS[state]
        body = _END.format(
            state=int(state),
            message=escape_text(text).decode(),
            id=identifier,
            category=category,
            category_name=name,
            exception=exceptions[0],
            types="".join(f"<T>{exception}</T>" for exception in exceptions),
            reason=exceptions[0].rpartition(".")[2],
        )
        self._ready.append(self._payload(pipeline_id, Sent(0.0, Kind.PipelineState, body.encode())))
        self._changed.set()


class _Track:
    """A recording that is being played."""

    def __init__(self, pipeline_id: UUID | None, events: tuple[Event, ...], speed: float, *, lost: bool) -> None:
        self.pipeline_id = pipeline_id
        self.lost = lost
        self.answers = 0
        self._stopped = False
        self._events = events
        self._speed = speed
        self._position = 0
        # When the last event was played, and when it was recorded.
        self._played_at = _now()
        self._recorded_at = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether all of it was played."""
        return self._position == len(self._events)

    @property
    def awaited(self) -> Act | None:
        """What the client must do before anything else is played."""
        event = None if self.exhausted else self._events[self._position]
        return event.act if isinstance(event, Mark) else None

    def take(self, now: float) -> Sent | None:
        """The next message, if its time has come."""
        while not self.exhausted:
            event = self._events[self._position]
            if isinstance(event, Mark):
                if not self._passes(event, now):
                    return None
                # How long the client took is its own affair: the pace goes on from here.
                self._step(event, now)
                continue
            due = self._due_at(event)
            if now < due:
                return None
            self._step(event, due)
            return event
        return None

    def delay(self, now: float) -> float | None:
        """Seconds until :meth:`take` has something; None while it is the client's turn."""
        event = self._events[self._position]
        if isinstance(event, Mark) and event.act is not Act.SIGNALLED:
            return None
        return max(0.0, self._due_at(event) - now)

    def stop(self, now: float) -> bool:
        """Note the client's signal.

        Returns:
            whether the recording was stopped at this point too: all that precedes the signal is due by now.
        """
        ahead = copy(self)
        while ahead.take(now) is not None:
            pass
        self._stopped = ahead.awaited is Act.SIGNALLED
        return self._stopped

    def _passes(self, mark: Mark, now: float) -> bool:
        if mark.act is Act.SIGNALLED:
            return self._stopped or now >= self._due_at(mark)
        if self.answers == 0:
            return False
        self.answers -= 1
        return True

    def _due_at(self, event: Event) -> float:
        patience = _STOP_PATIENCE if isinstance(event, Mark) else 0.0
        gap = max(0.0, event.seconds - self._recorded_at) / self._speed if self._speed else 0.0
        return self._played_at + min(gap, _MAX_GAP) + patience

    def _step(self, event: Event, now: float) -> None:
        self._position += 1
        self._played_at, self._recorded_at = now, event.seconds


def _times(found: list[int]) -> str:
    return "1 time" if len(found) == 1 else f"{len(found)} times"


def _now() -> float:
    return asyncio.get_running_loop().time()
