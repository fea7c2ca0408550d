"""What the built-in SSH client and the system's own have in common: the same servers, the same sentences."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pskernel.errors import (
    AuthenticationFailed,
    HostKeyRejected,
    NotPowerShell,
    PromptUnavailable,
    TargetError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.questions import NobodyToAsk, Question
from pskernel.transports.base import ByteStream
from pskernel.transports.ssh.hostkeys import ShownKey, unexpected_key
from pskernel.transports.ssh.login import how_it_left
from pskernel.transports.ssh.openssh import open_openssh
from pskernel.transports.ssh.subsystem import SSHEndpoint, open_ssh
from tests.parts.sshd import Answers, LoginServer, Sshd, fingerprint_of, free_port, login_server, make_key, running_sshd

pytestmark = pytest.mark.sshd

Opener = Callable[..., Awaitable[ByteStream]]


@pytest.fixture(params=[open_ssh, open_openssh], ids=["asyncssh", "openssh"])
def opener(request: pytest.FixtureRequest) -> Opener:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def server(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({"powershell": "/bin/cat", "broken": "/bin/false", "missing": "pwsh-is-not-here -sshs"})


class Stored:
    def __init__(self, value: str) -> None:
        self.value = value

    def reveal(self) -> str:
        return self.value


def at(server: Sshd) -> SSHEndpoint:
    """The endpoint with which the login just works."""
    return SSHEndpoint(server.host, server.port, server.user, str(server.key), ssh_config=str(server.config))


async def echoes(stream: ByteStream) -> None:
    """Check that the stream leads to an echo, and close it."""
    await stream.send(b"hello")
    assert await stream.receive() == b"hello"
    await stream.aclose()


def fails(opener: Opener, endpoint: SSHEndpoint, kind: type[Exception], **kwargs: object) -> str:
    """Return what the login fails with; no child is left by it."""
    kwargs.setdefault("asker", NobodyToAsk())
    with pytest.raises(kind) as caught:
        asyncio.run(opener(endpoint, **kwargs))  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert not [child for child in psutil.Process().children() if child.name() == "ssh"]
    return str(caught.value)


def write_config(path: Path, known_hosts: Path, *lines: str) -> str:
    common = [f"UserKnownHostsFile {known_hosts}", "GlobalKnownHostsFile /dev/null", "IdentityAgent none", *lines]
    path.write_text("\n".join(common) + "\n")
    return str(path)


# ---- reaching the server ----


def test_login_by_key(opener: Opener, server: Sshd) -> None:
    async def main() -> None:
        await echoes(await opener(at(server), asker=NobodyToAsk()))

    asyncio.run(main())


def test_alias_of_the_configuration(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    lines = [
        "Host box",
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"User {server.user}",
        f"IdentityFile {tmp_path}/not-there",
        f"IdentityFile {server.key}",
    ]
    config = write_config(tmp_path / "config", server.known_hosts, *lines)

    async def main() -> None:
        await echoes(await opener(SSHEndpoint("box", ssh_config=config), asker=NobodyToAsk()))

    asyncio.run(main())


@pytest.mark.parametrize("lines", [[], ["HostKeyAlias box.example"]], ids=["HostName", "HostKeyAlias"])
def test_alias_with_a_stored_password(opener: Opener, tmp_path: Path, lines: list[str]) -> None:
    async def main() -> None:
        rules = LoginServer(password="stored-word")
        async with login_server(rules, host_key=make_key(tmp_path / "host_key")) as server:
            name = "box.example" if lines else f"[127.0.0.1]:{server.port}"
            (tmp_path / "known_hosts").write_text(f"{name} {server.public_key}\n")
            words = ["Host box", "HostName 127.0.0.1", f"Port {server.port}", *lines]
            config = write_config(tmp_path / "config", tmp_path / "known_hosts", *words)
            endpoint = SSHEndpoint("box", user="me", ssh_config=config)
            await echoes(await opener(endpoint, asker=NobodyToAsk(), secret=Stored("stored-word")))
            assert ["stored-word"] == rules.passwords_seen

    asyncio.run(main())


def test_name_that_does_not_exist(opener: Opener, server: Sshd) -> None:
    text = fails(opener, replace(at(server), host="no-such-host.invalid"), TargetUnreachable)
    assert text == (
        "The name no-such-host.invalid cannot be found. Check its spelling, and that this machine's name service "
        "knows it."
    )


def test_port_that_is_closed(opener: Opener, server: Sshd) -> None:
    port = free_port()
    assert fails(opener, replace(at(server), port=port), TargetUnreachable) == (
        f"127.0.0.1 refuses connections on port {port}: no SSH server is listening there. Check the port, and that "
        "sshd is running."
    )


def test_server_that_does_not_answer(opener: Opener, server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, contextlib.ExitStack() as stack:
        port = silent.getsockname()[1]
        # A full queue of connections drops further ones, as a firewall would.
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        text = fails(opener, replace(at(server), port=port, connect_timeout=0.5), TargetUnreachable)
    assert text == (
        f"127.0.0.1 did not answer on port {port} within 0.5 seconds. It may be down, or a firewall may drop the "
        "packets. The option connect_timeout=SECONDS waits longer."
    )


def test_server_that_takes_the_connection_and_says_nothing(opener: Opener, server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = fails(opener, replace(at(server), port=port, connect_timeout=0.5), TargetUnreachable)
    assert text == (
        f"127.0.0.1 took the connection on port {port}, but the login was not complete after 0.5 seconds. The server "
        "may be overloaded, or something else may be listening on that port. The option connect_timeout=SECONDS waits "
        "longer."
    )


@pytest.fixture
def address_without_a_route() -> Iterator[str]:
    """An address of TEST-NET-1 (RFC 5737) that this machine is told not to be able to reach."""
    route = ["unreachable", "192.0.2.77/32"]
    if shutil.which("ip") is None or subprocess.run(["ip", "route", "add", *route], check=False).returncode:
        pytest.skip("a route can only be set by root, with iproute2")
    yield "192.0.2.77"
    subprocess.run(["ip", "route", "del", *route], check=True)


def test_address_without_a_route(opener: Opener, server: Sshd, address_without_a_route: str) -> None:
    text = fails(opener, replace(at(server), host=address_without_a_route), TargetUnreachable)
    assert text == ("There is no route to 192.0.2.77. Check this machine's network, its VPN, and the address.")


@contextlib.asynccontextmanager
async def speaking(words: bytes) -> AsyncIterator[int]:
    """A server that says ``words`` to everybody and hangs up."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        with contextlib.suppress(OSError):
            await writer.drain()
            # Until the client has spoken, so that closing does not overtake the words.
            await reader.read(1)
        writer.close()

    listener = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (b"", TargetUnreachable, "127.0.0.1 closed the connection on port {} before the login."),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            TargetUnreachable,
            "127.0.0.1 closed the connection on port {} before the",
        ),
        (
            b"SSH-1.5-old\r\n",
            NotPowerShell,
            "What answers at 127.0.0.1, port {}, is not an SSH server. Check the port.",
        ),
    ],
)
def test_server_that_is_not_ssh(opener: Opener, server: Sshd, words: bytes, kind: type[Exception], text: str) -> None:
    async def main() -> None:
        async with speaking(words) as port:
            with pytest.raises(kind) as caught:
                await opener(replace(at(server), port=port), asker=NobodyToAsk())
            assert str(caught.value).startswith(text.format(port))

    asyncio.run(main())


def test_server_without_the_subsystem(opener: Opener, server: Sshd) -> None:
    assert fails(opener, replace(at(server), subsystem="pwsh7"), NotPowerShell) == (
        "The login to 127.0.0.1 worked, but its SSH server has no subsystem pwsh7. Add this line to sshd_config there "
        "and restart sshd:\nSubsystem pwsh7 /usr/bin/pwsh -sshs -NoLogo -NoProfile\n"
        "For a restricted endpoint, add -ConfigurationFile FILE.pssc."
    )


def test_subsystem_that_ends_at_once(opener: Opener, server: Sshd) -> None:
    async def main() -> None:
        stream = await opener(replace(at(server), subsystem="broken"), asker=NobodyToAsk())
        assert await stream.receive() == b""
        assert stream.diagnostics() == "The remote program exited with status 1."
        await stream.aclose()

    asyncio.run(main())


def test_subsystem_whose_program_is_not_there(opener: Opener, server: Sshd) -> None:
    async def main() -> None:
        stream = await opener(replace(at(server), subsystem="missing"), asker=NobodyToAsk())
        assert await stream.receive() == b""
        # After what the server's shell may have said of it.
        assert stream.diagnostics().endswith(how_it_left(127, "missing"))
        await stream.aclose()

    asyncio.run(main())


def test_cut_names_the_server(opener: Opener, server: Sshd) -> None:
    async def main() -> None:
        stream = await opener(at(server), asker=NobodyToAsk())
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        for process in psutil.Process(server.process.pid).children(recursive=True):
            process.kill()
        with pytest.raises(TransportClosed, match=r"^The SSH connection to 127\.0\.0\.1 was lost"):
            while await stream.receive():
                pass
        await stream.aclose()

    asyncio.run(main())


# ---- host keys ----


def test_unknown_host_key(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", tmp_path / "empty")
    endpoint = replace(at(server), ssh_config=config)
    text = fails(opener, endpoint, HostKeyRejected)
    fingerprint = fingerprint_of(server.folder / "host_key.pub")
    assert text.startswith(
        f"The server [127.0.0.1]:{server.port} is not known: its ED25519 key has the fingerprint {fingerprint}. Compare "
        f"that with what the server's administrator says. If it is right, give the option accept_host_key={fingerprint} "
        "where the target is named (but not in a `#% target` line: a cell may not vouch for a host), or log in once with "
        f"`ssh -F {config} -p {server.port} {server.user}@127.0.0.1`"
    )
    if opener is open_ssh:
        assert text.endswith(f", or add this line to {tmp_path}/empty:\n[127.0.0.1]:{server.port} {server.host_key}")
    assert not (tmp_path / "empty").exists()


def test_the_way_to_accept_a_key_leads_into_the_file_that_counts(
    opener: Opener, server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own = tmp_path / "my known hosts"
    endpoint = replace(
        at(server), ssh_config=write_config(tmp_path / "config", tmp_path / "other"), known_hosts=str(own)
    )
    text = fails(opener, endpoint, HostKeyRejected)
    (command,) = re.findall(r"log in once with `([^`]+)`", text)
    # The user says yes to ssh's question. Whether that login gets further does not matter: the key is on file by then.
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho yes\n")
    ask.chmod(0o700)
    environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    options = ["-o", "BatchMode=no", "-o", f"IdentityFile={server.key}"]
    words = shlex.split(command)
    subprocess.run([words[0], *options, *words[1:], "true"], env=environment, check=True, capture_output=True)
    assert not (tmp_path / "other").exists()

    async def main() -> None:
        await echoes(await opener(endpoint, asker=NobodyToAsk()))

    asyncio.run(main())


def test_host_keys_are_checked_whatever_the_configuration_says(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    for lines in (["UserKnownHostsFile none"], ["UserKnownHostsFile /dev/null"], [f"UserKnownHostsFile {tmp_path}/x"]):
        (tmp_path / "config").write_text(
            "\n".join([*lines, "StrictHostKeyChecking no", "GlobalKnownHostsFile /dev/null"])
        )
        text = fails(opener, replace(at(server), ssh_config=str(tmp_path / "config")), HostKeyRejected)
        assert "is not known" in text
    assert not (tmp_path / "x").exists()


def test_host_key_accepted_by_its_fingerprint_is_remembered(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    endpoint = replace(at(server), ssh_config=write_config(tmp_path / "config", known_hosts))
    pinned = replace(endpoint, accept_host_key=fingerprint_of(server.folder / "host_key.pub"))

    told: list[str] = []

    async def main() -> None:
        await echoes(await opener(pinned, asker=NobodyToAsk(), tell=told.append))
        assert known_hosts.read_text() == f"[127.0.0.1]:{server.port} {server.host_key}\n"
        if opener is open_ssh:
            assert known_hosts.stat().st_mode & 0o077 == 0
        for again in (endpoint, pinned):
            await echoes(await opener(again, asker=NobodyToAsk(), tell=told.append))
        assert len(known_hosts.read_text().splitlines()) == 1

    asyncio.run(main())
    label, fingerprint = f"[127.0.0.1]:{server.port}", fingerprint_of(server.folder / "host_key.pub")
    # Once: the next times it is known.
    (text,) = told
    assert text == (
        f"The server {label} was not known. Its ED25519 key {fingerprint}, which the option accept_host_key vouches "
        f"for, was added to {known_hosts}."
    )


def test_accepted_host_key_that_cannot_be_put_on_file_is_told(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    pin = fingerprint_of(server.folder / "host_key.pub")
    told: list[str] = []

    async def main() -> None:
        for known_hosts in (tmp_path / "no" / "such" / "known_hosts", Path(os.devnull)):
            config = write_config(tmp_path / "config", known_hosts)
            pinned = replace(at(server), ssh_config=config, accept_host_key=pin)
            await echoes(await opener(pinned, asker=NobodyToAsk(), tell=told.append))

    asyncio.run(main())
    # Where nothing is to be kept, nothing is told.
    (text,) = told
    assert f"could not be added to {tmp_path}/no/such/known_hosts (" in text
    assert not (tmp_path / "no").exists()


def test_another_fingerprint_does_not_do_whether_the_key_is_known_or_not(
    opener: Opener, server: Sshd, tmp_path: Path
) -> None:
    wrong = "SHA256:" + "A" * 43
    for known_hosts in (tmp_path / "empty", server.known_hosts):
        config = write_config(tmp_path / "config", known_hosts)
        text = fails(opener, replace(at(server), ssh_config=config, accept_host_key=wrong), HostKeyRejected)
        shown = ShownKey("ED25519", fingerprint_of(server.folder / "host_key.pub"))
        assert text == unexpected_key(f"[127.0.0.1]:{server.port}", shown, wrong)
    assert not (tmp_path / "empty").exists()


def test_password_does_not_go_to_a_known_server_with_another_fingerprint(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules, asker = LoginServer(password="right"), Answers()
        async with serving(rules, tmp_path, accept_host_key="SHA256:" + "A" * 43) as endpoint:
            with pytest.raises(HostKeyRejected):
                await opener(endpoint, asker=asker, secret=Stored("right"))
        assert rules.passwords_seen == []
        assert asker.questions == []

    asyncio.run(main())


def test_changed_host_key(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    old = " ".join(other.with_name("other.pub").read_text().split()[:2])
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"# comment\n[127.0.0.1]:{server.port} {old}\n")
    fingerprint = fingerprint_of(server.folder / "host_key.pub")
    config = write_config(tmp_path / "config", known_hosts)
    # The fingerprint does not help here: the old key has to go first.
    endpoint = replace(at(server), ssh_config=config, accept_host_key=fingerprint)
    assert fails(opener, endpoint, HostKeyRejected) == (
        f"The server [127.0.0.1]:{server.port} is not the one known by that name: it showed the ED25519 key "
        f"{fingerprint}, but line 2 of {known_hosts} holds another one. Somebody may be listening on the line, or the "
        "server was set up anew. The login was not attempted. Ask the server's administrator; if the change is theirs, "
        f'remove the old key with `ssh-keygen -f "{known_hosts}" -R "[127.0.0.1]:{server.port}"` and try again.'
    )


def test_revoked_host_key(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    label = f"[127.0.0.1]:{server.port}"
    known_hosts.write_text(f"{label} {server.host_key}\n@revoked * {server.host_key}\n")
    config = write_config(tmp_path / "config", known_hosts)
    text = fails(opener, replace(at(server), ssh_config=config), HostKeyRejected)
    assert text.startswith(f"The server {label} showed the ED25519 key SHA256:")
    assert "which known_hosts marks as revoked" in text


def test_files_named_by_options(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", tmp_path / "empty")
    # Blanks and percent signs mean something in a configuration, but not in an option.
    own, key = tmp_path / "my known hosts 100%h", tmp_path / "my key 100%h"
    own.write_text(server.known_hosts.read_text())
    key.write_bytes(server.key.read_bytes())
    key.chmod(0o600)

    async def main() -> None:
        endpoint = replace(at(server), ssh_config=config, known_hosts=str(own), key_file=str(key))
        await echoes(await opener(endpoint, asker=NobodyToAsk()))

    asyncio.run(main())


def test_host_certificate(opener: Opener, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "authority")
    host_key = make_key(tmp_path / "host_key")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h"]
    subprocess.run([*sign, "-n", "127.0.0.1", f"{host_key}.pub"], check=True, capture_output=True)
    certificate = f"HostCertificate {host_key}-cert.pub"
    with running_sshd({"powershell": "/bin/cat"}, options=[certificate], folder=tmp_path) as server:
        known_hosts = tmp_path / "authorities"
        public = " ".join(authority.with_name("authority.pub").read_text().split()[:2])
        known_hosts.write_text(f"@cert-authority * {public}\n")
        config = write_config(tmp_path / "config", known_hosts)

        async def main() -> None:
            await echoes(await opener(replace(at(server), ssh_config=config), asker=NobodyToAsk()))

        asyncio.run(main())


# ---- keys ----


def test_key_file_that_is_missing(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    endpoint = replace(at(server), key_file=f"{tmp_path}/id", port=free_port())
    assert fails(opener, endpoint, TargetError) == f"The specified key file {tmp_path}/id was not found."


def test_key_the_server_does_not_take(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "id")
    with running_sshd({}, options=["PasswordAuthentication no", "KbdInteractiveAuthentication no"]) as strict:
        config = write_config(tmp_path / "config", strict.known_hosts)
        endpoint = replace(at(strict), key_file=str(key), ssh_config=config)
        assert fails(opener, endpoint, AuthenticationFailed) == (
            f"The server 127.0.0.1 refused the login of user {server.user}. Tried: key {key}. The server accepts: "
            f"publickey. Check the user name, the password, and that the public key is in {server.user}'s "
            "authorized_keys on the server."
        )


def test_server_that_disconnects_during_the_login(opener: Opener, server: Sshd) -> None:
    with running_sshd({}, options=["MaxAuthTries 1"]) as impatient:
        endpoint = replace(at(impatient), key_file=str(server.key), ssh_config="none")
        endpoint = replace(endpoint, known_hosts=str(impatient.known_hosts))
        text = fails(opener, endpoint, AuthenticationFailed)
    assert "The server said: Too many authentication failures." in text


def with_locked_key(tmp_path: Path) -> tuple[LoginServer, Path]:
    key = make_key(tmp_path / "id", passphrase="open sesame")
    return LoginServer(authorized=tmp_path / "id.pub"), key


@contextlib.asynccontextmanager
async def serving(rules: LoginServer, tmp_path: Path, **kwargs: object) -> AsyncIterator[SSHEndpoint]:
    """Serve logins by ``rules``; gives the endpoint for it."""
    if not (tmp_path / "host_key").exists():
        make_key(tmp_path / "host_key")
    async with login_server(rules, host_key=tmp_path / "host_key") as server:
        (tmp_path / "known_hosts").write_text(server.known_hosts_line())
        config = write_config(tmp_path / "config", tmp_path / "known_hosts", f"IdentityFile {tmp_path}/no-key")
        endpoint = SSHEndpoint("127.0.0.1", server.port, "me", ssh_config=config)
        yield replace(endpoint, **kwargs)  # type: ignore[arg-type]


def test_passphrase_is_asked_until_it_is_right(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules, key = with_locked_key(tmp_path)
        async with serving(rules, tmp_path, key_file=str(key)) as endpoint:
            asker = Answers("wrong", "open sesame")
            await echoes(await opener(endpoint, asker=asker))
            assert asker.questions == [Question(f"Passphrase of the key {key} (for me@127.0.0.1): ", secret=True)] * 2

    asyncio.run(main())


def test_stored_passphrase(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules, key = with_locked_key(tmp_path)
        async with serving(rules, tmp_path, key_file=str(key)) as endpoint:
            await echoes(await opener(endpoint, asker=NobodyToAsk(), secret=Stored("open sesame")))

    asyncio.run(main())


def test_passphrase_is_not_asked_for_a_key_the_server_does_not_take(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules, key = with_locked_key(tmp_path)
        rules.authorized = None
        rules.password = "right"
        async with serving(rules, tmp_path, key_file=str(key)) as endpoint:
            asker = Answers("right")
            await echoes(await opener(endpoint, asker=asker))
            assert asker.texts == ["me@127.0.0.1's password: "]

    asyncio.run(main())


def test_missing_passphrase_is_the_error(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules, key = with_locked_key(tmp_path)
        async with serving(rules, tmp_path, key_file=str(key)) as endpoint:
            with pytest.raises(PromptUnavailable, match=f"^Passphrase of the key {key} .* is needed"):
                await opener(endpoint, asker=NobodyToAsk())

    asyncio.run(main())


def test_certificate_beside_the_key(opener: Opener, tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "id")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n"]
    with running_sshd({"powershell": "/bin/cat"}, options=[f"TrustedUserCAKeys {authority}.pub"]) as server:
        subprocess.run([*sign, server.user, f"{key}.pub"], check=True, capture_output=True)

        async def main() -> None:
            await echoes(await opener(replace(at(server), key_file=str(key)), asker=NobodyToAsk()))

        asyncio.run(main())


@contextlib.contextmanager
def agent_with(key: Path, folder: Path):
    socket_path = folder / "agent"
    socket_path.unlink(missing_ok=True)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.PIPE)
    assert agent.stdout is not None
    # It says where it listens once it does.
    agent.stdout.readline()
    subprocess.run(
        ["ssh-add", "-q", str(key)], env={"SSH_AUTH_SOCK": str(socket_path)}, check=True, capture_output=True
    )
    try:
        yield str(socket_path)
    finally:
        agent.kill()
        agent.communicate()


def test_key_of_the_agent(opener: Opener, server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(f"UserKnownHostsFile {server.known_hosts}\nIdentityFile {tmp_path}/none\n")
    endpoint = replace(at(server), key_file=None, ssh_config=str(tmp_path / "config"))
    with agent_with(server.key, server.folder) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)

        async def main() -> None:
            await echoes(await opener(endpoint, asker=NobodyToAsk()))

        asyncio.run(main())
    # The agent is dead now: that is no reason to fail with anything but the lack of a key.
    fails(opener, endpoint, PromptUnavailable)


# ---- passwords ----


def test_password(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path) as endpoint:
            asker = Answers("wrong", "right")
            await echoes(await opener(endpoint, asker=asker))
            assert asker.questions == [Question("me@127.0.0.1's password: ", secret=True)] * 2
            assert rules.passwords_seen == ["wrong", "right"]

    asyncio.run(main())


def test_stored_password(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path) as endpoint:
            await echoes(await opener(endpoint, asker=NobodyToAsk(), secret=Stored("right")))
            assert rules.passwords_seen == ["right"]

    asyncio.run(main())


def test_wrong_stored_password_is_tried_once(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path) as endpoint:
            asker = Answers("still wrong", "right")
            await echoes(await opener(endpoint, asker=asker, secret=Stored("stored")))
            assert rules.passwords_seen == ["stored", "still wrong", "right"]
            rules.passwords_seen.clear()
            with pytest.raises(PromptUnavailable, match="The server has refused: password") as caught:
                await opener(endpoint, asker=NobodyToAsk(), secret=Stored("stored"))
            assert rules.passwords_seen == ["stored"]
            assert "stored" not in str(caught.value)

    asyncio.run(main())


def test_three_wrong_passwords(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path) as endpoint:
            with pytest.raises(AuthenticationFailed) as caught:
                await opener(endpoint, asker=Answers(*["secret-word"] * 9))
            assert rules.passwords_seen == ["secret-word"] * 3
            assert str(caught.value).startswith(
                "The server 127.0.0.1 refused the login of user me. Tried: password. The server accepts: password."
            )
            assert "secret-word" not in str(caught.value)

    asyncio.run(main())


def test_nobody_there_for_the_password(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path) as endpoint:
            with pytest.raises(PromptUnavailable, match=r"^me@127\.0\.0\.1's password is needed"):
                await opener(endpoint, asker=NobodyToAsk())
            assert rules.passwords_seen == []

    asyncio.run(main())


def test_password_and_one_time_code(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        rules = LoginServer(
            questions=[[("Password: ", False)], [("Verification code: ", True)]], answers=["right", "123456"]
        )
        async with serving(rules, tmp_path) as endpoint:
            asker = Answers("123456")
            await echoes(await opener(endpoint, asker=asker, secret=Stored("right")))
            assert asker.texts == ["(me@127.0.0.1) Verification code: "]
            asker = Answers("right", "000000", "right", "123456")
            await echoes(await opener(endpoint, asker=asker))
            assert asker.texts == ["(me@127.0.0.1) Password: ", "(me@127.0.0.1) Verification code: "] * 2

    asyncio.run(main())


def test_time_for_the_answer_does_not_count(opener: Opener, tmp_path: Path) -> None:
    class Slow:
        async def ask(self, question: Question) -> str:
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=1.5)
            return "right"

    async def main() -> None:
        rules = LoginServer(password="right")
        async with serving(rules, tmp_path, connect_timeout=1.2) as endpoint:
            await echoes(await opener(endpoint, asker=Slow()))

    asyncio.run(main())


def test_cancelled_while_the_user_is_asked(opener: Opener, tmp_path: Path) -> None:
    class Never:
        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.cancelled = False

        async def ask(self, question: Question) -> str:
            self.asked.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            raise AssertionError

    async def main() -> None:
        async with serving(LoginServer(password="right"), tmp_path) as endpoint:
            asker = Never()
            opening = asyncio.ensure_future(opener(endpoint, asker=asker))
            await asker.asked.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert asker.cancelled
            assert not [child for child in psutil.Process().children() if child.name() == "ssh"]

    asyncio.run(main())


# ---- PowerShell ----


@pytest.mark.live
def test_powershell_answers(opener: Opener, pwsh: str) -> None:
    async def main() -> None:
        stream = await opener(at(server), asker=NobodyToAsk())
        await stream.send(b"<Close PSGuid='00000000-0000-0000-0000-000000000000' />\n")
        assert (await stream.receive()).startswith(b"<CloseAck PSGuid='00000000-0000-0000-0000-000000000000'")
        await stream.aclose()

    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as server:
        asyncio.run(main())


# ---- configuration ----


def test_configuration_that_is_wrong(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("# first\nPort twenty-two\n")
    text = fails(opener, replace(at(server), ssh_config=str(tmp_path / "config"), port=None), TargetError)
    assert text.startswith(f"The ssh configuration cannot be used: {tmp_path}/config line 2: ")
    assert "ssh_config=none" in text


def test_configuration_that_is_missing(opener: Opener, server: Sshd, tmp_path: Path) -> None:
    text = fails(opener, replace(at(server), ssh_config=str(tmp_path / "none-here")), TargetError)
    assert str(tmp_path / "none-here") in text
    assert "No such file or directory" in text


# ---- jump hosts ----


@pytest.fixture(scope="module")
def inner(sshd_factory: Callable[..., Sshd]) -> Sshd:
    return sshd_factory({"powershell": "/bin/cat"})


def jump_config(path: Path, server: Sshd, inner: Sshd, *, known: tuple[Sshd, ...]) -> str:
    known_hosts = path.with_name("known")
    known_hosts.write_text("".join(one.known_hosts.read_text() for one in known))
    return write_config(
        path,
        known_hosts,
        "Host inner",
        "HostName 127.0.0.1",
        f"Port {inner.port}",
        f"ProxyJump {server.user}@jump",
        f"IdentityFile {inner.key}",
        "Host jump",
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"IdentityFile {server.key}",
    )


def test_jump_host_of_the_configuration(opener: Opener, server: Sshd, inner: Sshd, tmp_path: Path) -> None:
    config = jump_config(tmp_path / "config", server, inner, known=(server, inner))
    before = len(server.lines)

    async def main() -> None:
        endpoint = SSHEndpoint("inner", user=inner.user, ssh_config=config)
        await echoes(await opener(endpoint, asker=NobodyToAsk()))
        await echoes(await opener(replace(endpoint, proxy_jump="jump"), asker=NobodyToAsk()))
        assert sum("Accepted publickey" in line for line in server.lines[before:]) == 2
        await echoes(await opener(replace(endpoint, proxy_jump="none"), asker=NobodyToAsk()))
        assert sum("Accepted publickey" in line for line in server.lines[before:]) == 2

    asyncio.run(main())


def test_jump_host_that_is_unknown(opener: Opener, server: Sshd, inner: Sshd, tmp_path: Path) -> None:
    config = jump_config(tmp_path / "config", server, inner, known=(inner,))
    fingerprint = fingerprint_of(server.folder / "host_key.pub")
    endpoint = SSHEndpoint("inner", user=inner.user, ssh_config=config, accept_host_key=fingerprint)
    if opener is open_ssh:
        # The fingerprint is good for the target only.
        assert "is not known" in fails(opener, endpoint, HostKeyRejected)
    text = fails(opener, replace(endpoint, accept_host_key=None), HostKeyRejected)
    assert text.startswith(
        f"The server [127.0.0.1]:{server.port} is not known: its ED25519 key has the fingerprint {fingerprint}."
    )
    assert "accept_host_key" not in text
    at_jump = f"{server.user}@jump" if opener is open_ssh else f"-p {server.port} 127.0.0.1"
    login = f"ssh -F {config} {at_jump}"
    assert f"log in once with `{login}`" in text


def test_jump_host_whose_key_has_changed(opener: Opener, server: Sshd, inner: Sshd, tmp_path: Path) -> None:
    config = jump_config(tmp_path / "config", server, inner, known=(inner,))
    old = " ".join(make_key(tmp_path / "old").with_name("old.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {old}\n")
    text = fails(opener, SSHEndpoint("inner", user=inner.user, ssh_config=config), HostKeyRejected)
    assert text.startswith(f"The server [127.0.0.1]:{server.port} is not the one known by that name")
    assert f"but line 1 of {tmp_path}/known holds another one" in text


def test_target_that_the_jump_host_cannot_reach(opener: Opener, server: Sshd, inner: Sshd, tmp_path: Path) -> None:
    config = jump_config(tmp_path / "config", server, inner, known=(server, inner))
    endpoint = SSHEndpoint("inner", free_port(), inner.user, ssh_config=config)
    text = fails(opener, endpoint, TargetUnreachable)
    assert "inner" in text
    assert str(endpoint.port) in text
