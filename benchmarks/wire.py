"""The wire limit: a blocking client over the system's ssh that only reads, and decodes nothing but base64."""

from __future__ import annotations

import base64
import re
import subprocess
import time
from collections.abc import Sequence
from uuid import UUID

from pskernel.protocol.outofproc import PacketKind, encode_data, encode_empty
from pskernel.protocol.pipelines import PipelineShape, Screen
from pskernel.protocol.runspace import Outgoing, PoolOpened, RunspaceProtocol

_LINE = re.compile(rb"<(\w+)(?: Stream='\w+')? PSGuid='[0-9a-f-]{36}'(?: ?/>|>([^<]*)</Data>)")
_PIPELINE_STATE = b"\x06\x10\x04\x00"


class WireClient:
    """Opens a runspace over a child's pipes and counts messages."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in, self._out = self._child.stdin, self._child.stdout
        self._protocol = RunspaceProtocol(Screen(), 32_768)
        for message in self._protocol.open():
            self._send(message)
        while not self._opened():
            pass

    def _opened(self) -> bool:
        kind, data = self._read()
        return kind == b"Data" and any(isinstance(r, PoolOpened) for _, r in self._protocol.receive(data))

    def _read(self) -> tuple[bytes, bytes]:
        match = _LINE.match(self._out.readline())
        assert match is not None
        return match[1], base64.b64decode(match[2] or b"")

    def _write(self, data: bytes, ack: bytes) -> None:
        self._in.write(data)
        self._in.flush()
        if ack:
            while self._read()[0] != ack:
                pass

    def _send(self, message: Outgoing) -> None:
        for fragment in message.fragments:
            self._write(encode_data(message.pipeline_id, fragment), b"")

    def rate(self, shape: PipelineShape, text: str) -> float:
        """Run a pipeline; return its messages a second, from the command to its end."""
        pipeline: UUID
        pipeline, create = self._protocol.start(shape, text)
        self._write(encode_empty(PacketKind.COMMAND, pipeline), b"CommandAck")
        began = time.perf_counter()
        self._send(create)
        messages = 0
        while True:
            kind, data = self._read()
            if kind != b"Data":
                continue
            messages += 1
            if data[25:29] == _PIPELINE_STATE:
                break
        seconds = time.perf_counter() - began
        self._write(encode_empty(PacketKind.CLOSE, pipeline), b"CloseAck")
        return messages / seconds

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        self._in.close()
        self._out.close()
