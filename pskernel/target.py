"""What to connect to, as a value: an ``ssh://``, ``winrm://``, ``container://``, ``vm://``, ``process:``, ``unix:``,
``pid:``, ``pipe:`` or ``replay:`` URL.

Nothing here does I/O. A :class:`Target` that exists is valid: hosts and users cannot be mistaken for options
or shell syntax further down, and no password can be in it, so it may be shown and logged as it is.
"""

from __future__ import annotations

import difflib
import os.path
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from pskernel.address import canonical_host, check_login_user, decode, refuse_password, split_login
from pskernel.errors import TargetError
from pskernel.options import (
    CREDENTIAL_ADVICE,
    ENGINES,
    Options,
    check_elevation,
    check_option,
    is_pipe_name,
    read_machine,
    read_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMES", "Target"]

SCHEMES: Final = {
    "ssh": "ssh://[user@]host[:port]",
    "winrm": "winrm://[user@]host[:port][/application]",
    "winrm+https": "winrm+https://[user@]host[:port][/application]",
    "container": "container://[engine/]name-or-id",
    "vm": "vm://[user@]name-or-id",
    "process": "process: or process:/path/to/pwsh",
    "unix": "unix:/path/to/socket",
    "pid": "pid:NUMBER",
    "pipe": "pipe:NAME or pipe:/path/to/socket",
    "replay": "replay:recording.jsonl",
}
# Those with a host.
_HOSTS: Final = ("ssh", "winrm", "winrm+https")
_WINRM: Final = ("winrm", "winrm+https")
# Those with a user, who is never followed by a password.
_USERS: Final = (*_HOSTS, "vm")
_LABELS: Final = {"unix": "socket", "pid": "process", "pipe": "pipe"}
_MAX_TEXT: Final = 16_384

_PLAIN_LOGIN = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_APPLICATION = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
# What the engines take for a name, or the beginning of an id: nothing that could be an option.
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    r"""Where PowerShell is.

    Attributes:
        scheme: one of :data:`SCHEMES`.
        host: for ssh and winrm: the DNS name in lower case, or the IP address, IPv6 without brackets.
        port: for those: 1 to 65535, or None for what the SSH configuration says (else 22); WinRM's is 5985 or 5986.
        user: for those: the login name (``DOMAIN\user``, ``user@REALM``), or None for what the SSH configuration says
            (else the local user), for WinRM whom the Kerberos ticket is for; for a virtual machine: the user in it.
        path: for winrm: the application, None for ``wsman``; for a container: ``[engine/]name-or-id``; for a virtual
            machine: its name or id; for the others: of pwsh (None: found on PATH), of the socket, of the recording;
            the process id; the name of the pipe.
        options: all options.

    Raises:
        TargetError: a part is missing, not valid, or of another scheme.

    """

    scheme: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    path: str | None = None
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        _check_scheme(self.scheme)
        if self.scheme in _HOSTS:
            self._check_login()
        elif self.scheme == "vm":
            self._check_vm()
        elif self.host is not None or self.port is not None or self.user is not None:
            raise TargetError(f"A {self.scheme} target has no host, port or user. Write {SCHEMES[self.scheme]}.")
        elif self.scheme == "container":
            self._check_container()
        else:
            self._check_path()
        for name in self.options.changed():
            check_option(name, self.scheme)
        check_elevation(self.options.changed(), self.options, self.scheme)
        inside = [name for name in self.options.changed() if name.startswith("vm_")]
        if inside and self.scheme in _HOSTS and self.options.vm is None:
            raise TargetError(f"The option {inside[0]} is of a virtual machine: say which one with the option vm.")
        attached = self.is_attached  # which looks at the options that say so
        if self.options.sudo and (attached or self.options.vm is not None):
            raise TargetError("The option sudo starts a PowerShell of its own. Leave it out with pid, pipe and vm.")
        self.options.check_durable(self.options.changed(), is_winrm=self.is_winrm, attaches=attached)

    def _check_login(self) -> None:
        if self.path is not None and self.scheme == "ssh":
            raise TargetError(f"An ssh target has no path. Write {SCHEMES['ssh']}?option=value.")
        if self.path is not None and not _APPLICATION.fullmatch(self.path):
            raise TargetError("The application of a WinRM endpoint is letters, digits, and any of . _ - / in between.")
        object.__setattr__(self, "host", canonical_host(self.host or ""))
        if self.user is not None:
            check_login_user(self.user)
        if self.port is not None and not 1 <= self.port <= 65535:
            raise TargetError("The port must be a whole number from 1 to 65535.")

    def _check_container(self) -> None:
        engine, slash, name = (self.path or "").rpartition("/")
        if slash and engine not in ENGINES:
            raise TargetError(f"{engine[:40]!r} is not one of {', '.join(ENGINES)}. Write {SCHEMES['container']}.")
        if not _CONTAINER.fullmatch(name):
            raise TargetError(
                "The container's name or id is missing, or is none: it is made of letters, digits, '_', '.' and '-', "
                f"and begins with a letter or digit. Write {SCHEMES['container']}."
            )
        options = self.options
        if slash and options.engine not in (None, engine):
            raise TargetError(f"The target says {engine}, and the option engine {options.engine}. Give one of them.")
        if options.user is not None and options.administrator:
            raise TargetError("The options user and administrator both say who PowerShell is. Give one of them.")
        if self.engine == "kubectl" and (options.user is not None or options.administrator):
            raise TargetError(
                "kubectl has no way to choose the user: PowerShell in a pod is whom the pod's securityContext says. "
                "Leave user and administrator (-RunAsAdministrator) out."
            )

    def _check_vm(self) -> None:
        if self.host is not None or self.port is not None:
            raise TargetError(f"A vm target has no host or port. Write {SCHEMES['vm']}.")
        if self.user is not None:
            check_login_user(self.user)
        try:
            object.__setattr__(self, "path", read_machine(self.path))
        except ValueError:
            raise TargetError(
                "The virtual machine's name or id is missing, or is none: it is at most 256 characters that can be "
                f"seen, with no spaces around them. Write {SCHEMES['vm']}; in a name, write '@' as %40, '/' as %2F and "
                "'?' as %3F."
            ) from None

    def _check_path(self) -> None:
        shape = f"Write {SCHEMES[self.scheme]}."
        if self.path is None and self.scheme == "process":
            return
        if not self.path:
            raise TargetError(f"The {self.scheme} target is incomplete. {shape}")
        if not self.path.isprintable() or self.path.startswith("//"):
            raise TargetError(f"The path of a target must not begin with // or hold control characters. {shape}")
        if self.scheme == "unix" and not os.path.isabs(self.path):  # noqa: PTH117 - a pure question about the text
            raise TargetError(f"The path of a socket must be absolute. {shape}")
        if self.scheme == "pid" and not re.fullmatch(r"[1-9][0-9]{0,9}", self.path):
            raise TargetError(f"A process id is a positive whole number. {shape}")
        if self.scheme == "pipe" and not is_pipe_name(self.path):
            raise TargetError(
                f"A pipe's name has letters, digits, and any of . _ - in it; a socket's path is absolute. {shape}"
            )

    def is_same_place(self, other: Target) -> bool:
        """Whether cells run on the same PowerShell there, however it is reached."""
        return self._place() == other._place()

    def _place(self) -> tuple[object, ...]:
        options = self.options
        inside = (self.engine, options.context, options.namespace, options.container, options.user)
        path = {"container": self.machine, "vm": (self.path or "").lower()}.get(self.scheme, self.path)
        login = (self.scheme, self.host, self.port, self.user, path)
        which = (options.uri_query, options.pid, options.pipe, options.elevated_as, options.session)
        machine = ((options.vm or "").lower(), options.vm_user, options.vm_configuration)
        return *login, *which, options.subsystem, options.configuration, *inside, options.administrator, *machine

    @classmethod
    def parse(
        cls,
        text: str,
        overrides: Mapping[str, object] | None = None,
        *,
        defaults: Mapping[str, object] | None = None,
    ) -> Target:
        """Read a target.

        Args:
            text: a URL of one of the :data:`SCHEMES`; options may follow as ``?name=value&name=value``.
            overrides: options by name, as text or JSON values, that count more than those in ``text``.
            defaults: options that count less.

        Raises:
            TargetError: the text or an option is wrong. No message repeats what could be a password.

        """
        scheme, rest = _split_scheme(text.strip())
        below = read_options((defaults or {}).items(), scheme)
        above = read_options((overrides or {}).items(), scheme)
        if scheme in _USERS:
            refuse_password(rest)
        try:
            _refuse_fragment(rest)
            body, _, query = rest.partition("?")
            options = Options(**(below | _read_query(query, scheme) | above))
            return cls._from_body(scheme, body, options)
        except TargetError:
            # A password may hold any of "/?#", so that only its first part stands where a password is looked for.
            if ":" in unquote(rest.rpartition("@")[0]):
                raise TargetError(_MAYBE_PASSWORD) from None
            raise

    @classmethod
    def _from_body(cls, scheme: str, body: str, options: Options) -> Target:
        if scheme in _HOSTS:
            if not body.startswith("//"):
                raise TargetError(f"An {scheme} target begins with {scheme}://. Write {SCHEMES[scheme]}.")
            login, _, path = body[2:].partition("/")
            user, host, port = split_login(login)
            return cls(scheme, host, port, None if user is None else decode(user), path or None, options)
        if scheme == "container":
            if not body.startswith("//"):
                raise TargetError(f"A container target begins with container://. Write {SCHEMES[scheme]}.")
            return cls(scheme, path=decode(body[2:]) or None, options=options)
        if scheme == "vm":
            user, at, name = body.removeprefix("//").rpartition("@")
            if "/" in name:
                raise TargetError(
                    f"A vm target names a machine of this Hyper-V host. Write {SCHEMES['vm']}, with %2F for a '/' in "
                    "the name; through another host, write winrm://HOST?vm=NAME."
                )
            return cls(scheme, user=decode(user) if at else None, path=decode(name) or None, options=options)
        if body.startswith("//"):
            body = body[2:]
            if not body.startswith("/"):
                raise TargetError(f"A {scheme} target has no host. Write {SCHEMES[scheme]}.")
        path = decode(body)
        if body.startswith("~"):
            path = os.path.expanduser(path)  # noqa: PTH111 - pathlib would raise for an unknown user
        return cls(scheme, path=path or None, options=options)

    @property
    def pid(self) -> int | None:
        """The process id of a ``pid:`` target."""
        return int(self.path or 0) if self.scheme == "pid" else None

    @property
    def is_attached(self) -> bool:
        """Whether it is a PowerShell process that runs already, and goes on when it is left."""
        return self.scheme in ("pid", "pipe") or self.options.attaches

    @property
    def is_winrm(self) -> bool:
        """Whether it is reached by WinRM."""
        return self.scheme in _WINRM

    @property
    def engine(self) -> str | None:
        """For a container: the program that reaches it; None leaves it to what is installed."""
        if self.scheme != "container":
            return None
        return (self.path or "").rpartition("/")[0] or self.options.engine

    @property
    def machine(self) -> str | None:
        """What the machine is called: the host, the container, or the virtual machine; None for this one."""
        if self.scheme == "vm":
            return self.path
        if self.scheme == "container":
            return (self.path or "").rpartition("/")[2]
        return self.options.vm or self.host

    @property
    def label(self) -> str:
        """A short name for people, with who one is there: ``admin@web01 (sudo root)``, ``process 1234``."""
        inside = f" \N{RIGHTWARDS ARROW} {self.options.vm}" if self.options.vm else ""
        return f"{self._process_label()}{self.login}{self.options.elevated_as}{inside}"

    @property
    def login(self) -> str:
        """The way there: ``user@host:port``, or what :attr:`label` says of one without a host."""
        if self.scheme in _HOSTS:
            return ("" if self.user is None else f"{self.user}@") + self._host_and_port()
        if self.scheme == "container":
            return self._container_label()
        if self.scheme == "vm":
            return f"virtual machine {self.path}"
        if self.scheme == "process":
            return "local PowerShell" + ("" if self.path is None else f" ({self.path})")
        if self.scheme in _LABELS:
            return f"{_LABELS[self.scheme]} {self.path}"
        path = self.path or ""
        return f"recording {os.path.basename(path) or path}"  # noqa: PTH119 - a question about the text

    def _process_label(self) -> str:
        if self.options.pid is not None:
            return f"process {self.options.pid} on "
        return "" if self.options.pipe is None else f"pipe {self.options.pipe} on "

    def _container_label(self) -> str:
        if self.engine == "kubectl":
            parts = (self.options.namespace, self.machine, self.options.container)
            return f"pod {'/'.join(part for part in parts if part)}"
        return f"{self.engine + ' ' if self.engine else ''}container {self.machine}"

    @property
    def redacted(self) -> str:
        """The canonical URL. It holds no secret, only the name of the place where one is."""
        return str(self)

    def __str__(self) -> str:
        if self.scheme in _HOSTS:
            user = "" if self.user is None else quote(self.user, safe="") + "@"
            body = "//" + user + self._host_and_port(encoded=True) + (f"/{self.path}" if self.path else "")
        elif self.scheme == "container":
            body = f"//{self.path}"
        elif self.scheme == "vm":
            user = "" if self.user is None else quote(self.user, safe="") + "@"
            body = f"//{user}{quote(self.path or '', safe='')}"
        else:
            # A "~" at the beginning would be expanded when read back.
            body = re.sub(r"^~", "%7E", quote(self.path or "", safe="/:@,+=~"))
        query = self.options.query()
        return f"{self.scheme}:{body}" + (f"?{query}" if query else "")

    def __repr__(self) -> str:
        return f"Target.parse({str(self)!r})"

    def _host_and_port(self, *, encoded: bool = False) -> str:
        host = self.host or ""
        if ":" in host:
            # RFC 6874: the "%" before a zone is itself percent-encoded in a URL.
            host = f"[{host.replace('%', '%25') if encoded else host}]"
        return host if self.port is None else f"{host}:{self.port}"


_MAYBE_PASSWORD: Final = (
    "The target is not valid, and is not shown because it may hold a password. "
    + CREDENTIAL_ADVICE
    + " If the ':' and "
    "'@' in it belong to an option's value instead, write them as %3A and %40 to see what is wrong."
)


def _split_scheme(text: str) -> tuple[str, str]:
    if not text:
        raise TargetError("The target is empty. Write for example ssh://web01 or process:.")
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise TargetError(f"A target is one line of at most {_MAX_TEXT} characters, without control characters.")
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]{0,39}):(.*)", text)
    if match is None:
        example = f"ssh://{text}" if _PLAIN_LOGIN.fullmatch(text) else SCHEMES["ssh"]
        raise TargetError(
            f"A target begins with the way to get there. Write {example} to use SSH, or winrm:// for WinRM."
        )
    scheme = match[1].lower()
    _check_scheme(scheme)
    return scheme, match[2]


def _check_scheme(scheme: str) -> None:
    if scheme in SCHEMES:
        return
    known = f"This version of pskernel knows {', '.join(SCHEMES)}."
    near = difflib.get_close_matches(scheme, SCHEMES, n=1)
    hint = f"Did you mean {SCHEMES[near[0]]}?" if near else f"For a host name and a port, write {SCHEMES['ssh']}."
    raise TargetError(f"{scheme[:40]!r} is not a kind of target. {hint} {known}")


def _read_query(query: str, scheme: str) -> dict[str, object]:
    pairs = []
    for piece in query.split("&") if query else ():
        name, equals, value = piece.partition("=")
        if not equals:
            raise TargetError("Options in a target are written ?name=value&name=value.")
        # Not parse_qsl, which would read the "+" of a base64 fingerprint as a space.
        pairs.append((name, decode(value)))
    return read_options(pairs, scheme)


def _refuse_fragment(rest: str) -> None:
    if "#" in rest:
        raise TargetError("A target has no fragment. Write a '#' that belongs to it as %23.")
