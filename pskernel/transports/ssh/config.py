"""What a user's ssh configuration says about one login, read with asyncssh."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import asyncssh

from pskernel.errors import TargetError

if TYPE_CHECKING:
    from pskernel.transports.ssh.login import SSHEndpoint

__all__ = ["Settings", "config_files", "read_settings"]

_DEFAULT_TIMEOUT = 30.0
_DEFAULT_KEEPALIVE = 15
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


@dataclass(frozen=True, slots=True)
class Settings:
    """What endpoint and ssh configuration together say about one login."""

    host: str
    port: int
    user: str
    # The name in known_hosts: without the port if the configuration gives an alias.
    known_as: tuple[str, int]
    known_hosts: tuple[str, ...]
    # The one of them that keys may be added to: the user's first, if there is one that keeps anything.
    own_known_hosts: str
    jump: str
    proxy_command: tuple[str, ...]
    timeout: float
    keepalive: int | float
    keys: tuple[str, ...]
    certificates: tuple[str, ...]
    only_these_keys: bool
    agent: str
    chooses_host_key_algorithms: bool
    chooses_ciphers: bool


def config_files(endpoint: SSHEndpoint) -> Any:
    """Return asyncssh's ``config`` argument; ``()`` lets it read ~/.ssh/config."""
    if endpoint.ssh_config is None:
        return ()
    return None if endpoint.ssh_config == "none" else [str(Path(endpoint.ssh_config).expanduser())]


async def read_settings(endpoint: SSHEndpoint) -> Settings:
    """Read the ssh configuration and put what the endpoint says on top.

    Raises:
        TargetError: a configuration file is missing or asyncssh cannot use it.
    """
    given: dict[str, Any] = {"host": endpoint.host, "config": config_files(endpoint), "client_keys": None}
    if endpoint.port is not None:
        given["port"] = endpoint.port
    if endpoint.user is not None:
        given["username"] = endpoint.user
    try:
        # In a worker thread: the configuration may run commands (Match exec).
        options = await asyncssh.SSHClientConnectionOptions.construct(None, **given)
    except OSError as error:
        raise TargetError(
            f"The ssh configuration {error.filename or endpoint.ssh_config} cannot be read: {error.strerror}. "
            "Correct the option ssh_config, or give ssh_config=none to do without."
        ) from None
    except ValueError as error:
        raise TargetError(
            f"The ssh configuration cannot be used: {error}. Correct that line, name another file with the option "
            "ssh_config=FILE (or ssh_config=none to do without), or let the system's own ssh log in "
            "(backend=openssh)."
        ) from None
    return _settle(endpoint, options)


def _settle(endpoint: SSHEndpoint, options: asyncssh.SSHClientConnectionOptions) -> Settings:
    def listed(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = options.config.get(name)
        return default if value is None else tuple(str(item) for item in value)  # type: ignore[attr-defined]

    home = Path.home()
    tokens = {"d": str(home), "h": options.host, "n": endpoint.host, "p": str(options.port), "r": options.username}
    known_hosts = listed("UserKnownHostsFile", ("~/.ssh/known_hosts", "~/.ssh/known_hosts2"))
    if endpoint.known_hosts:
        known_hosts = (endpoint.known_hosts.replace("%", "%%"),)
    own = _files(known_hosts, tokens)
    machine = _files(listed("GlobalKnownHostsFile", ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")), tokens)
    jump = endpoint.proxy_jump or (options.tunnel if isinstance(options.tunnel, str) else "")
    keys = listed("IdentityFile", tuple(f"~/.ssh/{name}" for name in _DEFAULT_KEYS))
    if endpoint.key_file:
        keys = (endpoint.key_file,)
    alias = options.config.get("HostKeyAlias")
    alive = cast("int", options.config.get("ServerAliveInterval", _DEFAULT_KEEPALIVE))
    agent = options.config.get("IdentityAgent", "SSH_AUTH_SOCK")
    return Settings(
        host=options.host,
        port=options.port,
        user=options.username,
        known_as=(str(alias), 22) if alias else (options.host, options.port),
        known_hosts=own + machine,
        own_known_hosts=next(iter(own), ""),
        jump="" if jump == "none" else jump,
        proxy_command=_without_our_variables(options.proxy_command),
        timeout=endpoint.connect_timeout or options.connect_timeout or _DEFAULT_TIMEOUT,
        keepalive=endpoint.keepalive if endpoint.keepalive is not None else alive,
        keys=tuple(os.path.expanduser(file) for file in keys),  # noqa: PTH111 - the other half of _expand
        certificates=tuple(os.path.expanduser(file) for file in listed("CertificateFile", ())),  # noqa: PTH111
        only_these_keys=bool(endpoint.key_file or options.config.get("IdentitiesOnly")),
        agent=os.environ.get("SSH_AUTH_SOCK", "") if agent == "SSH_AUTH_SOCK" else _expand(str(agent or ""), tokens),
        chooses_host_key_algorithms=bool(options.config.get("HostKeyAlgorithms")),
        chooses_ciphers=bool(options.config.get("Ciphers")),
    )


def _without_our_variables(command: Any) -> tuple[str, ...]:
    """Return ProxyCommand's words such that what it starts does not get PSKERNEL_* variables of ours."""
    ours = [name for name in os.environ if name.startswith("PSKERNEL_")]
    if not command or not ours or sys.platform == "win32":
        return tuple(command or ())
    return ("env", *(f"-u{name}" for name in ours), *command)


def _files(names: tuple[str, ...], tokens: dict[str, str]) -> tuple[str, ...]:
    """Return the files among the known_hosts of a configuration: ``none`` stands for no file, and so does /dev/null."""
    return tuple(_expand(name, tokens) for name in names if name.lower() not in ("none", os.devnull))


def _expand(path: str, tokens: dict[str, str]) -> str:
    """Expand what ssh_config(5) allows in the name of a known_hosts file."""
    tokens = {**tokens, "%": "%"}
    return os.path.expanduser(re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), path))  # noqa: PTH111
