"""The options of a target: one declared table, :class:`Options`.

Everything else is derived from the table: reading values from text and from JSON, validation, ``describe()``
for help and documentation, and writing a query. An option's value is never repeated in an error, because
somebody may have put a password there.
"""

from __future__ import annotations

import difflib
import math
import os.path
import re
import shlex
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pskernel.credentials import CredentialReference
from pskernel.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CREDENTIAL_ADVICE", "OptionInfo", "Options", "check_option", "describe", "read_options"]

T = TypeVar("T")

CREDENTIAL_ADVICE = (
    "A target never holds a password, because targets are stored in notebooks, kernelspecs and logs. Remove "
    "it and say where the password is with the option credential=keyring:NAME, env:NAME or file:PATH, or "
    "credential=prompt to be asked for it."
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PASSWORD_NAMES = frozenset({"pass", "passphrase", "passwd", "password", "pwd"})
_MAX_TEXT = 4096
# One host of ProxyJump. It may reach the arguments of ssh: nothing that could be an option or shell syntax.
_JUMP = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,255}@)?"
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::([1-9][0-9]{0,4}))?"
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How text or a JSON value becomes the value.

    ``read`` raises ValueError, and maps its own results to themselves.
    """

    expects: str
    read: Callable[[object], object]
    unit: str = ""


def _string(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
        raise ValueError
    return value


def _number(low: float, high: float, unit: str) -> _Kind:
    def read(value: object) -> float:
        # bool is an int; float() also takes "1_0" and, in other scripts' digits, much else.
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - the one error of all readers
        if isinstance(value, str) and (not value.isascii() or "_" in value or len(value) > 40):
            raise ValueError
        number = float(value) if isinstance(value, str) or abs(value) < 1e18 else math.inf
        if not low <= number <= high:
            raise ValueError
        return number

    return _Kind(f"a number of {unit} from {low:g} to {high:g}", read, unit)


def _whole(low: int, high: int, unit: str) -> _Kind:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return _Kind(f"a whole number of {unit} from {low} to {high}", read, unit)


def _choice(*names: str) -> _Kind:
    def read(value: object) -> str:
        name = _string(value).lower()
        if name not in names:
            raise ValueError
        return name

    return _Kind(" or ".join(names), read)


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    name = _string(value).lower()
    if name not in words:
        raise ValueError
    return words[name]


def _read_path(value: object) -> str:
    return os.path.expanduser(_string(value))  # noqa: PTH111 - pathlib would raise for an unknown user


def _read_config(value: object) -> str:
    text = _string(value)
    return "none" if text.lower() == "none" else _read_path(text)


def _read_subsystem(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", name := _string(value)):
        raise ValueError
    return name


def _read_fingerprint(value: object) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", text := _string(value)):
        raise ValueError
    return text.removesuffix("=")


def _read_jumps(value: object) -> str:
    text = _string(value)
    if text.lower() == "none":
        return "none"
    jumps = [jump.strip() for jump in text.split(",")]
    for jump in jumps:
        match = _JUMP.fullmatch(jump)
        if match is None or int(match[1] or 1) > 65535:
            raise ValueError
    return ",".join(jumps)


def _read_credential(value: object) -> str:
    return str(CredentialReference.parse(_string(value)))


def _read_arguments(value: object) -> tuple[str, ...]:
    items = shlex.split(value) if isinstance(value, str) and value.isprintable() else value
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) and i.isprintable() for i in items):
        raise ValueError
    if sum(map(len, items)) > _MAX_TEXT:
        raise ValueError
    return tuple(items)


_SECONDS = _number(0.1, 3600, "seconds")
_BYTES = _whole(0, 1_000_000_000, "bytes")
_PATH = _Kind("the path of a file", _read_path)


def _option(default: T, kind: _Kind, text: str, *schemes: str) -> T:
    """Declare one option; no ``schemes`` means all. Typed as its default, as dataclasses.field itself is."""
    return field(default=default, metadata={"kind": kind, "help": text, "schemes": schemes})


@dataclass(frozen=True, slots=True)
class Options:
    """All options of a target, each at its default unless given.

    Every value, also of a directly made instance, passes through its reader: text such as ``"30"`` becomes a
    value, and ``~`` in paths is expanded.

    Raises:
        TargetError: a value is of the wrong type or out of range.

    """

    key_file: str | None = _option(
        None, _PATH, "Private key to log in with, instead of the agent's and the default keys.", "ssh"
    )
    subsystem: str = _option(
        "powershell",
        _Kind("the name of an SSH subsystem", _read_subsystem),
        "SSH subsystem that starts PowerShell on the server, as named in its sshd_config.",
        "ssh",
    )
    backend: str = _option(
        "asyncssh",
        _choice("asyncssh", "openssh"),
        "Built-in SSH client, or the ssh program of this machine.",
        "ssh",
    )
    ssh_config: str | None = _option(
        None,
        _Kind("the path of a file, or none", _read_config),
        "Client configuration to read instead of ~/.ssh/config; none reads no configuration at all.",
        "ssh",
    )
    known_hosts: str | None = _option(None, _PATH, "Known host keys, instead of those in ~/.ssh/known_hosts.", "ssh")
    accept_host_key: str | None = _option(
        None,
        _Kind("a fingerprint as ssh-keygen prints it (SHA256: and 43 characters)", _read_fingerprint),
        "Fingerprint of the server's host key that you vouch for: that key is accepted, known or not, and no other.",
        "ssh",
    )
    proxy_jump: str | None = _option(
        None,
        _Kind("[user@]host[:port], several separated by commas, or none", _read_jumps),
        "Hosts to go through, in this order; none overrides ProxyJump of the SSH configuration.",
        "ssh",
    )
    keepalive: float = _option(
        15.0,
        _number(0, 3600, "seconds"),
        "Interval of the SSH messages that keep an idle connection open; 0 sends none.",
        "ssh",
    )
    credential: str | None = _option(
        None,
        _Kind("keyring:NAME, env:NAME, file:PATH or prompt", _read_credential),
        "Where the password or passphrase is. Without it, you are asked if one is needed.",
        "ssh",
    )
    connect_timeout: float = _option(30.0, _SECONDS, "Time to reach the target and log in.", "ssh")
    open_timeout: float = _option(60.0, _SECONDS, "Time from the connection to an open runspace.")
    stop_timeout: float = _option(
        5.0,
        # Even a command that obeys at once takes a good part of this on a busy server.
        _number(2, 3600, "seconds"),
        "Time an interrupted command may take to stop before its session is abandoned.",
    )
    answers: str | None = _option(None, _PATH, "A YAML file with answers to prompts; see docs/prompts.md.")
    production: bool = _option(
        False,
        _Kind("true or false", _read_switch),
        "Whether this is a production machine: its name must be typed before the first cell of a session.",
    )
    confirm: str | None = _option(
        None, _Kind("the name of a host", _string), "The production machine's name, for runs in which nobody types it."
    )
    width: int = _option(120, _whole(20, 1000, "columns"), "Width to which PowerShell formats its output.")
    output_rate: int = _option(
        600_000,
        _whole(0, 1_000_000_000, "bytes per second"),
        "Output sent to the front end at most, so that the notebook server drops nothing; 0 is unlimited.",
    )
    output_limit: int = _option(
        8_000_000,
        _BYTES,
        "Output of one cell that is shown in full before only its tail is kept; 0 is unlimited.",
    )
    arguments: tuple[str, ...] = _option(
        ("-NoLogo", "-NoProfile"),
        _Kind("a list of strings, or one string quoted as in a POSIX shell", _read_arguments),
        "Arguments of the local PowerShell process.",
        "process",
    )
    strict: bool = _option(
        False,
        _Kind("true or false", _read_switch),
        "Whether cells must come in the order in which they were recorded, none twice; some may be left out.",
        "replay",
    )
    speed: float = _option(
        1.0,
        _number(0, 1000, "times real time"),
        "Pace of the replay; 0 waits for nothing.",
        "replay",
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, _read(option, getattr(self, option.name)))

    def changed(self) -> tuple[str, ...]:
        """Return the names of the options that differ from their defaults, in the order of the table."""
        return tuple(option.name for option in fields(self) if getattr(self, option.name) != option.default)

    def query(self) -> str:
        """Return the query, without ``?``, that ``Target.parse`` reads back as these options."""
        values = ((name, _text(getattr(self, name))) for name in self.changed())
        return "&".join(f"{name}={quote(value, safe='/:,+~')}" for name, value in values)


_FIELDS: dict[str, Field[Any]] = {option.name: option for option in fields(Options)}


def read_options(pairs: Iterable[tuple[str, object]], scheme: str) -> dict[str, Any]:
    """Read options by name for a target of ``scheme``; the result may be passed on to :class:`Options`.

    Names may be written with ``_`` or ``-`` and in any case; values are text or JSON values.

    Raises:
        TargetError: an option is unknown, given twice, of another scheme, or its value is wrong.

    """
    values: dict[str, Any] = {}
    for given, value in pairs:
        name = given.replace("-", "_").lower()
        check_option(name, scheme)
        if name in values:
            raise TargetError(f"The option {name} is given twice. Give it once.")
        values[name] = _read(_FIELDS[name], value)
    return values


def check_option(name: str, scheme: str) -> None:
    """Refuse an option (canonical name) that does not exist or does not apply to ``scheme``.

    Raises:
        TargetError: naming the nearest option, or the schemes the option is for.

    """
    if name in _PASSWORD_NAMES:
        raise TargetError(CREDENTIAL_ADVICE)
    if not _NAME.fullmatch(name):
        raise TargetError("An option is written name=value; `pskernel options` lists the names.")
    if name not in _FIELDS:
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise TargetError(f"There is no option {name}.{hint} `pskernel options` lists all of them.")
    schemes = _FIELDS[name].metadata["schemes"]
    if schemes and scheme not in schemes:
        raise TargetError(
            f"The option {name} is for {' and '.join(schemes)} targets and means nothing to {scheme} targets. "
            "Remove it; `pskernel options` says which options are for which targets."
        )


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One row of the table, for help and documentation.

    No ``schemes`` means all, an empty ``default`` that the option is not set.
    """

    name: str
    schemes: tuple[str, ...]
    default: str
    expects: str
    unit: str
    help: str


def describe() -> tuple[OptionInfo, ...]:
    """Return what there is to say about each option, in the order of the table."""
    return tuple(
        OptionInfo(
            name=option.name,
            schemes=option.metadata["schemes"],
            default="" if option.default is None else _text(option.default),
            expects=option.metadata["kind"].expects,
            unit=option.metadata["kind"].unit,
            help=option.metadata["help"],
        )
        for option in _FIELDS.values()
    )


def _read(option: Field[Any], value: object) -> object:
    if value is None and option.default is None:
        return None
    kind: _Kind = option.metadata["kind"]
    try:
        return kind.read(value)
    except TargetError as error:
        raise TargetError(f"The option {option.name} is wrong. {error}") from None
    except ValueError:  # its text would repeat the value
        raise TargetError(f"The option {option.name} must be {kind.expects}.") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return shlex.join(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)
