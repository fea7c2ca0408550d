"""Records to text, as PowerShell's console shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pskernel.records import ErrorRecord, HostText, Notice, Record, TextKind
from pskernel.render.ansi import neutralise, paint

__all__ = ["StreamName", "StreamText", "error_traceback", "render"]

StreamName = Literal["stdout", "stderr"]

# The defaults of $PSStyle.Formatting; prefix and colour are the host's part, the text is the remote's.
_DECORATION = {
    TextKind.ERROR: ("", "\x1b[31;1m"),
    TextKind.WARNING: ("WARNING: ", "\x1b[33;1m"),
    TextKind.VERBOSE: ("VERBOSE: ", "\x1b[33;1m"),
    TextKind.DEBUG: ("DEBUG: ", "\x1b[33;1m"),
}
_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class StreamText:
    """Text for one of the front end's two streams; ``is_error`` tells PowerShell's errors from what else is there."""

    stream: StreamName
    text: str
    is_error: bool = field(default=False, compare=False)


def render(record: Record) -> StreamText | None:
    """What a cell shows for a record; None for records a cell does not show as text.

    Warning, verbose, debug and information records are not shown: the remote writes the same to the host as
    :class:`pskernel.records.HostText`, and showing both would double every line.
    """
    if isinstance(record, HostText):
        return _host_text(record)
    if isinstance(record, Notice):
        return StreamText("stderr", f"{neutralise(record.text)}\n")
    if isinstance(record, ErrorRecord):
        return StreamText("stderr", _decorate(TextKind.ERROR, f"{neutralise(record.message)}\n"), is_error=True)
    return None


def error_traceback(error: ErrorRecord, shown: list[HostText]) -> list[str]:
    """The lines of a Jupyter error: the remote's own rendering, or the message where it gave none, then the position.

    Args:
        error: the terminating error.
        shown: what the remote's Out-Default made of it.
    """
    text = "".join(neutralise(line.text) for line in shown).rstrip("\n") or neutralise(error.message)
    lines = [f"{_DECORATION[TextKind.ERROR][1]}{line}{_RESET}" for line in text.split("\n")]
    position = neutralise(error.position_message).strip()
    if position and position not in text:
        lines.extend(position.splitlines())
    return lines


def _host_text(record: HostText) -> StreamText:
    text = neutralise(record.text)
    if record.kind is TextKind.OUTPUT:
        if record.foreground is not None or record.background is not None:
            text = paint(text, record.foreground, record.background)
        return StreamText("stdout", text)
    is_error = record.kind is TextKind.ERROR
    return StreamText("stderr" if is_error else "stdout", _decorate(record.kind, text), is_error=is_error)


def _decorate(kind: TextKind, text: str) -> str:
    prefix, colour = _DECORATION[kind]
    return f"{colour}{prefix}{text.removesuffix(chr(10))}{_RESET}\n"
