"""One runspace pool, sans-IO: payloads in, records out; requests in, payloads out.

Two decoders share the work. Messages that only become a value (output, text written to the host, records, pipeline
states) are read by the light decoder: they are the bulk, and psrpcore takes 0.2 ms for each. Messages that drive the
protocol (capabilities, private data, pool state, key exchange, host calls that want an answer) go to psrpcore, which
owns that state. psrpcore never learns of our pipelines; it is given host calls only to decode and answer them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psrpcore
from psrpcore import types as ps

from pskernel.errors import LocalProtocolError, RemoteProtocolError, RunspaceStateError
from pskernel.protocol import clixml, decode, hostvalues
from pskernel.protocol.fragments import (
    MAX_MESSAGE_BYTES,
    Message,
    MessageType,
    Reassembler,
    build_message,
    fragment,
    parse_message,
)
from pskernel.protocol.pipelines import PipelineShape, Screen, Statements, Templates, host_info
from pskernel.records import HostCall, Notice, Record

__all__ = [
    "KeyExchanged",
    "Outgoing",
    "PoolEvent",
    "PoolOpened",
    "PoolReset",
    "PoolSettings",
    "PoolStopped",
    "RunspaceProtocol",
]

# psrpcore writes whole messages, secrets included, to its debug log.
logging.getLogger("psrpcore").setLevel(logging.WARNING)

# Our own messages are numbered far above those that psrpcore numbers from 1.
_FIRST_OBJECT_ID = 1 << 32
_VOID_CALL = -100
_VOID = re.compile(rb'<I64 N="ci">-100</I64>')
_STREAM_RECORDS = {
    MessageType.DEBUG_RECORD,
    MessageType.VERBOSE_RECORD,
    MessageType.WARNING_RECORD,
    MessageType.PROGRESS_RECORD,
    MessageType.INFORMATION_RECORD,
}
_DECODERS: dict[int, Callable[[bytes], Record | None]] = {
    MessageType.PIPELINE_OUTPUT: decode.decode_output,
    MessageType.PIPELINE_STATE: decode.decode_state,
    MessageType.ERROR_RECORD: decode.decode_error,
    # Other events are for subscribers, of which a console has none.
    MessageType.USER_EVENT: decode.decode_debugger_stop,
}
_HOST_CALLS = {MessageType.RUNSPACEPOOL_HOST_CALL, MessageType.PIPELINE_HOST_CALL}
_KNOWN = frozenset(ps.PSRPMessageType)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Fragments to send, in order, for a pipeline or (None) the pool."""

    pipeline_id: UUID | None
    fragments: tuple[bytes, ...]
    prompt_response: bool = False


@dataclass(frozen=True, slots=True)
class PoolOpened:
    """The pool is ready for pipelines."""


@dataclass(frozen=True, slots=True)
class PoolStopped:
    """The pool is closed or broken; ``reason`` is the server's sentence, or empty."""

    reason: str


@dataclass(frozen=True, slots=True)
class PoolReset:
    """The answer to :meth:`RunspaceProtocol.reset`."""

    success: bool


@dataclass(frozen=True, slots=True)
class KeyExchanged:
    """Secrets can be sent and read from now on; or, with a ``problem``, never."""

    problem: str = ""


PoolEvent = PoolOpened | PoolStopped | PoolReset | KeyExchanged


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What a pool is opened with: the size output is formatted for, the largest object that is taken, and what scripts
    find in ``$PSSenderInfo.ApplicationArguments``.
    """

    screen: Screen = field(default_factory=Screen)
    max_object_bytes: int = MAX_MESSAGE_BYTES
    application_arguments: Mapping[str, Any] = field(default_factory=dict)


class RunspaceProtocol:
    """The client's side of one runspace pool.

    Call :meth:`open`, send what it returns, feed what arrives to :meth:`receive`; pipelines may start after
    :class:`PoolOpened`.
    """

    def __init__(
        self,
        settings: PoolSettings,
        max_payload: int,
        pool_id: UUID | None = None,
    ) -> None:
        # Bytes of one payload; a transport may learn that its server takes more.
        self.max_payload = max_payload
        self._reassembler = Reassembler(settings.max_object_bytes, comes_late=pool_id is not None)
        self._next_object_id = _FIRST_OBJECT_ID
        self._templates: Templates | None = None
        self._pool = psrpcore.ClientRunspacePool(
            host=host_info(settings.screen),
            runspace_pool_id=pool_id,
            application_arguments={**settings.application_arguments, "PSVersionTable": _version_table()},
        )

    @property
    def runspace_id(self) -> UUID:
        """The pool's instance id."""
        return self._pool.runspace_pool_id

    @property
    def is_between_messages(self) -> bool:
        """Whether all that was received were whole messages."""
        return self._reassembler.is_between

    def open(self) -> list[Outgoing]:
        """SESSION_CAPABILITY and INIT_RUNSPACEPOOL."""
        self._pool.open()
        return self._drain()

    def connect(self) -> list[Outgoing]:
        """SESSION_CAPABILITY and CONNECT_RUNSPACEPOOL, for a pool that exists already (MS-PSRP 3.1.5.4.10)."""
        self._pool.connect()
        return self._drain()

    def start(
        self, shape: PipelineShape, what: str | Statements = "", screen: Screen | None = None
    ) -> tuple[UUID, Outgoing]:
        """Create a pipeline of a script, or of commands.

        Returns:
            its id and the CREATE_PIPELINE message. A DISPLAY pipeline then waits for :meth:`input_error`.

        Raises:
            RunspaceStateError: the pool is not open.
            LocalProtocolError: an argument cannot be sent.
        """
        if self._pool.state is not ps.RunspacePoolState.Opened:
            raise RunspaceStateError(f"No pipeline can start: the runspace is {self._pool.state.name}.")
        if self._templates is None:
            self._templates = Templates(self._pool.their_capability)
        pipeline_id = uuid4()
        if isinstance(what, str):
            body = self._templates.fill(shape, what, screen)
        else:
            # psrpcore has the key, and no other way to use it.
            encrypt = self._pool._cipher.encrypt  # noqa: SLF001
            body = self._templates.commands(shape, what, screen, encrypt)
        return pipeline_id, self._message(MessageType.CREATE_PIPELINE, pipeline_id, body)

    def input_error(self, pipeline_id: UUID, clixml: bytes) -> list[Outgoing]:
        """An error record that was received, as pipeline input, and the end of input."""
        return [
            self._message(MessageType.PIPELINE_INPUT, pipeline_id, decode.as_received_error(clixml)),
            self._message(MessageType.END_OF_PIPELINE_INPUT, pipeline_id, b""),
        ]

    def answer(self, call_id: int, value: Any) -> list[Outgoing]:
        """Answer a host call with its return value: what :func:`pskernel.protocol.hostvalues.encode` takes.

        Raises:
            LocalProtocolError: the call was answered before, or the value holds a secret and no key is exchanged.
        """
        return self._respond(call_id, hostvalues.encode(value), None)

    def exchange_key(self) -> list[Outgoing]:
        """Begin the key exchange that secrets need (MS-PSRP 3.1.5.4.3); :class:`KeyExchanged` ends it."""
        self._pool.exchange_key()
        return self._drain()

    def refuse(self, call_id: int, message: str) -> list[Outgoing]:
        """Answer a host call with an exception, as PowerShell's own client reports a failing host method."""
        error = ps.ErrorRecord(
            Exception=ps.NETException(Message=message),
            CategoryInfo=ps.ErrorCategoryInfo(Category=ps.ErrorCategory.InvalidOperation),
            FullyQualifiedErrorId="RemoteHostExecutionException",
        )
        return self._respond(call_id, None, error)

    def reset(self) -> list[Outgoing]:
        """Ask for the runspace's variables to be reset (needs PowerShell 5 or later).

        Raises:
            RunspaceStateError: the pool is not open, or the server is too old.
        """
        try:
            self._pool.reset_runspace_state()
        except psrpcore.PSRPCoreError as error:
            raise RunspaceStateError(f"The runspace cannot be reset: {error}") from None
        return self._drain()

    def receive(self, data: bytes) -> Iterator[tuple[UUID | None, Record | PoolEvent]]:
        """Take whole fragments; yield what they say and for which pipeline.

        A message that cannot be read is left out with a :class:`pskernel.records.Notice`, unless one side would then
        wait for ever: for the end of the pipeline, or for the answer to a host call. A session key is said to be none.

        Raises:
            RemoteProtocolError: such a message, or broken framing; the pool can only be dropped.
        """
        for whole in self._reassembler.feed(data):
            raw = clixml.escape_references(whole)
            message = parse_message(raw)
            record: Record | PoolEvent | None
            try:
                record = _guarded(self._decode, message, raw)
            except RemoteProtocolError as error:
                if _somebody_waits(message):
                    raise RemoteProtocolError(f"A message that cannot be left out could not be read: {error}") from None
                if message.message_type == MessageType.ENCRYPTED_SESSION_KEY:
                    yield None, KeyExchanged(f"The session key that the remote sent could not be read: {error}.")
                    continue
                record = Notice(f"A message of the remote could not be read and is left out: {error}")
            if record is not None:
                yield message.pipeline_id, record

    def _decode(self, message: Message, raw: bytes) -> Record | PoolEvent | None:
        kind, body = message.message_type, message.body
        if kind in _HOST_CALLS:
            return decode.decode_host_text(body) or decode.decode_host_progress(body) or self._host_call(message, raw)
        if kind in _DECODERS:
            return _DECODERS[kind](body)
        if kind in _STREAM_RECORDS:
            return decode.decode_stream_record(kind, body)
        return self._pool_event(self._psrpcore_event(message, raw))

    def _host_call(self, message: Message, raw: bytes) -> Record:
        event = self._psrpcore_event(message, raw)
        if not isinstance(event, psrpcore.PipelineHostCallEvent | psrpcore.RunspacePoolHostCallEvent):
            raise RemoteProtocolError("a host call without a method")
        method = event.method_identifier
        parameters = tuple(event.method_parameters)
        text = decode.host_text(int(method), parameters)
        if text is not None:
            return text
        call_id = None if event.ci == _VOID_CALL else int(event.ci)
        return HostCall(method.name, int(method), tuple(hostvalues.plain(value) for value in parameters), call_id)

    def _psrpcore_event(self, message: Message, raw: bytes) -> Any:
        if message.message_type not in _KNOWN:
            # psrpcore would keep the fragment that it cannot name, and then refuse every message after it.
            raise RemoteProtocolError("a kind of message that does not exist")
        # psrpcore knows no limits: what exceeds ours (depth, elements, entities) must not get there.
        clixml.decode(message.body)
        whole = fragment(0, raw, len(raw) + 64)[0]
        self._pool.receive_data(psrpcore.PSRPPayload(whole, psrpcore.StreamType.default, None))
        event = self._pool.next_event()
        if event is None:
            raise RemoteProtocolError("a message without content")
        return event

    def _pool_event(self, event: Any) -> PoolEvent | None:
        if isinstance(event, psrpcore.RunspacePoolInitDataEvent):
            # The answer to connect(). The server says no more, and psrpcore waits for more.
            self._pool._change_state(ps.RunspacePoolState.Opened)  # noqa: SLF001
            return PoolOpened()
        if isinstance(event, psrpcore.RunspacePoolStateEvent):
            if event.state is ps.RunspacePoolState.Opened:
                return PoolOpened()
            if event.state in (ps.RunspacePoolState.Broken, ps.RunspacePoolState.Closed):
                return PoolStopped("" if event.reason is None else str(event.reason))
        if isinstance(event, psrpcore.SetRunspaceAvailabilityEvent):
            return PoolReset(bool(event.success))
        if isinstance(event, psrpcore.EncryptedSessionKeyEvent):
            return KeyExchanged()
        return None

    def _respond(self, call_id: int, value: Any, error: ps.ErrorRecord | None) -> list[Outgoing]:
        try:
            self._pool.host_response(call_id, value, error)
        except KeyError:
            raise LocalProtocolError("This host call was answered already, or never made.") from None
        except UnicodeError:
            # Its text would quote the answer.
            raise LocalProtocolError("This host call cannot be answered with half a character.") from None
        except psrpcore.PSRPCoreError as problem:
            raise LocalProtocolError(f"This host call cannot be answered: {problem}.") from None
        return self._drain()

    def _message(self, message_type: int, pipeline_id: UUID | None, body: bytes) -> Outgoing:
        message = build_message(message_type, self.runspace_id, pipeline_id, body)
        self._next_object_id += 1
        return Outgoing(pipeline_id, tuple(fragment(self._next_object_id, message, self.max_payload)))

    def _drain(self) -> list[Outgoing]:
        outgoing = []
        while (payload := self._pool.data_to_send(self.max_payload)) is not None:
            prompt = payload.stream_type is psrpcore.StreamType.prompt_response
            outgoing.append(Outgoing(payload.pipeline_id, (payload.data,), prompt))
        return outgoing


def _somebody_waits(message: Message) -> bool:
    if message.message_type == MessageType.PIPELINE_STATE:
        return True
    return message.message_type in _HOST_CALLS and not _VOID.search(message.body)


def _guarded(decode_message: Callable[[Message, bytes], _T], message: Message, raw: bytes) -> _T:
    """Let psrpcore read: it answers malformed input with nearly any exception, of which this makes one."""
    try:
        return decode_message(message, raw)
    except RemoteProtocolError:
        raise
    except Exception as error:  # noqa: BLE001
        raise RemoteProtocolError(f"{type(error).__name__} while decoding it") from None


def _version_table() -> dict[str, Any]:
    """Without PSVersionTable the server offers no debugger, and ``Wait-Debugger`` hangs the pipeline."""
    return {
        "PSVersion": ps.PSVersion("7.6.0"),
        "PSEdition": "Core",
        "PSRemotingProtocolVersion": ps.PSVersion("2.3"),
        "SerializationVersion": ps.PSVersion("1.1.0.1"),
    }
