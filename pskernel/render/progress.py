"""Progress records as one small picture of what is under way: HTML for front ends that draw, text for the others."""

from __future__ import annotations

from html import escape

from pskernel.records import ProgressRecord
from pskernel.render.ansi import neutralise, strip

__all__ = ["ProgressBoard"]

_NO_PARENT = -1
_BAR = 30
_MAX_TEXT = 200
# What a remote shows at a time is bounded: a console shows no more than a few lines either.
_MAX_ACTIVITIES = 20
_MAX_DEPTH = 8


class ProgressBoard:
    """The activities of one cell that are not completed, each below its parent.

    A record replaces what was known of its source and activity (MS-PSRP 2.2.2.25); a completed one takes the activity
    and everything below it away.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[int, int], ProgressRecord] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._records

    def update(self, record: ProgressRecord) -> None:
        """Take note of a record."""
        key = record.source_id, record.activity_id
        if record.completed:
            self._remove(key)
        elif key in self._records or len(self._records) < _MAX_ACTIVITIES:
            self._records[key] = record

    def text(self) -> str:
        """One line for each activity."""
        return "\n".join("  " * depth + _line(record) for depth, record in self._in_order())

    def html(self) -> str:
        """A bar for each activity. Everything the remote wrote is escaped."""
        return "".join(_block(depth, record) for depth, record in self._in_order())

    def _remove(self, key: tuple[int, int]) -> None:
        self._records.pop(key, None)
        for child in [k for k, record in self._records.items() if (k[0], record.parent_id) == key]:
            self._remove(child)

    def _in_order(self) -> list[tuple[int, ProgressRecord]]:
        found: list[tuple[int, ProgressRecord]] = []
        seen: set[tuple[int, int]] = set()

        def add(key: tuple[int, int], depth: int) -> None:
            if key in seen or depth > _MAX_DEPTH:
                return
            seen.add(key)
            found.append((depth, self._records[key]))
            for child, record in self._records.items():
                if (child[0], record.parent_id) == key:
                    add(child, depth + 1)

        for key, record in self._records.items():
            if record.parent_id == _NO_PARENT or (key[0], record.parent_id) not in self._records:
                add(key, 0)
        for key in self._records:  # parents of each other
            add(key, 0)
        return found


def _line(record: ProgressRecord) -> str:
    parts = [_clean(record.activity)]
    if record.status:
        parts.append(f"{_clean(record.status)}")
    if 0 <= record.percent <= 100:
        done = _BAR * record.percent // 100
        parts.append(f"[{'o' * done}{' ' * (_BAR - done)}] {record.percent} %")
    if record.seconds_remaining >= 0:
        parts.append(f"{_clock(record.seconds_remaining)} left")
    if record.operation:
        parts.append(_clean(record.operation))
    return "  ".join(parts)


def _block(depth: int, record: ProgressRecord) -> str:
    title = f"<b>{escape(_clean(record.activity))}</b> {escape(_clean(record.status))}"
    if 0 <= record.percent <= 100:
        bar = f'<progress value="{record.percent}" max="100" style="width:24em"></progress> {record.percent}&thinsp;%'
    else:
        bar = '<progress style="width:24em"></progress>'
    if record.seconds_remaining >= 0:
        bar += f" {_clock(record.seconds_remaining)} left"
    operation = f"<div><small>{escape(_clean(record.operation))}</small></div>" if record.operation else ""
    return f'<div style="margin-left:{depth * 1.5}em"><div>{title}</div><div>{bar}</div>{operation}</div>'


def _clean(text: str) -> str:
    return " ".join(strip(neutralise(text)).split())[:_MAX_TEXT]


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(min(seconds, 359_999), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
