"""One shell: its engine, what waits for its client, and whether there is a client."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.fakes.wsman_bridge.engine import POOL, Engine, EngineGone
from tests.fakes.wsman_bridge.faults import (
    Fault,
    aborted,
    no_such_command,
    provider_failed,
    stream_disconnected,
    timed_out,
)
from tests.fakes.wsman_bridge.output import Counter, Output, Piece, Taken, message_type, split_fragments

__all__ = ["Shell", "Terms"]

# MS-PSRP 2.2.1: the messages that a client gets when it connects to a pool.
_SESSION_CAPABILITY, _APPLICATION_PRIVATE_DATA, _RUNSPACEPOOL_INIT_DATA = 0x10002, 0x21009, 0x2100B
_RUNSPACES = re.compile(rb'<I32 N="(Min|Max)Runspaces">(\d+)</I32>')
# The header of a message: destination, type, pool, pipeline.
_TYPE_AT, _POOL_AT, _END = 4, 8, 40
# Enough of the first fragments that a client sends, to find in them how many runspaces it wants.
_WATCHED_BYTES = 1 << 20


@dataclass
class Terms:
    """What a client may say of its shell.

    ``session_id`` is the client that the shell is connected to. ``buffer_mode`` says what happens when the output of a
    disconnected shell is larger than ``buffer_limit`` bytes: with Block the engine waits, with Drop the oldest goes.
    """

    name: str
    resource_uri: str
    owner: str
    session_id: str
    idle_timeout: float = 7200.0
    buffer_mode: str = "Block"
    buffer_limit: int | None = None


class Shell:
    """A running shell.

    Args:
        shell_id: in capitals.
        terms: see there.
        command: starts the engine.
        log: takes what is worth knowing when a test fails.
    """

    def __init__(self, shell_id: str, terms: Terms, command: Sequence[str], log: Callable[[str], None]) -> None:
        self.shell_id = shell_id
        self.terms = terms
        # Set when the shell has ended, by whatever.
        self.gone = threading.Event()
        # The last answers to Receive, by message id: whoever asks again under the same id is told the same.
        self.answers: dict[str, str] = {}
        self._outputs = {POOL: Output()}
        self._counter = Counter()
        self._changed = threading.Condition()
        self._connected = True
        # How often a client has left: whatever waited then is over, even if it comes back at once.
        self._departures = 0
        self._why_ended: Fault | None = None
        self._greeting: dict[int, bytes] = {}
        self._from_client = bytearray()
        self._born = time.monotonic()
        self._expiry: threading.Timer | None = None
        self._log = log
        self._engine = Engine(command, self._received, self._engine_ended, log)

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def commands(self) -> list[str]:
        """The ids of its commands, in capitals."""
        return [name.upper() for name in list(self._outputs) if name != POOL]

    @property
    def engine_pid(self) -> int:
        """The engine's process."""
        return self._engine.pid

    def waiting_bytes(self, command_id: str | None = None) -> int:
        """How much output waits for the client."""
        output = self._output(command_id)
        with output.changed:
            return output.size

    def wait_until_asked(self, command_id: str | None = None, timeout: float = 10.0) -> bool:
        """Wait until a Receive waits for output. Returns whether one does."""
        output = self._output(command_id)
        with output.changed:
            return output.changed.wait_for(lambda: output.waited_for, timeout)

    def wait_finished(self, command_id: str, timeout: float) -> bool:
        """Wait until a command has said all it has to say, be it received or not. Returns whether it has."""
        output = self._output(command_id)
        with output.changed:
            return output.changed.wait_for(lambda: output.finished, timeout)

    # ---- what clients do ----

    def send(self, command_id: str | None, data: bytes, *, prompt: bool = False) -> None:
        """Hand over fragments.

        Raises:
            Fault: there is no such command, or no engine any more.
        """
        self._output(command_id)
        if command_id is None and len(self._from_client) < _WATCHED_BYTES:
            self._from_client += b"".join(piece.body for piece in split_fragments(data))
        try:
            self._engine.data((command_id or POOL).lower(), data, prompt=prompt)
        except (EngineGone, TimeoutError):
            raise provider_failed() from None

    def begin(self, command_id: str, data: bytes) -> None:
        """Begin a command.

        Raises:
            Fault: there is no engine any more.
        """
        self._outputs[command_id.lower()] = Output()
        try:
            self._engine.command(command_id.lower())
        except (EngineGone, TimeoutError):
            raise provider_failed() from None
        self.send(command_id, data)

    def receive(self, command_id: str | None, wait: float, room: int, at_most: int) -> Taken:
        """Take what there is, or wait for it.

        Raises:
            Fault: nothing came; the client has left; another Receive came; the shell has ended.
        """
        output = self._output(command_id)
        with output.changed:
            output.turn += 1
            turn, departures = output.turn, self._departures

            def is_over() -> bool:
                left = not self._connected or self._departures != departures
                return bool(output.pieces or output.finished or output.turn != turn or left or self._why_ended)

            output.waited_for = not is_over()
            # Whoever waits for that, and a Receive that has to give way.
            output.changed.notify_all()
            output.changed.wait_for(is_over, wait)
            if output.turn != turn:
                raise aborted()
            output.waited_for = False
            if not self._connected or self._departures != departures:
                raise stream_disconnected()
            pieces = output.take(room, at_most)
            done = output.finished and not output.pieces
            if not pieces and not (done and self._why_ended is None):
                raise self._why_ended or timed_out()
            return Taken(pieces, done=done)

    def give_back(self, command_id: str | None, taken: Taken) -> None:
        """What was taken and reached nobody comes with the next Receive again."""
        output = self._output(command_id)
        with output.changed:
            output.give_back(taken.pieces)

    def stop(self, command_id: str, wait: float) -> None:
        """Stop a command.

        Raises:
            Fault: it did not stop in time, or there is no such command.
        """
        self._output(command_id)
        try:
            self._engine.stop(command_id.lower(), wait)
        except TimeoutError:
            raise timed_out() from None
        except EngineGone:
            raise provider_failed() from None

    def close_command(self, command_id: str) -> None:
        """End a command and forget it. A Receive that waits for it is told that it is done.

        Raises:
            Fault: there is no such command.
        """
        output = self._output(command_id)
        del self._outputs[command_id.lower()]
        self._engine.close(command_id.lower())
        with output.changed:
            output.finished = True
            output.changed.notify_all()

    def disconnect(self, expired: Callable[[Shell], None], longest: float | None) -> None:
        """Let the client leave. After the idle timeout, or ``longest``, ``expired`` is called."""
        seconds = self.terms.idle_timeout if longest is None else min(longest, self.terms.idle_timeout)
        self._expiry = threading.Timer(seconds, expired, [self])
        self._expiry.daemon = True
        self._departures += 1
        self._set_connected(value=False)
        self._expiry.start()

    def reconnect(self) -> None:
        """Let the client come back."""
        self._stop_expiry()
        self._set_connected(value=True)

    def connect(self, session_id: str, *, repeat_last: bool) -> bytes:
        """Let another client in. Returns the messages it gets at once; one more comes with the pool's Receive.

        Args:
            session_id: the client.
            repeat_last: whether the first Receive of each target also gets what the last one got.

        Raises:
            Fault: the engine has not even greeted the first client.
        """
        if not {_SESSION_CAPABILITY, _APPLICATION_PRIVATE_DATA} <= self._greeting.keys():
            raise provider_failed()
        capability = self._greeting[_SESSION_CAPABILITY]
        hello = self._counter.own(capability).data + self._counter.own(self._init_data(capability)).data
        pool = self._outputs[POOL]
        with pool.changed:
            pool.add(self._counter.own(self._greeting[_APPLICATION_PRIVATE_DATA]))
        for output in list(self._outputs.values()) if repeat_last else ():
            with output.changed:
                output.repeat_last()
        self.terms.session_id = session_id
        self.reconnect()
        return hello

    def end(self, why: Fault | None = None) -> None:
        """End the shell and wait for its process. Who still waits is told why; without a reason, as after Delete."""
        self._stop_expiry()
        self._why_ended = self._why_ended or why or aborted()
        self._wake()
        if why is None:
            names = [*(name for name in list(self._outputs) if name != POOL), POOL]
            if not all(self._engine.close(name) for name in names):
                self._log(f"shell {self.shell_id} did not let itself be closed, and was killed")
        self._engine.kill()
        self.gone.set()

    def described(self) -> str:
        """The shell as Enumerate and Get show it."""
        terms = self.terms
        age = f"P0DT0H0M{int(time.monotonic() - self._born)}S"
        name = f"<rsp:Name>{escape(terms.name)}</rsp:Name>" if terms.name else ""
        return (
            f"<rsp:Shell><rsp:ShellId>{self.shell_id}</rsp:ShellId>{name}"
            f"<rsp:ResourceUri>{escape(terms.resource_uri)}</rsp:ResourceUri>"
            f"<rsp:Owner>{escape(terms.owner)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
            f"<rsp:ProcessId>{self.engine_pid}</rsp:ProcessId>"
            f"<rsp:IdleTimeOut>PT{terms.idle_timeout:.3f}S</rsp:IdleTimeOut>"
            "<rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>"
            "<rsp:MaxIdleTimeOut>PT2147483.647S</rsp:MaxIdleTimeOut><rsp:Locale>en-US</rsp:Locale>"
            "<rsp:DataLocale>en-US</rsp:DataLocale><rsp:CompressionMode>NoCompression</rsp:CompressionMode>"
            "<rsp:ProfileLoaded>Yes</rsp:ProfileLoaded><rsp:Encoding>UTF8</rsp:Encoding>"
            f"<rsp:BufferMode>{escape(terms.buffer_mode)}</rsp:BufferMode>"
            f"<rsp:State>{'Connected' if self._connected else 'Disconnected'}</rsp:State>"
            f"<rsp:ShellRunTime>{age}</rsp:ShellRunTime><rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity>"
            "</rsp:Shell>"
        )

    # ---- what the engine does, on its reader's thread ----

    def _received(self, target: str, data: bytes) -> None:
        output = self._outputs.get(target)
        for piece in split_fragments(data):
            numbered = self._counter.renumbered(piece)
            if target == POOL and piece.is_first:
                self._greeting.setdefault(message_type(piece.body), piece.body)
            if output is not None:
                self._keep(output, numbered)

    def _keep(self, output: Output, piece: Piece) -> None:
        with output.changed:
            output.add(piece)
        limit = self.terms.buffer_limit
        if limit is None or self._connected:
            return
        if self.terms.buffer_mode == "Drop":
            with output.changed:
                output.drop_oldest(limit)
            return
        with self._changed:
            # The engine is not read any more: sooner or later it waits.
            self._changed.wait_for(lambda: self._connected or self._why_ended or output.size < limit)

    def _engine_ended(self) -> None:
        self._why_ended = self._why_ended or provider_failed()
        self._wake()
        self.gone.set()

    # ---- the rest ----

    def _output(self, command_id: str | None) -> Output:
        try:
            return self._outputs[(command_id or POOL).lower()]
        except KeyError:
            raise no_such_command() from None

    def _set_connected(self, *, value: bool) -> None:
        self._connected = value
        self._wake()

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        with self._changed:
            self._changed.notify_all()
        for output in list(self._outputs.values()):
            with output.changed:
                output.changed.notify_all()

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()

    def _init_data(self, capability: bytes) -> bytes:
        """RUNSPACEPOOL_INIT_DATA, in the header of another message of the pool's."""
        found = {name.decode(): int(number) for name, number in _RUNSPACES.findall(bytes(self._from_client))}
        values = "".join(f'<I32 N="{name}Runspaces">{found.get(name, 1)}</I32>' for name in ("Min", "Max"))
        return (
            capability[:_TYPE_AT]
            + _RUNSPACEPOOL_INIT_DATA.to_bytes(4, "little")
            + capability[_POOL_AT:_END]
            # Servers begin their messages with a byte order mark.
            + f'\ufeff<Obj RefId="0"><MS>{values}</MS></Obj>'.encode()
        )
