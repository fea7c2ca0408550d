"""What only the system's ssh does. What it shares with the built-in client is in test_ssh_backends.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pskernel.errors import HostKeyRejected, PromptUnavailable, TargetError, TargetUnreachable, TransportClosed
from pskernel.questions import NobodyToAsk, Question
from pskernel.transports.ssh.login import SSHEndpoint
from pskernel.transports.ssh.openssh import open_openssh
from tests.parts.sshd import LoginServer, Sshd, login_server, make_key

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({"powershell": "/bin/cat"})


def at(server: Sshd, *, config: str | None = None) -> SSHEndpoint:
    return SSHEndpoint(server.host, server.port, server.user, str(server.key), ssh_config=config or str(server.config))


def config_of(path: Path, server: Sshd, *lines: str) -> str:
    path.write_text(server.config.read_text() + "\n".join(lines) + "\n")
    return str(path)


async def echoes(endpoint: SSHEndpoint) -> str:
    """Check that the stream leads to an echo; return what ssh wrote beside it."""
    stream = await open_openssh(endpoint, asker=NobodyToAsk())
    await stream.send(b"hello")
    assert await stream.receive() == b"hello"
    await stream.aclose()
    return stream.diagnostics()


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Sshd) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetUnreachable) as caught:
        asyncio.run(echoes(at(server)))
    assert str(caught.value) == (
        "The program ssh is not on PATH. Install OpenSSH's client, or use the built-in one (backend=asyncssh)."
    )


def test_log_of_ssh_is_not_kept(server: Sshd) -> None:
    assert asyncio.run(echoes(at(server))) == ""


def test_options_of_the_configuration_that_would_break_the_stream(server: Sshd, tmp_path: Path) -> None:
    lines = ["RemoteCommand echo no", "RequestTTY force", "LogLevel QUIET", "ControlMaster yes"]
    config = config_of(tmp_path / "config", server, *lines, f"ControlPath {server.folder}/never")
    asyncio.run(echoes(at(server, config=config)))
    assert not (server.folder / "never").exists()


def test_standard_error_without_newlines_is_kept_in_bounds(server: Sshd, tmp_path: Path) -> None:
    relay = (
        "import os, socket, sys, threading; s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "os.write(2, b'y' * 20_000)\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
        "os.write(2, b'last words')\n"
    )
    (tmp_path / "relay.py").write_text(relay)
    config = config_of(tmp_path / "config", server, f"ProxyCommand {sys.executable} {tmp_path}/relay.py %h %p")

    async def main() -> None:
        stream = await open_openssh(at(server, config=config), asker=NobodyToAsk())
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        for process in psutil.Process(server.process.pid).children(recursive=True):
            process.kill()
        with pytest.raises(TransportClosed):
            await stream.receive()
        said = stream.diagnostics()
        assert "yyy" in said
        assert "last words" in said
        assert len(said) < 9_000
        await stream.aclose()

    asyncio.run(main())


def test_shared_connection_is_used(server: Sshd, tmp_path: Path) -> None:
    path = server.folder / "shared"
    config = config_of(tmp_path / "config", server, f"ControlPath {path}")
    where = ["-F", config, "-p", str(server.port), "127.0.0.1"]
    # -f: goes to the background once the connection stands.
    subprocess.run(["ssh", "-M", "-N", "-f", *where], check=True, capture_output=True)
    try:
        before = len(server.lines)
        assert asyncio.run(echoes(at(server, config=config))) == ""
        assert not [line for line in server.lines[before:] if "Accepted" in line]
        # It shows no host key.
        wrong = replace(at(server, config=config), accept_host_key="SHA256:" + "A" * 43)
        with pytest.raises(HostKeyRejected, match="accept_host_key vouches for"):
            asyncio.run(echoes(wrong))
    finally:
        subprocess.run(["ssh", "-O", "exit", *where], check=True, capture_output=True)


def test_password_is_in_no_argument_list_and_no_environment(tmp_path: Path) -> None:
    seen: list[str] = []

    class Looking:
        """Looks around at the moment it is asked, and gives the password."""

        async def ask(self, question: Question) -> str:
            for child in psutil.Process().children(recursive=True):
                seen.append(" ".join(child.cmdline()))
                seen.append(" ".join(child.environ().values()))
            return "secret-word"

    class Stored:
        def reveal(self) -> str:
            return "stored-word"

    async def main() -> None:
        rules = LoginServer(password="secret-word")
        make_key(tmp_path / "host_key")
        async with login_server(rules, host_key=tmp_path / "host_key") as server:
            (tmp_path / "known_hosts").write_text(server.known_hosts_line())
            known_hosts = str(tmp_path / "known_hosts")
            endpoint = SSHEndpoint("127.0.0.1", server.port, "me", ssh_config="none", known_hosts=known_hosts)
            stream = await open_openssh(endpoint, asker=Looking(), secret=Stored())
            await stream.aclose()
            assert rules.passwords_seen == ["stored-word", "secret-word"]
            assert any("askpass.py" in text for text in seen)
            assert not [text for text in seen if "secret-word" in text or "stored-word" in text]

    asyncio.run(main())


def test_giving_up_is_not_an_error_of_the_event_loop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        make_key(tmp_path / "host_key")
        async with login_server(rules, host_key=tmp_path / "host_key") as server:
            (tmp_path / "known_hosts").write_text(server.known_hosts_line())
            known_hosts = str(tmp_path / "known_hosts")
            endpoint = SSHEndpoint("127.0.0.1", server.port, "me", ssh_config="none", known_hosts=known_hosts)
            with pytest.raises(PromptUnavailable):
                await open_openssh(endpoint, asker=NobodyToAsk())
            assert rules.passwords_seen == []

    asyncio.run(main())
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"]


def test_our_variables_do_not_reach_ssh(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "something")

    async def main() -> None:
        stream = await open_openssh(at(server), asker=NobodyToAsk())
        environment = psutil.Process(stream.pid).environ()
        assert "PSKERNEL_TARGET" not in environment
        assert environment["SSH_ASKPASS_REQUIRE"] == "force"
        # The way to ask is gone once the login is through.
        assert not Path(environment["SSH_ASKPASS"]).parent.exists()
        await stream.aclose()

    asyncio.run(main())


def test_interrupt_of_the_terminal_does_not_reach_ssh(server: Sshd) -> None:
    async def main() -> None:
        stream = await open_openssh(at(server), asker=NobodyToAsk())
        assert os.getpgid(stream.pid) != os.getpgid(0)
        await stream.aclose()

    asyncio.run(main())


def test_configuration_that_does_not_come_to_an_end(server: Sshd, tmp_path: Path) -> None:
    marker = "3601"
    config = config_of(tmp_path / "config", server, f'Match exec "sleep {marker}"')
    with pytest.raises(
        TargetError, match=r"^ssh did not get to the end of its configuration for 127\.0\.0\.1 in time\.$"
    ):
        asyncio.run(echoes(replace(at(server, config=config), connect_timeout=0.3)))
    assert not [process for process in psutil.process_iter(["cmdline"]) if marker in (process.info["cmdline"] or ())]


def test_user_and_port_of_the_configuration_are_in_the_errors(server: Sshd, tmp_path: Path) -> None:
    lines = ["Host box", "HostName 127.0.0.1", "Port 1", "User somebody"]
    config = config_of(tmp_path / "config", server, *lines)
    with pytest.raises(TargetUnreachable, match=r"^box refuses connections on port 1:"):
        asyncio.run(echoes(replace(at(server, config=config), host="box", port=None, user=None)))
