"""The options of a target: one declared table, :class:`Options`.

Everything else is derived from the table: reading values from text and from JSON, validation, ``describe()``
for help and documentation, and writing a query. An option's value is never repeated in an error, because
somebody may have put a password there.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import Field, dataclass, fields
from typing import Any
from urllib.parse import quote

from pskernel.errors import TargetError
from pskernel.options.container import ContainerOptions
from pskernel.options.durable import DurableOptions
from pskernel.options.elevation import ElevationOptions
from pskernel.options.kinds import (
    BYTES,
    CREDENTIAL,
    MAX_TEXT,
    PATH,
    SECONDS,
    SWITCH,
    Kind,
    number,
    option,
    read,
    string,
    whole,
)
from pskernel.options.schemes import WINRM
from pskernel.options.ssh import SSHOptions
from pskernel.options.vm import VMOptions
from pskernel.options.winrm import WinRMOptions

__all__ = ["CREDENTIAL_ADVICE", "OptionInfo", "Options", "check_option", "describe", "read_options"]

CREDENTIAL_ADVICE = (
    "A target never holds a password, because targets are stored in notebooks, kernelspecs and logs. Remove "
    "it and say where the password is with the option credential=keyring:NAME, env:NAME or file:PATH, or "
    "credential=prompt to be asked for it."
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PASSWORD_NAMES = frozenset({"pass", "passphrase", "passwd", "password", "pwd"})
# What other targets have instead of session configurations by name.
_CONFIGURATION_FILE = (
    "A {} target starts PowerShell as a process, which knows no session configurations by name. Name a session "
    "configuration file, as in configuration_file=/etc/jea.pssc."
)
_INSTEAD = {
    ("configuration", "ssh"): (
        "SSH knows no session configurations by name. On the server, make a subsystem for each, with a line such as "
        "this in sshd_config, restart sshd, and name it as in subsystem=jea:\n"
        "Subsystem jea /usr/bin/pwsh -sshs -NoLogo -NoProfile -ConfigurationFile /etc/jea.pssc"
    ),
    ("configuration", "process"): _CONFIGURATION_FILE.format("process"),
    ("configuration", "container"): _CONFIGURATION_FILE.format("container"),
}


def _read_arguments(value: object) -> tuple[str, ...]:
    items = shlex.split(value) if isinstance(value, str) and value.isprintable() else value
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) and i.isprintable() for i in items):
        raise ValueError
    if sum(map(len, items)) > MAX_TEXT:
        raise ValueError
    return tuple(items)


@dataclass(frozen=True, slots=True)
class Options(DurableOptions, VMOptions, ElevationOptions, ContainerOptions, WinRMOptions, SSHOptions):
    """All options of a target, each at its default unless given.

    Every value, also of a directly made instance, passes through its reader: text such as ``"30"`` becomes a
    value, and ``~`` in paths is expanded.

    Raises:
        TargetError: a value is of the wrong type or out of range.

    """

    credential: str | None = option(
        None,
        CREDENTIAL,
        "Where the password or passphrase is. Without it, you are asked if one is needed.",
        "ssh",
        *WINRM,
        "vm",
    )
    connect_timeout: float = option(
        30.0, SECONDS, "Time to reach the target and log in.", "ssh", *WINRM, "container", "vm"
    )
    open_timeout: float = option(60.0, SECONDS, "Time from the connection to an open runspace.")
    stop_timeout: float = option(
        5.0,
        # Even a command that obeys at once takes a good part of this on a busy server.
        number(2, 3600, "seconds"),
        "Time an interrupted command may take to stop before its session is abandoned.",
    )
    answers: str | None = option(None, PATH, "A YAML file with answers to prompts; see docs/prompts.md.")
    production: bool = option(
        False,
        SWITCH,
        "Whether this is a production machine: its name must be typed before the first cell of a session.",
    )
    confirm: str | None = option(
        None, Kind("the name of a host", string), "The production machine's name, for runs in which nobody types it."
    )
    width: int = option(120, whole(20, 1000, "columns"), "Width to which PowerShell formats its output.")
    output_rate: int = option(
        600_000,
        whole(0, 1_000_000_000, "bytes per second"),
        "Output sent to the front end at most, so that the notebook server drops nothing; 0 is unlimited.",
    )
    output_limit: int = option(
        8_000_000,
        BYTES,
        "Output of one cell that is shown in full before only its tail is kept; 0 is unlimited.",
    )
    arguments: tuple[str, ...] = option(
        ("-NoLogo", "-NoProfile"),
        Kind("a list of strings, or one string quoted as in a POSIX shell", _read_arguments),
        "Arguments of the PowerShell process.",
        "process",
        "container",
        "ssh",
    )
    strict: bool = option(
        False,
        SWITCH,
        "Whether cells must come in the order in which they were recorded, none twice; some may be left out.",
        "replay",
    )
    speed: float = option(
        1.0,
        number(0, 1000, "times real time"),
        "Pace of the replay; 0 waits for nothing.",
        "replay",
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, read(each, getattr(self, each.name)))

    def changed(self) -> tuple[str, ...]:
        """Return the names of the options that differ from their defaults, in the order of the table."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) != each.default)

    def query(self) -> str:
        """Return the query, without ``?``, that ``Target.parse`` reads back as these options."""
        values = ((name, _text(getattr(self, name))) for name in self.changed())
        return "&".join(f"{name}={quote(value, safe='/:,+~')}" for name, value in values)


_FIELDS: dict[str, Field[Any]] = {each.name: each for each in fields(Options)}


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
        values[name] = read(_FIELDS[name], value)
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
        advice = "Remove it; `pskernel options` says which options are for which targets."
        raise TargetError(
            f"The option {name} is for {' and '.join(schemes)} targets and means nothing to {scheme} targets. "
            f"{_INSTEAD.get((name, scheme), advice)}"
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
            name=each.name,
            schemes=each.metadata["schemes"],
            default="" if each.default is None else _text(each.default),
            expects=each.metadata["kind"].expects,
            unit=each.metadata["kind"].unit,
            help=each.metadata["help"],
        )
        for each in _FIELDS.values()
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return shlex.join(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)
