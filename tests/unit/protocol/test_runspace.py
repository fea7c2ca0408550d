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
from hypothesis import given, settings
from hypothesis import strategies as st
from psrpcore import types as ps

from pskernel.errors import LocalProtocolError, RemoteProtocolError, RunspaceStateError
from pskernel.protocol.clixml import EncryptedString, PSObject
from pskernel.protocol.fragments import build_message, fragment
from pskernel.protocol.pipelines import PipelineShape
from pskernel.protocol.runspace import Outgoing, PoolOpened, PoolReset, PoolSettings, PoolStopped, RunspaceProtocol
from pskernel.records import HostCall, HostText, Notice, Output, PipelineEnd, PipelineState, TextKind
from tests.parts.sessions import SAMPLE

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
    opened = RunspaceProtocol(PoolSettings(), 32_768)
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
        RunspaceProtocol(PoolSettings(), 32_768).start(PipelineShape.CELL, "1")


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
@pytest.mark.parametrize("kind", [0x00041005, 0x00041008, 0x00041010, 0x00021005, 0x00021009, 0x00099999])
def test_damage_costs_one_message(client: RunspaceProtocol, kind: int, body: bytes) -> None:
    for _, record in client.receive(server_message(kind, body)):
        assert not isinstance(record, PipelineEnd)
    # The pool goes on.
    assert [(PIPELINE, Output("x"))] == list(client.receive(server_message(0x00041004, b"<S>x</S>")))


@pytest.mark.parametrize("body", [b"", b"<", b"junk", b"<S>x</I32>", b"<Obj RefId='0'/>", b"\xff\xfe"])
@pytest.mark.parametrize("kind", [0x00041006, 0x00041100, 0x00021100])
def test_what_somebody_waits_for_cannot_be_left_out(client: RunspaceProtocol, kind: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be left out"):
        list(client.receive(server_message(kind, body)))


def test_a_void_call_that_cannot_be_read_is_left_out(client: RunspaceProtocol) -> None:
    body = b'<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"></MS></Obj>'
    ((_, notice),) = client.receive(server_message(0x00041100, body))
    assert isinstance(notice, Notice)


def test_an_end_whose_error_cannot_be_read_is_an_end(client: RunspaceProtocol) -> None:
    deep = b"<Obj>" * 5000 + b"</Obj>" * 5000
    body = b'<Obj RefId="0"><MS><I32 N="PipelineState">5</I32>' + deep + b"</MS></Obj>"
    ((_, end),) = client.receive(server_message(0x00041006, body))
    assert isinstance(end, PipelineEnd)
    assert PipelineState.FAILED is end.state
    assert end.error is not None
    assert "could not be read" in end.error.message


def test_broken_framing_is_fatal(client: RunspaceProtocol) -> None:
    with pytest.raises(RemoteProtocolError):
        list(client.receive(b"\0" * 30))


# ---- damage ----


def test_what_follows_damage_is_still_understood(client: RunspaceProtocol, server: psrpcore.ServerRunspacePool) -> None:
    pipeline = running(client, server)
    fatal = {
        ps.PSRPMessageType.PipelineState,
        ps.PSRPMessageType.PipelineHostCall,
        ps.PSRPMessageType.RunspacePoolHostCall,
    }
    for kind in (0x00099999, *(kind for kind in ps.PSRPMessageType if kind not in fatal)):
        for body in (b"", b"junk", b"<S>x</S>"):
            list(client.receive(server_message(kind, body)))
        call_id = pipeline.host_call(ps.HostMethodIdentifier.ReadLine, [])
        assert [HostCall("ReadLine", 11, (), call_id)] == answers(client, server), hex(kind)


def test_a_kind_of_message_that_does_not_exist_leaves_nothing_behind(client: RunspaceProtocol) -> None:
    for _ in range(100):
        ((_, notice),) = client.receive(server_message(0x00099999, b"<S>x</S>"))
        assert isinstance(notice, Notice)
    assert not client._pool._incoming_fragments
    assert not client._pool._receive_buffer


def host_call(method: str, number: int, parameters: str, call_id: int = -100) -> bytes:
    return (
        f'<Obj RefId="0"><MS><I64 N="ci">{call_id}</I64><Obj N="mi" RefId="1"><ToString>{method}</ToString>'
        f'<I32>{number}</I32></Obj><Obj N="mp" RefId="2">{parameters}</Obj></MS></Obj>'
    ).encode()


DEEP = "<Obj><LST>" * 60 + "</LST></Obj>" * 60


@pytest.mark.parametrize(
    "body",
    [
        host_call("Write2", 14, "<LST><S>a</S><S>b</S><S>x</S></LST>"),
        host_call("Write2", 14, "<LST><Nil /><Nil /><S>x</S></LST>"),
        host_call("Unknown", 99, "<LST />"),
        host_call("WriteProgress", 20, "<LST><Ref RefId='77' /></LST>"),
        host_call("SetWindowTitle", 42, f"<LST>{DEEP}</LST>"),
    ],
    ids=["colours", "no colours", "method", "reference", "depth"],
)
def test_a_void_host_call_that_cannot_be_read_is_a_notice(client: RunspaceProtocol, body: bytes) -> None:
    ((pipeline, notice),) = client.receive(server_message(0x00041100, body))

    assert pipeline == PIPELINE
    assert isinstance(notice, Notice)
    assert "left out" in notice.text
    assert len(notice.text) < 200


@pytest.mark.parametrize(
    "body",
    [
        host_call("Unknown", 99, "<LST />", 1),
        host_call("ReadLine", 11, "<LST />").replace(b"-100", b"no number"),
        host_call("ReadLine", 11, f"<LST>{DEEP}</LST>", 1),
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>" + host_call("ReadLine", 11, "<LST><S>&a;</S></LST>", 1),
        b'<Obj RefId="0"><MS><I64 N="ci">1</I64></MS></Obj>',
    ],
    ids=["method", "call id", "depth", "entities", "no method"],
)
def test_a_host_call_that_waits_for_an_answer_and_cannot_be_read_ends_the_session(
    client: RunspaceProtocol, body: bytes
) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be left out") as caught:
        list(client.receive(server_message(0x00041100, body)))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("number", [0, 9, 99])
def test_a_pool_state_that_means_nothing_is_no_event(client: RunspaceProtocol, number: int) -> None:
    body = f'<Obj RefId="0"><MS><I32 N="RunspaceState">{number}</I32></MS></Obj>'.encode()

    assert not any(isinstance(r, PoolOpened | PoolStopped) for _, r in client.receive(server_message(0x00021005, body)))


def sample_messages() -> list[bytes]:
    """What a real engine said in the session that is kept with the tests."""
    by_name = {kind.name.lower(): int(kind) for kind in ps.PSRPMessageType}
    found = []
    for line in SAMPLE.read_text().splitlines()[1:]:
        entry = json.loads(line)
        pipeline = None if entry.get("pool") else PIPELINE
        for message in entry["messages"]:
            if "type" not in message:
                continue  # what was answered meanwhile
            kind = by_name[message["type"].replace("_", "").lower()]
            found.append(server_message(kind, message["clixml"].encode(), pipeline))
    return found


MESSAGES = sample_messages()


@given(st.data())
def test_any_damage_is_a_notice_or_the_end_of_the_framing(data: st.DataObject) -> None:
    client = RunspaceProtocol(PoolSettings(), 32_768)
    client.open()
    for _ in range(3):
        message = bytearray(data.draw(st.sampled_from(MESSAGES)))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(message) - 1))
            if data.draw(st.booleans()):
                message[at] = data.draw(st.integers(0, 255))
            else:
                # A piece of another message: tags where none belong, references to what is not there.
                other = data.draw(st.sampled_from(MESSAGES))
                start = data.draw(st.integers(61, len(other) - 1))
                message[max(at, 61) :] = other[start:]
                message[17:21] = struct.pack(">I", len(message) - 21)
        try:
            for _, record in client.receive(bytes(message)):
                assert record is not None
        except RemoteProtocolError:
            continue


@given(st.lists(st.sampled_from(range(len(MESSAGES))), max_size=6), st.integers(40, 400))
def test_any_fragmentation_says_the_same(numbers: list[int], size: int) -> None:
    def heard(pieces: list[bytes]) -> list[str]:
        client = RunspaceProtocol(PoolSettings(), 32_768)
        client.open()
        return [repr(record) for piece in pieces for _, record in client.receive(piece)]

    whole = [MESSAGES[number] for number in numbers]
    cut = [piece for i, message in enumerate(whole) for piece in fragment(i, message[21:], size)]
    assert heard(whole) == heard(cut)


# ---- answers ----


def test_a_secret_cannot_be_answered_without_a_key(
    client: RunspaceProtocol, server: psrpcore.ServerRunspacePool
) -> None:
    call_id = running(client, server).host_call(ps.HostMethodIdentifier.ReadLineAsSecureString, [])
    answers(client, server)
    assert call_id is not None
    with pytest.raises(LocalProtocolError) as caught:
        client.answer(call_id, ps.PSSecureString("hunter2"))

    assert "hunter2" not in str(caught.value)
    assert client.refuse(call_id, "no")


def test_a_call_of_a_pool_that_is_gone_cannot_be_answered(
    client: RunspaceProtocol, server: psrpcore.ServerRunspacePool
) -> None:
    call_id = running(client, server).host_call(ps.HostMethodIdentifier.ReadLine, [])
    server.set_broken(ps.ErrorRecord(Exception=ps.NETException(Message="x"), CategoryInfo=ps.ErrorCategoryInfo()))
    answers(client, server)
    assert call_id is not None
    with pytest.raises(LocalProtocolError, match="cannot be answered"):
        client.refuse(call_id, "no")


def test_a_server_that_cannot_reset_is_told(client: RunspaceProtocol) -> None:
    assert client._pool.their_capability is not None
    client._pool.their_capability.protocolversion = ps.PSVersion("2.1")
    with pytest.raises(RunspaceStateError, match="cannot be reset"):
        client.reset()


def test_a_long_text_goes_out_in_fragments_of_the_size_allowed(server: psrpcore.ServerRunspacePool) -> None:
    client = RunspaceProtocol(PoolSettings(), 1000)
    exchange(client, server, client.open())
    pipeline_id, create = client.start(PipelineShape.CELL, "x" * 5000)
    psrpcore.ServerPipeline(server, pipeline_id)

    assert len(create.fragments) > 5
    assert all(len(piece) <= 1000 for piece in create.fragments)
    for piece in create.fragments:
        server.receive_data(psrpcore.PSRPPayload(piece, psrpcore.StreamType.default, pipeline_id))
    event = server.next_event()
    assert isinstance(event, psrpcore.CreatePipelineEvent)
    assert "x" * 5000 == event.pipeline.commands[0].command_text


def test_messages_of_different_pipelines_keep_apart(client: RunspaceProtocol) -> None:
    other = UUID(int=5)
    data = server_message(0x00041004, b"<S>a</S>") + server_message(0x00041004, b"<S>b</S>", other)

    assert [(PIPELINE, Output("a")), (other, Output("b"))] == list(client.receive(data))


# ---- our decoder against psrpcore's ----

# psrpcore writes the last two as they are, and its XML parser does not read them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=30)
NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.integers(-(2**63), 2**63 - 1).map(ps.PSInt64)
SIMPLE = st.none() | st.booleans() | NUMBERS | TEXTS | st.floats(allow_nan=False)
OBJECTS = st.dictionaries(st.text("abcdefXY_", min_size=1, max_size=5), SIMPLE, max_size=4)
VALUES = st.recursive(
    SIMPLE | OBJECTS.map(lambda members: ps.PSCustomObject(**members)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def plain(value: Any) -> Any:
    """A decoded value, ours or psrpcore's, as Python's own types."""
    if isinstance(value, PSObject):
        return plain(value.properties if value.value is None else value.value)
    if isinstance(value, ps.PSCustomObject):
        return {member.name: plain(member.get_value(value)) for member in value.PSObject.extended_properties}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    assert value is None, type(value)
    return None


class Both:
    """A pipeline whose messages are read twice: by us, and by psrpcore's client."""

    def __init__(self) -> None:
        self.server = psrpcore.ServerRunspacePool()
        self.ours = RunspaceProtocol(PoolSettings(), 32_768)
        exchange(self.ours, self.server, self.ours.open())
        self.pipeline = running(self.ours, self.server)
        self.theirs = psrpcore.ClientRunspacePool()
        self.theirs.state = ps.RunspacePoolState.Opened

    def read(self) -> list[tuple[Any, Any]]:
        pairs = []
        while (payload := self.server.data_to_send(32_768)) is not None:
            self.theirs.receive_data(psrpcore.PSRPPayload(payload.data, psrpcore.StreamType.default, None))
            pairs += [(record, self.theirs.next_event()) for _, record in self.ours.receive(payload.data)]
        return pairs


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=3))
def test_objects_are_what_psrpcore_reads(values: list[Any]) -> None:
    both = Both()
    for value in values:
        both.pipeline.write_output(value)
    pairs = both.read()

    assert len(values) == len(pairs)
    for record, event in pairs:
        assert isinstance(record, Output)
        assert plain(event.data) == plain(record.value)


COLOURS = st.sampled_from(list(ps.ConsoleColor))
CALLS = (
    st.tuples(st.sampled_from(["Write2", "WriteLine3"]), st.tuples(COLOURS, COLOURS, TEXTS).map(list))
    | st.tuples(
        st.sampled_from(
            ["Write1", "WriteLine2", "WriteErrorLine", "WriteDebugLine", "WriteVerboseLine", "WriteWarningLine"]
        ),
        TEXTS.map(lambda text: [text]),
    )
    | st.just(("WriteLine1", list[Any]()))
)


@settings(max_examples=50)
@given(st.lists(CALLS, min_size=1, max_size=5))
def test_text_written_to_the_host_is_what_psrpcore_reads(calls: list[tuple[str, list[Any]]]) -> None:
    both = Both()
    for method, parameters in calls:
        both.pipeline.host_call(ps.HostMethodIdentifier[method], parameters)
    pairs = both.read()

    assert len(calls) == len(pairs)
    for record, event in pairs:
        *colours, text = event.method_parameters or [""]
        assert isinstance(record, HostText)
        line = "" if event.method_identifier.name in {"Write1", "Write2"} else "\n"
        assert f"{text}{line}" == record.text
        expected = tuple(int(colour) for colour in colours) or (None, None)
        assert expected == (record.foreground, record.background)


# ---- recordings of the real engine ----


def golden_messages(golden: Path) -> Iterator[tuple[str, int, UUID | None, bytes]]:
    """Where it is, the type, the pipeline, and the body, of all that servers said."""
    by_name = {kind.name.lower(): int(kind) for kind in ps.PSRPMessageType}
    for file in sorted(golden.glob("*.messages.jsonl")):
        for number, line in enumerate(file.read_text().splitlines()):
            message = json.loads(line)
            if message["side"] == "server" and message["packet"] == "Data":
                kind = by_name[message["message"].replace("_", "").lower()]
                name = message["pipeline"]
                pipeline = None if name == "pool" else UUID(int=int(name.removeprefix("p")))
                yield f"{file.name}:{number}", kind, pipeline, message["clixml"].encode()


@pytest.mark.golden
def test_every_recorded_message_is_understood(golden: Path) -> None:
    client, files, nothing = RunspaceProtocol(PoolSettings(), 32_768), set(), set()
    client.open()
    for where, kind, pipeline, body in golden_messages(golden):
        said = list(client.receive(server_message(kind, body, pipeline)))
        for of, record in said:
            assert of == pipeline
            assert not isinstance(record, Notice), f"{where}: {record}"
        if not said:
            nothing.add(kind)
        files.add(where.split(":")[0])

    assert 3 == len(files)
    # Capabilities, private data, states on the way, events of the debugger: for psrpcore alone.
    assert {0x00010002, 0x00021009, 0x00021005, 0x00021008, 0x00041006} >= nothing


@pytest.mark.golden
def test_recorded_objects_are_what_psrpcore_reads(golden: Path) -> None:
    client, pool, compared = RunspaceProtocol(PoolSettings(), 32_768), psrpcore.ClientRunspacePool(), 0
    for _, kind, pipeline, body in golden_messages(golden):
        if kind == 0x00041004:
            message = server_message(kind, body, pipeline)
            ((_, record),) = client.receive(message)
            pool.receive_data(psrpcore.PSRPPayload(message, psrpcore.StreamType.default, pipeline))
            event = pool.next_event()
            assert isinstance(record, Output)
            assert isinstance(event, psrpcore.PipelineOutputEvent)
            assert shape(event.data) == shape(record.value)
            compared += 1

    assert compared > 10


def shape(value: Any) -> Any:
    """The names of an object's members, at every level, and how its simple values read."""
    if isinstance(value, PSObject):
        return shape(value.properties) if value.value is None or value.properties else shape(value.value)
    if isinstance(value, dict):
        return {str(name): shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, EncryptedString):
        return "secret"
    if isinstance(value, ps.PSObject) and not isinstance(value, str | int | float):
        return {
            m.name: shape(m.get_value(value))
            for m in [*value.PSObject.adapted_properties, *value.PSObject.extended_properties]
        }
    return str(value)


@pytest.mark.golden
def test_recorded_lines_are_what_the_screen_showed(golden: Path) -> None:
    screens = {c["cell"]: c["screen"] for c in json.loads((golden / "console-7.7.json").read_text()) if c["screen"]}
    client = RunspaceProtocol(PoolSettings(), 32_768)
    texts: dict[UUID | None, str] = {}
    for where, kind, pipeline, body in golden_messages(golden):
        if where.startswith("console") and kind == 0x00041100 and b"WriteLine2" in body:
            for _, record in client.receive(server_message(kind, body, pipeline)):
                assert isinstance(record, HostText)
                assert TextKind.OUTPUT is record.kind
                texts[pipeline] = texts.get(pipeline, "") + record.text
    shown = set(texts.values())

    assert sum(screen in shown for screen in screens.values()) > 60
    for cell in ("1+1", "'a','b','c'", "' padded '", "[char]65", "[datetime]'2024-02-29T12:34:56'"):
        assert screens[cell] in shown
