"""A real relay of durable sessions on this machine, with any program as its engine."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from pskernel.connect.relays import relay_script
from pskernel.credentials import Secret
from pskernel.protocol.durable import Resumable
from pskernel.transports.durable.stream import DurableStream

__all__ = ["ReadStream", "Relay"]


class ReadStream(DurableStream):
    """For tests of the stream alone: what is received is taken, as a session does it when it is shown."""

    async def receive(self, max_bytes: int = 262_144) -> bytes:
        data = await super().receive(max_bytes)
        self.taken()
        return data


@dataclass
class Relay:
    """Start it with ``async with``. Its folder is gone when it has ended by itself."""

    pwsh: str
    program: str
    arguments: tuple[str, ...] = ()
    limit: int = 1_048_576
    idle: float = 60.0

    async def __aenter__(self) -> Self:
        # The path must be short enough for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
        settings = {
            "session": "this", "name": "name", "limit": self.limit, "idle": self.idle, "program": self.program,
            "arguments": self.arguments,
        }  # fmt: skip
        (self.folder / "settings.json").write_text(json.dumps(settings))
        (self.folder / "relay.ps1").write_text(relay_script())
        words = ["-NoLogo", "-NoProfile", "-NonInteractive", "-File", f"{self.folder}/relay.ps1", str(self.folder)]
        self.process = await asyncio.create_subprocess_exec(
            self.pwsh, *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.said: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            engine = psutil.Process(self.said["engine"]) if psutil.pid_exists(self.said["engine"]) else None
            self.process.kill()
            await self.process.wait()
            if engine is not None:
                engine.kill()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def path(self) -> str:
        """Its socket."""
        return str(self.said["path"])

    def client(self, name: str = "client", token: str = "", **how: bool) -> Resumable:
        """A client's state at the beginning of the session, or of another one that comes later."""
        return Resumable(
            "this", Secret(token or str(self.said["token"])), name, who=f"the {name}", idle=self.idle, **how
        )

    async def gone(self) -> None:
        """Wait until it has ended by itself."""
        await asyncio.wait_for(self.process.wait(), 30)
