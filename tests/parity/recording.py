"""The messages of a recorded console session, through this side's protocol and host to text."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from psrpcore import types as ps

from pskernel.protocol import clixml
from pskernel.protocol.fragments import build_message, fragment
from pskernel.protocol.runspace import PoolSettings, RunspaceProtocol
from pskernel.questions import Question
from pskernel.records import HostCall, HostText, PipelineEnd
from pskernel.render.text import error_traceback, render
from pskernel.session.host import Host
from tests.parity.screens import Cell, as_console, asked, recorded_cells

_TYPES = {kind.name.lower(): int(kind) for kind in ps.PSRPMessageType}
# Small enough that most messages come in several pieces.
_FRAGMENT_BYTES = 400
_TO_CLIENT = struct.pack("<I", 1)


@dataclass
class _Pipeline:
    """``line`` is what was typed, or nothing for a pipeline of the console's own."""

    line: str | None
    records: list[Any] = field(default_factory=list)


class _Typist:
    """Types the recorded answers, on a screen that shows the questions."""

    def __init__(self, answers: Iterator[str], screen: list[str]) -> None:
        self._answers = answers
        self._screen = screen

    async def ask(self, question: Question) -> str:
        self._screen.append(f"{asked(question.text)}\n")
        return next(self._answers)


def replayed(golden: Path) -> list[str]:
    """What this side shows of the recorded messages, for each cell."""
    cells = [recorded.cell for recorded in recorded_cells(golden)]
    lines = (golden / "console-7.7.messages.jsonl").read_text("utf-8").splitlines()
    pipelines = _pipelines(json.loads(line) for line in lines)
    return asyncio.run(_shown(cells, iter(pipelines)))


def _pipelines(messages: Iterator[dict[str, Any]]) -> list[_Pipeline]:
    """The pipelines in the order in which they were started, with what the server said for each."""
    client = RunspaceProtocol(PoolSettings(), 32_768)
    client.open()
    started: dict[str, _Pipeline] = {}
    for number, message in enumerate(messages):
        name = message["pipeline"]
        if message.get("message") == "CREATE_PIPELINE":
            started[name] = _Pipeline(_typed_line(message["clixml"].encode()))
        elif message["side"] == "server" and message["packet"] == "Data":
            for data in _fragments(number, message):
                records = [record for _, record in client.receive(data)]
                if name in started:
                    started[name].records += records
    return list(started.values())


def _typed_line(body: bytes) -> str | None:
    command = clixml.decode(body).properties["PowerShell"].properties
    line = command["History"]
    return None if line is None else str(line)


def _fragments(number: int, message: dict[str, Any]) -> list[bytes]:
    kind = _TYPES[message["message"].replace("_", "").lower()]
    name = message["pipeline"]
    pipeline = None if name == "pool" else UUID(int=int(name.removeprefix("p")))
    whole = build_message(kind, UUID(int=1), pipeline, message["clixml"].encode())
    return fragment(number, _TO_CLIENT + whole[len(_TO_CLIENT) :], _FRAGMENT_BYTES)


async def _shown(cells: list[Cell], pipelines: Iterator[_Pipeline]) -> list[str]:
    texts = []
    following = next(pipelines, None)
    for cell in cells:
        # Between them are the console's own pipelines, and lines whose continuation was still to come.
        while following is not None and following.line != cell.text:
            following = next(pipelines, None)
        assert following is not None, f"the recording has no pipeline for {cell.text!r}"
        pipeline, following = following, next(pipelines, None)
        rendered = following.records if following is not None and following.line is None else []
        texts.append(await _text(pipeline, [record for record in rendered if isinstance(record, HostText)], cell))
    return texts


async def _text(pipeline: _Pipeline, rendered: list[HostText], cell: Cell) -> str:
    screen: list[str] = []

    async def show(text: HostText) -> None:
        piece = render(text)
        assert piece is not None
        screen.append(piece.text)

    host = Host(_Typist(iter(cell.answers), screen), "127.0.0.1", show)
    for record in pipeline.records:
        if isinstance(record, HostCall) and record.expects_reply:
            await host.answer(record)
        elif isinstance(record, PipelineEnd) and record.error is not None:
            screen.append(as_console("\n".join(error_traceback(record.error, rendered))))
        elif (piece := render(record)) is not None:
            screen.append(piece.text)
    return "".join(screen)
