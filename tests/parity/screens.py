"""What a cell shows, as text that can be compared: in a kernel, on a console, in a recording."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pskernel.render.ansi import strip
from tests.parts.kernels import WAIT, Kernel, Message, Run

# A secret's mask is as long as the secret, and only a terminal echoes one.
_MASK = re.compile(r"(?m)^(.*: )\*+$")
_CONTINUED = re.compile(r"\A(?:>> \n?)+")
_BLANKS = re.compile(r"[ \t\r]+$", re.MULTILINE)
_BY_MACHINE = [
    (re.compile(rf"\b{re.escape(socket.gethostname())}\b"), "<host>"),
    (re.compile(r"\b7\.[67]\.\d+(?:-preview\.\d+)?\b"), "<version>"),
]
# Every question of the kernel names the host that asks; one without a text of its own has only that.
_ASKING = re.compile(r"\A\[[^\]]*\](?:: \Z| )")
_PAINTED = "\x1b[31;1m"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text that is run, and what is typed where it asks."""

    text: str
    answers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A cell of a recorded console session; no ``screen`` where what it showed is kept apart."""

    cell: Cell
    screen: str | None


def normalised(text: str) -> str:
    """The text without colours, blanks at ends of lines, masks, and what differs by machine."""
    text = _BLANKS.sub("", _MASK.sub(r"\1", strip(_CONTINUED.sub("", text))))
    for pattern, name in _BY_MACHINE:
        text = pattern.sub(name, text)
    return text.rstrip("\n")


def recorded_cells(golden: Path) -> list[Recorded]:
    """The lines of the recorded session, in order. An incomplete line and what was typed at ``>>`` are one cell."""
    found = []
    for entry in json.loads((golden / "console-7.7.json").read_text("utf-8")):
        typed, answers = entry["cell"], entry["answers"]
        incomplete = typed.endswith(("{", "@'", "|"))
        cell = Cell("\n".join([typed, *answers[:-1]])) if incomplete else Cell(typed, tuple(answers))
        found.append(Recorded(cell, entry["screen"]))
    return found


def numbered(cells: Sequence[Cell]) -> list[object]:
    """A parameter for each cell: its number, under its text."""
    return [pytest.param(number, id=f"{number} {cell.text[:50]}") for number, cell in enumerate(cells)]


def recorded_numbers(*, shown: bool = False) -> list[object]:
    """The same for the recorded session, or for what of it has its screen."""
    folder = os.environ.get("PSKERNEL_TEST_GOLDEN")
    if not folder:
        # The fixture says why nothing can be tested.
        return [pytest.param(0, id="no recordings")]
    cells = recorded_cells(Path(folder))
    return [
        parameter
        for parameter, recorded in zip(numbered([recorded.cell for recorded in cells]), cells, strict=True)
        if recorded.screen is not None or not shown
    ]


def run_cells(kernel: Kernel, cells: Sequence[Cell], *, echo: str) -> list[str]:
    """What each cell shows. ``echo`` is what an answer leaves on the screen that this is compared with."""
    return [_shown(*_run(kernel, cell), echo) for cell in cells]


def _run(kernel: Kernel, cell: Cell) -> tuple[Run, list[Message]]:
    request, questions = kernel.send(cell.text, allow_stdin=True), list[Message]()
    for answer in cell.answers:
        try:
            questions.append(kernel.client.get_stdin_msg(timeout=WAIT))
        except queue.Empty:
            break  # what is missing shows in the comparison
        kernel.client.input(answer)
    return kernel.finish(request), questions


def _shown(run: Run, questions: list[Message], echo: str) -> str:
    # They come over two sockets; their order is that in which they were made.
    messages = sorted([*run.messages, *questions], key=lambda message: message["header"]["date"])
    return "".join(_texts(messages, echo))


def _texts(messages: list[Message], echo: str) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                yield content["text"]
            case "input_request":
                yield asked(content["prompt"]) + echo
            case "error":
                yield as_console("\n".join(content["traceback"]))


def asked(question: str) -> str:
    """A question as a console puts it, which does not name the host that asks."""
    return _ASKING.sub("", question)


def as_console(traceback: str) -> str:
    """An error without the position below it: a console, unlike a notebook, shows what was typed right above."""
    lines = traceback.split("\n")
    painted = [line for line in lines if line.startswith(_PAINTED)]
    return "\n".join([*(painted or lines), ""])
