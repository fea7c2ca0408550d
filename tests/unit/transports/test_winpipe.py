"""Named pipes of Windows: what can be said of them without Windows."""

from __future__ import annotations

import asyncio

import pytest

from pskernel.errors import ConnectError, TargetUnreachable
from pskernel.transports.winpipe import _refusal, open_winpipe

PIPE = r"\\.\pipe\mine"


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (2, TargetUnreachable, rf"There is no named pipe {PIPE}."),
        (5, ConnectError, f"The named pipe {PIPE} belongs to another user. PowerShell lets only its own user attach."),
        (87, ConnectError, f"The named pipe {PIPE} cannot be opened: bad."),
    ],
)
def test_what_windows_says_of_a_pipe(code: int, kind: type[ConnectError], message: str) -> None:
    found = _refusal(PIPE, code, OSError(0, "bad"))
    assert (kind, message) == (type(found), str(found))


def test_a_loop_that_opens_no_pipes() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(ConnectError, match="needs Windows and asyncio's ProactorEventLoop"):
            loop.run_until_complete(open_winpipe(PIPE))
    finally:
        loop.close()
