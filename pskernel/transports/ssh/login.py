"""What both SSH backends share: where to log in, what to ask on the way, and what to say when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pskernel.errors import (
    AuthenticationFailed,
    ConnectError,
    NotPowerShell,
    PromptUnavailable,
    TargetError,
    TargetUnreachable,
)
from pskernel.questions import Asker, Question
from pskernel.transports.base import Secret
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

__all__ = [
    "Deadline",
    "Login",
    "SSHEndpoint",
    "Unreached",
    "how_it_left",
    "in_configuration",
    "is_password_prompt",
    "parse_jump",
]

# As OpenSSH's NumberOfPasswordPrompts.
_MAX_ASKS = 3
# A login by question and answer takes a handful of steps. The server sets their number, so there is a bound.
_MAX_CHALLENGES = 20
_MAX_PROMPTS = 10
_MAX_PROMPT_CHARS = 1_000
# A POSIX shell's exit status for a command that is not there; sshd has the user's shell start the subsystem.
_NOT_FOUND = 127
_SUBSYSTEM = "powershell"

# Prompts that a stored password answers, and those that look like it but want a code of the moment.
_PASSWORD_PROMPT = re.compile(r"pass|kennwort|contrase|senha|lösenord|wachtwoord|парол|密码|パスワード", re.IGNORECASE)
_CODE_PROMPT = re.compile(r"code|otp|one.?time|token|verif", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SSHEndpoint:
    """Where and as whom to log in, and what to start there. ``None`` leaves it to the ssh configuration.

    Attributes:
        host: name or address, or an alias of the ssh configuration; an IPv6 address without brackets.
        port: the port, else 22.
        user: the user, else the local one.
        key_file: the one private key to use.
        subsystem: the sshd subsystem that is PowerShell.
        ssh_config: the configuration file, else ~/.ssh/config; ``"none"`` reads no file.
        known_hosts: the file of known host keys to use instead of the user's own; the machine's still counts.
        proxy_jump: the jump hosts (``[user@]host[:port]``, separated by commas), or ``"none"``.
        accept_host_key: the fingerprint (``SHA256:...``) of the one host key to accept, also if it is not known.
        connect_timeout: seconds for finding the name, connecting and logging in, else 30. The time that
            questions wait for the user's answer does not count.
        keepalive: seconds between signs of life, else 15; three missed ones end the connection. 0 sends none.
    """

    host: str
    port: int | None = None
    user: str | None = None
    key_file: str | None = None
    subsystem: str = _SUBSYSTEM
    ssh_config: str | None = None
    known_hosts: str | None = None
    proxy_jump: str | None = None
    accept_host_key: str | None = None
    connect_timeout: float | None = None
    keepalive: float | None = None

    def __post_init__(self) -> None:
        """Refuse what the ssh program could take for an option.

        Raises:
            TargetError: host, user or subsystem is empty, begins with a hyphen, or holds blanks.
        """
        for name, value in (("host", self.host), ("user", self.user), ("subsystem", self.subsystem)):
            # A Windows user name may hold blanks.
            if value is not None and not re.fullmatch(
                r"[^-\s][^\x00-\x1f]*" if name == "user" else r"[^-\s]\S*", value
            ):
                raise TargetError(f"{value!r} is not a valid SSH {name}.")

    @property
    def login_command(self) -> str:
        """The command with which a user logs in there by hand."""
        words = ["ssh"]
        if self.ssh_config is not None:
            words += ["-F", self.ssh_config]
        if self.known_hosts is not None:
            words += ["-o", f"UserKnownHostsFile={in_configuration(self.known_hosts)}"]
        if self.proxy_jump is not None:
            words += ["-o", f"ProxyJump={self.proxy_jump}"]
        if self.port is not None:
            words += ["-p", str(self.port)]
        return shlex.join([*words, f"{self.user}@{self.host}" if self.user else self.host])


def parse_jump(text: str) -> SSHEndpoint:
    """Read one ``[user@]host[:port]`` of a ProxyJump, which may also be written as an ssh:// URI."""
    match = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(?:\[([^\]]+)\]|([^:@]+))(?::(\d+))?/?", text.strip())
    if match is None:
        raise TargetError(f"The ProxyJump {text!r} of the ssh configuration is not [user@]host[:port].")
    user, address, name, port = match.groups()
    return SSHEndpoint(address or name, port=int(port) if port else None, user=user)


def in_configuration(path: str) -> str:
    """Return a path as ssh's configuration takes it: with no tokens to expand, in quotes where it needs them."""
    text = str(Path(path).expanduser()).replace("%", "%%")
    return text if re.fullmatch(r"[\w./+-]+", text) else f'"{text}"'


class Deadline:
    """A time limit that stands still while the user is being asked: ``async with``, raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timeout = asyncio.timeout(seconds)
        self._holders = 0
        self._left = seconds

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stop the clock for the time of the block."""
        now = asyncio.get_running_loop().time
        if not self._holders:
            self._left = (self._timeout.when() or now()) - now()
            self._move(None)
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._move(now() + self._left)

    def _move(self, when: float | None) -> None:
        # RuntimeError: the time is up, or the limited block has been left, while the question was open.
        with contextlib.suppress(RuntimeError):
            self._timeout.reschedule(when)


class Login:
    """One login: puts its questions to the user, and remembers what was tried.

    The stored secret answers the first request for a password, once: if it is wrong, the user is asked. It is also
    tried as the passphrase of a locked key, which is checked on this machine.
    """

    def __init__(
        self, who: str, port: int = 22, *, asker: Asker, deadline: Deadline, secret: Secret | None = None
    ) -> None:
        self.who = who
        self._port = port
        self.unanswered: PromptUnavailable | None = None
        self.tried: list[str] = []
        self._asker = asker
        self._deadline = deadline
        self._secret = secret
        self._asks = 0
        self._challenges = 0
        self._challenges_begun = 0
        self._challenged = False
        self._counted = False

    def note(self, method: str) -> None:
        """Remember that a way to log in was tried."""
        if method not in self.tried:
            self.tried.append(method)

    async def password(self) -> str | None:
        """Return a password to try, or None when there is none left."""
        self._counted = False
        password = await self._stored()
        if password is None:
            password = await self._ask(f"{self.who}'s password: ", lasting="password")
        if password is not None:
            self.note("password")
        return password

    def begin_challenges(self) -> bool:
        """Say whether to let the server ask questions of its own, or to do so again."""
        # A server may offer questions and then ask none: it would go on until its own limit ends the login.
        fruitless = self._challenges_begun > 0 and not self._challenged
        self._challenges_begun += 1
        self._challenged = False
        self._counted = False
        return not fruitless and self.unanswered is None and (self._asks < _MAX_ASKS or self._secret is not None)

    async def answers(self, intro: str, prompts: Sequence[tuple[str, bool]]) -> list[str] | None:
        """Answer a server's questions (RFC 4256), or return None to give up.

        Args:
            intro: what the server says before them.
            prompts: each question and whether its answer may be shown.
        """
        self._challenged = True
        self._challenges += 1
        if self._challenges > _MAX_CHALLENGES or len(prompts) > _MAX_PROMPTS:
            return None
        if len(prompts) == 1 and not prompts[0][1] and is_password_prompt(prompts[0][0]):
            stored = await self._stored()
            if stored is not None:
                self.note("keyboard-interactive")
                return [stored]
        answers: list[str] = []
        for prompt, echo in prompts:
            lead = _bounded(intro) if not answers else ""
            text = f"{lead}\n{_bounded(prompt)}" if lead else _bounded(prompt)
            # The host's name and the introduction may hold any word.
            lasting = _bounded(prompt) if not echo and is_password_prompt(prompt) else ""
            answer = await self._ask(f"({self.who}) {text} ", secret=not echo, lasting=lasting)
            if answer is None:
                return None
            answers.append(answer)
        self.note("keyboard-interactive")
        return answers

    async def passphrase(self, file: str, *, again: bool) -> str | None:
        """Return the passphrase of a key file: the stored secret, or, ``again``, what the user answers.

        It does not count as an attempt to log in, and the secret may still be the password: nothing was sent.
        """
        if self._secret is not None and not again:
            return await asyncio.to_thread(self._secret.reveal)
        return await self.ask(f"Passphrase of the key {file} (for {self.who}): ", lasting=f"passphrase {file}")

    async def ask(self, text: str, *, secret: bool = True, lasting: str = "") -> str | None:
        """Put a question to the user, or return None if nobody can be asked; that is then remembered.

        Args:
            text: the question.
            secret: whether the answer is masked.
            lasting: what the answer is at this server, if it serves again later.
        """
        lasting = lasting and f"{self.who} {self._port} {lasting}"
        with self._deadline.held():
            try:
                return await self._asker.ask(Question(text, secret=secret, lasting=lasting))
            except PromptUnavailable as error:
                self.unanswered = self.unanswered or error
                return None

    async def _ask(self, text: str, *, secret: bool = True, lasting: str = "") -> str | None:
        if not self._counted:
            if self._asks == _MAX_ASKS or self.unanswered is not None:
                return None
            self._asks += 1
            self._counted = True
        return await self.ask(text, secret=secret, lasting=lasting)

    async def _stored(self) -> str | None:
        secret, self._secret = self._secret, None
        return None if secret is None else await asyncio.to_thread(secret.reveal)

    def refused(self, host: str, user: str, *, accepts: str = "", detail: str = "") -> ConnectError:
        """Return the error of a login that failed."""
        if self.unanswered is not None and not self.tried:
            return self.unanswered
        if self.unanswered is not None:
            return PromptUnavailable(f"{self.unanswered} The server has refused: {', '.join(self.tried)}.")
        tried = f"Tried: {', '.join(self.tried)}." if self.tried else "There was no key and no password to try."
        server = f" The server accepts: {accepts}." if accepts else ""
        return AuthenticationFailed(
            f"The server {host} refused the login of user {user}. {tried}{server}{detail} Check the user name, the "
            f"password, and that the public key is in {user}'s authorized_keys on the server."
        )


def is_password_prompt(prompt: str) -> bool:
    """Say whether a stored password is the answer to a prompt, and not a code of the moment."""
    return bool(_PASSWORD_PROMPT.search(prompt)) and not _CODE_PROMPT.search(prompt)


def how_it_left(status: int, subsystem: str) -> str:
    """Say what the exit status of the program that a subsystem (empty: sudo) starts means; nothing if it is good."""
    if not status:
        return ""
    left = f"The remote program exited with status {status}."
    if status != _NOT_FOUND or not subsystem:
        return left
    return (
        f"{left} That is how the server's shell says that it did not find the program. Install PowerShell 7 there, and "
        f"have sshd_config name it by its whole path:\n{_subsystem_line(subsystem)}"
    )


def _subsystem_line(subsystem: str) -> str:
    return f"Subsystem {subsystem} /usr/bin/pwsh -sshs -NoLogo -NoProfile"


def _bounded(text: str) -> str:
    return plain_text(text)[:_MAX_PROMPT_CHARS].strip()


class Unreached:
    """The sentences for a server that was not reached, or that has no PowerShell."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def name_not_found(self) -> TargetUnreachable:
        """The name does not resolve."""
        return TargetUnreachable(
            f"The name {self._host} cannot be found. Check its spelling, and that this machine's name service knows it."
        )

    def refused(self) -> TargetUnreachable:
        """The port is closed."""
        return TargetUnreachable(
            f"{self._host} refuses connections on port {self._port}: no SSH server is listening there. Check the "
            "port, and that sshd is running."
        )

    def no_route(self) -> TargetUnreachable:
        """The network does not know the way."""
        return TargetUnreachable(
            f"There is no route to {self._host}. Check this machine's network, its VPN, and the address."
        )

    def no_answer(self, seconds: float) -> TargetUnreachable:
        """Nothing came back."""
        return TargetUnreachable(
            f"{self._host} did not answer on port {self._port} within {seconds:g} seconds. It may be down, or a "
            "firewall may drop the packets. The option connect_timeout=SECONDS waits longer."
        )

    def slow_login(self, seconds: float) -> TargetUnreachable:
        """It answers, but does not get to the end of the login."""
        return TargetUnreachable(
            f"{self._host} took the connection on port {self._port}, but the login was not complete after "
            f"{seconds:g} seconds. The server may be overloaded, or something else may be listening on that "
            "port. The option connect_timeout=SECONDS waits longer."
        )

    def hung_up(self) -> TargetUnreachable:
        """It closed the connection before any login."""
        return TargetUnreachable(
            f"{self._host} closed the connection on port {self._port} before the login. It may turn this address "
            "away, have too many logins open (MaxStartups), share no algorithm with this client, or not be an SSH "
            "server."
        )

    def not_ssh(self) -> NotPowerShell:
        """Something else is listening."""
        return NotPowerShell(f"What answers at {self._host}, port {self._port}, is not an SSH server. Check the port.")

    def no_session(self) -> ConnectError:
        """The login worked, but no channel was opened."""
        return ConnectError(
            f"The login to {self._host} worked, but its SSH server opened no session. It may allow this user no "
            "commands, or have reached MaxSessions; its log says why."
        )

    def no_subsystem(self, subsystem: str) -> NotPowerShell:
        """The login worked, but sshd does not know the subsystem, or could not start it."""
        # Under another name, people expect what a session configuration makes of it.
        restricted = "" if subsystem == _SUBSYSTEM else "\nFor a restricted endpoint, add -ConfigurationFile FILE.pssc."
        return NotPowerShell(
            f"The login to {self._host} worked, but its SSH server has no subsystem {subsystem}. Add this line to "
            f"sshd_config there and restart sshd:\n{_subsystem_line(subsystem)}{restricted}"
        )
