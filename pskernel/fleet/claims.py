"""Which worker of a cluster has which host, and how far it came: kept with the scheduler, each change in one step.

Dask gives a lost worker's task to another one, and a worker that is lost to the scheduler may still be at work. Until
something has been sent, whoever comes later takes the host over; the one before has a token that is worth nothing then,
and may not send. Once something has been sent, nobody takes the host over.

The functions are run on the scheduler's loop, one after the other.
"""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["Stage", "finish", "offer", "send", "take", "withdraw"]


class Stage(enum.StrEnum):
    """How far a host has come."""

    FREE = "free"
    CONNECTING = "connecting"
    SENT = "sent"
    DONE = "done"


# In the scheduler's process.
_claims: dict[str, dict[str, Any]] = {}


def offer(name: str) -> None:
    """Let a host be taken."""
    _claims[name] = {"stage": Stage.FREE, "token": "", "worker": "", "answer": None}


def take(name: str, token: str, worker: str) -> dict[str, Any] | None:
    """Take a host. None if it is taken, else how it stands; a host that is withdrawn stands as if it was sent to."""
    claim = _claims.get(name, {"stage": Stage.SENT, "token": "", "worker": "before", "answer": None})
    if claim["stage"] not in {Stage.FREE, Stage.CONNECTING}:
        return claim
    claim.update(stage=Stage.CONNECTING, token=token, worker=worker)
    return None


def send(name: str, token: str) -> bool:
    """Note that something is going to be sent. Whether it may be."""
    claim = _claims.get(name)
    if claim is None or claim["token"] != token:
        return False
    claim["stage"] = Stage.SENT
    return True


def finish(name: str, token: str, answer: dict[str, Any]) -> None:
    """Keep what came of it: the worker may be lost before anybody has fetched it."""
    claim = _claims.get(name)
    if claim is not None and claim["token"] == token:
        claim.update(stage=Stage.DONE, answer=answer)


def withdraw(name: str) -> dict[str, Any] | None:
    """Let nobody take or send any more. How it stood; None if the scheduler does not know of it."""
    return _claims.pop(name, None)
