"""Messages to records."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psrpcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.decode import (
    as_received_error,
    decode_error,
    decode_host_progress,
    decode_host_text,
    decode_output,
    decode_state,
    decode_stream_record,
    host_text,
)
from pskernel.records import ErrorRecord, HostText, PipelineEnd, PipelineState, ProgressRecord, StreamRecord
from tests.parts.sessions import SAMPLE

FAILED = (
    b'<Obj RefId="0"><MS><I32 N="PipelineState">5</I32><Obj N="ExceptionAsErrorRecord" RefId="1"><TN RefId="0">'
    b"<T>System.Management.Automation.ErrorRecord</T></TN><ToString>thrown</ToString><MS>"
    b'<Obj N="Exception" RefId="2"><TN RefId="1"><T>System.Management.Automation.RuntimeException</T></TN><Props>'
    b'<S N="Message">thrown</S></Props></Obj><S N="TargetObject">it</S><S N="FullyQualifiedErrorId">an,id</S>'
    b'<Obj N="InvocationInfo" RefId="4"><Props><I32 N="ScriptLineNumber">3</I32><I32 N="OffsetInLine">7</I32>'
    b'<S N="PositionMessage">At line:3 char:7</S></Props></Obj></MS></Obj></MS></Obj>'
)


def test_a_received_error_is_shown_as_one_of_the_remote() -> None:
    record = (
        b'<Obj RefId="0"><MS><Obj N="Exception" RefId="1"><Props><B N="WasThrownFromThrowStatement">true</B></Props></Obj>'
        b'<S N="Text">N="InvocationInfo" &lt;Obj N="InvocationInfo"</S><Obj N="InvocationInfo" RefId="2" />'
        b'<Obj RefId="3" N="InvocationInfo"><Ref RefId="2" /></Obj></MS></Obj>'
    )

    shown = as_received_error(record)

    assert b'<S N="Text">N="InvocationInfo" &lt;Obj N="InvocationInfo"</S>' in shown
    assert b'<Obj N="SerializedInvocationInfo" RefId="2" />' in shown
    assert b'<Obj RefId="3" N="SerializedInvocationInfo">' in shown
    assert b'<B N="WasThrownFromThrowStatement">false</B>' in shown
    assert shown == as_received_error(shown)


def test_states_that_go_on_are_no_end() -> None:
    assert decode_state(b'<Obj RefId="0"><MS><I32 N="PipelineState">1</I32></MS></Obj>') is None


def test_a_plain_end() -> None:
    body = b'<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>'

    assert PipelineEnd(PipelineState.COMPLETED) == decode_state(body)


def test_a_terminating_error_with_its_position() -> None:
    end = decode_state(FAILED)

    assert end is not None
    expected = ErrorRecord(
        message="thrown",
        fully_qualified_error_id="an,id",
        exception_type="System.Management.Automation.RuntimeException",
        target="it",
        line=3,
        column=7,
        position_message="At line:3 char:7",
    )
    assert PipelineEnd(PipelineState.FAILED, expected) == end


def test_the_error_is_kept_as_it_came_to_be_sent_back() -> None:
    end = decode_state(FAILED)

    assert end is not None
    assert end.error is not None
    start = FAILED.index(b' RefId="1">')
    assert b"<Obj" + FAILED[start : -len(b"</MS></Obj>")] == end.error.clixml
    assert "thrown" == decode_error(end.error.clixml).message


@pytest.mark.parametrize("body", [b'<Obj RefId="0"><MS><I32 N="PipelineState">9</I32></MS></Obj>', b"<Nil />"])
def test_a_state_that_does_not_exist_is_told(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="does not exist"):
        decode_state(body)


def test_an_error_with_hardly_any_members_is_still_an_error() -> None:
    record = decode_error(b'<Obj RefId="0"><ToString>bare</ToString><MS><S N="Other">x</S></MS></Obj>')

    assert "bare" == record.message
    assert (None, None, "") == (record.line, record.column, record.fully_qualified_error_id)


def test_details_speak_before_the_exception() -> None:
    body = (
        b'<Obj RefId="0"><MS><S N="ErrorDetails_Message">better</S><Obj N="Exception" RefId="1"><Props>'
        b'<S N="Message">worse</S></Props></Obj></MS></Obj>'
    )

    assert "better" == decode_error(body).message


def test_progress_by_the_host() -> None:
    body = (
        b'<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"><ToString>WriteProgress</ToString><I32>20</I32>'
        b'</Obj><Obj N="mp" RefId="2"><LST><I64>5</I64><Obj RefId="3"><MS><S N="Activity">copy</S><I32 N="ActivityId">1'
        b'</I32><S N="StatusDescription">half</S><Nil N="CurrentOperation" /><I32 N="ParentActivityId">-1</I32>'
        b'<I32 N="PercentComplete">50</I32><Obj N="Type" RefId="4"><ToString>Completed</ToString><I32>1</I32></Obj>'
        b'<I32 N="SecondsRemaining">-1</I32></MS></Obj></LST></Obj></MS></Obj>'
    )

    assert ProgressRecord(5, 1, -1, "copy", "half", "", 50, -1, completed=True) == decode_host_progress(body)
    assert decode_host_progress(body.replace(b"WriteProgress</ToString><I32>20", b"ReadLine</ToString><I32>11")) is None


@pytest.mark.parametrize(
    "parameters", [b"<LST />", b"<LST><S>x</S></LST>", b"<LST><S>x</S><S>y</S></LST>", b"<S>x</S>"]
)
def test_progress_without_its_parameters_is_left_to_others(parameters: bytes) -> None:
    body = (
        b'<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"><ToString>WriteProgress</ToString><I32>20</I32>'
        b'</Obj><Obj N="mp" RefId="2">' + parameters + b"</Obj></MS></Obj>"
    )

    assert decode_host_progress(body) is None


@pytest.mark.parametrize("message", [b"<S N='Message'>text</S>", b"<Obj N='Message'><S>text</S></Obj>"])
def test_a_member_may_be_wrapped(message: bytes) -> None:
    body = b'<Obj><MS><Obj N="Exception"><Props>' + message + b"</Props></Obj></MS></Obj>"

    assert "text" == decode_error(body).message


@pytest.mark.parametrize(
    ("method", "parameters", "expected"),
    [
        (16, ("x",), HostText("x\n")),
        (17, (-1, 99, "x"), HostText("x\n")),
        (14, (0, 15, "x"), HostText("x", foreground=0, background=15)),
        (15, (), HostText("\n")),
        (11, (), None),
    ],
)
def test_text_from_a_call_decoded_in_full(
    method: int, parameters: tuple[object, ...], expected: HostText | None
) -> None:
    assert expected == host_text(method, parameters)


def test_nothing_is_null() -> None:
    assert decode_output(b"").value is None


@pytest.mark.golden
def test_recorded_errors_have_a_message_and_an_id(golden: Path) -> None:
    errors = 0
    for line in (golden / "console-7.7.messages.jsonl").read_text().splitlines():
        message = json.loads(line)
        if message.get("message") == "PIPELINE_STATE" and message["side"] == "server":
            end = decode_state(message["clixml"].encode())
            if end is not None and end.state is PipelineState.FAILED:
                assert end.error is not None
                assert end.error.message
                assert end.error.fully_qualified_error_id
                errors += 1

    assert errors > 5


# ---- whatever the remote sends ----

SEEDS = [
    message["clixml"].encode()
    for line in SAMPLE.read_text().splitlines()[1:]
    for message in json.loads(line)["messages"]
    if "clixml" in message
]
LEAVES = st.sampled_from(
    [
        b"<S%sx</S>",
        b"<I32%s5</I32>",
        b"<I64%s-100</I64>",
        b"<B%strue</B>",
        b"<Nil%s</Nil>",
        b"<C%s65</C>",
        b'<Ref RefId="1"%s</Ref>',
        b"<SS%sx</SS>",
        b"<DT%sx</DT>",
    ]
)
NAMES = st.sampled_from(
    [
        "PipelineState",
        "ExceptionAsErrorRecord",
        "Exception",
        "ErrorDetails_Message",
        "InvocationInfo",
        "ScriptLineNumber",
        "TargetObject",
        "InformationalRecord_Message",
        "MessageData",
        "Activity",
        "PercentComplete",
        "Type",
        "mi",
        "mp",
        "ci",
    ]
)


def member(name: str, content: bytes) -> bytes:
    return content.replace(b"%s", f' N="{name}">'.encode(), 1) if b"%s" in content else content


def bodies() -> st.SearchStrategy[bytes]:
    """CLIXML with the names that messages have, and any values under them."""

    def wrap(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        members = st.lists(st.tuples(NAMES, inner).map(lambda pair: member(*pair)), max_size=4).map(b"".join)
        return members.map(lambda found: b'<Obj RefId="1"%s<MS>' + found + b"</MS></Obj>") | st.lists(
            inner, max_size=3
        ).map(lambda found: b"<Obj%s<LST>" + b"".join(found).replace(b"%s", b">") + b"</LST></Obj>")

    return st.recursive(LEAVES, wrap, max_leaves=8).map(lambda body: body.replace(b"%s", b">"))


DECODERS: list[Callable[[bytes], object]] = [
    decode_output,
    decode_state,
    decode_error,
    decode_host_progress,
    decode_host_text,
    *(partial(decode_stream_record, kind) for kind in (0x00041007, 0x00041010, 0x00041011)),
]


@settings(max_examples=300)
@given(st.data())
def test_any_body_is_a_record_or_an_error_of_the_remote(data: st.DataObject) -> None:
    body = data.draw(bodies() | st.sampled_from(SEEDS) | st.binary(max_size=40))
    if data.draw(st.booleans()) and body:
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + data.draw(st.binary(max_size=2)) + body[at + data.draw(st.integers(0, 3)) :]
    for decode in DECODERS:
        with suppress(RemoteProtocolError):
            decode(body)


def test_the_seeds_are_real() -> None:
    assert len(SEEDS) > 20
    assert any(decode_host_text(body) for body in SEEDS)
    assert any(decode_host_progress(body) for body in SEEDS)


# ---- records ----


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (
            0x00041009,
            b'<Obj RefId="0"><ToString>w</ToString><MS><S N="InformationalRecord_Message">w</S></MS></Obj>',
            StreamRecord("warning", "w"),
        ),
        (
            0x00041008,
            b'<Obj RefId="0"><MS><S N="InformationalRecord_Message">v</S></MS></Obj>',
            StreamRecord("verbose", "v"),
        ),
        (
            0x00041007,
            b'<Obj RefId="0"><MS><S N="InformationalRecord_Message">d</S></MS></Obj>',
            StreamRecord("debug", "d"),
        ),
        (0x00041011, b'<Obj RefId="0"><MS><S N="MessageData">i</S></MS></Obj>', StreamRecord("information", "i")),
        (
            0x00041011,
            b'<Obj RefId="0"><MS><Obj N="MessageData" RefId="1"><ToString>shown</ToString></Obj></MS></Obj>',
            StreamRecord("information", "shown"),
        ),
        (0x00041009, b"<S>x</S>", StreamRecord("warning", "")),
        (0x00041010, b"<S>x</S>", ProgressRecord(0, 0, -1, "", "", "", -1, -1, completed=False)),
    ],
)
def test_records_of_the_other_streams(kind: int, body: bytes, expected: object) -> None:
    assert expected == decode_stream_record(kind, body)


@pytest.mark.parametrize("end", [b"</MS></Obj>", b"</MS></Obj>\n"])
def test_an_error_is_cut_out_only_where_that_is_certain(end: bytes) -> None:
    """What is sent back must be one whole element; where it cannot be cut out, nothing is sent back."""
    body = FAILED.removesuffix(b"</MS></Obj>") + b'<S N="Later">x</S>' + end
    found = decode_state(body)

    assert found is not None
    assert found.error is not None
    assert "thrown" == found.error.message
    clixml = found.error.clixml
    assert not clixml or decode_error(clixml).message == "thrown"


@pytest.mark.golden
def test_recorded_errors_survive_the_way_back(golden: Path) -> None:
    """Cut out of its state message, an error is the same record; and psrpcore can read it."""
    errors, cipher = 0, psrpcore.ClientRunspacePool()._cipher
    for file in golden.glob("*.messages.jsonl"):
        for line in file.read_text().splitlines():
            message = json.loads(line)
            if message.get("message") != "PIPELINE_STATE" or message["side"] != "server":
                continue
            end = decode_state(message["clixml"].encode())
            if end is not None and end.error is not None:
                assert end.error.clixml
                assert end.error == decode_error(end.error.clixml)
                element = ET.fromstring(end.error.clixml)
                assert isinstance(psrpcore.types.deserialize(element, cipher=cipher), psrpcore.types.ErrorRecord)
                errors += 1

    assert errors > 10
