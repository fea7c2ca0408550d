"""Real SSH servers for tests: OpenSSH's sshd on a free port, and asyncssh's own server for logins without accounts."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import asyncssh
import pytest

from pskernel.errors import PromptUnavailable
from pskernel.questions import Question

SSHD = "/usr/sbin/sshd"


@dataclass
class Sshd:
    """A running sshd: ``key`` logs ``user`` in; ``known_hosts`` knows the server."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    user: str = field(default_factory=getpass.getuser)
    host: str = "127.0.0.1"

    @property
    def key(self) -> Path:
        return self.folder / "user_key"

    @property
    def host_key(self) -> str:
        """The server's public key: algorithm and base64."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        """An ssh configuration that knows only this server and this key."""
        return self.folder / "ssh_config"

    @property
    def log(self) -> str:
        return "\n".join(self.lines)


def make_key(path: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key pair with ssh-keygen; the public half is beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def fingerprint_of(public: Path) -> str:
    """Ask ssh-keygen for a key's fingerprint."""
    return subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public)], check=True, capture_output=True, text=True
    ).stdout.split()[1]


@contextlib.contextmanager
def running_sshd(
    subsystems: Mapping[str, str],
    *,
    options: Sequence[str] = (),
    folder: Path | None = None,
    address: str = "127.0.0.1",
    within: Sequence[str] = (),
    hostname: str = "",
) -> Iterator[Sshd]:
    """Start an sshd with ``subsystems`` (name to command line) and further lines of sshd_config; stop it at the end.

    It listens on ``address``, and is started by the command ``within``, as in a network namespace. With ``hostname``,
    that is what the machine is called for what it starts, which takes root.
    """
    if not Path(SSHD).exists():
        pytest.skip(f"{SSHD} is not installed")
    if os.geteuid() == 0:
        # The package makes it at boot; sshd refuses to start as root without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="psk-sshd-")) if folder is None else folder
    for name in ("host_key", "user_key"):
        if not (own / name).exists():
            make_key(own / name)
    try:
        named = ["unshare", "--uts", "sh", "-c", f'hostname {hostname}; exec "$@"', "sh"] if hostname else []
        server = _start(own, subsystems, options, address, [*within, *named])
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.wait(10)
    finally:
        if folder is None:
            shutil.rmtree(own, ignore_errors=True)


def _start(
    folder: Path, subsystems: Mapping[str, str], options: Sequence[str], address: str, within: Sequence[str]
) -> Sshd:
    port = free_port()
    lines = [
        f"Port {port}",
        f"ListenAddress {address}",
        f"HostKey {folder}/host_key",
        f"PidFile {folder}/pid",
        f"AuthorizedKeysFile {folder}/user_key.pub",
        "StrictModes no",
        "PermitRootLogin yes",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "MaxStartups 100",
        "LogLevel VERBOSE",
        *options,
        *(f"Subsystem {name} {command}" for name, command in subsystems.items()),
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        [*within, SSHD, "-D", "-e", "-f", str(folder / "sshd_config")],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    server = Sshd(folder, port, process, host=address)
    listening = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                server.lines.append(line.rstrip())
                if "Server listening" in line:
                    listening.set()
        listening.set()

    threading.Thread(target=read_log, daemon=True).start()
    if not listening.wait(10) or process.poll() is not None or "Server listening" not in server.log:
        process.kill()
        raise RuntimeError(f"sshd did not start: {server.log}")
    server.known_hosts.write_text(f"[{address}]:{port} {server.host_key}\n")
    server.config.write_text(
        f"UserKnownHostsFile {server.known_hosts}\nGlobalKnownHostsFile /dev/null\nIdentityFile {server.key}\n"
        "IdentitiesOnly yes\nIdentityAgent none\n"
    )
    return server


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def restricted(folder: Path) -> Path:
    """A session configuration without a language, that has Get-Date beside what such ones always have."""
    file = folder / "restricted.pssc"
    file.write_text(
        "@{ SchemaVersion = '2.0.0.0'; GUID = 'a1f2c3d4-0000-4000-8000-000000000001'; LanguageMode = 'NoLanguage'\n"
        "SessionType = 'RestrictedRemoteServer'; VisibleCmdlets = 'Get-Date' }\n"
    )
    return file


def enter_line(server: Sshd, subsystem: str = "powershell") -> str:
    """PowerShell's own line that enters the server, for a second hop."""
    return (
        f"Enter-PSSession -HostName 127.0.0.1 -Port {server.port} -UserName {server.user} -KeyFilePath {server.key} "
        f"-Options @{{ UserKnownHostsFile = '{server.known_hosts}' }} -Subsystem {subsystem}"
    )


@pytest.fixture(scope="session")
def sshd_factory() -> Iterator[Callable[..., Sshd]]:
    """Start as many sshd as wanted; all end with the test session. Arguments as :func:`running_sshd`."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(running_sshd(*args, **kwargs))


class Answers:
    """A user who gives these answers, in turn, and then is not there any more."""

    def __init__(self, *answers: str) -> None:
        self.questions: list[Question] = []
        self._answers = list(answers)

    async def ask(self, question: Question) -> str:
        self.questions.append(question)
        if not self._answers:
            raise PromptUnavailable(f"Nobody answers {question.text!r}.")
        return self._answers.pop(0)

    @property
    def texts(self) -> list[str]:
        return [question.text for question in self.questions]


# ---- asyncssh's server, in this process ----


@dataclass
class LoginServer:
    """How an in-process server lets users in, and what it has seen.

    ``questions`` are rounds of keyboard-interactive prompts (text, echo); ``answers`` the right answers, flattened.
    """

    password: str | None = None
    questions: Sequence[Sequence[tuple[str, bool]]] = ()
    answers: Sequence[str] = ()
    intro: str = ""
    authorized: Path | None = None
    expired: bool = False
    program: Sequence[str] = ("cat",)
    port: int = 0
    public_key: str = ""
    passwords_seen: list[str] = field(default_factory=list)
    answers_seen: list[list[str]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    def known_hosts_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.public_key}\n"


class _Handler(asyncssh.SSHServer):
    def __init__(self, rules: LoginServer) -> None:
        self._rules = rules
        self._round = 0
        self._given: list[str] = []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._rules.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._rules.begun.set()
        return True

    def password_auth_supported(self) -> bool:
        return self._rules.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        self._rules.passwords_seen.append(password)
        if self._rules.expired:
            raise asyncssh.PasswordChangeRequired("Your password has expired")
        return password == self._rules.password

    def kbdint_auth_supported(self) -> bool:
        return bool(self._rules.questions)

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, Sequence[tuple[str, bool]]]:
        self._round, self._given = 0, []
        return "", self._rules.intro, "", self._rules.questions[0]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> object:
        self._given += responses
        self._rules.answers_seen.append(list(responses))
        self._round += 1
        if self._round < len(self._rules.questions):
            return "", "", "", self._rules.questions[self._round]
        return self._given == list(self._rules.answers)


@contextlib.asynccontextmanager
async def login_server(rules: LoginServer, *, host_key: Path) -> AsyncIterator[LoginServer]:
    """Serve logins by ``rules``; whatever subsystem is asked for is ``rules.program``."""

    serving: list[asyncio.Task[None]] = []

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*rules.program, stdin=pipe, stdout=pipe)
        async with process:
            await process.redirect(stdin=child.stdin, stdout=child.stdout)
            process.exit(await child.wait())

    def begin(process: asyncssh.SSHServerProcess[bytes]) -> None:
        serving.append(asyncio.create_task(serve(process)))

    public_key = await asyncio.to_thread(Path(f"{host_key}.pub").read_text)
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: _Handler(rules),
        server_host_keys=[str(host_key)],
        authorized_client_keys=str(rules.authorized) if rules.authorized else None,
        process_factory=begin,
        encoding=None,
    )
    rules.port = acceptor.get_port()
    rules.public_key = " ".join(public_key.split()[:2])
    try:
        yield rules
    finally:
        acceptor.close()
        for connection in rules.connections:
            connection.abort()
        await acceptor.wait_closed()
        # Their programs have no input any more, and nothing of them may outlive the event loop.
        await asyncio.gather(*serving, return_exceptions=True)


class LoginThread:
    """A :func:`login_server` on a thread of its own, for clients in other processes."""

    def __init__(self, rules: LoginServer, folder: Path) -> None:
        self.rules = rules
        self.known_hosts = folder / "known_hosts"
        self._host_key = make_key(folder / "login_host_key")
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        self.known_hosts.write_text(self.rules.known_hosts_line())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with login_server(self.rules, host_key=self._host_key):
            self._ready.set()
            await self._end.wait()
