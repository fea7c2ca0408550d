"""One engine process, and the framing on its standard streams (MS-PSRP over `pwsh -s`)."""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Sequence

__all__ = ["POOL", "Engine", "EngineGone"]

# The target of what is not for a command.
POOL = "00000000-0000-0000-0000-000000000000"
_PACKET = re.compile(rb"\s*<(\w+)(?: Stream='\w+')? PSGuid='([0-9a-fA-F-]{36})'[^>]*>([^<]*)")
# An engine that says nothing for so long hangs; a stop may take as long as the call that is under way.
_ACK_SECONDS = 60.0
_CLOSE_SECONDS = 5.0


class EngineGone(Exception):
    """The process has ended."""


class Engine:
    """A process and its two readers.

    Args:
        command: starts it.
        received: takes a target and the fragments that came for it, on the reader's thread.
        ended: called on that thread when there is no more.
        log: takes what it says on standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        received: Callable[[str, bytes], None],
        ended: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._received = received
        self._ended = ended
        self._log = log
        self._lock = threading.Lock()
        self._acks: dict[tuple[str, str], queue.Queue[bool]] = {}
        self._one_at_a_time: dict[tuple[str, str], threading.Lock] = {}
        self._gone = False
        pipe = subprocess.PIPE
        # Where the bridge keeps its passwords is no business of the engine's.
        environment = {name: value for name, value in os.environ.items() if name != "NTLM_USER_FILE"}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def data(self, target: str, data: bytes, *, prompt: bool = False) -> None:
        """Hand over fragments.

        Raises:
            EngineGone, TimeoutError: nobody took them.
        """
        stream = "PromptResponse" if prompt else "Default"
        text = base64.b64encode(data).decode()
        self._ask("DataAck", target, f"<Data Stream='{stream}' PSGuid='{target}'>{text}</Data>")

    def command(self, target: str) -> None:
        """Announce a pipeline.

        Raises:
            EngineGone, TimeoutError: nobody heard it.
        """
        self._ask("CommandAck", target, f"<Command PSGuid='{target}' />")

    def stop(self, target: str, wait: float) -> None:
        """Stop a pipeline.

        Raises:
            TimeoutError: it has not stopped after ``wait`` seconds; it may still.
            EngineGone: nobody heard it.
        """
        self._ask("SignalAck", target, f"<Signal PSGuid='{target}' />", wait)

    def close(self, target: str) -> bool:
        """Let a pipeline be forgotten, or with POOL the runspace pool be closed. Returns whether it was.

        The pool is closed only when all its pipelines are, even those that have completed.
        """
        try:
            self._ask("CloseAck", target, f"<Close PSGuid='{target}' />", _CLOSE_SECONDS)
        except (EngineGone, TimeoutError):
            return False
        return True

    def kill(self) -> None:
        """End the process and the readers, and wait for them."""
        self._process.kill()
        self._process.wait(10)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError):
            self._process.stdin.close()

    def _ask(self, ack: str, target: str, line: str, seconds: float = _ACK_SECONDS) -> None:
        key = (ack, target)
        with self._lock:
            waiting = self._acks.setdefault(key, queue.Queue())
            turn = self._one_at_a_time.setdefault(key, threading.Lock())
        with turn:
            try:
                self._write(line)
                heard = waiting.get(timeout=seconds)
            except queue.Empty:
                raise TimeoutError(f"The engine did not send {ack}.") from None
            except (OSError, ValueError):
                raise EngineGone("The engine has ended.") from None
        if not heard:
            waiting.put(False)
            raise EngineGone("The engine has ended.")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            if self._gone:
                raise EngineGone("The engine has ended.")
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                found = _PACKET.match(line)
                if found is None:
                    self._log(f"engine, no packet: {line[:200]!r}")
                    continue
                kind, target = found[1].decode(), found[2].decode().lower()
                if kind == "Data":
                    self._received(target, base64.b64decode(found[3]))
                else:
                    self._acknowledged(kind, target)
        # Who is told of the end finds no process any more.
        self._process.wait()
        self._end()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._log(f"engine: {line.decode(errors='replace').rstrip()}")

    def _acknowledged(self, kind: str, target: str) -> None:
        with self._lock:
            waiting = self._acks.setdefault((kind, target), queue.Queue())
        waiting.put(True)

    def _end(self) -> None:
        with self._lock:
            self._gone = True
            waiting = list(self._acks.values())
        for each in waiting:
            each.put(False)
        self._ended()
