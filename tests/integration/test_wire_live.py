"""The engine's own Enter-PSSession and ours, over the same sshd: the same messages in the same packets."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pskernel.connect import open_stream
from pskernel.protocol.pipelines import Screen
from pskernel.protocol.runspace import PoolSettings
from pskernel.questions import NobodyToAsk
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.outofproc import OutOfProcTransport
from tests.parts.sshd import Sshd
from tests.parts.wire import ENGINE_CLIENT, Line, Tap, extract, record_console, steps, stored

pytestmark = [pytest.mark.live, pytest.mark.sshd]

CELL = "1+1"


async def our_console(pwsh: str) -> list[Line]:
    tap = Tap(await open_stream(Target.parse(f"process:{pwsh}"), NobodyToAsk()))
    async with await Runspace.open(OutOfProcTransport(tap), settings=PoolSettings(Screen(120, 50))) as runspace:
        for text in (CELL, "'x' * 3"):
            async for _ in await runspace.run_cell(text):
                pass
    return tap.lines


def test_we_say_what_the_engines_own_client_says(pwsh: str, sshd_factory: Callable[..., Sshd], tmp_path: Path) -> None:
    theirs = extract(record_console(pwsh, sshd_factory, tmp_path, [CELL]), CELL)
    if os.environ.get("PSKERNEL_TEST_WRITE"):
        ENGINE_CLIENT.write_text(json.dumps(theirs, indent=1) + "\n")
    lines = asyncio.run(our_console(pwsh))

    assert stored() == theirs
    assert theirs == extract(lines, CELL)
    for conversation in steps(lines)[1:]:
        assert theirs["packets"] == conversation
