"""Options of ``ssh://`` targets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pskernel.errors import TargetError
from pskernel.options.kinds import PATH, Kind, choice, number, option, read_path, string

__all__ = ["SSHOptions", "is_pipe_name"]

# One host of ProxyJump. It may reach the arguments of ssh: nothing that could be an option or shell syntax.
_JUMP = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,255}@)?"
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::([1-9][0-9]{0,4}))?"
)


def _read_config(value: object) -> str:
    text = string(value)
    return "none" if text.lower() == "none" else read_path(text)


def _read_subsystem(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", name := string(value)):
        raise ValueError
    return name


def _read_fingerprint(value: object) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", text := string(value)):
        raise ValueError
    return text.removesuffix("=")


def is_pipe_name(text: str) -> bool:
    """Whether it is the name of a process's pipe, or the path of its socket."""
    return bool(re.fullmatch(r"[A-Za-z0-9_.-]{1,200}|/.{1,200}", text))


def _read_pipe(value: object) -> str:
    if not is_pipe_name(text := string(value)):
        raise ValueError
    return text


def _read_pid(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[1-9][0-9]{0,9}", str(value)):
        raise ValueError
    return int(str(value))


def _read_jumps(value: object) -> str:
    text = string(value)
    if text.lower() == "none":
        return "none"
    jumps = [jump.strip() for jump in text.split(",")]
    for jump in jumps:
        match = _JUMP.fullmatch(jump)
        if match is None or int(match[1] or 1) > 65535:
            raise ValueError
    return ",".join(jumps)


@dataclass(frozen=True)
class SSHOptions:
    """Each at its default unless given."""

    key_file: str | None = option(
        None, PATH, "Private key to log in with, instead of the agent's and the default keys.", "ssh"
    )
    subsystem: str = option(
        "powershell",
        Kind("the name of an SSH subsystem", _read_subsystem),
        "SSH subsystem that starts PowerShell on the server, as named in its sshd_config.",
        "ssh",
    )
    backend: str = option(
        "asyncssh",
        choice("asyncssh", "openssh"),
        "Built-in SSH client, or the ssh program of this machine.",
        "ssh",
    )
    ssh_config: str | None = option(
        None,
        Kind("the path of a file, or none", _read_config),
        "Client configuration to read instead of ~/.ssh/config; none reads no configuration at all.",
        "ssh",
    )
    known_hosts: str | None = option(None, PATH, "Known host keys, instead of those in ~/.ssh/known_hosts.", "ssh")
    accept_host_key: str | None = option(
        None,
        Kind("a fingerprint as ssh-keygen prints it (SHA256: and 43 characters)", _read_fingerprint),
        "Fingerprint of the server's host key that you vouch for: that key is accepted, known or not, and no other.",
        "ssh",
    )
    proxy_jump: str | None = option(
        None,
        Kind("[user@]host[:port], several separated by commas, or none", _read_jumps),
        "Hosts to go through, in this order; none overrides ProxyJump of the SSH configuration.",
        "ssh",
    )
    keepalive: float = option(
        15.0,
        number(0, 3600, "seconds"),
        "Interval of the SSH messages that keep an idle connection open; 0 sends none.",
        "ssh",
    )
    pid: int | None = option(
        None,
        Kind("the id of a process", _read_pid),
        "Id of a PowerShell process that runs on the server already, to attach to instead of starting one.",
        "ssh",
    )
    pipe: str | None = option(
        None,
        Kind("a name or an absolute path", _read_pipe),
        "The same by its pipe: what it was started with as -CustomPipeName, or the path of its socket there.",
        "ssh",
    )

    @property
    def attaches(self) -> bool:
        """Whether PowerShell runs there already.

        Raises:
            TargetError: other options do not go with that.
        """
        if self.pid is None and self.pipe is None:
            return False
        if self.pid is not None and self.pipe is not None:
            raise TargetError("The options pid and pipe both say which process is meant. Give one of them.")
        if self.subsystem != "powershell":
            raise TargetError("A process that runs already has no subsystem to start. Leave the option subsystem out.")
        if self.backend == "openssh":
            raise TargetError(
                "The ssh program reaches a socket of the server only by way of another one on this machine. Processes "
                "there are attached to by the built-in client: leave out backend=openssh."
            )
        return True
