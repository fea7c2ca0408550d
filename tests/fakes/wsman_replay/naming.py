"""Recorded answers in the names of whoever asks: ids of messages, shells, commands, pools, pipelines and questions."""

from __future__ import annotations

import base64
import re
from uuid import UUID

from psrpcore._crypto import encrypt_session_key

from tests.fakes.wsman_bridge.soap import Request
from tests.fakes.wsman_replay.fragments import PUBLIC_KEY, calls_in, fragments, ids_of, payloads, with_ids
from tests.fakes.wsman_replay.recording import Exchange, Names, command_of
from tests.fakes.wsman_replay.seen import Seen

__all__ = ["Naming", "related"]

_RELATES_TO = re.compile(r"(<(?:[\w-]+:)?RelatesTo\b[^<>]*>)[^<]*")
_SESSION_KEY = bytes(range(32))


class Naming:
    """Learns from requests what the client calls the things of a recording."""

    def __init__(self) -> None:
        self._shells: dict[str, str] = {}
        self._pools: dict[UUID, UUID] = {}
        # By shell and number; a recorded client may have given two commands the same id.
        self._commands: dict[tuple[str, int | None], tuple[dict[str, str], dict[UUID, UUID]]] = {}
        self._questions: dict[bytes, bytes] = {}
        self._session_key: bytes | None = None

    def shell(self, names: Names, seen: Seen) -> None:
        """A request makes the shell that was recorded under these names. A server may call it as it likes."""
        ours = ids_of(seen.envelope)
        if names.psrp is not None and ours is not None:
            self._pools[names.psrp] = ours[0]
        if names.asked == names.answered:
            self._shells[names.asked] = seen.shell
        else:
            seen.shell = names.answered

    def command(self, exchange: Exchange, names: Names, seen: Seen) -> None:
        """A request begins the command that was recorded under these names."""
        ours = ids_of(seen.envelope)
        psrp = {names.psrp: ours[1]} if names.psrp is not None and ours is not None else {}
        kept = names.asked == names.answered
        self._commands[exchange.shell, exchange.command] = ({names.asked: seen.command} if kept else {}, psrp)
        if not kept:
            seen.command = names.answered

    def sent(self, exchange: Exchange, seen: Seen) -> None:
        """A request asks the pool what the recorded one asked."""
        self._questions |= zip(calls_in(exchange.request), calls_in(seen.envelope), strict=False)

    def key(self, seen: Seen) -> None:
        """The recorded session key is sealed for a key that nobody has any more: there will be another."""
        for each in (part for data in payloads(seen.envelope) for part in fragments(data)):
            public = re.search(rb'<S N="PublicKey">([^<]*)</S>', each.body) if each.message_type == PUBLIC_KEY else None
            if public is not None:
                sealed = base64.b64encode(encrypt_session_key(base64.b64decode(public[1]), _SESSION_KEY))
                self._session_key = b'<Obj RefId="0"><MS><S N="EncryptedSessionKey">%s</S></MS></Obj>' % sealed

    def answer(self, exchange: Exchange, seen: Seen, *, borrowed: bool) -> str:
        """The recorded answer as one to this request."""
        texts, psrp = self._commands.get((exchange.shell, exchange.command), ({}, {}))
        if borrowed:
            # Of another recording: its shell and command are whatever is asked about.
            texts, psrp = _as_asked(exchange, seen), {}
        body = related(exchange.response, seen.request.message_id)
        body = with_ids(body, self._pools | psrp, questions=self._questions, session_key=self._session_key)
        return _renamed(body, self._shells | texts)


def _as_asked(exchange: Exchange, seen: Seen) -> dict[str, str]:
    if not exchange.request:
        return {}
    asked = Request(exchange.request.encode())
    names = {asked.shell_id: seen.shell, command_of(asked): seen.command}
    return {theirs: ours for theirs, ours in names.items() if theirs and ours}


def related(response: str, message_id: str) -> str:
    """A recorded answer as one to another request."""
    return _RELATES_TO.sub(rf"\g<1>{message_id}", response)


def _renamed(xml: str, names: dict[str, str]) -> str:
    """An envelope with other ids in its elements and attributes."""
    if not names:
        return xml
    pattern = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)
    return pattern.sub(lambda match: names[match[0].upper()], xml)
