"""Cassettes: sessions recorded message by message, in files that people can read and compare.

A cassette is JSON Lines in UTF-8. The first line says what it is, the second holds what the server sent before the
first pipeline, and each further line is one pipeline: what the client asked for (its *key*) and what the server sent
for it. Of what the client sends only keys are kept: no answer to a prompt, no key material. That the client answered a
host call or stopped the pipeline is kept as a mark, so that a replay waits there too.

What is kept is kept as it was: a password in the text of a cell, or printed by one, is in the cassette, and so are the
names of the user and the computer, which PowerShell sends along with some messages. SecureStrings are in it as the
server encrypted them; the session key is not, so they stay unreadable in a replay.

A file that was cut exactly between two lines passes for a shorter cassette.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pskernel import __version__
from pskernel.errors import RemoteProtocolError, ReplayError
from pskernel.protocol.decode import decode_state
from pskernel.protocol.fragments import MessageType
from pskernel.records import PipelineState
from pskernel.transports.cassettes.asked import Key

__all__ = ["MAX_BYTES", "Act", "Cassette", "Event", "Mark", "Recording", "Sent", "final_state", "opens"]

# Of a file, and of the messages recorded for one.
MAX_BYTES = 200 * 1024 * 1024
_VERSION = 1
_BOM = b"\xef\xbb\xbf"

RUNSPACEPOOL_STATE = 0x00021005
# MS-PSRP 2.2.1: what a server sends and a cassette keeps. ENCRYPTED_SESSION_KEY and RUNSPACE_AVAILABILITY answer
# requests of the client that a replay answers by itself. Types that are not here are written as numbers.
_NAMES = {
    0x00010002: "SESSION_CAPABILITY",
    0x00010007: "PUBLIC_KEY_REQUEST",
    RUNSPACEPOOL_STATE: "RUNSPACEPOOL_STATE",
    0x00021008: "USER_EVENT",
    0x00021009: "APPLICATION_PRIVATE_DATA",
    0x0002100B: "RUNSPACEPOOL_INIT_DATA",
    **{
        int(kind): kind.name
        for kind in MessageType
        if kind not in (MessageType.CREATE_PIPELINE, MessageType.PIPELINE_INPUT, MessageType.END_OF_PIPELINE_INPUT)
    },
}
_TYPES = {name: number for number, name in _NAMES.items()}
_NUMBER = re.compile(r"0x[0-9A-F]{8}")
_FIRST_PIPELINE_TYPE = 0x00040000


class Act(Enum):
    """What of the client's doings a recording remembers."""

    ANSWERED = "answered"
    SIGNALLED = "signalled"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message the server sent, ``seconds`` after its pipeline was created. ``body`` is CLIXML."""

    seconds: float
    message_type: int
    body: bytes = field(repr=False)

    @property
    def for_pool(self) -> bool:
        """Whether it came for the pool, while the pipeline ran."""
        return self.message_type < _FIRST_PIPELINE_TYPE


@dataclass(frozen=True, slots=True)
class Mark:
    """The client answered a host call, or stopped the pipeline; nothing of what it said."""

    seconds: float
    act: Act


Event = Sent | Mark


@dataclass(frozen=True, slots=True)
class Recording:
    """One pipeline: what was asked for, and what came."""

    key: Key
    events: tuple[Event, ...]

    @property
    def end(self) -> PipelineState | None:
        """How it ended; None where the connection was lost before."""
        return next((state for event in reversed(self.events) if (state := final_state(event))), None)


@dataclass(frozen=True, slots=True)
class Cassette:
    """A recorded session.

    Attributes:
        target: what was recorded, as text without secrets.
        opening: what came before the first pipeline.
        recordings: the pipelines, in the order in which they were created.
        created: ISO date.
        made_with: name and version of the recorder.
        path: the file it was loaded from or saved to, for messages.
    """

    target: str
    opening: tuple[Event, ...]
    recordings: tuple[Recording, ...]
    created: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    made_with: str = f"pskernel {__version__}"
    path: str = field(default="", compare=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cassette:
        """Read a cassette, all of it checked.

        Raises:
            ReplayError: there is no such file, or it is damaged; the message names the line.
        """
        name = os.fspath(path)
        lines = [line for line in enumerate(_read_file(name).split(b"\n"), 1) if line[1].strip()]
        readers: list[Callable[[_Object], Any]] = [_read_header, _read_opening] + [_read_recording] * (len(lines) - 2)
        values = []
        for (number, line), read in zip(lines, readers, strict=False):
            try:
                values.append(read(_Object.parse(line)))
            except _DamagedError as error:
                raise _unusable(name, f"line {number} {error}") from None
        if len(values) < 2:
            raise _unusable(name, "it ends before the opening of a session")
        return cls(opening=values[1], recordings=tuple(values[2:]), path=name, **values[0])

    def save(self, path: str | os.PathLike[str]) -> Cassette:
        """Write the cassette, readable for this user only, in place of what was there.

        Returns:
            the same cassette, with its path.

        Raises:
            ReplayError: it is larger than can be loaded, or the file cannot be written.
        """
        name = os.fspath(path)
        data = b"".join(_to_line(value) + b"\n" for value in self._to_json())
        if len(data) > MAX_BYTES:
            raise ReplayError(
                f"The recording is larger than {MAX_BYTES >> 20} MB and was not written to {name}: "
                "record fewer cells, or cells with less output."
            )
        try:
            _replace_file(Path(name), data)
        except OSError as error:
            raise ReplayError(
                f"The recording cannot be written to {name} ({error.strerror or error}): check the folder."
            ) from None
        return replace(self, path=name)

    def _to_json(self) -> Iterator[dict[str, Any]]:
        yield {"cassette": _VERSION, "made_with": self.made_with, "target": self.target, "created": self.created}
        yield {"pool": True, "messages": [_event_json(event) for event in self.opening]}
        for number, recording in enumerate(self.recordings, 1):
            key = recording.key
            commands = [{"text": text, "script": is_script} for text, is_script in key.commands]
            yield {
                "pipeline": number,
                "cell": key.cell,
                "key": {"commands": commands, "input_sha256": key.input_sha256},
                "messages": [_event_json(event) for event in recording.events],
            }


def final_state(event: Event) -> PipelineState | None:
    """The state with which a message ends its pipeline; None if it does not."""
    if not isinstance(event, Sent) or event.message_type != MessageType.PIPELINE_STATE:
        return None
    try:
        end = decode_state(event.body)
    except RemoteProtocolError:
        return None
    return None if end is None else end.state


# ---- the file ----


class _DamagedError(ValueError):
    """Says what is wrong with a line, as the rest of a sentence that begins with it."""


class _Object:
    """A JSON object whose fields are checked as they are read."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise _DamagedError("holds something else than an object where one is needed")
        self._fields: dict[str, Any] = value

    @classmethod
    def parse(cls, line: bytes) -> _Object:
        try:
            return cls(json.loads(line.decode()))
        except _DamagedError:
            raise
        except UnicodeDecodeError:
            raise _DamagedError("is not UTF-8") from None
        except (ValueError, RecursionError):
            raise _DamagedError("is not JSON or was cut off") from None

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str) -> str:
        return str(self._get(name, str, "text"))

    def optional_text(self, name: str) -> str | None:
        value = self._get(name, (str, type(None)), "text or null")
        return None if value is None else str(value)

    def switch(self, name: str) -> bool:
        return bool(self._get(name, bool, "true or false"))

    def number(self, name: str) -> float:
        value = self._get(name, (int, float), "a number")
        if isinstance(value, bool) or not 0 <= value <= _MAX_SECONDS:
            raise _DamagedError(f'has a "{name}" that is not a number from 0 to {_MAX_SECONDS}')
        return float(value)

    def objects(self, name: str) -> list[_Object]:
        return [_Object(value) for value in self._get(name, list, "a list")]

    def object(self, name: str) -> _Object:
        return _Object(self._get(name, dict, "an object"))

    def _get(self, name: str, kind: type | tuple[type, ...], what: str) -> Any:
        if name not in self._fields:
            raise _DamagedError(f'lacks the field "{name}"')
        value = self._fields[name]
        if not isinstance(value, kind):
            raise _DamagedError(f'has a "{name}" that is not {what}')
        return value


# A year and more: no session is recorded for so long.
_MAX_SECONDS = 100_000_000


def _read_header(line: _Object) -> dict[str, str]:
    if "cassette" not in line:
        raise _DamagedError('is no header with the field "cassette"')
    version = line.number("cassette")
    if version != _VERSION:
        raise _DamagedError(f"says format {version:g}, and this pskernel reads format {_VERSION} only")
    return {name: line.text(name) for name in ("target", "created", "made_with")}


def _read_opening(line: _Object) -> tuple[Event, ...]:
    line.switch("pool")
    events = _read_events(line)
    if not opens(events):
        raise _DamagedError("does not hold the opening of a session")
    return events


def opens(events: tuple[Event, ...]) -> bool:
    """Whether the server said, in these events, what became of the pool."""
    return any(isinstance(event, Sent) and event.message_type == RUNSPACEPOOL_STATE for event in events)


def _read_recording(line: _Object) -> Recording:
    line.number("pipeline")
    asked = line.object("key")
    commands = tuple((command.text("text"), command.switch("script")) for command in asked.objects("commands"))
    key = Key(commands, asked.optional_text("input_sha256"))
    if line.optional_text("cell") != key.cell:
        raise _DamagedError('has a "cell" that does not agree with its "key"')
    return Recording(key, _read_events(line))


def _read_events(line: _Object) -> tuple[Event, ...]:
    return tuple(_read_event(value) for value in line.objects("messages"))


def _read_event(value: _Object) -> Event:
    seconds = value.number("t")
    for act in Act:
        if act.value in value:
            value.switch(act.value)
            return Mark(seconds, act)
    name = value.text("type")
    if name not in _TYPES and not _NUMBER.fullmatch(name):
        raise _DamagedError('has a "type" that is no message of a server')
    try:
        body = value.text("clixml").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _DamagedError('has a "clixml" that is not text') from None
    return Sent(seconds, _TYPES[name] if name in _TYPES else int(name, 16), body)


def _event_json(event: Event) -> dict[str, Any]:
    if isinstance(event, Mark):
        return {"t": event.seconds, event.act.value: True}
    name = _NAMES.get(event.message_type, f"0x{event.message_type:08X}")
    return {"t": event.seconds, "type": name, "clixml": event.body.decode("utf-8", "surrogateescape")}


def _to_line(value: dict[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, or a byte that is not UTF-8: only JSON's own escapes can carry it.
        return json.dumps(value).encode()


def _read_file(name: str) -> bytes:
    try:
        status = Path(name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(name, "it is not a file")
        if status.st_size > MAX_BYTES:
            raise _unusable(name, f"it is larger than {MAX_BYTES >> 20} MB")
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise ReplayError(
            f"The recording {name} does not exist: check the path, or make it with `pskernel record`."
        ) from None
    except (OSError, ValueError) as error:
        raise _unusable(name, f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not data.strip():
        raise _unusable(name, "it is empty")
    return data.removeprefix(_BOM)


def _replace_file(path: Path, data: bytes) -> None:
    # mkstemp makes it readable and writable for this user only.
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _unusable(name: str, why: str) -> ReplayError:
    return ReplayError(
        f"The recording {name} cannot be replayed because {why}: restore the file, or make it anew with "
        "`pskernel record`."
    )
