"""The output of a program that lists hosts."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from typing import IO

from pskernel.fleet.entries import InventoryError

__all__ = ["run_command"]

_MAX_SHOWN = 2_000
_LAST_WORDS_SECONDS = 2.0


def run_command(line: str, seconds: float, max_bytes: int) -> str:
    """What a program prints. Its words are split as a POSIX shell does, and no shell runs.

    Raises:
        InventoryError: it cannot be started, fails, takes too long or prints too much.
    """
    try:
        argv = shlex.split(line)
    except ValueError as error:
        raise InventoryError(f"The command {line!r} cannot be read: {error}.") from None
    if not argv:
        raise InventoryError("After command: stands a program with its arguments.")
    # Whoever lists hosts needs nothing that is meant for us.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PSKERNEL_")}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=sys.platform != "win32",
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InventoryError(f"The command {argv[0]} cannot be started: {reason}.") from None
    return _Reading(process, argv[0], max_bytes).result(seconds)


class _Reading:
    """Takes in what a program says, within bounds."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, max_bytes: int) -> None:
        self._process = process
        self._name = name
        self._max_bytes = max_bytes
        self._printed = bytearray()
        self._complaints = bytearray()
        self._readers = [
            threading.Thread(target=self._take, args=(process.stdout, self._printed), daemon=True),
            threading.Thread(target=self._take, args=(process.stderr, self._complaints), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _take(self, stream: IO[bytes] | None, into: bytearray) -> None:
        if stream is None:
            return
        with stream:
            while data := os.read(stream.fileno(), 65536):
                into += data
                if into is self._complaints:
                    del into[:-_MAX_SHOWN]
                elif len(into) > self._max_bytes:
                    _end(self._process)
                    return

    def result(self, seconds: float) -> str:
        status = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(seconds)
        self._finish(timed_out=status is None)
        if len(self._printed) > self._max_bytes:
            raise InventoryError(f"The command {self._name} printed more than {self._max_bytes >> 20} MB.")
        if status is None:
            raise InventoryError(f"The command {self._name} did not end within {seconds:g} seconds.{self._said()}")
        if status:
            raise InventoryError(f"The command {self._name} failed with status {status}.{self._said()}")
        try:
            return self._printed.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InventoryError(f"What the command {self._name} printed is not UTF-8.") from None

    def _finish(self, *, timed_out: bool) -> None:
        if timed_out:
            _end(self._process)
            self._process.wait()
        for reader in self._readers:
            reader.join(_LAST_WORDS_SECONDS)
            if reader.is_alive():
                # A child of it is there still, and holds the line open.
                _end(self._process)
                reader.join(_LAST_WORDS_SECONDS)

    def _said(self) -> str:
        text = self._complaints.decode("utf-8", "replace")
        plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        return f" It said: {plain}" if plain else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and its children."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
