"""Signals that stop a run: the first one on the remote, the second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from pskernel.cli.console import output

__all__ = ["on_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def on_signals(interrupt: Callable[[], object], said: str) -> list[int]:
    """Call ``interrupt`` for every signal from now on, and say so at the first. Returns those that have come.

    Must be called on the loop. What nohup or the shell has ignored stays ignored. Not on Windows; there, Ctrl+C cancels
    what runs.
    """
    loop = asyncio.get_running_loop()
    signals: list[int] = []

    def obey(number: int) -> None:
        if not signals:
            output(error=True).print(said)
        signals.append(number)
        interrupt()

    for name in _SIGNALS:
        with contextlib.suppress(NotImplementedError, AttributeError):
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, obey, number)
    return signals
