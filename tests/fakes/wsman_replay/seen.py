"""Requests that came, and the answers that they got."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.wsman_bridge.soap import NS, Request
from tests.fakes.wsman_replay.recording import Exchange

__all__ = ["Answer", "Seen"]


@dataclass
class Seen:
    """A request that came.

    Attributes:
        number: in the order of arrival.
        shell: the id of the shell that it was for, and ``command`` that of the command.
        receiving: what was being received when it came: shells and commands.
        answer: what it was answered with; None while it is not.
        answered: after how many requests; and ``sent``, whether that is out.
        ready: whether what it waits for has come.
    """

    number: int
    request: Request
    raw: bytes
    shell: str
    command: str
    detail: str
    receiving: frozenset[tuple[str, str]]
    answer: Exchange | None = None
    answered: int | None = None
    sent: bool = False
    ready: Callable[[], bool] | None = None

    def __str__(self) -> str:
        how = "waiting" if self.waits else "unanswered" if self.answer is None else f"as {self.answer.number}"
        return " ".join(filter(None, (self.operation, self.shell[:4], self.command[:4], self.detail, f"({how})")))

    @property
    def waits(self) -> bool:
        """Whether there is no answer for it yet."""
        return self.answered is None and self.ready is not None and not self.ready()

    @property
    def operation(self) -> str:
        return self.request.operation

    @property
    def target(self) -> tuple[str, str]:
        return self.shell, self.command

    @property
    def envelope(self) -> str:
        return self.raw.decode()

    @property
    def header(self) -> ET.Element:
        found = ET.fromstring(self.raw).find("s:Header", NS)
        assert found is not None
        return found


@dataclass(frozen=True)
class Answer:
    """What goes back; ``sent`` is to be called when it has."""

    status: int
    headers: dict[str, str]
    body: str
    sent: Callable[[], None] = lambda: None
