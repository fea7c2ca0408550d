"""What the system's ssh is told, and what its configuration makes of that."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from pskernel.errors import TargetError
from pskernel.transports.process import child_environment
from pskernel.transports.ssh.hostkeys import host_label
from pskernel.transports.ssh.login import SSHEndpoint, in_configuration

__all__ = ["SSHConfig", "command_line", "forwarding_line", "read_config"]

_DEFAULT_TIMEOUT = 30.0
_DEFAULT_KEEPALIVE = 15


@dataclass(frozen=True, slots=True)
class SSHConfig:
    """What ``ssh -G`` says the configuration makes of an endpoint.

    ``known_as`` is its name in known_hosts, ``asks_as`` its name in ssh's questions.
    """

    host: str
    port: int
    user: str
    known_as: str
    asks_as: str
    known_hosts: str
    timeout: float
    keepalive: float


def command_line(endpoint: SSHEndpoint, config: SSHConfig, command: str | None = None) -> list[str]:
    """Return ssh's command line, for the subsystem or a command.

    What may be in the configuration is only given if the endpoint says so.
    """
    options = _options(endpoint, config, "DEBUG2" if command is None else "DEBUG1")
    flags = ["-s"] if command is None else []
    return [*_words(endpoint, flags, options), endpoint.subsystem if command is None else command]


def forwarding_line(endpoint: SSHEndpoint, config: SSHConfig, here: str, there: str) -> list[str]:
    """Return ssh's command line that has the server's socket ``there`` answer for one that it makes ``here``."""
    options = _options(endpoint, config, "DEBUG2")
    # The master of a shared connection would make the socket, and keep it; and its log is not ours.
    options["ControlPath"] = "none"
    options["StreamLocalBindMask"] = "0177"
    return _words(endpoint, ["-N", "-L", f"{here}:{there}"], options)


def _options(endpoint: SSHEndpoint, config: SSHConfig, log_level: str) -> dict[str, str]:
    options = {
        "LogLevel": log_level,
        "FingerprintHash": "sha256",
        "ControlMaster": "no",
        "StrictHostKeyChecking": "ask" if endpoint.accept_host_key and sys.platform != "win32" else "yes",
        # It would take the place of the subsystem.
        "RemoteCommand": "none",
        "ConnectTimeout": str(math.ceil(endpoint.connect_timeout or config.timeout)),
        "ServerAliveInterval": str(math.ceil(config.keepalive if endpoint.keepalive is None else endpoint.keepalive)),
    }
    if sys.platform == "win32":
        # Nobody can be asked there: PromptBridge needs Unix sockets.
        options["BatchMode"] = "yes"
    if endpoint.accept_host_key is not None:
        # A shared connection would not show the key.
        options["ControlPath"] = "none"
    if endpoint.key_file is not None:
        options["IdentitiesOnly"] = "yes"
    return options


def _words(endpoint: SSHEndpoint, flags: list[str], options: dict[str, str]) -> list[str]:
    argv = ["ssh", "-T", *flags, *_where(endpoint)]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, "--", endpoint.host]


def _where(endpoint: SSHEndpoint) -> list[str]:
    argv: list[str] = []
    if endpoint.ssh_config is not None:
        argv += ["-F", str(Path(endpoint.ssh_config).expanduser())]
    if endpoint.key_file is not None:
        # Not -i, which looks for the file before it expands tokens, and then leaves it out.
        argv += ["-o", f"IdentityFile={in_configuration(endpoint.key_file)}"]
    if endpoint.user is not None:
        argv += ["-l", endpoint.user]
    if endpoint.port is not None:
        argv += ["-p", str(endpoint.port)]
    if endpoint.known_hosts is not None:
        argv += ["-o", f"UserKnownHostsFile={in_configuration(endpoint.known_hosts)}"]
    if endpoint.proxy_jump is not None:
        argv += ["-o", f"ProxyJump={endpoint.proxy_jump}"]
    return argv


async def read_config(endpoint: SSHEndpoint) -> SSHConfig:
    """Ask ssh what the configuration makes of an endpoint.

    Raises:
        TargetError: there is no such key file, or the configuration cannot be used, or takes too long.
    """
    _check_key_file(endpoint)
    try:
        # The configuration may run commands and look up names.
        async with asyncio.timeout(endpoint.connect_timeout or _DEFAULT_TIMEOUT):
            return await _read(endpoint)
    except TimeoutError:
        raise TargetError(f"ssh did not get to the end of its configuration for {endpoint.host} in time.") from None


def _check_key_file(endpoint: SSHEndpoint) -> None:
    if endpoint.key_file is not None and not Path(endpoint.key_file).expanduser().is_file():
        raise TargetError(f"The specified key file {endpoint.key_file} was not found.")


async def _read(endpoint: SSHEndpoint) -> SSHConfig:
    process = await asyncio.create_subprocess_exec(
        "ssh",
        "-G",
        *_where(endpoint),
        "--",
        endpoint.host,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
        start_new_session=sys.platform != "win32",
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            # With what it has started (Match exec). It may have ended just now.
            with contextlib.suppress(ProcessLookupError):
                process.kill() if sys.platform == "win32" else os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        reason = errors.decode(errors="replace").strip().splitlines()
        raise TargetError(
            f"The ssh configuration cannot be used: {reason[0] if reason else 'ssh -G failed'}. Correct it, or name "
            "another file with the option ssh_config=FILE (or ssh_config=none to do without)."
        )
    values = dict(line.partition(" ")[::2] for line in output.decode(errors="replace").splitlines())
    host, port = values.get("hostname", endpoint.host), int(values.get("port", "22"))
    timeout, keepalive = values.get("connecttimeout", "none"), values.get("serveraliveinterval", "0")
    return SSHConfig(
        host=host,
        port=port,
        user=values.get("user", endpoint.user or ""),
        asks_as=values.get("hostkeyalias") or host,
        known_as=values.get("hostkeyalias") or host_label(host, port),
        known_hosts=endpoint.known_hosts or values.get("userknownhostsfile", "none").split()[0],
        timeout=float(timeout) if timeout.isdecimal() else _DEFAULT_TIMEOUT,
        keepalive=float(keepalive) if keepalive.isdecimal() and keepalive != "0" else _DEFAULT_KEEPALIVE,
    )
