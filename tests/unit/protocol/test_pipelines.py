"""CREATE_PIPELINE and INIT_RUNSPACEPOOL, compared with what PowerShell's own Enter-PSSession puts on the wire."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import psrpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.protocol.fragments import Reassembler
from pskernel.protocol.pipelines import PipelineShape, Screen, Templates
from pskernel.protocol.runspace import RunspaceProtocol

# What a cell's message says, member by member, as PowerShell 7.6's own client sends it.
EXPECTED = Path(__file__).parents[2] / "data" / "create-pipeline.json"
# Differences on purpose: our table names another client, and we announce protocol 2.3 (docs/design.md).
OURS = {"PSVersionTable", "protocolversion", "_windowTitle"}


def tree(element: ET.Element, seen: dict[str, Any] | None = None) -> Any:
    """A CLIXML element as plain values: members by name, references followed, enumerations as their number."""
    seen = {} if seen is None else seen
    if element.tag == "Ref":
        return seen[element.attrib["RefId"]]
    if element.tag != "Obj":
        return None if element.tag == "Nil" else element.text or ""
    parts = {child.tag: child for child in element}
    value: Any = {}
    if "MS" in parts or "Props" in parts:
        for group in ("Props", "MS"):
            value.update({c.attrib["N"]: tree(c, seen) for c in parts.get(group, ())})
    elif "LST" in parts:
        value = [tree(child, seen) for child in parts["LST"]]
    elif "DCT" in parts:
        pairs = [[tree(child, seen) for child in entry] for entry in parts["DCT"]]
        value = {str(key): item for key, item in pairs}
    else:
        (plain,) = (child for child in element if child.tag not in {"TN", "TNRef", "ToString"})
        value = tree(plain, seen)
    seen[element.attrib["RefId"]] = value
    return value


def without_ours(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_ours(v) for k, v in value.items() if k not in OURS}
    return [without_ours(v) for v in value] if isinstance(value, list) else value


def capability() -> psrpcore.types.SessionCapability:
    """A server of PowerShell 5.1 or later, as far as the messages are concerned."""
    return psrpcore.ServerRunspacePool().our_capability


def cell(text: str) -> Any:
    return tree(ET.fromstring(Templates(capability()).fill(PipelineShape.CELL, text)))


def our_opening() -> list[Any]:
    sent = b"".join(f for m in RunspaceProtocol(Screen(120, 50), 32_768).open() for f in m.fragments)
    return [tree(ET.fromstring(message[40:])) for message in Reassembler().feed(sent)]


def recorded(golden: Path) -> list[tuple[int, Any]]:
    """The client's messages of the recording, as (message type, tree)."""
    messages = []
    for line in (golden / "enter-pssession-over-ssh.wire").read_text().splitlines():
        match = re.match(r"\S+ > <Data Stream='Default' PSGuid='[^']+'>(.*)</Data>", line)
        for raw in Reassembler().feed(base64.b64decode(match[1])) if match else ():
            body = raw[40:].removeprefix(b"\xef\xbb\xbf")
            messages.append((int.from_bytes(raw[4:8], "little"), tree(ET.fromstring(body)) if body else None))
    return messages


def test_a_cell_says_what_is_written_down() -> None:
    assert json.loads(EXPECTED.read_text()) == cell("1+1")


@pytest.mark.golden
def test_a_cell_is_what_enter_pssession_sends(golden: Path) -> None:
    lines = [t for kind, t in recorded(golden) if kind == 0x00021006 and len(t["PowerShell"]["Cmds"]) == 2]

    assert len(lines) > 3
    for line in lines:
        assert line == cell(line["PowerShell"]["Cmds"][0]["Cmd"])


@pytest.mark.golden
def test_the_opening_is_what_enter_pssession_sends(golden: Path) -> None:
    theirs = [t for kind, t in recorded(golden) if kind in {0x00010002, 0x00010004}]
    title = re.compile(r"PowerShell|pskernel")

    assert json.loads(title.sub("title", json.dumps(without_ours(theirs)))) == json.loads(
        title.sub("title", json.dumps(without_ours(our_opening())))
    )


def test_the_version_table_is_sent() -> None:
    table = our_opening()[1]["ApplicationArguments"]["PSVersionTable"]

    assert {"PSVersion", "PSEdition", "PSRemotingProtocolVersion", "SerializationVersion"} == set(table)


@given(st.text())
def test_the_text_arrives_as_it_is(text: str) -> None:
    body = Templates(capability()).fill(PipelineShape.CELL, text)
    pool = psrpcore.ServerRunspacePool()
    element = psrpcore.types.deserialize(ET.fromstring(body), cipher=pool._cipher)

    assert text == element.PowerShell.Cmds[0].Cmd


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


def test_a_display_takes_input() -> None:
    body = tree(ET.fromstring(Templates(capability()).fill(PipelineShape.DISPLAY)))

    assert "false" == body["NoInput"]
    assert ["Out-Default"] == [command["Cmd"] for command in body["PowerShell"]["Cmds"]]
