"""A cell's output as JupyterLab gets it: through a real jupyter_server, with its default rate limits."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.parts.jupyterserver import TOKEN, install_spec, running

pytestmark = pytest.mark.live

LINES = 200_000


@dataclass
class Heard:
    """What the client got for one request."""

    text: list[str] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def joined(self) -> str:
        return "".join(self.text)


@pytest.fixture
def server(tmp_path: Path, pwsh: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A jupyter_server with one kernelspec for the engine; its address without the scheme."""
    install_spec(tmp_path, "under-test", f"process:{pwsh}", getattr(request, "param", ()))
    with running("jupyter_server", tmp_path) as address:
        yield address


async def _start_kernel(server: str) -> str:
    request = HTTPRequest(
        f"http://{server}/api/kernels?token={TOKEN}",
        method="POST",
        body=json.dumps({"name": "under-test"}),
        request_timeout=60,
    )
    async with asyncio.timeout(30):
        while True:
            try:
                response = await AsyncHTTPClient().fetch(request)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0)  # it says that it runs a moment before it listens
    kernel: str = json.loads(response.body)["id"]
    return kernel


async def _request(socket: WebSocketClientConnection, kind: str, content: dict[str, Any]) -> str:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "",
        "session": "s",
        "version": "5.4",
        "date": "",
    }
    message = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }
    await socket.write_message(json.dumps(message))
    return header["msg_id"]


async def _listen(socket: WebSocketClientConnection, request: str, heard: Heard) -> None:
    """Read until the request's reply and idle have come."""
    idle = False
    while not (idle and heard.reply):
        raw = await socket.read_message()
        assert raw is not None
        message = json.loads(raw)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            heard.text.append(content["text"])
        elif message["msg_type"].endswith("_reply"):
            heard.reply = content
        elif message["msg_type"] == "status":
            idle = content["execution_state"] == "idle"


async def _run(server: str, code: str) -> Heard:
    kernel = await _start_kernel(server)
    url = f"ws://{server}/api/kernels/{kernel}/channels?token={TOKEN}"
    socket = await websocket_connect(url, max_message_size=1 << 30)
    heard = Heard()
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    async with asyncio.timeout(100):
        await _listen(socket, await _request(socket, "execute_request", content), heard)
    socket.close()
    return heard


def test_200_000_lines_arrive_completely(server: str) -> None:
    heard = asyncio.run(_run(server, f"1..{LINES}"))

    assert "ok" == heard.reply["status"]
    assert "rate exceeded" not in heard.joined
    assert [str(n) for n in range(1, LINES + 1)] == heard.joined.split()


@pytest.mark.parametrize("server", [["output_limit=200000"]], indirect=True)
def test_beyond_the_limit_head_and_tail_and_a_file_with_all(server: str) -> None:
    heard = asyncio.run(_run(server, f"1..{LINES}"))

    shown = heard.joined
    note = re.search(r"… ([\d,]+) lines are left out here .* the whole output is in (.+\.log) …", shown)
    assert note is not None
    head, tail = shown[: note.start()].split(), shown[note.end() :].split()
    left_out = int(note[1].replace(",", ""))
    assert LINES == len(head) + left_out + len(tail)
    assert [str(n) for n in range(1, len(head) + 1)] == head
    assert [str(n) for n in range(LINES - len(tail) + 1, LINES + 1)] == tail
    assert [str(n) for n in range(1, LINES + 1)] == Path(note[2]).read_text().split()
