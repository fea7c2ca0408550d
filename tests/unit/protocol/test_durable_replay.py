"""What a client hears again that comes to a session of another one, and what is new."""

from __future__ import annotations

import json

from pskernel.credentials import Secret
from pskernel.protocol.durable import VERSION, Frame, Resumable


def hello(**positions: int) -> Frame:
    words = {"version": VERSION, "session": "this", "note": "", "running": [], **positions}
    return Frame("H", 0, json.dumps(words).encode())


def test_what_was_handed_on_last_is_old_or_new() -> None:
    state = Resumable("this", Secret("token"), "client", idle=60, comes_later=True)
    assert [] == state.welcome(hello(first=0, passed=4, sent=8, received=0))
    assert not state.is_replaying

    seen = []
    for position, body in ((0, b"old\n"), (4, b"old\n"), (8, b"new\n")):
        data = state.take(Frame("D", position, body))
        if data:
            state.delivered(data)
            seen.append((data, state.is_replaying))

    assert [(b"old\n", True), (b"new\n", False)] == seen
