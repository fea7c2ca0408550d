"""The way back to a durable session: how long and how often it is tried, and when there is no use in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pskernel.errors import (
    AuthenticationFailed,
    ConnectError,
    HostKeyRejected,
    PromptUnavailable,
    PSKernelError,
    RemoteProtocolError,
    TargetError,
    TransportClosed,
)
from pskernel.transports.base import PoolGone, TakenOver

__all__ = ["HungUp", "Patience", "Trouble", "way_ended"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
# A link that has lived so long ends the trouble that there was before it.
_SETTLED_SECONDS = 30.0
# What an attempt has at least, also when patience is at its end.
_LEAST_SECONDS = 1.0
# A server that a network fails in the middle of a login seems to refuse it. One that does refuse it counts.
_MOST_REFUSALS = 3
# Links that end before the relay says anything: it may be busy, or what carries them fails. It may also be gone.
_MOST_HANGUPS = 8
# What trying again does not change.
_FINAL = (PoolGone, HostKeyRejected, PromptUnavailable, TargetError, RemoteProtocolError)


class HungUp(TransportClosed):
    """A link ended before the relay said anything."""


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a connection that was lost is tried again; and the clock they are measured with."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Trouble:
    """The outages that no link of some length has come between, and what became of the attempts."""

    def __init__(self, patience: Patience, label: str) -> None:
        self._patience = patience
        self._label = label
        # When the time for attempts began; that of links between them does not count.
        self._began: float | None = None
        self._linked = patience.now()
        self._pause = 0.0
        self._refusals = self._hangups = 0
        self._why = "The connection was lost again each time, as soon as it was there."
        self._error: BaseException | None = None

    def linked(self) -> None:
        """There is a link."""
        self._linked = self._patience.now()

    def lost(self) -> Trouble:
        """It is lost; returns the trouble that this belongs to, which is another one if the link has lived."""
        now = self._patience.now()
        lived = now - self._linked
        if self._began is None:
            self._began = now
            return self
        if lived >= _SETTLED_SECONDS:
            return Trouble(self._patience, self._label).lost()
        self._began += lived
        # The time that it lived counts as a pause: links are opened so often at most.
        self._pause = max(_FIRST_PAUSE, self._pause - lived)
        return self

    async def attempt(self) -> float:
        """Pause, before any attempt but the first; returns how many seconds the next one has. Raises at the end."""
        left = self._left()
        if self._pause:
            if left <= 0:
                raise way_ended(self._label, self._why, self._error)
            await self._patience.sleep(min(self._pause, left))
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        return max(self._left(), _LEAST_SECONDS)

    def failed(self, error: PSKernelError | TimeoutError) -> None:
        """Note why an attempt failed. Raises when there is no use in trying again."""
        if isinstance(error, _FINAL) or not isinstance(error, ConnectError | TransportClosed | TimeoutError):
            raise way_ended(self._label, str(error), error)
        self._error = error
        self._why = str(error) or "Its relay did not answer in time."
        self._refusals += isinstance(error, AuthenticationFailed)
        self._hangups += isinstance(error, HungUp)
        if self._refusals == _MOST_REFUSALS or self._hangups == _MOST_HANGUPS:
            raise way_ended(self._label, self._why, error)

    def _left(self) -> float:
        now = self._patience.now()
        return self._patience.seconds - (now - (now if self._began is None else self._began))


def way_ended(label: str, why: str, error: BaseException | None) -> PSKernelError:
    """The error of a session that could not be come back to."""
    text = f"The session on {label} could not be resumed. {why}"
    kind = next((kind for kind in (RemoteProtocolError, TakenOver) if isinstance(error, kind)), TransportClosed)
    return kind(text)
