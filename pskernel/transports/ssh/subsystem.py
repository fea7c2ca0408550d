"""A byte stream over an SSH subsystem, with asyncssh.

What asyncssh does not do is done here: host keys are always checked, also where the ssh configuration says not to;
jump hosts are logged in to with the same care as the target; no key file of the configuration has to exist; a locked
key is only unlocked once the server wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncssh

from pskernel.errors import ConnectError, HostKeyRejected, TargetError, TargetUnreachable
from pskernel.transports.base import Peer, Secret
from pskernel.transports.ssh.config import Settings, config_files, read_settings
from pskernel.transports.ssh.files import open_files
from pskernel.transports.ssh.hostkeys import HostKey, HostKeyPolicy, accepted_key, remember
from pskernel.transports.ssh.keys import Keys
from pskernel.transports.ssh.login import Deadline, Login, SSHEndpoint, Unreached, parse_jump
from pskernel.transports.ssh.stream import ChannelSession, SSHStream, elevated
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pskernel.questions import Asker
    from pskernel.transports.elevation import Handover

__all__ = ["WINDOW", "Route", "SSHEndpoint", "SSHStream", "open_ssh", "start_session"]

# At DEBUG asyncssh names users, key files and commands, and at its own levels above that whole packets.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_MAX_HOPS = 8
# Bytes a server may send ahead of the reader; also what limits the speed on a line with a long round trip.
WINDOW = 2_097_152
# asyncssh's own set, with AES-GCM first: PowerShell sends each line in a packet of its own, and asyncssh's ChaCha20
# makes three cipher objects a packet, which is most of what a line costs on this side.
_CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


async def open_ssh(
    endpoint: SSHEndpoint,
    *,
    asker: Asker,
    secret: Secret | None = None,
    tell: Callable[[str], None] | None = None,
    handover: Handover | None = None,
) -> SSHStream:
    """Log in to a server, by way of its jump hosts, and start a subsystem there, or PowerShell by sudo.

    Args:
        endpoint: where, as whom, and which subsystem.
        asker: who answers for passwords, codes and passphrases; each question names the user and the host.
        secret: the password to try first, once, at the target (never at a jump host).
        tell: takes a sentence for the user when the target's key was not known and is accepted all the same.
        handover: how PowerShell is started by sudo, instead of the subsystem.

    Raises:
        TargetError: the ssh configuration or the key file is missing or wrong.
        TargetUnreachable: the name, the route, the port, or no answer in time.
        HostKeyRejected: a host key is unknown, changed, revoked, or not the one the user vouches for.
        AuthenticationFailed: the login was refused.
        PromptUnavailable: it was, for lack of an answer from the user.
        NotPowerShell: the port is not SSH's, or the server has no such subsystem.
        ElevationFailed: sudo did not start PowerShell.
        ConnectError: anything else.
    """
    route = Route(asker, tell)
    try:
        settings = await route.reach(endpoint, secret)
        session = await start_session(route.connections[-1], endpoint, settings, handover)
        if handover is not None:
            await handover.settle(session.channel.write, session.tail.text)
            # SFTP would be the user's that logged in.
            return SSHStream(session, route.connections, None, elevated(route.peer, handover))
    except BaseException:
        await route.abandon()
        raise
    return SSHStream(session, route.connections, lambda: open_files(route.connections[-1]), route.peer)


async def start_session(
    connection: asyncssh.SSHClientConnection,
    endpoint: SSHEndpoint,
    settings: Settings,
    handover: Handover | None = None,
) -> ChannelSession:
    """A channel with the subsystem, or what sudo starts, at its other end. Raises as :func:`open_ssh`."""
    subsystem = endpoint.subsystem if handover is None else ""
    session = ChannelSession(endpoint.host, subsystem, handover)
    unreached = Unreached(endpoint.host, settings.port)
    command = None if handover is None else handover.command_line
    options: dict[str, Any] = {"command": command, "subsystem": subsystem or None, "request_pty": False}
    try:
        async with asyncio.timeout(settings.timeout):
            await connection.create_session(lambda: session, **options, encoding=None, window=WINDOW)  # type: ignore[arg-type, return-value]
    except TimeoutError:
        raise unreached.slow_login(settings.timeout) from None
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            raise unreached.no_subsystem(subsystem) from None
        raise unreached.no_session() from None
    except (asyncssh.Error, OSError):
        raise unreached.no_session() from None
    return session


class Route:
    """The connections on the way to a target: one for each jump host, and the target's own."""

    def __init__(self, asker: Asker, tell: Callable[[str], None] | None) -> None:
        self.connections: list[asyncssh.SSHClientConnection] = []
        self.peer = Peer()
        self._asker = asker
        self._tell = tell

    async def reach(self, endpoint: SSHEndpoint, secret: Secret | None, hops: int = 0) -> Settings:
        """Log in to ``endpoint``, through the last connection or through the jump hosts of its configuration."""
        settings = await read_settings(endpoint)
        jumps = [] if self.connections else [hop for hop in settings.jump.split(",") if hop]
        if hops + len(jumps) > _MAX_HOPS:
            raise TargetError(f"ProxyJump in the ssh configuration leads from {endpoint.host} in a circle.")
        for jump in jumps:
            at_jump = replace(
                parse_jump(jump),
                ssh_config=endpoint.ssh_config,
                known_hosts=endpoint.known_hosts,
                connect_timeout=endpoint.connect_timeout,
                keepalive=endpoint.keepalive,
            )
            # `Host *` with a ProxyJump is about the jump host too: it is not reached through itself.
            if at_jump.host != endpoint.host:
                await self.reach(at_jump, None, hops + len(jumps))
        via = self.connections[-1] if self.connections else None
        is_target = hops == 0
        login = _log_in(endpoint, settings, via=via, asker=self._asker, secret=secret, is_target=is_target)
        connection, self.peer, news = await login
        self.connections.append(connection)
        if news and self._tell is not None:
            self._tell(news)
        return settings

    async def abandon(self) -> None:
        """Drop every connection at once."""
        for connection in reversed(self.connections):
            connection.abort()
            await connection.wait_closed()


# ---- one login ----


async def _log_in(
    endpoint: SSHEndpoint,
    settings: Settings,
    *,
    via: asyncssh.SSHClientConnection | None,
    asker: Asker,
    secret: Secret | None,
    is_target: bool,
) -> tuple[asyncssh.SSHClientConnection, Peer, str]:
    deadline = Deadline(settings.timeout)
    login = Login(f"{settings.user}@{endpoint.host}", settings.port, asker=asker, deadline=deadline, secret=secret)
    keys = await Keys.load(settings, login, given=endpoint.key_file)
    client = _Client(endpoint, settings, login, keys, is_target=is_target)
    arguments: dict[str, Any] = {
        "host": endpoint.host,
        "port": settings.port,
        "username": settings.user,
        "config": config_files(endpoint),
        "tunnel": via,
        "client_factory": lambda: client,
        "client_keys": None,
        "known_hosts": client.trusted_keys,
        "x509_trusted_certs": None,
        "keepalive_interval": settings.keepalive,
        # Ours, which stand still while the user is being asked, replace asyncssh's own.
        "connect_timeout": None,
        "login_timeout": 0,
    }
    if settings.proxy_command:
        arguments["proxy_command"] = settings.proxy_command
    if not settings.chooses_ciphers:
        arguments["encryption_algs"] = _CIPHERS
    if not settings.chooses_host_key_algorithms:
        arguments["server_host_key_algs"] = client.host_key_algorithms()
    try:
        async with deadline:
            connection = await asyncssh.connect(**arguments)
    except TimeoutError:
        raise client.too_slow() from None
    except (asyncssh.Error, OSError, ValueError) as error:
        raise client.failure(error) from None
    finally:
        client.keys.close()
    return connection, client.peer(), await client.remember_key()


class _Client(asyncssh.SSHClient):
    """What asyncssh asks while it logs in, and what it learns."""

    def __init__(self, endpoint: SSHEndpoint, settings: Settings, login: Login, keys: Keys, *, is_target: bool) -> None:
        self.keys = keys
        self._is_target = is_target
        self._endpoint = endpoint
        self._settings = settings
        self._login = login
        self._policy = HostKeyPolicy(settings.known_hosts, *settings.known_as, endpoint.accept_host_key)
        self._unreached = Unreached(endpoint.host, settings.port)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._logging_in = False
        self._accepts = ""
        self._rejection = ""
        self._accepted: HostKey | None = None
        # The method that was tried last, and so the one that was good.
        self._method = ""

    # ---- the host key ----

    def host_key_algorithms(self) -> list[str]:
        """Order the algorithms so that the server shows a key that is on file, if it has one."""
        wanted = {name.replace("ssh-rsa", "rsa-sha2-512") for name in self._policy.algorithms}
        plain = sorted(_HOST_KEY_ALGORITHMS, key=lambda name: name not in wanted)
        signed = [f"{name}-cert-v01@openssh.com" for name in plain] if self._policy.authorities else []
        return signed + plain

    def trusted_keys(self, host: str, addr: str, port: int | None) -> tuple[Any, Any, Any]:  # noqa: ARG002 - asyncssh's
        """Return the keys that asyncssh may take without asking, those that may sign, and those that may not."""
        # Without authorities, revoked keys are left to validate_host_public_key, which says more about them.
        authorities = self._policy.authorities
        return _import(self._policy.trusted), _import(authorities), _import(self._policy.revoked if authorities else ())

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        shown = _host_key(key)
        file, login = self._settings.own_known_hosts, self._endpoint.login_command
        self._rejection = self._policy.objection(shown, file=file, login=login, pinnable=self._is_target)
        if not self._rejection:
            self._accepted = shown
        return not self._rejection

    def peer(self) -> Peer:
        """Who the server is, and by which method it knows us."""
        key = self._connection.get_server_host_key() if self._connection is not None else None
        return Peer(_host_key(key).fingerprint if key is not None else "", self._method)

    async def remember_key(self) -> str:
        """Put a key that was accepted by its fingerprint on file, and return what to tell the user of it."""
        file = self._settings.own_known_hosts
        if self._accepted is None or not file:
            return ""
        problem = ""
        try:
            await asyncio.to_thread(remember, file, *self._settings.known_as, self._accepted)
        except OSError as error:
            problem = error.strerror or str(error)
        return accepted_key(self._policy.label, self._accepted.shown, file, problem)

    # ---- the login ----

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> None:  # noqa: ARG002 - asyncssh's signature
        self._logging_in = True

    async def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        self._note_methods("publickey")
        return await self.keys.next()

    async def password_auth_requested(self) -> str | None:
        self._note_methods("password")
        return await self._login.password()

    def kbdint_auth_requested(self) -> str | None:
        self._note_methods("keyboard-interactive")
        return "" if self._login.begin_challenges() else None

    async def kbdint_challenge_received(
        self,
        name: str,
        instructions: str,
        lang: str,  # noqa: ARG002 - asyncssh's signature
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        return await self._login.answers(f"{name}\n{instructions}", prompts)

    def password_change_requested(self, prompt: str, lang: str) -> Any:  # noqa: ARG002 - asyncssh's signature
        self._login.note("password (it has expired: change it with ssh first)")
        return NotImplemented

    def _note_methods(self, method: str) -> None:
        self._method = method
        if self._connection is not None and not self._accepts:
            self._accepts = ", ".join(self._connection.get_server_auth_methods())

    # ---- what went wrong ----

    def too_slow(self) -> TargetUnreachable:
        """Return the error of a login that took too long."""
        seconds = self._settings.timeout
        return self._unreached.no_answer(seconds) if self._connection is None else self._unreached.slow_login(seconds)

    def failure(self, error: Exception) -> ConnectError:
        """Return the error that says what ``error`` means here."""
        host = self._endpoint.host
        reason = plain_text(str(error))[:300]
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return HostKeyRejected(self._rejection or f"The host certificate of {host} is not accepted: {reason}.")
        if isinstance(error, asyncssh.PermissionDenied) or (
            self._logging_in and isinstance(error, asyncssh.DisconnectError | OSError)
        ):
            return self._refused(error, reason)
        if isinstance(error, asyncssh.Error):
            return self._misunderstood(error, reason)
        if isinstance(error, OSError):
            return self._network(error)
        return ConnectError(f"The login to {host} failed: {reason}.")

    def _refused(self, error: Exception, reason: str) -> ConnectError:
        detail = f" The server said: {reason}."
        if isinstance(error, asyncssh.PermissionDenied):
            detail = ""
        elif isinstance(error, asyncssh.ConnectionLost | OSError):
            detail = " The server hung up: it allows no more attempts, or has waited too long."
        return self._login.refused(self._endpoint.host, self._settings.user, accepts=self._accepts, detail=detail)

    def _misunderstood(self, error: asyncssh.Error, reason: str) -> ConnectError:
        host, port = self._endpoint.host, self._settings.port
        if isinstance(error, asyncssh.ChannelOpenError):
            return TargetUnreachable(f"The jump host cannot connect to {host}, port {port}: {reason}.")
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return ConnectError(
                f"{host} and this client have no algorithm in common: {reason}. Update the server, or name the "
                "algorithm in the ssh configuration."
            )
        if isinstance(error, asyncssh.ConnectionLost):
            return self._proxy_failure() if self._settings.proxy_command else self._unreached.hung_up()
        return self._unreached.not_ssh()

    def _proxy_failure(self) -> ConnectError:
        return ConnectError(
            f"The ProxyCommand that the ssh configuration gives for {self._endpoint.host} did not reach an SSH server. "
            "Run it by hand to see why."
        )

    def _network(self, error: OSError) -> ConnectError:
        if self._settings.proxy_command:
            return self._proxy_failure()
        # asyncio joins the errors of several addresses into one text, without an errno.
        numbers = {error.errno, *(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))}
        if isinstance(error, socket.gaierror):
            return self._unreached.name_not_found()
        if errno.ECONNREFUSED in numbers:
            return self._unreached.refused()
        if numbers & {errno.EHOSTUNREACH, errno.ENETUNREACH}:
            return self._unreached.no_route()
        if numbers & {errno.ECONNRESET, errno.EPIPE}:
            return self._unreached.hung_up()
        return TargetUnreachable(f"{self._endpoint.host} cannot be reached: {error.strerror or error}.")


def _host_key(key: asyncssh.SSHKey) -> HostKey:
    return HostKey(key.get_algorithm(), key.public_data)


def _import(keys: Sequence[HostKey]) -> list[asyncssh.SSHKey]:
    """Return the keys asyncssh understands; a file may hold others."""
    imported: list[asyncssh.SSHKey] = []
    for key in keys:
        with contextlib.suppress(asyncssh.KeyImportError):
            imported.append(asyncssh.import_public_key(key.text))
    return imported
