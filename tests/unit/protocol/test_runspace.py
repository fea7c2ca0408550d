"""The client's side of a pool, without I/O: every recorded message is understood, damage costs one message."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psrpcore
import pytest
from psrpcore import types as ps

from pskernel.errors import LocalProtocolError, RemoteProtocolError, RunspaceStateError
from pskernel.protocol.fragments import build_message, fragment
from pskernel.protocol.pipelines import PipelineShape, Screen
from pskernel.protocol.runspace import Outgoing, PoolOpened, PoolReset, PoolStopped, RunspaceProtocol
from pskernel.records import HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, TextKind

PIPELINE = UUID("7cfaa5f7-961b-4fe7-a2fe-44e4961472c6")


def exchange(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool, messages: list[Outgoing]) -> list[Any]:
    """Carry messages to a server and its answers back."""
    for message in messages:
        for piece in message.fragments:
            server.receive_data(psrpcore.PSRPPayload(piece, psrpcore.StreamType.default, message.pipeline_id))
    while server.next_event() is not None:
        pass
    return answers(client, server)


def answers(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> list[Any]:
    records = []
    while (payload := server.data_to_send(32_768)) is not None:
        records += [record for _, record in client.receive(payload.data)]
    return records


@pytest.fixture
def server() -> psrpcore.ServerRunspacePool:
    return psrpcore.ServerRunspacePool()


@pytest.fixture
def client(server: psrpcore.ServerRunspacePool) -> RunspaceProtocol:
    opened = RunspaceProtocol(Screen(), 32_768)
    assert [PoolOpened()] == exchange(opened, server, opened.open())
    return opened


def running(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool, text: str = "1") -> psrpcore.ServerPipeline:
    pipeline_id, create = client.start(PipelineShape.CELL, text)
    pipeline = psrpcore.ServerPipeline(server, pipeline_id)
    assert [] == exchange(client, server, [create])
    pipeline.start()
    assert [] == answers(client, server)
    return pipeline


def server_message(kind: int, body: bytes, pipeline: UUID | None = PIPELINE) -> bytes:
    message = bytearray(build_message(kind, UUID(int=1), pipeline, body))
    message[0:4] = struct.pack("<I", 1)
    return fragment(1, bytes(message), len(message) + 100)[0]


def test_nothing_starts_before_the_pool_is_open() -> None:
    with pytest.raises(RunspaceStateError, match="BeforeOpen"):
        RunspaceProtocol(Screen(), 32_768).start(PipelineShape.CELL, "1")


def test_output_and_end(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    pipeline = running(client, server)
    pipeline.write_output("a <b> & \x1b")
    pipeline.write_output(None)
    pipeline.complete()

    expected = [Output("a <b> & \x1b"), Output(None), PipelineEnd(PipelineState.COMPLETED)]
    assert expected == answers(client, server)


@pytest.mark.parametrize(
    ("method", "parameters", "expected"),
    [
        ("Write1", ["x"], HostText("x")),
        ("Write2", [ps.ConsoleColor.Red, ps.ConsoleColor.Black, "x"], HostText("x", TextKind.OUTPUT, 12, 0)),
        ("WriteLine1", [], HostText("\n")),
        ("WriteLine2", ["x"], HostText("x\n")),
        ("WriteLine3", [ps.ConsoleColor.Red, ps.ConsoleColor.Black, "x"], HostText("x\n", TextKind.OUTPUT, 12, 0)),
        ("WriteErrorLine", ["x"], HostText("x\n", TextKind.ERROR)),
        ("WriteDebugLine", ["x"], HostText("x\n", TextKind.DEBUG)),
        ("WriteVerboseLine", ["x"], HostText("x\n", TextKind.VERBOSE)),
        ("WriteWarningLine", ["x"], HostText("x\n", TextKind.WARNING)),
    ],
)
def test_text_written_to_the_host(
    client: RunspaceProtocol,
    server: psrpcore.ServerRunspacePool,
    method: str,
    parameters: list[Any],
    expected: HostText,
) -> None:
    running(client, server).host_call(ps.HostMethodIdentifier[method], parameters)

    assert [expected] == answers(client, server)


def test_a_prompt_is_answered_once(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    call_id = running(client, server).host_call(ps.HostMethodIdentifier.ReadLine, [])
    assert [HostCall("ReadLine", 11, (), call_id)] == answers(client, server)
    assert call_id is not None
    (message,) = client.answer(call_id, "typed")

    assert message.prompt_response
    with pytest.raises(LocalProtocolError, match="answered already"):
        client.answer(call_id, "again")


def test_a_refused_prompt_carries_the_reason(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    call_id = running(client, server).host_call(ps.HostMethodIdentifier.ReadLine, [])
    answers(client, server)
    assert call_id is not None
    for message in client.refuse(call_id, "Nobody is here."):
        payload = psrpcore.PSRPPayload(message.fragments[0], psrpcore.StreamType.prompt_response, message.pipeline_id)
        server.receive_data(payload)
    event = server.next_event()

    assert isinstance(event, psrpcore.PipelineHostResponseEvent)
    assert event.error is not None
    assert "Nobody is here." == str(event.error)


def test_a_reset_is_answered(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    (message,) = client.reset()
    server.receive_data(psrpcore.PSRPPayload(message.fragments[0], psrpcore.StreamType.default, None))
    event = server.next_event()
    assert isinstance(event, psrpcore.ResetRunspaceStateEvent)
    server.runspace_availability_response(event.ci, True)

    assert [PoolReset(success=True)] == answers(client, server)


def test_a_broken_pool_says_why(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    server.set_broken(
        ps.ErrorRecord(Exception=ps.NETException(Message="no more memory"), CategoryInfo=ps.ErrorCategoryInfo())
    )

    (stopped,) = answers(client, server)
    assert isinstance(stopped, PoolStopped)
    assert "no more memory" in stopped.reason


@pytest.mark.parametrize("body", [b"", b"<", b"junk", b"<S>x</I32>", b"<Obj RefId='0'/>", b"\xff\xfe"])
@pytest.mark.parametrize(
    "kind", [0x00041005, 0x00041006, 0x00041008, 0x00041010, 0x00041100, 0x00021005, 0x00021009, 0x00099999]
)
def test_damage_costs_one_message(client: RunspaceProtocol, kind: int, body: bytes) -> None:
    for _, record in client.receive(server_message(kind, body)):
        assert not isinstance(record, PipelineEnd)
    # The pool goes on.
    assert [(PIPELINE, Output("x"))] == list(client.receive(server_message(0x00041004, b"<S>x</S>")))


def test_broken_framing_is_fatal(client: RunspaceProtocol) -> None:
    with pytest.raises(RemoteProtocolError):
        list(client.receive(b"\0" * 30))


def golden_messages(golden: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(golden.glob("*.messages.jsonl")):
        for number, line in enumerate(file.read_text().splitlines()):
            message = json.loads(line)
            if message["side"] == "server" and message["packet"] == "Data":
                yield f"{file.name}:{number}", message


@pytest.mark.golden
def test_every_recorded_message_is_understood(golden: Path) -> None:
    by_name = {kind.name.lower(): int(kind) for kind in ps.PSRPMessageType}
    client, count = RunspaceProtocol(Screen(), 32_768), 0
    client.open()
    for where, message in golden_messages(golden):
        kind = by_name.get(str(message["message"]).replace("_", "").lower())
        if kind is None:
            continue
        pipeline = None if message["pipeline"] == "pool" else PIPELINE
        for _, record in client.receive(server_message(kind, message["clixml"].encode(), pipeline)):
            assert not isinstance(record, Notice), f"{where}: {record}"
        count += 1

    assert count > 600


@pytest.mark.golden
def test_recorded_lines_are_what_the_screen_showed(golden: Path) -> None:
    screens = {c["cell"]: c["screen"] for c in json.loads((golden / "console-7.7.json").read_text()) if c["screen"]}
    client = RunspaceProtocol(Screen(), 32_768)
    texts: dict[str, str] = {}
    for _, message in golden_messages(golden):
        if message["message"] == "PIPELINE_HOST_CALL" and "WriteLine2" in message["clixml"]:
            for _, record in client.receive(server_message(0x00041100, message["clixml"].encode())):
                assert isinstance(record, HostText)
                texts[message["pipeline"]] = texts.get(message["pipeline"], "") + record.text
    shown = set(texts.values())

    assert sum(screen in shown for screen in screens.values()) > 60
