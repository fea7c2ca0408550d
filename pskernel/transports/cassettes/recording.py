"""A transport around another one that records the session which runs through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

from psrpcore.types import PSRPMessageType as Kind

from pskernel.errors import RemoteProtocolError, ReplayError
from pskernel.protocol.fragments import Message, Reassembler, parse_message
from pskernel.records import PipelineState
from pskernel.transports.base import (
    FileAccess,
    Gone,
    KnowsPeer,
    MayBeAway,
    OffersFiles,
    Payload,
    Peer,
    Transport,
)
from pskernel.transports.cassettes.asked import ClientMessage, ClientReader, Request
from pskernel.transports.cassettes.cassette import (
    MAX_BYTES,
    Act,
    Cassette,
    Event,
    Mark,
    Recording,
    Sent,
    final_state,
    opens,
)

if TYPE_CHECKING:
    from pskernel.records import Notice

__all__ = ["RecordingTransport"]

_log = logging.getLogger(__name__)
# Answers to requests that a replay answers by itself, the first one with a key.
_NOT_KEPT = {Kind.EncryptedSessionKey, Kind.RunspaceAvailability}
# What the smallest message takes in a file.
_EVENT_BYTES = 60


@dataclass(slots=True)
class _Track:
    """What is recorded for one pipeline, or for the pool's opening (which asks for nothing)."""

    began: float
    events: list[Event] = field(default_factory=list)
    asked: Request | None = None
    signalled: bool = False
    ended: bool = False

    def seconds(self) -> float:
        """How long ago it began, as a cassette has it."""
        return round(_now() - self.began, 3)


class RecordingTransport:
    """A :class:`pskernel.transports.base.Transport` that passes everything on unchanged and remembers it.

    Messages that come for the pool are recorded with the pipeline that runs at the time, or with the next one. Lines
    that are no PowerShell (a login banner) are not recorded. What is recorded stays available after :meth:`aclose`.

    Args:
        inner: the transport to the real remote; closed with this one.
        target: what to name the remote in the cassette: text without secrets.
        save_to: the file to write when the transport is closed; None writes none.
    """

    def __init__(self, inner: Transport, *, target: str, save_to: str | None = None) -> None:
        self._inner = inner
        self._save_to = save_to
        self._target = target
        self._client = ClientReader()
        self._server = Reassembler()
        self._opening = _Track(0.0)
        self._tracks: dict[UUID, _Track] = {}
        self._running: _Track | None = None
        self._between: list[Event] = []
        self._held_bytes = 0
        self._listening = True

    def cassette(self) -> Cassette:
        """What was recorded so far.

        Raises:
            ReplayError: it is too much for a cassette, or no session was opened.
        """
        if self._held_bytes > MAX_BYTES:
            raise ReplayError(
                f"The recording of {self._target} is larger than {MAX_BYTES >> 20} MB and was given up: "
                "record fewer cells, or cells with less output."
            )
        opening = tuple(self._opening.events)
        if not opens(opening):
            raise ReplayError(f"Nothing was recorded: {self._target} did not open a session.")
        recordings = tuple(
            Recording(track.asked.key(), _settled(track)) for track in self._tracks.values() if track.asked is not None
        )
        return Cassette(self._target, opening, recordings)

    @property
    def max_payload(self) -> int:
        """As the inner transport's."""
        return self._inner.max_payload

    @property
    def peer(self) -> Peer:
        """That of the transport within."""
        return self._inner.peer if isinstance(self._inner, KnowsPeer) else Peer()

    @property
    def is_away(self) -> bool:
        """Whether the connection is away."""
        return isinstance(self._inner, MayBeAway) and self._inner.is_away

    async def back(self) -> None:
        """Wait until it is not."""
        if isinstance(self._inner, MayBeAway):
            await self._inner.back()

    async def open_files(self) -> FileAccess | None:
        """Files, which are no part of the recording."""
        return await self._inner.open_files() if isinstance(self._inner, OffersFiles) else None

    async def open(self, data: bytes) -> None:
        """Create the pool."""
        if not self._opening.began:
            self._opening.began = _now()
        self._hear_client(data)
        await self._inner.open(data)

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        """Create a pipeline."""
        # Before it is sent: the first messages may be here before the call returns.
        self._tracks[pipeline_id] = self._running = _Track(_now(), [*self._between])
        self._between.clear()
        self._hear_client(data)
        await self._inner.command(pipeline_id, data)

    async def send(self, pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> None:
        """Send further fragments."""
        self._hear_client(data)
        await self._inner.send(pipeline_id, data, prompt_response=prompt_response)

    async def signal(self, pipeline_id: UUID) -> None:
        """Ask the server to stop a pipeline."""
        track = self._tracks.get(pipeline_id)
        if track is not None and not track.ended and not track.signalled:
            track.signalled = True
            self._keep(track, Mark(track.seconds(), Act.SIGNALLED))
        await self._inner.signal(pipeline_id)

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        """Tell the server that this side is done with a pipeline."""
        await self._inner.close_pipeline(pipeline_id)

    async def receive(self) -> Sequence[Payload | Gone | Notice]:
        """Return what has arrived. Raises as the inner transport does."""
        items = await self._inner.receive()
        for item in items:
            if isinstance(item, Payload):
                self._hear_server(item.data)
        return items

    async def close_pool(self) -> None:
        """Close the pool. What the server says from here on is its farewell, and not recorded."""
        self._listening = False
        await self._inner.close_pool()

    async def aclose(self) -> None:
        """Drop the connection, and write the cassette.

        Raises:
            ReplayError: it cannot be written. The log says so too: whoever closes may have nobody left to tell.
        """
        self._listening = False
        path, self._save_to = self._save_to, None
        try:
            await self._inner.aclose()
        finally:
            if path is not None and opens(tuple(self._opening.events)):
                self._save(path)

    def _save(self, path: str) -> None:
        try:
            self.cassette().save(path)
        except ReplayError as error:
            _log.error("%s", error)
            raise

    def diagnostics(self) -> str:
        """As the inner transport's."""
        return self._inner.diagnostics()

    def _hear_client(self, data: bytes) -> None:
        if self._listening:
            for message in self._client.feed(data):
                self._note_asked(message)

    def _note_asked(self, message: ClientMessage) -> None:
        # The pool's own host calls are answered whenever (the session refuses them): nothing waits for that.
        track = self._tracks.get(message.pipeline_id)
        if track is None:
            return
        if message.message_type == Kind.PipelineHostResponse:
            # An answer that crosses the stop, or the end, may as well not be given the next time.
            if not track.signalled and not track.ended:
                self._keep(track, Mark(track.seconds(), Act.ANSWERED))
        elif message.message_type == Kind.CreatePipeline:
            track.asked = Request(message.body)
        elif message.message_type == Kind.PipelineInput and track.asked is not None:
            track.asked.add_input(message.body)

    def _hear_server(self, data: bytes) -> None:
        if not self._listening:
            return
        try:
            for raw in self._server.feed(data):
                self._note_sent(parse_message(raw))
        except RemoteProtocolError:
            # Whoever reads the session meets the same error, and says so.
            self._listening = False

    def _note_sent(self, message: Message) -> None:
        if message.message_type in _NOT_KEPT:
            return
        track = self._running
        if message.pipeline_id is not None:
            track = self._tracks.get(message.pipeline_id)
            if track is None or track.ended:
                return
        event = Sent((track or self._opening).seconds(), message.message_type, message.body)
        self._keep(track, event)
        if track is not None and final_state(event) is not None:
            track.ended = True
            if track is self._running:
                self._running = None

    def _keep(self, track: _Track | None, event: Event) -> None:
        """Add an event to a track; without one, to the opening or to the pipeline that comes next."""
        self._held_bytes += _EVENT_BYTES + (len(event.body) if isinstance(event, Sent) else 0)
        if self._held_bytes > MAX_BYTES:
            self._listening = False
            self._tracks.clear()
            return
        if track is not None:
            track.events.append(event)
        elif self._tracks:
            self._between.append(replace(event, seconds=0.0))
        else:
            self._opening.events.append(event)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _settled(track: _Track) -> tuple[Event, ...]:
    """A track's events; a stop that came too late to stop anything is left out, lest a replay wait for it."""
    state = final_state(track.events[-1]) if track.events else None
    if state in (PipelineState.COMPLETED, PipelineState.FAILED):
        return tuple(event for event in track.events if not (isinstance(event, Mark) and event.act is Act.SIGNALLED))
    return tuple(track.events)
