"""CREATE_PIPELINE and INIT_RUNSPACEPOOL, compared with what PowerShell's own Enter-PSSession puts on the wire."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import psrpcore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pskernel.protocol.noting import noted
from pskernel.protocol.pipelines import Command, PipelineShape, Screen, Templates
from pskernel.protocol.runspace import PoolSettings, RunspaceProtocol
from pskernel.transports.cassettes.asked import Request
from tests.parts.wire import (
    CREATE_PIPELINE,
    INIT_RUNSPACEPOOL,
    SESSION_CAPABILITY,
    client_messages,
    comparable,
    messages,
    read_wire,
    stored,
    tree,
)

MEMBERS_OF_A_COMMAND = {"IsScript", "UseLocalScope", "Args", "Cmd"} | {
    f"Merge{name}"
    for name in ("MyResult", "ToResult", "PreviousResults", "Error", "Warning", "Verbose", "Debug", "Information")
}


def capability() -> psrpcore.types.SessionCapability:
    """A server of PowerShell 5.1 or later, as far as the messages are concerned."""
    return psrpcore.ServerRunspacePool().our_capability


def cell(text: str) -> Any:
    return tree(ET.fromstring(Templates(capability()).fill(PipelineShape.CELL, text)))


def our_opening() -> list[tuple[int, Any]]:
    opening = RunspaceProtocol(PoolSettings(Screen(120, 50)), 32_768).open()
    return messages(piece for message in opening for piece in message.fragments)


def recorded(golden: Path) -> list[tuple[int, Any]]:
    """What the client said in the recording of a real Enter-PSSession."""
    return client_messages(read_wire(golden / "enter-pssession-over-ssh.wire"))


def test_a_cell_is_what_the_engines_own_client_sends() -> None:
    assert stored()["cell"] == cell("1+1")


def test_the_opening_is_what_the_engines_own_client_sends() -> None:
    assert [SESSION_CAPABILITY, INIT_RUNSPACEPOOL] == [kind for kind, _ in our_opening()]
    assert stored()["opening"] == comparable([body for _, body in our_opening()])


@pytest.mark.golden
def test_a_cell_is_what_enter_pssession_sends(golden: Path) -> None:
    lines = [t for kind, t in recorded(golden) if kind == CREATE_PIPELINE and len(t["PowerShell"]["Cmds"]) == 2]

    assert len(lines) > 3
    for line in lines:
        assert line == cell(line["PowerShell"]["Cmds"][0]["Cmd"])


@pytest.mark.golden
def test_the_opening_is_what_enter_pssession_sends(golden: Path) -> None:
    theirs = [body for kind, body in recorded(golden) if kind in {SESSION_CAPABILITY, INIT_RUNSPACEPOOL}]

    assert comparable(theirs) == comparable([body for _, body in our_opening()])


def test_we_announce_protocol_2_3() -> None:
    assert "2.3" == our_opening()[0][1]["protocolversion"]


@pytest.mark.parametrize("shape", list(PipelineShape))
def test_every_command_says_all_that_it_can(shape: PipelineShape) -> None:
    body = tree(ET.fromstring(Templates(capability()).fill(shape, "x")))

    for command in body["PowerShell"]["Cmds"]:
        assert MEMBERS_OF_A_COMMAND == set(command)


def test_an_old_server_is_not_told_what_it_does_not_know() -> None:
    old = psrpcore.types.SessionCapability(
        PSVersion=psrpcore.types.PSVersion("2.0"),
        protocolversion=psrpcore.types.PSVersion("2.1"),
        SerializationVersion=psrpcore.types.PSVersion("1.1.0.1"),
    )
    body = tree(ET.fromstring(Templates(old).fill(PipelineShape.CELL, "x")))

    assert "MergeInformation" not in body["PowerShell"]["Cmds"][0]


def test_the_version_table_is_sent() -> None:
    table = our_opening()[1][1]["ApplicationArguments"]["PSVersionTable"]

    assert {"PSVersion", "PSEdition", "PSRemotingProtocolVersion", "SerializationVersion"} == set(table)


TEMPLATES = Templates(capability())


@given(st.text(st.characters()) | st.text(st.characters(codec=None, categories=["Cs", "Cc", "So"])))
@example("_x000A_ ]]> &amp; <S>")
@example("0f3c7e9a-text-of-the-cell")
@example("\ud800\udc00")
@example("\r\n\t\x1b\ud83d\U0001f600")
def test_the_text_arrives_as_it_is(text: str) -> None:
    body = TEMPLATES.fill(PipelineShape.CELL, text)
    pool = psrpcore.ServerRunspacePool()
    element: Any = psrpcore.types.deserialize(ET.fromstring(body), cipher=pool._cipher)

    # .NET's strings are UTF-16: two halves side by side are one character, however Python holds them.
    arrived = element.PowerShell.Cmds[0].Cmd
    assert text.encode("utf-16-le", "surrogatepass") == arrived.encode("utf-16-le", "surrogatepass")


def test_the_text_travels_once() -> None:
    assert 1 == Templates(capability()).fill(PipelineShape.CELL, "Get-Something").count(b"Get-Something")


def test_a_screen_of_its_own_replaces_the_pools() -> None:
    body = tree(ET.fromstring(Templates(capability()).fill(PipelineShape.CELL, "x", Screen(200, 40))))

    host = body["HostInfo"]
    assert "false" == host["_useRunspaceHost"]
    assert {"width": "200", "height": "40"} == host["_hostDefaultData"]["data"]["6"]["V"]


def test_a_query_keeps_out_of_the_history_and_returns_objects() -> None:
    body = tree(ET.fromstring(Templates(capability()).fill(PipelineShape.QUERY, "x")))

    assert "false" == body["AddToHistory"]
    assert ["x"] == [command["Cmd"] for command in body["PowerShell"]["Cmds"]]


def test_commands_are_no_script() -> None:
    commands = [
        [Command("Get-Item", ((None, "/a&b"), ("-Force", None))), Command("Out-String")],
        [Command("B", (("-Id", 1),))],
    ]

    body = tree(ET.fromstring(Templates(capability()).commands(PipelineShape.CELL, commands)))

    sent = [[(c["Cmd"], c["IsScript"]) for c in s["Cmds"]] for s in body["PowerShell"]["ExtraCmds"]]
    assert [
        [("Get-Item", "false"), ("Out-String", "false"), ("Out-Default", "false")],
        [("B", "false"), ("Out-Default", "false")],
    ] == sent
    assert "true" == body["AddToHistory"]


def test_one_command_returns_its_objects() -> None:
    body = tree(ET.fromstring(Templates(capability()).commands(PipelineShape.QUERY, [[Command("Exit-PSSession")]])))

    assert "false" == body["AddToHistory"]
    assert [("Exit-PSSession", "false")] == [(c["Cmd"], c["IsScript"]) for c in body["PowerShell"]["Cmds"]]


def test_a_display_takes_input() -> None:
    body = tree(ET.fromstring(Templates(capability()).fill(PipelineShape.DISPLAY)))

    assert "false" == body["NoInput"]
    assert ["Out-Default"] == [command["Cmd"] for command in body["PowerShell"]["Cmds"]]


def test_a_query_redirects_errors_to_its_output_so_that_they_can_be_read() -> None:
    body = tree(ET.fromstring(TEMPLATES.fill(PipelineShape.QUERY, "x")))

    assert "true" == body["PowerShell"]["RedirectShellErrorOutputPipe"]
    assert "0" == body["PowerShell"]["Cmds"][0]["MergeError"]


def test_a_template_is_made_once_for_each_screen() -> None:
    templates = Templates(capability())
    for screen in (None, Screen(80, 25), None, Screen(80, 25)):
        templates.fill(PipelineShape.CELL, "x", screen)

    assert 2 == len(templates._built)


def test_a_cell_whose_errors_are_noted_is_the_same_cell_to_a_recording() -> None:
    templates = Templates(capability())
    body = templates.commands(PipelineShape.CELL, noted(Command("1 + 1", is_script=True)))

    assert Request(templates.fill(PipelineShape.CELL, "1 + 1")).key() == Request(body).key()
    assert "1 + 1" == Request(body).key().cell
