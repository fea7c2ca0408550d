"""Many hosts that play a recording: one SSH server in a process of its own, on addresses of the loopback network.

The user's name says how a host behaves: ``good`` plays the recording, ``denied`` is let in by no key, ``garbage`` is no
PowerShell, ``silent`` never answers, ``cut`` drops the connection when the seventh pipeline is asked for.

    python -m tests.parts.recorded_hosts CASSETTE FOLDER
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncssh

from pskernel.errors import PSKernelError
from pskernel.protocol.outofproc import Packet, PacketDecoder, PacketKind, encode_data, encode_empty
from pskernel.transports.base import Payload
from pskernel.transports.cassettes.cassette import Cassette
from pskernel.transports.cassettes.replay import ReplayTransport

__all__ = ["RecordedHosts", "recorded_hosts"]

ROOT = Path(__file__).parent.parent.parent
_ACKS = {
    PacketKind.DATA: PacketKind.DATA_ACK,
    PacketKind.COMMAND: PacketKind.COMMAND_ACK,
    PacketKind.CLOSE: PacketKind.CLOSE_ACK,
    PacketKind.SIGNAL: PacketKind.SIGNAL_ACK,
}
_CUT_AT = 7


@dataclass(frozen=True)
class RecordedHosts:
    """A running server. Any 127.1.x.y is one of its hosts; ``known_hosts`` knows those of 127.1.0.y."""

    folder: Path
    port: int

    def url(self, number: int, behaviour: str = "good", *, known: bool = True, **options: object) -> str:
        query = {
            "ssh_config": "none",
            "key_file": self.folder / "user_key",
            "known_hosts": self.folder / "known_hosts",
            **options,
        }
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return f"ssh://{behaviour}@127.1.{0 if known else 1}.{number}:{self.port}?{words}"


@contextlib.contextmanager
def recorded_hosts(cassette: Path, folder: Path) -> Iterator[RecordedHosts]:
    """Start the server, and end it."""
    for name in ("host_key", "user_key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(cassette), str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        public = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.1.0.*]:{port} {public}\n")
        try:
            yield RecordedHosts(folder, port)
        finally:
            process.stdin.close()


class _Endpoint:
    """Speaks the out-of-process framing of one channel for a replay."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes], cassette: Cassette, behaviour: str) -> None:
        self._process = process
        self._replay = ReplayTransport(cassette, speed=0)
        self._behaviour = behaviour
        self._opened = False
        self._begun: dict[UUID, bool] = {}

    async def serve(self) -> None:
        if self._behaviour == "garbage":
            self._process.stdout.write(b"HTTP/1.1 400 Bad Request\n" * 3)
        if self._behaviour in {"garbage", "silent"}:
            await self._process.stdin.read()
            return
        sending = asyncio.create_task(self._send())
        decoder = PacketDecoder()
        try:
            while data := await self._process.stdin.read(262_144):
                for packet in decoder.feed(data):
                    if isinstance(packet, Packet):
                        await self._take(packet)
        except (asyncssh.Error, OSError):
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _take(self, packet: Packet) -> None:
        which = packet.pipeline_id
        self._process.stdout.write(encode_empty(_ACKS[packet.kind], which))
        if packet.kind is PacketKind.SIGNAL and which is not None:
            await self._replay.signal(which)
        elif packet.kind is PacketKind.COMMAND and which is not None:
            self._begun[which] = False
            if self._behaviour == "cut" and len(self._begun) >= _CUT_AT:
                self._process.channel.get_connection().abort()
        elif packet.kind is PacketKind.DATA:
            await self._data(which, packet.data)

    async def _data(self, which: UUID | None, data: bytes) -> None:
        if which is None and not self._opened:
            self._opened = True
            await self._replay.open(data)
        elif which is not None and self._begun.get(which) is False:
            self._begun[which] = True
            await self._replay.command(which, data)
        else:
            await self._replay.send(which, data)

    async def _send(self) -> None:
        with contextlib.suppress(PSKernelError, asyncssh.Error, OSError):
            while True:
                for item in await self._replay.receive():
                    if isinstance(item, Payload):
                        self._process.stdout.write(encode_data(item.pipeline_id, item.data))


async def _main(cassette: Path, folder: Path) -> None:
    tape = Cassette.load(str(cassette))
    serving: set[asyncio.Task[None]] = set()

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        behaviour = str(process.get_extra_info("username"))
        async with process:
            await _Endpoint(process, tape, behaviour).serve()
            process.exit(0)

    def begin(process: asyncssh.SSHServerProcess[bytes]) -> None:
        task = asyncio.create_task(serve(process))
        serving.add(task)
        task.add_done_callback(serving.discard)

    keys = asyncssh.import_authorized_keys((folder / "user_key.pub").read_text())

    class Login(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn

        def begin_auth(self, username: str) -> bool:
            if username != "denied":
                self._connection.set_authorized_keys(keys)
            return True

    acceptor = await asyncssh.listen(
        [f"127.1.{net}.{number}" for net in (0, 1) for number in range(1, 251 if net == 0 else 6)],  # type: ignore[arg-type]
        _free_port(),
        server_factory=Login,
        server_host_keys=[str(folder / "host_key")],
        process_factory=begin,
        encoding=None,
        backlog=512,
    )
    print(acceptor.get_port(), flush=True)
    # The other side closes it.
    await asyncio.to_thread(sys.stdin.read)
    acceptor.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.1.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Path(sys.argv[2])))
