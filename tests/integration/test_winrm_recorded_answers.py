"""Every answer in the recordings of WinRM servers is understood, whatever was asked: also what our client never asks."""

from __future__ import annotations

import asyncio
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from uuid import UUID

import pytest

from pskernel.credentials import Secret
from pskernel.errors import AuthenticationFailed, ConnectError, PSKernelError, TransportClosed
from pskernel.protocol.runspace import PoolSettings, RunspaceProtocol
from pskernel.records import Notice
from pskernel.transports.winrm import messages
from pskernel.transports.winrm.channels import Channels
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.faults import (
    DISCONNECTED,
    FAILURES,
    NO_SUCH_SHELL,
    as_closed,
    as_connect_error,
    code_of,
)
from pskernel.transports.winrm.line import Line
from pskernel.transports.winrm.tls import Certificates
from tests.fakes.wsman_bridge.soap import Request
from tests.fakes.wsman_replay import PASSWORD, USER, Exchange, Library, ReplayServer, Sequence
from tests.fakes.wsman_replay.fragments import payloads
from tests.parts.psrp_words import Words, our_words, recorded_words, unasked

pytestmark = pytest.mark.golden

_FOLDER = Path(os.environ.get("PSKERNEL_TEST_GOLDEN") or "/nonexistent")
_NAMES = sorted(
    path.name for pattern in ("winrm-omi/*.jsonl*", "winrm-windows/*.yml") for path in _FOLDER.glob(pattern)
)
_CODE = re.compile(r'WSManFault\b[^<>]*\bCode="(\d+)"')
_REASON = re.compile(r"<(?:[\w-]+:)?Text\b[^<>]*>([^<]*)<")
_MESSAGE = re.compile(r"<f:Message>([^<]*)<")
_DONE = re.compile(r'State="[^"]*/CommandState/Done"')


@pytest.fixture(scope="module")
def library(golden: Path) -> Library:
    return Library(golden)


def endpoint_at(port: int) -> WinRMEndpoint:
    return WinRMEndpoint("127.0.0.1", port, login=WinRMLogin("basic", USER, Secret(PASSWORD)), encrypted=False)


async def asked(endpoint: WinRMEndpoint, exchanges: list[Exchange]) -> list[ET.Element | Exception]:
    """What our client makes of each answer, if it asks what the recorded client asked."""
    channels = Channels(endpoint, Line(endpoint.host, 0, lambda _: None), Certificates(endpoint))
    found: list[ET.Element | Exception] = []
    try:
        for each in exchanges:
            request = Request(each.request.encode())
            try:
                found.append(await channels.call(request.action, request.resource_uri, next(iter(request.body), None)))
            except (*FAILURES, PSKernelError) as error:
                found.append(error)
    finally:
        channels.close()
    return found


def check_success(each: Exchange, body: ET.Element) -> None:
    if each.operation == "Receive":
        received = messages.read_received(body)
        assert payloads(each.response) == list(received.streams)
        assert bool(_DONE.search(each.response)) == received.done
    elif each.operation == "Connect":
        assert payloads(each.response) == [messages.connected(body)]
    assert body.tag.endswith("}Body")


def check_fault(each: Exchange, error: Exception, endpoint: WinRMEndpoint) -> None:
    code = _CODE.search(each.response)
    assert (int(code[1]) if code else None) == code_of(error)
    reason = _MESSAGE.search(each.response) or _REASON.search(each.response)
    # Nothing is said about a server that says nothing.
    said = " ".join(unescape(reason[1]).split()) if reason else f"HTTP status {each.status}"
    refused, closed = as_connect_error(error, endpoint), as_closed(error, endpoint)
    assert isinstance(refused, ConnectError)
    assert said.rstrip(".") in str(refused)
    assert isinstance(closed, TransportClosed)
    if code_of(error) not in {NO_SUCH_SHELL, DISCONNECTED}:
        assert said.rstrip(".") in str(closed)


# Of the longest, the short form says as much.
@pytest.mark.parametrize("name", [name for name in _NAMES if not name.endswith(".gz")])
def test_every_answer_is_understood(library: Library, name: str) -> None:
    exchanges = [
        each for each in library.recording(name).exchanges if each.operation and each.status not in {None, 401}
    ]

    with ReplayServer(Sequence(exchanges), library.answer("", "denied")) as server:
        endpoint = endpoint_at(server.port)
        found = asyncio.run(asked(endpoint, exchanges))

    assert len(exchanges) == len(found)
    for each, outcome in zip(exchanges, found, strict=True):
        if each.status == 200:
            assert isinstance(outcome, ET.Element), f"{each.operation} {each.number}: {outcome}"
            check_success(each, outcome)
        else:
            assert isinstance(outcome, Exception), f"{each.operation} {each.number}"
            check_fault(each, outcome, endpoint)


def our_reading(library: Library, name: str) -> Iterator[tuple[tuple[str, int | None], Words]]:
    """What our client's protocol reads in all that the recorded shells said."""
    recording = library.recording(name)
    protocols = {}
    for shell, names in recording.shells.items():
        protocols[shell] = RunspaceProtocol(PoolSettings(), 32_768, names.psrp or UUID(int=0))
        protocols[shell].open()
    for each in sorted(recording.exchanges, key=lambda each: each.ended):
        if each.shell not in protocols or each.operation not in {"Receive", "Connect"}:
            continue
        for data in unasked(each.response):
            for pipeline_id, record in protocols[each.shell].receive(data):
                assert not isinstance(record, Notice), record
                if pipeline_id is not None:
                    yield (each.shell, each.command), our_words(record)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", _NAMES)
def test_every_message_says_what_psrpcore_reads(library: Library, name: str) -> None:
    expected = recorded_words(library.recording(name))

    ours: dict[tuple[str, int | None], list[Words]] = {target: [] for target in expected}
    for target, words in our_reading(library, name):
        ours[target].append(words)

    assert expected == ours


def test_a_refused_login_is_one(library: Library) -> None:
    refusal = library.answer("", "denied")
    wrong = WinRMLogin("basic", "somebody else", Secret(PASSWORD))

    with ReplayServer(Sequence([]), refusal) as server:
        endpoint = WinRMEndpoint("127.0.0.1", server.port, login=wrong, encrypted=False)
        (found,) = asyncio.run(asked(endpoint, [refusal]))

    assert isinstance(found, Exception)
    assert isinstance(as_connect_error(found, endpoint), AuthenticationFailed)
