"""Recorded conversations as lists of exchanges, in whichever of the two formats they lie."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from tests.fakes.wsman_bridge.soap import NS, Request
from tests.fakes.wsman_replay.fragments import fragments, ids_of, payloads

__all__ = ["UNKNOWN", "Exchange", "Key", "Names", "Recording", "command_of", "detail_of", "load"]

# The number of a command that was never begun.
UNKNOWN = -1
# What an exchange is found by: operation, shell, number of the command (None: the pool), and what the operation needs.
Key = tuple[str, str, int | None, str]
_OPENED = 0x00021005
_OPENS, _LEAVES = ("Reconnect", "Connect"), ("Disconnect",)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and how it was answered.

    Attributes:
        number: in the recording.
        began: when the request came, in seconds.
        ended: when the answer went.
        status: of HTTP; None if there never was an answer.
        key: what it was about; the shell and the command as the recording names them.
        epoch: how often the shell had been left before.
    """

    number: int
    operation: str
    began: float
    ended: float
    request: str
    status: int | None
    response: str
    headers: dict[str, str]
    shell: str = ""
    command: int | None = None
    detail: str = ""
    epoch: int = 0

    @property
    def key(self) -> Key:
        return self.operation, self.shell, self.command, self.detail

    @property
    def message_types(self) -> list[int]:
        """What kinds of PSRP messages the answer begins."""
        found = [each.message_type for data in payloads(self.response) for each in fragments(data)]
        return [each for each in found if each is not None]

    @property
    def waited_for(self) -> bool:
        """Whether later answers may be what they are because of this request."""
        if self.operation == "Send":
            return self.command is None or self.detail == "pr"
        return self.operation in {"Command", "Signal", "Disconnect", "Reconnect", "Connect", "Delete"}


@dataclass(frozen=True, slots=True)
class Names:
    """What a shell or command is called: by who made it, by the server's answer, and in PSRP."""

    asked: str
    answered: str
    psrp: UUID | None


@dataclass
class Recording:
    """A conversation.

    Attributes:
        shells: by their ids in the recording.
        commands: by shell and number.
    """

    name: str
    exchanges: list[Exchange] = field(default_factory=list)
    shells: dict[str, Names] = field(default_factory=dict)
    commands: dict[tuple[str, int], Names] = field(default_factory=dict)

    def only(self, keep: Callable[[Exchange], bool]) -> Recording:
        """The part of it that satisfies ``keep``."""
        return replace(self, exchanges=[each for each in self.exchanges if keep(each)])

    def without(self, *numbers: int) -> Recording:
        """All of it but these."""
        assert set(numbers) <= {each.number for each in self.exchanges}
        return self.only(lambda each: each.number not in numbers)

    def later(self, number: int, than: int) -> Recording:
        """The same, but an answer goes after another request has come."""
        began = next(each.began for each in self.exchanges if each.number == than)
        moved = [replace(each, ended=began + 0.01) if each.number == number else each for each in self.exchanges]
        return replace(self, exchanges=moved)

    def then(self, other: Recording) -> Recording:
        """This one, and after it what happened to the other's shells and commands, as if they were this one's."""
        shell = next(iter(self.shells), "")
        later = max(each.ended for each in self.exchanges) + 1
        numbers = max(each.number for each in self.exchanges)
        commands = sum(known == shell for known, _ in self.commands)

        def command(number: int | None) -> int | None:
            return number if number is None or number == UNKNOWN else number + commands

        moved = [
            replace(
                each,
                number=each.number + numbers,
                began=each.began + later,
                ended=each.ended + later,
                shell=shell if each.shell else "",
                command=command(each.command),
            )
            for each in other.exchanges
        ]
        theirs = {(shell, number + commands): names for (_, number), names in other.commands.items()}
        return replace(self, exchanges=self.exchanges + moved, commands=self.commands | theirs)

    def opening(self) -> Recording:
        """Only how the first shell was made, until the server called it open."""
        opened = next(each.number for each in self.exchanges if _OPENED in each.message_types)
        return self.only(lambda each: each.number <= opened)


def load(path: Path) -> Recording:
    """Read a recording."""
    recording = Recording(path.name)
    reader = _Reader(recording)
    for exchange in _read_yaml(path) if path.suffix == ".yml" else _read_json_lines(path):
        recording.exchanges.append(reader.placed(exchange))
    return recording


def _read_json_lines(path: Path) -> Iterator[Exchange]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    for line in text.splitlines():
        each: dict[str, Any] = json.loads(line)
        if "skipped" in each:
            continue
        yield Exchange(
            number=each["seq"],
            operation=each["action"] or "",
            began=each["t"],
            ended=each["t"] + each["dt"],
            request=each["request"],
            status=each["status"],
            response=each["response"] or "",
            headers=each["response_headers"] or {},
        )


def _read_yaml(path: Path) -> Iterator[Exchange]:
    messages = yaml.load(path.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["messages"]
    for number, each in enumerate(messages, 1):
        response = each["response"] or ""
        # Where the recording has no status, a fault had the one that faults have.
        failed = each.get("http_error") or "<s:Fault" in response
        yield Exchange(
            number=number,
            operation=Request(each["request"].encode()).operation,
            began=float(number),
            ended=number + 0.5,
            request=each["request"],
            status=each.get("transport_error", {}).get("code", 500 if failed else 200),
            response=response,
            headers={},
        )


class _Reader:
    """Finds out which shell and command the exchanges of a recording are about."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._shells: dict[str, str] = {}
        self._commands: dict[tuple[str, str], int] = {}
        self._epochs: dict[str, int] = {}
        self._away: set[str] = set()

    def placed(self, each: Exchange) -> Exchange:
        if not each.operation:
            return each
        request = Request(each.request.encode())
        shell = self._shell(each, request)
        if each.operation == "Command":
            self._begin(each, request, shell)
        command_id = command_of(request)
        command = self._commands.get((shell, command_id), UNKNOWN) if command_id else None
        if each.operation in _LEAVES:
            self._epochs[shell] = self._epochs.get(shell, 0) + 1
            self._away.add(shell)
        elif each.operation in _OPENS and command is None:
            self._away.discard(shell)
        epoch, away = self._epochs.get(shell, 0), shell in self._away
        return replace(each, shell=shell, command=command, detail=detail_of(request, epoch, away=away), epoch=epoch)

    def _shell(self, each: Exchange, request: Request) -> str:
        if each.operation != "Create":
            return self._shells.get(request.shell_id, request.shell_id)
        element = request.body.find("rsp:Shell", NS)
        asked = (element.get("ShellId") if element is not None else None) or f"none {each.number}"
        answered = _selector(each.response) or asked
        ids = ids_of(each.request)
        self._recording.shells[asked] = Names(asked, answered, ids[0] if ids else None)
        self._shells |= {asked: asked, answered: asked}
        return asked

    def _begin(self, each: Exchange, request: Request, shell: str) -> None:
        number = sum(known == shell for known, _ in self._recording.commands)
        ids = ids_of(each.request)
        asked = command_of(request)
        answered = asked
        if each.status == HTTPStatus.OK:
            path = "rsp:CommandResponse/rsp:CommandId"
            answered = Request(each.response.encode()).body.findtext(path, asked, NS).strip().upper()
        self._recording.commands[shell, number] = Names(asked, answered, ids[1] if ids else None)
        self._commands |= {(shell, asked): number, (shell, answered): number}


def _selector(response: str) -> str:
    """The id of the shell that an answer to Create names."""
    if not response:
        return ""
    found = Request(response.encode()).body.find(".//w:Selector[@Name='ShellId']", NS)
    return (found.text or "").strip().upper() if found is not None else ""


def command_of(request: Request) -> str:
    """The id of the command that a request is about, or nothing."""
    for element in request.body.iter():
        found = element.get("CommandId")
        if found:
            return found.upper()
    return ""


def detail_of(request: Request, epoch: int, *, away: bool) -> str:
    """What else decides about the answer."""
    match request.operation:
        case "Receive":
            return f"{'while left, ' if away else ''}{epoch}"
        case "Send":
            stream = request.body.find(".//rsp:Stream", NS)
            return stream.get("Name", "") if stream is not None else ""
        case "Signal":
            # PowerShell's own code for a stop is one of two spellings; the other servers' word for it the other.
            code = request.body.findtext(".//rsp:Code", "", NS).rpartition("/")[2].lower()
            return "terminate" if code == "terminate" else "stop"
        case "Get" | "Enumerate":
            return request.resource_uri.rpartition("/")[2]
    return ""
