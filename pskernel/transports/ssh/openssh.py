"""A byte stream over an SSH subsystem, with the system's own ssh program.

It honours everything in the user's ssh configuration (FIDO keys, ControlMaster, Kerberos, corporate wrappers) but for
one thing: unknown host keys are always refused, whatever StrictHostKeyChecking says, unless the option
accept_host_key names them; then every other key is refused, known or not. (For jump hosts, which ssh logs in to
through an ssh of its own, StrictHostKeyChecking counts, and its question is answered with no.)

ssh tells what it is doing on standard error only: the lines read here are OpenSSH's, at its log level DEBUG2, which
shows no secrets. They are not kept. With sudo it is DEBUG1: lines of DEBUG2 would stand in the midst of its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pskernel.errors import ConnectError, HostKeyRejected, TargetUnreachable
from pskernel.transports.base import Peer, Secret
from pskernel.transports.process import Child, ProcessStream, start
from pskernel.transports.ssh.hostkeys import (
    ShownKey,
    accepted_key,
    changed_key,
    kind_of,
    revoked_key,
    unexpected_key,
    unknown_key,
)
from pskernel.transports.ssh.login import Deadline, Login, SSHEndpoint, Unreached, how_it_left
from pskernel.transports.ssh.opensshconfig import SSHConfig, command_line, read_config
from pskernel.transports.ssh.prompts import PromptBridge
from pskernel.transports.ssh.stream import elevated

if TYPE_CHECKING:
    from collections.abc import Callable

    from pskernel.questions import Asker
    from pskernel.transports.elevation import Handover

__all__ = ["SSHChild", "log_in", "open_openssh"]

_Child = TypeVar("_Child", bound="SSHChild")

# ssh's own exit status for "the connection failed"; a remote program may use it too, hardly PowerShell.
_CONNECTION_FAILED = 255
_MAX_LINE = 8_192
_NOTED_ELSEWHERE = {"publickey", "password", "keyboard-interactive"}
# Lines of ssh's log, at VERBOSE and below.
_LOG_LINE = re.compile(r"debug[123]: |Authenticated to |Transferred: sent |Bytes per second: sent ")
_CHANGED = re.compile(
    r"^The fingerprint for the (?P<kind>\S+) key sent by the remote host is\n(?P<fingerprint>SHA256:[\w+/=]+)\.$"
    r".*?^Offending (?:\S+ )?key in (?P<file>.+?):(?P<line>\d+)$"
    r".*?^Host key for (?P<label>\S+) has changed",
    re.MULTILINE | re.DOTALL,
)
# The channel runs: our own, or one of a shared connection (ControlMaster).
_AUTHENTICATED = re.compile(r'Authenticated to .* using "(?P<method>[\w-]+)"')
_KEY = re.compile(r"(\S+) (SHA256:[\w+/=]+)")
_READY = re.compile(
    r"debug2: subsystem request accepted|debug1: Sending command: |"
    r"debug1: mux_client_request_session: master session id"
)
# Lines of ssh's that stand in the midst of what a program wrote in pieces.
_NOISE = re.compile(rb"debug1: (?:client_input_channel_req|channel \d+): [^\n]*\n")


async def open_openssh(
    endpoint: SSHEndpoint,
    *,
    asker: Asker,
    secret: Secret | None = None,
    tell: Callable[[str], None] | None = None,
    handover: Handover | None = None,
) -> ProcessStream:
    """Log in with the system's ssh and start a subsystem, or PowerShell by sudo.

    Arguments and errors are those of :func:`pskernel.transports.ssh.subsystem.open_ssh`. Returns once the server has
    accepted the subsystem. An existing shared connection is used (ControlPath), but not with accept_host_key, for which
    the key has to be seen; none is made, because it would outlive us.
    """
    child = await log_in(
        endpoint,
        lambda config, login: SSHChild(endpoint, config, login, handover),
        asker=asker,
        secret=secret,
        tell=tell,
    )
    await child.hand_over()
    return ProcessStream(child, child.peer() if handover is None else elevated(child.peer(), handover))


async def log_in(
    endpoint: SSHEndpoint,
    make_child: Callable[[SSHConfig, Login], _Child],
    *,
    asker: Asker,
    secret: Secret | None,
    tell: Callable[[str], None] | None,
) -> _Child:
    """Start an ssh, and return it once it is ready. Raises as :func:`open_openssh`; no ssh is left then."""
    if shutil.which("ssh") is None:
        raise TargetUnreachable(
            "The program ssh is not on PATH. Install OpenSSH's client, or use the built-in one (backend=asyncssh)."
        )
    config = await read_config(endpoint)
    deadline = Deadline(endpoint.connect_timeout or config.timeout)
    login = Login(f"{config.user}@{endpoint.host}", config.port, asker=asker, deadline=deadline, secret=secret)
    child = make_child(config, login)
    try:
        async with contextlib.AsyncExitStack() as stack:
            environment: dict[str, str] = {}
            if sys.platform != "win32":
                bridge = PromptBridge(
                    login,
                    user=config.user,
                    host=config.asks_as,
                    accept_host_key=endpoint.accept_host_key,
                    give_up=child.settled.set,
                )
                environment = (await stack.enter_async_context(bridge)).environment
                child.bridge = bridge
            await start(child.argv(), child, env=environment)
            # Ended before the bridge closes: ssh would take that for an empty password, and send it.
            stack.push_async_exit(child.end_on_error)
            async with deadline:
                await child.settled.wait()
            if not child.ready:
                raise child.failure()
    except TimeoutError:
        raise child.too_slow(deadline.seconds) from None
    except asyncio.CancelledError:
        await child.end(patience=0)
        raise
    news = child.news()
    if news and tell is not None:
        tell(news)
    return child


class SSHChild(Child):
    """The ssh child: reads on its standard error how far the login got."""

    # The line of ssh's log that says that it does what it was started for.
    ready_line = _READY

    def __init__(
        self, endpoint: SSHEndpoint, config: SSHConfig, login: Login, handover: Handover | None = None
    ) -> None:
        super().__init__("ssh", handover)
        self._subsystem = endpoint.subsystem if handover is None else ""
        # Set once the subsystem runs, or ssh has given up.
        self.settled = asyncio.Event()
        self.ready = False
        self.bridge: PromptBridge | None = None
        self.endpoint = endpoint
        self.config = config
        self._login = login
        self.unreached = Unreached(endpoint.host, config.port)
        self._line = b""
        self._connected = False
        self._shown: ShownKey | None = None
        self._fingerprints: set[str] = set()
        self._pin = (endpoint.accept_host_key or "").rstrip("=")
        self._unexpected = False
        self._added = False
        self._accepts = ""
        self._method = ""

    def argv(self) -> list[str]:
        """The command line of ssh."""
        return command_line(self.endpoint, self.config, None if self._handover is None else self._handover.command_line)

    def why_cut(self, status: int) -> str:
        if status == _CONNECTION_FAILED:
            return f"The SSH connection to {self.endpoint.host} was lost."
        return super().why_cut(status)

    def how_left(self) -> str:
        if self.status and 0 < self.status < _CONNECTION_FAILED:
            return how_it_left(self.status, self._subsystem)
        return super().how_left()

    def stderr_received(self, data: bytes) -> None:
        self.read_lines(_NOISE.sub(b"", data))

    def read_lines(self, data: bytes) -> None:
        """Take apart what came on its standard error."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.read_line(line)
        if len(self._line) > _MAX_LINE:
            self.tail.feed(self._line)
            self._line = b""

    def over(self) -> None:
        super().over()
        self.settled.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        super().pipe_connection_lost(fd, exc)
        if fd == 2 and self._line:
            self.read_line(self._line)
            self._line = b""

    def read_line(self, line: bytes) -> None:
        """Learn from a line on its standard error; keep it if it is not of the log."""
        text = line.decode("utf-8", "replace").strip()
        if not _LOG_LINE.match(text):
            self._added = self._added or text.startswith(f"Warning: Permanently added '{self.config.known_as}")
            self.tail.feed(line + b"\n")
        elif self._unexpected or self.ready:
            return
        elif self.ready_line.match(text):
            self.ready = True
            self.settled.set()
        else:
            self._follow(text)

    def _follow(self, text: str) -> None:
        """Learn from a line of ssh's log before the subsystem runs."""
        if (authenticated := _AUTHENTICATED.match(text)) is not None:
            self._method = authenticated["method"]
        _, _, event = text.partition(": ")
        name, _, value = event.partition(": ")
        if event == "Connection established.":
            self._connected = True
        elif name == "Server host key" and (key := _KEY.match(value)) is not None:
            self._shown = ShownKey(kind_of(key[1].removesuffix("-cert-v01@openssh.com")), key[2])
            self._fingerprints.add(key[2])
            if self._pin not in ("", self._shown.fingerprint):
                # At once: ssh asks nobody about a key that is on file, and goes on to log in.
                self._unexpected = True
                self._signal_group(force=True)
                self.settled.set()
        elif name == "Authentications that can continue":
            self._accepts = self._accepts or value.replace(",", ", ")
        elif name == "Offering public key":
            self._login.note(f"key {value.split()[0]}")
        elif name == "Next authentication method" and value not in _NOTED_ELSEWHERE:
            self._login.note(value)

    async def end_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave no ssh behind when the login has failed."""
        if kind is not None:
            await self.end(patience=0)

    def peer(self) -> Peer:
        """Who the server is; nothing of a connection that is shared, which another ssh has made.

        ssh prints a server's banner among its own words, and a banner may look like them: of several keys, none is
        known to be the server's.
        """
        key = next(iter(self._fingerprints)) if len(self._fingerprints) == 1 else ""
        return Peer(key, self._method)

    def news(self) -> str:
        """What to tell the user of a host key that was accepted by its fingerprint."""
        accepted = self.bridge is not None and self.bridge.accepted
        if not accepted or self._shown is None or self.config.known_hosts in ("none", os.devnull):
            return ""
        problem = "" if self._added else "ssh says why when it is run by hand"
        return accepted_key(self.config.known_as, self._shown, self.config.known_hosts, problem)

    # ---- what went wrong ----

    def too_slow(self, seconds: float) -> TargetUnreachable:
        """Return the error of a login that took too long."""
        return self.unreached.slow_login(seconds) if self._connected else self.unreached.no_answer(seconds)

    def failure(self) -> ConnectError:
        """Return the error that says what ssh's last words mean, or that it was told to give up."""
        if self._unexpected and self._shown is not None:
            return HostKeyRejected(unexpected_key(self.config.known_as, self._shown, self._pin))
        if self.status is None:
            return self._login.refused(self.endpoint.host, self.config.user, accepts=self._accepts)
        said = self.tail.text()
        return self._host_key_failure(said) or self._network_failure(said) or self._login_failure(said)

    def _host_key_failure(self, said: str) -> ConnectError | None:
        # Of a jump host, there is only what the ssh that was started for it says.
        shown = self._shown or ShownKey("host", "that ssh did not show")
        revoked = re.search(r"^The (\S+) host key for (\S+) is marked as revoked", said, re.MULTILINE)
        if revoked:
            return HostKeyRejected(revoked_key(revoked[2], replace(shown, kind=revoked[1])))
        changed = _CHANGED.search(said)
        if changed:
            shown = ShownKey(changed["kind"], changed["fingerprint"])
            return HostKeyRejected(changed_key(changed["label"], shown, changed["file"], int(changed["line"])))
        return self._unknown_host() if "Host key verification failed" in said else None

    def _unknown_host(self) -> ConnectError:
        label, shown, login = self.config.known_as, self._shown, self.endpoint.login_command
        if shown is None and self.bridge is not None and self.bridge.declined is not None:
            label, shown = self.bridge.declined
            login = _login_at(label, self.endpoint)
        if shown is None:
            return HostKeyRejected(
                f"The key of a server on the way to {self.endpoint.host} is not known. Log in once with `{login}` to "
                "see which, and to accept it."
            )
        pinnable = self._shown is not None
        return HostKeyRejected(unknown_key(label, shown, file="", login=login, pinnable=pinnable))

    def _network_failure(self, said: str) -> ConnectError | None:
        seconds = self.endpoint.connect_timeout or self.config.timeout
        causes = {
            "Could not resolve hostname": self.unreached.name_not_found,
            "Connection refused": self.unreached.refused,
            "open failed: administratively prohibited": self.unreached.no_session,
            "No route to host": self.unreached.no_route,
            "Network is unreachable": self.unreached.no_route,
            "timed out": lambda: self.too_slow(seconds),
            "subsystem request failed": lambda: self.unreached.no_subsystem(self.endpoint.subsystem),
            "could not read protocol version": self.unreached.not_ssh,
            "invalid format": self.unreached.not_ssh,
            "kex_exchange_identification": self.unreached.hung_up,
        }
        return next((cause() for words, cause in causes.items() if words in said), None)

    def _login_failure(self, said: str) -> ConnectError:
        host, user = self.endpoint.host, self.config.user
        denied = re.search(r"Permission denied \(([^)]*)\)", said)
        if denied:
            return self._login.refused(host, user, accepts=denied[1].replace(",", ", "))
        disconnected = re.search(r"^Received disconnect from .*?:\d+: (.+)$", said, re.MULTILINE)
        if disconnected:
            detail = f" The server said: {disconnected[1][:300]}."
            return self._login.refused(host, user, accepts=self._accepts, detail=detail)
        last = said.rpartition("\n")[2][:300] or "it gave no reason"
        return ConnectError(f"ssh could not log in to {host}: {last}.")


def _login_at(label: str, endpoint: SSHEndpoint) -> str:
    """The command that logs in at a jump host, of which only the name in known_hosts is known: ``[host]:port``."""
    found = re.fullmatch(r"\[(.+)\]:(\d+)", label)
    host, port = (found[1], int(found[2])) if found else (label, None)
    return SSHEndpoint(host, port, ssh_config=endpoint.ssh_config).login_command
