"""The debugger's messages and words: what stops, what is sent, what it answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pskernel.cells.debugging import declined, stop_message, stop_text
from pskernel.protocol.clixml import PSObject, decode
from pskernel.protocol.decode import decode_debugger_stop
from pskernel.records import DebuggerStop, HostText, Output
from pskernel.session.debugger import (
    debugger_script,
    enable,
    is_debugger_command,
    output_text,
    resume,
    resume_action,
)
from pskernel.session.runspace import Runspace
from tests.fakes.server import Call, far_end

STOP = (
    b'<Obj RefId="0"><MS><I32 N="PSEventArgs.EventIdentifier">4</I32>'
    b'<S N="PSEventArgs.SourceIdentifier">PSInternalRemoteDebuggerStopEvent</S>'
    b'<Obj N="PSEventArgs.SourceArgs" RefId="1"><LST><Obj RefId="2"><Props><Obj N="Breakpoints" RefId="3"><LST>'
    b"<Obj RefId=\"4\"><ToString>Line breakpoint on 'a.ps1:3'</ToString></Obj></LST></Obj></Props><MS>"
    b'<Obj N="SerializedInvocationInfo" RefId="6"><MS><S N="InvocationInfo_PositionMessage">At a.ps1:3 char:1</S>'
    b'<I32 N="InvocationInfo_ScriptLineNumber">3</I32><S N="InvocationInfo_ScriptName">a.ps1</S></MS></Obj></MS>'
    b"</Obj></LST></Obj></MS></Obj>"
)
COMMAND = (
    '<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.DebuggerCommand</T></TN><Props>%s'
    '<S N="Command">x</S></Props></Obj>'
)


def test_a_stop_says_where_and_why() -> None:
    stop = decode_debugger_stop(STOP)

    assert DebuggerStop(("Line breakpoint on 'a.ps1:3'",), 3, "a.ps1", "At a.ps1:3 char:1") == stop


def test_other_events_are_none() -> None:
    assert decode_debugger_stop(STOP.replace(b"DebuggerStopEvent", b"DebuggerBreakpointUpdatedEvent")) is None


def test_a_stop_without_its_members_is_still_a_stop() -> None:
    bare = b'<Obj RefId="0"><MS><S N="PSEventArgs.SourceIdentifier">PSInternalRemoteDebuggerStopEvent</S></MS></Obj>'

    assert DebuggerStop((), None, "", "") == decode_debugger_stop(bare)


def test_the_stops_of_a_real_session(golden: Path) -> None:
    lines = (golden / "debugger-7.7.messages.jsonl").read_text("utf-8").splitlines()
    messages = [json.loads(line) for line in lines]
    events = [m["clixml"].encode() for m in messages if m.get("message") == "USER_EVENT"]

    stops = [stop for event in events if (stop := decode_debugger_stop(event)) is not None]

    assert [(1, ()), (1, ()), (1, ("Command breakpoint on 'Get-Date'",))] == [(s.line, s.breakpoints) for s in stops]


@pytest.mark.parametrize("text", ["s", " v ", "o", "C", "continue", "q", "quit", "d", "h", "?", "l", "list 3", "l 3 5"])
def test_what_the_debugger_reads_itself_travels_alone(text: str) -> None:
    assert is_debugger_command(text)


@pytest.mark.parametrize("text", ["k", "$s", "s; 1", "list a", "continue 1", "", "l 1 2 3", "c | Out-Null"])
def test_everything_else_is_formatted(text: str) -> None:
    assert not is_debugger_command(text)


@pytest.mark.parametrize("text", [" c", "v \n", "\tl 3 5\n"])
def test_the_debuggers_commands_travel_without_blanks(text: str) -> None:
    assert text.strip() == debugger_script(text)


def test_the_call_stack_is_asked_for_as_objects() -> None:
    assert ("Get-PSCallStack", "$k") == (debugger_script(" K"), debugger_script("$k"))


@pytest.mark.parametrize(
    ("member", "action"),
    [
        ('<S N="ResumeAction">StepOver</S>', "StepOver"),
        ('<S N="ResumeAction">Continue</S>', "Continue"),
        ('<Nil N="ResumeAction" />', None),
        ('<S N="ResumeAction">Explode</S>', None),
        ('<I32 N="ResumeAction">0</I32>', None),
        ("", None),
    ],
)
def test_how_to_go_on_is_in_the_debuggers_answer(member: str, action: str | None) -> None:
    assert action == resume_action(Output(decode((COMMAND % member).encode())))


def test_what_else_a_pipeline_yields_is_no_answer_of_the_debugger() -> None:
    assert resume_action(Output("Continue")) is None
    assert resume_action(HostText("Continue")) is None
    assert resume_action(Output(PSObject(value=None))) is None


def test_lines_of_the_debugger_are_text() -> None:
    assert ["\n", "    1:* x\n", None] == [output_text(Output(v)) for v in ("\r\n", "    1:* x", 5)]


def test_texts_for_people() -> None:
    stop = DebuggerStop((), 3, "a.ps1", "At a.ps1:3 char:1")

    assert "Entering debug mode. Use h or ? for help.\n\nAt a.ps1:3 char:1\n" == stop_text(stop, entering=True).text
    assert "At a.ps1:3 char:1\n" == stop_text(stop, entering=False).text
    assert stop_message(stop).startswith("Stopped in the debugger at line 3 of a.ps1. Cells go to the debugger now")
    assert "A breakpoint at line 3 was passed over" in declined(stop).text


def test_debugging_is_switched_on_and_gone_on_with_as_the_engines_own_client_does() -> None:
    sent: list[tuple[str, bool, list[object]]] = []

    async def behave(call: Call) -> None:
        command = call.pipeline.metadata.commands[0]
        values = [int(value) for _, value in command.parameters]  # type: ignore[call-overload]
        sent.append((call.text, call.pipeline.metadata.is_nested, values))

    async def main() -> None:
        async with far_end(behave) as (transport, _), await Runspace.open(transport) as runspace:
            await enable(runspace)
            await resume(runspace, "StepOut")

    asyncio.run(main())

    assert [("__Set-PSDebugMode", False, [6]), ("__Set-PSDebuggerAction", True, [2])] == sent
