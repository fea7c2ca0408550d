"""What only the built-in SSH client does. What it shares with the system's own is in test_ssh_backends.py."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import asyncssh
import psutil
import pytest

from pskernel.errors import (
    AuthenticationFailed,
    ConnectError,
    HostKeyRejected,
    TargetError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.questions import NobodyToAsk
from pskernel.transports.ssh.subsystem import SSHEndpoint, SSHStream, open_ssh
from tests.parts.sshd import Answers, LoginServer, Sshd, login_server, make_key, running_sshd

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({"powershell": "/bin/cat"})


def at(server: Sshd) -> SSHEndpoint:
    return SSHEndpoint(server.host, server.port, server.user, str(server.key), ssh_config=str(server.config))


async def opened(endpoint: SSHEndpoint) -> SSHStream:
    return await open_ssh(endpoint, asker=NobodyToAsk())


async def echoes(endpoint: SSHEndpoint) -> None:
    stream = await opened(endpoint)
    await stream.send(b"hello")
    assert await stream.receive() == b"hello"
    await stream.aclose()


def works(endpoint: SSHEndpoint) -> None:
    asyncio.run(echoes(endpoint))


def fails(endpoint: SSHEndpoint, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(opened(endpoint))
    return str(caught.value)


def public(key: Path) -> str:
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def config_of(path: Path, server: Sshd, *lines: str) -> str:
    path.write_text(server.config.read_text() + "\n".join(lines) + "\n")
    return str(path)


# ---- host keys ----


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_server_is_asked_for_the_key_that_is_on_file(tmp_path: Path, kind: str) -> None:
    """Although other kinds of key are preferred."""
    other = make_key(tmp_path / "other_host_key", kind=kind)
    with running_sshd({"powershell": "/bin/cat"}, options=[f"HostKey {other}"], folder=tmp_path) as server:
        server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {public(other)}\n")
        works(at(server))


def test_key_of_another_kind_is_a_changed_key(server: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", kind="ecdsa")
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public(other)}\n")
    text = fails(replace(at(server), known_hosts=str(tmp_path / "known_hosts")), HostKeyRejected)
    assert f"but line 1 of {tmp_path}/known_hosts holds another one" in text


def test_key_on_file_without_the_port_will_do(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"127.0.0.1 {server.host_key}\n")
    works(replace(at(server), known_hosts=str(tmp_path / "known_hosts")))


def test_accepted_key_is_hashed_where_the_others_are(server: Sshd, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"somebody {public(make_key(tmp_path / 'other'))}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known_hosts)], check=True, capture_output=True)
    print_it = ["ssh-keygen", "-l", "-f", str(server.folder / "host_key.pub")]
    pin = subprocess.run(print_it, check=True, capture_output=True, text=True).stdout.split()[1]
    endpoint = replace(at(server), known_hosts=str(known_hosts))
    works(replace(endpoint, accept_host_key=f"{pin}="))
    assert "127.0.0.1" not in known_hosts.read_text()
    works(endpoint)


def test_file_that_cannot_be_written_does_not_stop_an_accepted_key(server: Sshd, tmp_path: Path) -> None:
    print_it = ["ssh-keygen", "-l", "-f", str(server.folder / "host_key.pub")]
    pin = subprocess.run(print_it, check=True, capture_output=True, text=True).stdout.split()[1]
    (tmp_path / "file").write_text("")
    works(replace(at(server), known_hosts=f"{tmp_path}/file/known_hosts", accept_host_key=pin))


def test_host_key_alias_and_tokens_of_the_configuration(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / f"known-{server.user}-127.0.0.1").write_text(f"the-alias {server.host_key}\n")
    lines = [f"UserKnownHostsFile {tmp_path}/known-%r-%h", "HostKeyAlias the-alias", f"IdentityFile {server.key}"]
    (tmp_path / "config").write_text("\n".join(lines))
    works(replace(at(server), ssh_config=str(tmp_path / "config")))


def test_host_key_algorithms_of_the_configuration_count(server: Sshd, tmp_path: Path) -> None:
    config = config_of(tmp_path / "config", server, "HostKeyAlgorithms rsa-sha2-512")
    # The server, which has no such key, hangs up.
    assert "share no algorithm with this client" in fails(replace(at(server), ssh_config=config), ConnectError)


def test_no_algorithm_in_common(tmp_path: Path) -> None:
    async def main() -> None:
        make_key(tmp_path / "host_key")

        async def hang_up_never(process: asyncssh.SSHServerProcess[bytes]) -> None:
            raise AssertionError

        (tmp_path / "config").write_text("Ciphers aes256-ctr\n")
        async with asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(tmp_path / "host_key")],
            encryption_algs=["aes128-ctr"],
            process_factory=hang_up_never,
        ) as acceptor:
            endpoint = SSHEndpoint("127.0.0.1", acceptor.get_port(), ssh_config=str(tmp_path / "config"))
            with pytest.raises(
                ConnectError, match=r"^127\.0\.0\.1 and this client have no algorithm in common: No matching"
            ):
                await opened(endpoint)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("names", "extra", "words"),
    [("other.example.com", [], "principal mismatch"), ("127.0.0.1", ["-V", "20200101:20200102"], "expired")],
)
def test_host_certificate_that_is_wrong(tmp_path: Path, names: str, extra: list[str], words: str) -> None:
    authority, host_key = make_key(tmp_path / "authority"), make_key(tmp_path / "host_key")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", "-n", names, *extra, f"{host_key}.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    options = [f"HostCertificate {host_key}-cert.pub"]
    with running_sshd({"powershell": "/bin/cat"}, options=options, folder=tmp_path) as server:
        server.known_hosts.write_text(f"@cert-authority * {public(authority)}\n")
        text = fails(at(server), HostKeyRejected)
    assert text.startswith("The host certificate of 127.0.0.1 is not accepted: ")
    assert words in text


def test_host_certificate_of_a_revoked_authority(tmp_path: Path) -> None:
    authority, host_key = make_key(tmp_path / "authority"), make_key(tmp_path / "host_key")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", "-n", "127.0.0.1", f"{host_key}.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    options = [f"HostCertificate {host_key}-cert.pub"]
    with running_sshd({"powershell": "/bin/cat"}, options=options, folder=tmp_path) as server:
        key = public(authority)
        server.known_hosts.write_text(f"@cert-authority * {key}\n@revoked * {key}\n")
        assert "revoked" in fails(at(server), HostKeyRejected)


def test_known_hosts_with_a_key_nobody_knows(server: Sshd, tmp_path: Path) -> None:
    strange = base64.b64encode(b"\x00\x00\x00\x07ssh-new" + b"x" * 9).decode()
    label = f"[127.0.0.1]:{server.port}"
    (tmp_path / "known_hosts").write_text(f"{label} ssh-new {strange}\n{label} {server.host_key}\n")
    works(replace(at(server), known_hosts=str(tmp_path / "known_hosts")))


# ---- keys ----


@contextlib.asynccontextmanager
async def serving(rules: LoginServer, tmp_path: Path) -> AsyncIterator[SSHEndpoint]:
    make_key(tmp_path / "host_key")
    async with login_server(rules, host_key=tmp_path / "host_key") as server:
        (tmp_path / "known_hosts").write_text(server.known_hosts_line())
        known_hosts = str(tmp_path / "known_hosts")
        yield SSHEndpoint("127.0.0.1", server.port, "me", ssh_config="none", known_hosts=known_hosts)


def test_locked_key_without_its_public_half(tmp_path: Path) -> None:
    async def main() -> None:
        key = make_key(tmp_path / "id", passphrase="open sesame")
        (tmp_path / "id.pub").rename(tmp_path / "authorized")
        async with serving(LoginServer(authorized=tmp_path / "authorized"), tmp_path) as endpoint:
            asker = Answers("wrong", "open sesame")
            stream = await open_ssh(replace(endpoint, key_file=str(key)), asker=asker)
            await stream.aclose()
            assert asker.texts == [f"Passphrase of the key {key} (for me@127.0.0.1): "] * 2

    asyncio.run(main())


def test_passphrase_is_wrong_three_times(tmp_path: Path) -> None:
    async def main() -> None:
        key = make_key(tmp_path / "id", passphrase="open sesame")
        async with serving(LoginServer(authorized=tmp_path / "id.pub"), tmp_path) as endpoint:
            with pytest.raises(AuthenticationFailed, match=f"Tried: key {key}"):
                await open_ssh(replace(endpoint, key_file=str(key)), asker=Answers("a", "b", "c", "d"))

    asyncio.run(main())


def test_locked_key_with_a_certificate(server: Sshd, tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "id", passphrase="open sesame")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", server.user, f"{key}.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    with running_sshd({"powershell": "/bin/cat"}, options=[f"TrustedUserCAKeys {authority}.pub"]) as trusting:

        async def main() -> None:
            asker = Answers("open sesame")
            stream = await open_ssh(replace(at(trusting), key_file=str(key)), asker=asker)
            await stream.aclose()
            assert len(asker.questions) == 1

        asyncio.run(main())


def test_certificate_of_the_configuration(tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "id")
    with running_sshd({"powershell": "/bin/cat"}, options=[f"TrustedUserCAKeys {authority}.pub"]) as server:
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", server.user, f"{key}.pub"]
        subprocess.run(sign, check=True, capture_output=True)
        (tmp_path / "id-cert.pub").rename(tmp_path / "elsewhere.pub")
        lines = [
            f"UserKnownHostsFile {server.known_hosts}",
            f"CertificateFile {tmp_path}/not-there",
            f"CertificateFile {tmp_path}/elsewhere.pub",
        ]
        (tmp_path / "config").write_text("\n".join(lines))
        works(replace(at(server), key_file=str(key), ssh_config=str(tmp_path / "config")))


def test_file_that_is_no_key(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("garbage")
    assert fails(replace(at(server), key_file=f"{tmp_path}/id"), TargetError) == (
        f"The specified key file {tmp_path}/id cannot be used: Invalid private key."
    )


def test_file_that_is_no_key_in_the_configuration_is_left_out(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("garbage")
    lines = [f"UserKnownHostsFile {server.known_hosts}", f"IdentityFile {tmp_path}/id", f"IdentityFile {server.key}"]
    (tmp_path / "config").write_text("\n".join(lines))
    works(replace(at(server), key_file=None, ssh_config=str(tmp_path / "config")))


@pytest.mark.parametrize("only", ["yes", "no"])
def test_identities_only(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str) -> None:
    other = make_key(tmp_path / "other")
    lines = [f"UserKnownHostsFile {server.known_hosts}", f"IdentityFile {other}", f"IdentitiesOnly {only}"]
    (tmp_path / "config").write_text("\n".join(lines))
    endpoint = replace(at(server), key_file=None, ssh_config=str(tmp_path / "config"))
    agent_path = str(server.folder / f"agent-{only}")
    with subprocess.Popen(["ssh-agent", "-D", "-a", agent_path], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        environment = {"SSH_AUTH_SOCK": agent_path}
        subprocess.run(["ssh-add", "-q", str(server.key), str(other)], env=environment, check=True, capture_output=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", agent_path)
        if only == "yes":
            text = fails(endpoint, ConnectError)
            assert "The server has refused: agent key other." in text
        else:
            works(endpoint)
        agent.kill()


# ---- the login ----


def test_server_that_hangs_up_during_the_login(tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")

        class HangUp:
            async def ask(self, question: object) -> str:
                rules.connections[-1].abort()
                return "right"

        async with serving(rules, tmp_path) as endpoint:
            with pytest.raises(
                AuthenticationFailed, match="The server hung up: it allows no more attempts, or has waited"
            ):
                await open_ssh(endpoint, asker=HangUp())

    asyncio.run(main())


def test_password_that_has_expired(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(LoginServer(password="right", expired=True), tmp_path) as endpoint:
            with pytest.raises(AuthenticationFailed, match=r"password \(it has expired: change it with ssh first\)"):
                await open_ssh(endpoint, asker=Answers("right"))

    asyncio.run(main())


def test_asyncssh_says_nothing_of_logins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(LoginServer(password="secret-word"), tmp_path) as endpoint:
            stream = await open_ssh(endpoint, asker=Answers("secret-word"))
            assert "secret-word" not in repr(vars(stream))
            await stream.aclose()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]


def test_command_and_terminal_of_the_configuration_do_not_count(server: Sshd, tmp_path: Path) -> None:
    lines = ["RemoteCommand echo no", "RequestTTY force", "SetEnv A=b", "SendEnv LANG", "ForwardX11 yes"]
    works(replace(at(server), ssh_config=config_of(tmp_path / "config", server, *lines)))


def test_proxy_command(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "something")
    relay = (
        "import os, socket, sys, threading; s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "assert not [name for name in os.environ if name.startswith('PSKERNEL_')]\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    (tmp_path / "relay.py").write_text(relay)
    config = config_of(tmp_path / "config", server, f"ProxyCommand {sys.executable} {tmp_path}/relay.py %h %p")

    async def main() -> None:
        before = {child.pid for child in psutil.Process().children()}
        stream = await opened(replace(at(server), ssh_config=config))
        assert {child.pid for child in psutil.Process().children()} > before
        await stream.aclose()
        assert {child.pid for child in psutil.Process().children()} <= before

    asyncio.run(main())


# ---- the stream ----


@contextlib.asynccontextmanager
async def remote_program(tmp_path: Path, program: Callable[..., object]) -> AsyncIterator[SSHEndpoint]:
    """An SSH server without a login whose subsystem is ``program``."""
    make_key(tmp_path / "host_key")

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async with asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Open,
        server_host_keys=[str(tmp_path / "host_key")],
        process_factory=program,
        encoding=None,
    ) as acceptor:
        port = acceptor.get_port()
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {public(tmp_path / 'host_key')}\n")
        yield SSHEndpoint("127.0.0.1", port, "me", ssh_config="none", known_hosts=str(known_hosts))


def test_standard_error_is_kept_apart(tmp_path: Path) -> None:
    async def program(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stderr.write(b"y" * 100_000 + b"\n\x1b[31mlast words\x1b[0m\n")
        process.stdout.write(b"output")
        process.exit(3)

    async def main() -> None:
        async with remote_program(tmp_path, program) as endpoint:
            stream = await opened(endpoint)
            assert await stream.receive() == b"output"
            assert await stream.receive() == b""
            said = stream.diagnostics()
            assert said.endswith("y\nlast words\nThe remote program exited with status 3.")
            assert len(said) < 9_000
            await stream.aclose()

    asyncio.run(main())


def test_standard_error_is_read_while_nobody_receives(tmp_path: Path) -> None:
    """A program that first fills standard error gets on."""
    done = asyncio.Event()

    async def program(process: asyncssh.SSHServerProcess[bytes]) -> None:
        for _ in range(100):
            process.stderr.write(b"y" * 100_000)
            await process.stderr.drain()
        done.set()
        process.exit(0)

    async def main() -> None:
        async with remote_program(tmp_path, program) as endpoint:
            stream = await opened(endpoint)
            await asyncio.wait_for(done.wait(), 10)
            await stream.aclose()

    asyncio.run(main())


def test_program_that_is_killed(tmp_path: Path) -> None:
    async def program(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.exit_with_signal("KILL", msg="killed")

    async def main() -> None:
        async with remote_program(tmp_path, program) as endpoint:
            stream = await opened(endpoint)
            assert await stream.receive() == b""
            assert stream.diagnostics() == "The remote program was ended by signal KILL."
            with pytest.raises(TransportClosed):
                await stream.send(b"x")
            await stream.aclose()

    asyncio.run(main())


class Relay:
    """A TCP relay that can stop passing anything on, as a cut cable does, without a word to either side."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        self._tasks += [
            asyncio.create_task(self._pass_on(reader, far_writer)),
            asyncio.create_task(self._pass_on(far_reader, writer)),
        ]

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    def cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        self.cut()
        for writer in self._writers:
            writer.transport.abort()


def test_silence_is_noticed(server: Sshd, tmp_path: Path) -> None:
    async def main() -> None:
        relay = Relay(server.port)
        async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(f"[127.0.0.1]:{port} {server.host_key}\n")
            endpoint = replace(at(server), port=port, known_hosts=str(known_hosts), keepalive=0.1)
            stream = await opened(endpoint)
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
            relay.cut()
            with pytest.raises(TransportClosed) as caught:
                await stream.receive()
            assert str(caught.value) == (
                "The SSH connection to 127.0.0.1 was lost: Server not responding to keepalive."
            )
            await stream.aclose()
            relay.close()

    asyncio.run(main())


def test_closing_a_line_that_is_dead_does_not_take_long(server: Sshd, tmp_path: Path) -> None:
    async def main() -> None:
        relay = Relay(server.port)
        async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(f"[127.0.0.1]:{port} {server.host_key}\n")
            stream = await opened(replace(at(server), port=port, known_hosts=str(known_hosts), keepalive=0))
            relay.cut()
            async with asyncio.timeout(3):
                await stream.aclose()
            relay.close()

    asyncio.run(main())


def test_what_was_sent_last_still_arrives(tmp_path: Path) -> None:
    received = asyncio.Queue[bytes]()

    async def program(process: asyncssh.SSHServerProcess[bytes]) -> None:
        received.put_nowait(await process.stdin.read())
        process.exit(0)

    async def main() -> None:
        async with remote_program(tmp_path, program) as endpoint:
            stream = await opened(endpoint)
            await stream.send(b"x" * 1_000_000)
            await stream.aclose()
            assert len(await received.get()) == 1_000_000

    asyncio.run(main())


# ---- jump hosts ----


def jumping(tmp_path: Path, server: Sshd, *lines: str) -> SSHEndpoint:
    return replace(at(server), ssh_config=config_of(tmp_path / "config", server, *lines))


def test_jump_host_that_the_rule_for_all_hosts_would_send_through_itself(server: Sshd, tmp_path: Path) -> None:
    lines = ["Host *", "ProxyJump jump", "Host jump", "HostName 127.0.0.1", f"Port {server.port}"]
    works(jumping(tmp_path, server, *lines))


def test_jump_hosts_in_a_circle(server: Sshd, tmp_path: Path) -> None:
    lines = ["Host 127.0.0.1", "ProxyJump a", "Host a", "ProxyJump b", "Host b", "ProxyJump a"]
    text = fails(jumping(tmp_path, server, *lines), TargetError)
    assert text in {f"ProxyJump in the ssh configuration leads from {name} in a circle." for name in "ab"}


@pytest.mark.parametrize("form", ["{user}@127.0.0.1:{port}", "ssh://{user}@127.0.0.1:{port}/", "[127.0.0.1]:{port}"])
def test_forms_of_a_jump_host(server: Sshd, form: str) -> None:
    jump = form.format(user=server.user, port=server.port)
    before = len(server.lines)
    works(
        replace(at(server), proxy_jump=f"{jump},{jump}", host="localhost", known_hosts=str(known_as_localhost(server)))
    )
    assert sum("Accepted publickey" in line for line in server.lines[before:]) == 3


def known_as_localhost(server: Sshd) -> Path:
    path = server.folder / "known_as_localhost"
    lines = [f"[{name}]:{server.port} {server.host_key}\n" for name in ("localhost", "127.0.0.1")]
    path.write_text("".join(lines))
    return path


def test_jump_host_that_is_none(server: Sshd) -> None:
    assert fails(replace(at(server), proxy_jump="a:b:c"), TargetError) == (
        "The ProxyJump 'a:b:c' of the ssh configuration is not [user@]host[:port]."
    )


def test_stored_password_is_for_the_target_only(server: Sshd, tmp_path: Path) -> None:
    class Stored:
        def reveal(self) -> str:
            return "secret-word"

    async def main() -> None:
        jump = LoginServer(password="jump-word")
        make_key(tmp_path / "jump_key")
        async with login_server(jump, host_key=tmp_path / "jump_key") as at_jump:
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(at_jump.known_hosts_line() + server.known_hosts.read_text())
            endpoint = replace(at(server), proxy_jump=f"j@127.0.0.1:{at_jump.port}", known_hosts=str(known_hosts))
            asker = Answers("jump-word")
            with contextlib.suppress(ConnectError):
                # This jump host does not forward.
                await open_ssh(replace(endpoint, host="localhost"), asker=asker, secret=Stored())
            assert jump.passwords_seen == ["jump-word"]
            assert asker.texts == ["j@127.0.0.1's password: "]

    asyncio.run(main())


# ---- what the user's own files say ----


def test_home_of_the_user(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~/.ssh/config, ~/.ssh/known_hosts and the keys with the usual names are found without a word."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "known_hosts").write_text(server.known_hosts.read_text())
    (folder / "id_ed25519").write_bytes(server.key.read_bytes())
    endpoint = SSHEndpoint("127.0.0.1", server.port, server.user)
    works(endpoint)
    (folder / "config").write_text(f"Host box\nHostName 127.0.0.1\nPort {server.port}\nUser {server.user}\n")
    works(SSHEndpoint("box"))


# ---- after the login ----


def test_session_that_is_not_opened(tmp_path: Path) -> None:
    class Refusing(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> bool:
            return False

    async def main() -> None:
        make_key(tmp_path / "host_key")
        async with asyncssh.listen(
            "127.0.0.1", 0, server_factory=Refusing, server_host_keys=[str(tmp_path / "host_key")]
        ) as acceptor:
            port = acceptor.get_port()
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(f"[127.0.0.1]:{port} {public(tmp_path / 'host_key')}\n")
            with pytest.raises(
                ConnectError, match=r"^The login to 127\.0\.0\.1 worked, but its SSH server opened no session"
            ):
                await opened(SSHEndpoint("127.0.0.1", port, ssh_config="none", known_hosts=str(known_hosts)))

    asyncio.run(main())


def test_session_that_is_cut_off_while_it_opens(tmp_path: Path) -> None:
    class Cutting(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._conn = conn

        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> bool:
            self._conn.abort()
            return False

    async def main() -> None:
        make_key(tmp_path / "host_key")
        async with asyncssh.listen(
            "127.0.0.1", 0, server_factory=Cutting, server_host_keys=[str(tmp_path / "host_key")]
        ) as acceptor:
            port = acceptor.get_port()
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(f"[127.0.0.1]:{port} {public(tmp_path / 'host_key')}\n")
            with pytest.raises(ConnectError, match="opened no session"):
                await opened(SSHEndpoint("127.0.0.1", port, ssh_config="none", known_hosts=str(known_hosts)))

    asyncio.run(main())


def test_session_that_takes_too_long(tmp_path: Path) -> None:
    class Slow(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

        async def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def main() -> None:
        make_key(tmp_path / "host_key")
        async with asyncssh.listen(
            "127.0.0.1", 0, server_factory=Slow, server_host_keys=[str(tmp_path / "host_key")]
        ) as acceptor:
            port = acceptor.get_port()
            known_hosts = str(tmp_path / "known_hosts")
            (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {public(tmp_path / 'host_key')}\n")
            endpoint = SSHEndpoint("127.0.0.1", port, ssh_config="none", known_hosts=known_hosts, connect_timeout=0.5)
            with pytest.raises(TargetUnreachable, match=r"the login was not complete after 0\.5 seconds"):
                await opened(endpoint)

    asyncio.run(main())


@pytest.mark.parametrize("variable", ["PSKERNEL_TARGET", "OTHER"])
def test_proxy_command_that_does_not_exist(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in [name for name in os.environ if name.startswith("PSKERNEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, "something")
    config = config_of(tmp_path / "config", server, "ProxyCommand /no/such/program %h %p")
    assert fails(replace(at(server), ssh_config=config), ConnectError) == (
        "The ProxyCommand that the ssh configuration gives for 127.0.0.1 did not reach an SSH server. Run it by hand "
        "to see why."
    )
