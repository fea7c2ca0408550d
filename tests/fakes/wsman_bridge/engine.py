"""One engine process behind one shell: lines of the out-of-process framing in and out, as queues for Receive."""

from __future__ import annotations

import base64
import contextlib
import queue
import re
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["POOL", "Engine", "Target", "message_type"]

POOL = "00000000-0000-0000-0000-000000000000"
_LINE = re.compile(rb"\s*<(\w+)([^>]*?)/?>([^<]*)")
_GUID = re.compile(r"PSGuid=['\"]([^'\"]*)")
_FRAGMENT = struct.Struct(">QQBI")
_PIPELINE_STATE = 0x41006
_ENDED = re.compile(rb'PipelineState">[345]<')
_SECONDS = 30


@dataclass
class Target:
    """The pool, or one command: what it has to send, and whether that was all."""

    chunks: list[bytes] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    done: bool = False
    closed: bool = False
    # Which Receive is the latest: an older one that still waits is given up.
    asked: int = 0


class Engine:
    """Starts the process and speaks with it."""

    def __init__(self, command: Sequence[str], creation: bytes) -> None:
        self.targets = {POOL: Target()}
        # The first messages of the pool, for clients that come later, by type.
        self.greeting: dict[int, bytes] = {}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._write_lock = threading.Lock()
        self._acks: dict[tuple[str, str], queue.Queue[bool]] = {}
        self._numbers: dict[int, int] = {}
        self._last_number = 0
        self._numbering = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.data(POOL, creation)

    def data(self, target: str, data: bytes, *, prompt: bool = False) -> None:
        """Hand over fragments."""
        stream = "PromptResponse" if prompt else "Default"
        text = base64.b64encode(data).decode()
        self._ask("DataAck", target, f"<Data Stream='{stream}' PSGuid='{target}'>{text}</Data>")

    def command(self, target: str, data: bytes) -> None:
        """Begin a pipeline."""
        self.targets[target] = Target()
        self._ask("CommandAck", target, f"<Command PSGuid='{target}' />")
        self.data(target, data)

    def stop(self, target: str) -> None:
        """Stop a pipeline."""
        self._ask("SignalAck", target, f"<Signal PSGuid='{target}' />")

    def close_command(self, target: str) -> None:
        """Forget a pipeline."""
        found = self.targets.pop(target, None)
        if found is not None and not found.closed:
            self._ask("CloseAck", target, f"<Close PSGuid='{target}' />")
            self._wake(found, closed=True)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(TimeoutError, OSError):
            self._ask("CloseAck", POOL, f"<Close PSGuid='{POOL}' />", seconds=5)
        self.kill()

    def kill(self) -> None:
        """End the process, asked or not."""
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def receive(self, target: Target, seconds: float, limit: int, connected: threading.Event) -> list[bytes] | None:
        """What has come, at most ``limit`` bytes if it can be cut there; None if nothing came in time."""
        with target.changed:
            target.asked += 1
            asked, end = target.asked, time.monotonic() + seconds
            while not (target.chunks or target.done or target.closed) and target.asked == asked and connected.is_set():
                left = end - time.monotonic()
                if left <= 0:
                    return None
                target.changed.wait(left)
            if target.asked != asked or not connected.is_set():
                return None
            taken: list[bytes] = []
            while target.chunks and (not taken or sum(map(len, taken)) + len(target.chunks[0]) <= limit):
                taken.append(target.chunks.pop(0))
            return taken

    def give_back(self, target: Target, chunks: list[bytes]) -> None:
        """What was taken and never sent."""
        with target.changed:
            target.chunks[:0] = chunks
            target.changed.notify_all()

    def wake_all(self) -> None:
        """Let every waiting Receive look again."""
        for target in list(self.targets.values()):
            self._wake(target)

    def numbered(self, body: bytes) -> bytes:
        """A message of the engine's once more, or one of our own, numbered as the engine's next would be."""
        with self._numbering:
            self._last_number += 1
            return _FRAGMENT.pack(self._last_number, 0, 3, len(body)) + body

    def append(self, target: Target, body: bytes) -> None:
        """Let a message come with the next Receive."""
        with target.changed:
            target.chunks.append(self.numbered(body))
            target.changed.notify_all()

    def _ask(self, ack: str, target: str, line: str, seconds: float = _SECONDS) -> None:
        waiting = self._acks.setdefault((ack, target), queue.Queue())
        with self._write_lock:
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        try:
            waiting.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"the engine did not send {ack}") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = _LINE.match(line)
            if found is None:
                continue
            guid = _GUID.search(found[2].decode())
            assert guid is not None
            kind, target = found[1].decode(), guid[1].lower()
            if kind == "Data":
                self._arrived(target, base64.b64decode(found[3]))
            else:
                self._acks.setdefault((kind, target), queue.Queue()).put(True)
        for target_ in list(self.targets.values()):
            self._wake(target_, closed=True)

    def _arrived(self, name: str, data: bytes) -> None:
        target = self.targets.get(name)
        renumbered, ended = bytearray(), False
        for number, index, flags, body in _fragments(data):
            if flags & 1:
                with self._numbering:
                    self._last_number += 1
                    self._numbers[number] = self._last_number
                kind = message_type(body)
                if name == POOL:
                    self.greeting.setdefault(kind, body)
                ended = ended or (kind == _PIPELINE_STATE and _ENDED.search(body) is not None)
            renumbered += _FRAGMENT.pack(self._numbers[number], index, flags, len(body)) + body
        if target is None:
            return
        with target.changed:
            target.done = target.done or (ended and name != POOL)
            target.chunks.append(bytes(renumbered))
            target.changed.notify_all()

    @staticmethod
    def _wake(target: Target, *, closed: bool = False) -> None:
        with target.changed:
            target.closed = target.closed or closed
            target.changed.notify_all()


def message_type(body: bytes) -> int:
    """The type of a PSRP message."""
    return int(struct.unpack_from("<I", body, 4)[0])


def _fragments(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found, at = [], 0
    while at < len(data):
        number, index, flags, length = _FRAGMENT.unpack_from(data, at)
        at += _FRAGMENT.size
        found.append((number, index, flags, data[at : at + length]))
        at += length
    return found
