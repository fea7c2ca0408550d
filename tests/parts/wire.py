"""What is on the line, as plain values: to compare what we send with what PowerShell's own client sends."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pskernel.protocol.fragments import Reassembler
from pskernel.transports.base import ByteStream
from tests.parts.sshd import Sshd

# What PowerShell's own client sends, taken down by ``record_console`` and ``extract``. To make it anew, run
# tests/integration/test_wire_live.py with PSKERNEL_TEST_WRITE=1.
ENGINE_CLIENT = Path(__file__).parents[1] / "data" / "engine-client.json"
SESSION_CAPABILITY, INIT_RUNSPACEPOOL, CREATE_PIPELINE = 0x00010002, 0x00010004, 0x00021006
# Differences on purpose: our table names another client, and we announce protocol 2.3 (docs/design.md). The title of
# the console is member 9 of the host's data (RemoteHostEncoder).
_OURS = {"PSVersionTable", "protocolversion"}
_TITLE = "9"
_PACKET = re.compile(rb"<(\w+)(?: Stream='\w+')? PSGuid='([^']+)'(?: />|>([^<]*)</Data>)\s*\Z")

Line = tuple[str, bytes]  # ">" from the client or "<" from the server, and the packet


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


def comparable(value: Any) -> Any:
    """Leave out what is ours on purpose."""
    if isinstance(value, dict):
        kept = {name: comparable(item) for name, item in value.items() if name not in _OURS}
        if "_hostDefaultData" in kept:
            kept["_hostDefaultData"]["data"].pop(_TITLE)
        return kept
    return [comparable(item) for item in value] if isinstance(value, list) else value


def messages(fragments: Iterable[bytes]) -> list[tuple[int, Any]]:
    """A client's fragments as (message type, body)."""
    reassembler, found = Reassembler(), []
    for data in fragments:
        for raw in reassembler.feed(data):
            body = raw[40:].removeprefix(b"\xef\xbb\xbf")
            found.append((int.from_bytes(raw[4:8], "little"), tree(ET.fromstring(body)) if body else None))
    return found


def client_messages(lines: Iterable[Line]) -> list[tuple[int, Any]]:
    """What the client said in a conversation."""
    packets = (_PACKET.match(packet) for side, packet in lines if side == ">")
    return messages(b64decode(match[3]) for match in packets if match and match[3])


def steps(lines: Iterable[Line]) -> list[list[list[Any]]]:
    """The packets of a conversation, for the pool and for each pipeline, in the order in which they begin.

    Each step is a packet of the client and the kinds of packet that the server sent before the client's next: in
    which order data and acknowledgements arrive is not ruled. Lines of the server's that are no packets do not count.
    """
    conversations: dict[bytes, list[list[Any]]] = {}
    for side, packet in lines:
        match = _PACKET.match(packet)
        if match is None:
            assert side == "<", packet[:100]
            continue
        conversation = conversations.setdefault(match[2], [])
        kind = match[1].decode()
        if side == ">":
            conversation.append([kind, []])
        elif kind not in conversation[-1][1]:
            conversation[-1][1] = sorted([*conversation[-1][1], kind])
    return list(conversations.values())


def read_wire(path: Path) -> Iterator[Line]:
    """A recording: a line for each packet, with its side (and, before that, perhaps a time)."""
    for line in path.read_bytes().splitlines():
        match = re.match(rb"(?:\S+ )?([<>]) (.*)", line)
        assert match is not None
        yield match[1].decode(), match[2]


class Tap:
    """A byte stream that takes down what goes over another one."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._rest = b""
        self.lines: list[Line] = []

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        data = await self._stream.receive(max_bytes)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [("<", line) for line in lines]
        return data

    async def send(self, data: bytes) -> None:
        self.lines += [(">", line) for line in data.splitlines()]
        await self._stream.send(data)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def diagnostics(self) -> str:
        return self._stream.diagnostics()


# Stands between sshd and the engine. A line is taken down before it is passed on, so what answers it comes after it.
_BETWEEN = """#!{python}
import subprocess, sys, threading
log, lock = open({log!r}, "ab", buffering=0), threading.Lock()
engine = subprocess.Popen([{pwsh!r}, "-sshs", "-NoLogo", "-NoProfile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def carry(side, source, target):
    for line in source:
        with lock:
            log.write(side + b" " + line)
        target.write(line)
        target.flush()
    target.close()
back = threading.Thread(target=carry, args=(b"<", engine.stdout, sys.stdout.buffer))
back.start()
carry(b">", sys.stdin.buffer, engine.stdin)
back.join()
"""


def record_console(pwsh: str, sshd_factory: Callable[..., Sshd], folder: Path, typed: Iterable[str]) -> list[Line]:
    """Type lines into the engine's own Enter-PSSession, over SSH, and return what went over the line."""
    between, log = folder / "between", folder / "log"
    between.write_text(_BETWEEN.format(python=sys.executable, log=str(log), pwsh=pwsh))
    between.chmod(stat.S_IRWXU)
    sshd = sshd_factory({"powershell": str(between)})
    enter = (
        f"Enter-PSSession -HostName 127.0.0.1 -Port {sshd.port} -UserName {sshd.user} -KeyFilePath {sshd.key} "
        f"-Options @{{ UserKnownHostsFile = '{sshd.known_hosts}' }}"
    )
    console = [pwsh, "-NoLogo", "-NoProfile"]
    text = "\n".join([enter, *typed, "exit", "exit", ""])
    subprocess.run(console, input=text, capture_output=True, text=True, timeout=60, check=True)
    return list(read_wire(log))


def extract(lines: list[Line], cell: str) -> dict[str, Any]:
    """What the tests compare with: how a session is opened, what a cell says, and which packets go to and fro."""
    sent = client_messages(lines)
    opening = [body for kind, body in sent if kind in {SESSION_CAPABILITY, INIT_RUNSPACEPOOL}]
    pipelines = [body for kind, body in sent if kind == CREATE_PIPELINE]
    (index,) = (i for i, body in enumerate(pipelines) if body["PowerShell"]["Cmds"][0]["Cmd"] == cell)
    pool, *others = steps(lines)
    return {"opening": comparable(opening), "cell": pipelines[index], "pool_packets": pool, "packets": others[index]}


def stored() -> dict[str, Any]:
    """The extract that is kept with the tests."""
    kept: dict[str, Any] = json.loads(ENGINE_CLIENT.read_text())
    return kept
