"""Messages to records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pskernel.errors import RemoteProtocolError
from pskernel.protocol.decode import decode_error, decode_host_progress, decode_output, decode_state, host_text
from pskernel.records import ErrorRecord, HostText, PipelineEnd, PipelineState, ProgressRecord

FAILED = (
    b'<Obj RefId="0"><MS><I32 N="PipelineState">5</I32><Obj N="ExceptionAsErrorRecord" RefId="1"><TN RefId="0">'
    b"<T>System.Management.Automation.ErrorRecord</T></TN><ToString>thrown</ToString><MS>"
    b'<Obj N="Exception" RefId="2"><TN RefId="1"><T>System.Management.Automation.RuntimeException</T></TN><Props>'
    b'<S N="Message">thrown</S></Props></Obj><S N="TargetObject">it</S><S N="FullyQualifiedErrorId">an,id</S>'
    b'<Obj N="InvocationInfo" RefId="4"><Props><I32 N="ScriptLineNumber">3</I32><I32 N="OffsetInLine">7</I32>'
    b'<S N="PositionMessage">At line:3 char:7</S></Props></Obj></MS></Obj></MS></Obj>'
)


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
