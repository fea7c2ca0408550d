"""What an inventory says, as it was read and with where it said so, and what follows for each host."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pskernel.errors import PSKernelError, TargetError
from pskernel.options import check_option, describe
from pskernel.target import SCHEMES, Target

__all__ = ["Entries", "Group", "HostEntry", "InventoryError", "Place", "Settings", "canonical", "near", "settings_from"]

_GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# Names are written in selections, and become the names of files.
_HOST_NAME = re.compile(r"[^\W][^\s,&!@*?~/\\\"'<>|]{0,254}")
_RESERVED = {"all", "ungrouped"}
_PARAMETER_NAME = re.compile(r"[^\W\d]\w{0,99}")
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|pwd|.*(password|passphrase|secret)", re.IGNORECASE)
_MAX_HOSTS = 100_000
_SCHEMES = {option.name: option.schemes for option in describe()}
# A name alone does not say how to get there: another place may.
_PLAIN_NAME = re.compile(r"[\w.-]+")
_PORTS = {"ssh": 22, "winrm": 5985, "winrm+https": 5986}


class InventoryError(PSKernelError):
    """An inventory cannot be read, contradicts itself, or has nothing of what is asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said."""

    source: str
    line: int = 0

    def wrong(self, what: str) -> NoReturn:
        """Say what is wrong there."""
        text = f"{self}: {what}"
        raise InventoryError("".join(char if char.isprintable() else " " for char in text))

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Settings:
    """Options and parameters of a host, a group, or of all."""

    options: dict[str, object] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)

    def check(self, place: Place) -> None:
        """Refuse options that do not exist, and parameters that no notebook has or that are secrets by their names."""
        for name in self.options:
            if name not in _SCHEMES:
                try:
                    check_option(name, "")
                except TargetError as error:
                    place.wrong(str(error))
        for name in self.parameters:
            if not _PARAMETER_NAME.fullmatch(name):
                place.wrong(f"{name[:80]!r} is not the name of a parameter.")
            if _SECRET_NAME.fullmatch(name):
                place.wrong(
                    f"The parameter {name} looks like a secret, and an inventory holds none, because it is written "
                    "into notebooks and reports. Name its place with the option credential, or let the notebook ask."
                )


@dataclass(slots=True)
class Group:
    """A group: its own settings, and the groups that it is a child of."""

    name: str
    place: Place
    settings: Settings = field(default_factory=Settings)
    parents: set[str] = field(default_factory=set)
    defined: bool = False


@dataclass(slots=True)
class HostEntry:
    """A host, put together from all places that name it."""

    name: str
    place: Place
    target: str = ""
    settings: Settings = field(default_factory=Settings)
    groups: set[str] = field(default_factory=set)


def read_target(text: str, place: Place) -> str:
    """The target that a text means: a URL, or a host's name, with a user and a port if need be, for SSH."""
    text = text.strip()
    target = text if text.partition(":")[0].lower() in SCHEMES else f"ssh://{text}"
    try:
        Target.parse(target)
    except TargetError as error:
        place.wrong(str(error))
    return target


class Entries:
    """Collects what a source says. Hosts and groups keep the order in which they come."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.settings = Settings()
        self.hosts: dict[str, HostEntry] = {}
        self.groups: dict[str, Group] = {}

    def group(self, name: str, place: Place) -> Group:
        """The group of that name, made if it is not there."""
        if not _GROUP_NAME.fullmatch(name):
            place.wrong(f"{name[:80]!r} is not the name of a group: letters, digits, and any of _ . - in between.")
        if name.casefold() in _RESERVED:
            place.wrong(f"{name} is no name for a group: it always means {_MEANING[name.casefold()]}.")
        return self.groups.setdefault(name.casefold(), Group(name, place))

    def host(self, name: str, target: str, place: Place, settings: Settings | None = None) -> HostEntry:
        """The host of that name, with what is said of it here.

        Args:
            name: empty where only the target is given.
            target: empty, or the name, where only the name is given: then it is what another place says, or SSH to it.
            place: where this is said.
            settings: what else is said.
        """
        if not name and _PLAIN_NAME.fullmatch(target):
            name, target = target, ""
        name = name or self._name_of(target, place)
        if not _HOST_NAME.fullmatch(name) or not name.isprintable():
            place.wrong(
                f"{name[:80]!r} is no name for a host: it must be without spaces and any of , & ! @ * ? ~ / \\."
            )
        if name.casefold() in _RESERVED:
            place.wrong(f"{name} is no name for a host: it always means {_MEANING[name.casefold()]}.")
        entry = self.hosts.setdefault(name.casefold(), HostEntry(name, place))
        if target:
            target = read_target(target, place)
            if entry.target and Target.parse(entry.target) != Target.parse(target):
                place.wrong(
                    f"The host {name} has another target here than at {entry.place}. Give one of them another name."
                )
            entry.target, entry.place = target, place
        for mine, more in self._both(entry.settings, settings or Settings()):
            for key, value in more.items():
                if key in mine and mine[key] != value:
                    place.wrong(f"The host {name} has another {key} here than at {entry.place}. Say it once.")
                mine[key] = value
        if len(self.hosts) > _MAX_HOSTS:
            place.wrong(f"There are more than {_MAX_HOSTS:,} hosts.")
        return entry

    @staticmethod
    def _both(one: Settings, other: Settings) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
        yield one.options, other.options
        yield one.parameters, other.parameters

    @staticmethod
    def _name_of(target: str, place: Place) -> str:
        parsed = Target.parse(read_target(target, place))
        if parsed.machine is None:
            place.wrong(f"The target {parsed} has no host that it could be named after. Give it a name.")
        return parsed.machine if parsed.port is None else f"{parsed.host}:{parsed.port}"

    # What follows.

    def check(self) -> None:
        """Refuse what contradicts itself."""
        for group in self.groups.values():
            if not group.defined:
                group.place.wrong(f"There is no group {group.name}.{near(group.name, self._defined())}")
            if group.name.casefold() in self.hosts:
                group.place.wrong(f"{group.name} is the name of a group and of a host. Give one of them another name.")
            self._refuse_cycle(group)
        self._refuse_useless_options()

    def _refuse_useless_options(self) -> None:
        """An option of a group is for those of its hosts that it can be for; there must be one."""
        schemes: dict[str, set[str]] = {}
        for entry in self.hosts.values():
            scheme = self._scheme(entry)
            for name in ("", *self.all_groups(entry)):
                schemes.setdefault(name, set()).add(scheme)
        said = {"": (self.settings, Place(self.source)), **{n: (g.settings, g.place) for n, g in self.groups.items()}}
        for name, (settings, place) in said.items():
            for option in settings.options:
                if schemes.get(name) and not any(_applies(option, scheme) for scheme in schemes[name]):
                    place.wrong(f"The option {option} means nothing to any of the hosts here. Remove it.")

    @staticmethod
    def _scheme(entry: HostEntry) -> str:
        return (entry.target or "ssh:").partition(":")[0].lower()

    def _defined(self) -> list[str]:
        return [group.name for group in self.groups.values() if group.defined]

    def _refuse_cycle(self, start: Group) -> None:
        seen, left = set(), set(start.parents)
        while left:
            name = left.pop()
            if name == start.name.casefold():
                start.place.wrong(
                    f"The group {start.name} is its own child, by way of others or not. Remove one of them."
                )
            if name not in seen:
                seen.add(name)
                left |= self.groups[name].parents

    def all_groups(self, entry: HostEntry) -> set[str]:
        """The groups that a host is in, those above them too."""
        found, left = set(), set(entry.groups)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left |= self.groups[name].parents
        return found

    def target_of(self, entry: HostEntry) -> Target:
        """The target with all options: the host's own count more than those in the target, these more than groups'."""
        scheme = self._scheme(entry)
        inherited = {n: value for n, value in self._inherited(entry, "options").items() if _applies(n, scheme)}
        target = entry.target or read_target(entry.name, entry.place)
        try:
            return Target.parse(target, entry.settings.options, defaults=inherited)
        except TargetError as error:
            entry.place.wrong(f"The host {entry.name}: {error}")

    def parameters_of(self, entry: HostEntry) -> dict[str, object]:
        """The parameters, the host's own before those of its groups, these before those of all."""
        return self._inherited(entry, "parameters") | entry.settings.parameters

    def _inherited(self, entry: HostEntry, kind: str) -> dict[str, object]:
        values: dict[str, object] = dict(getattr(self.settings, kind))
        own = getattr(entry.settings, kind)
        said_by: dict[str, dict[str, object]] = {}
        for name in self.all_groups(entry):
            for key, value in getattr(self.groups[name].settings, kind).items():
                said_by.setdefault(key, {})[name] = value
        for key, by_group in said_by.items():
            # A group counts more than those that it is in.
            above = {up for name in by_group for up in self._above(name)}
            nearest = {name: value for name, value in by_group.items() if name not in above}
            first, *others = sorted(nearest)
            if key not in own and any(nearest[name] != nearest[first] for name in others):
                names = " and ".join(self.groups[name].name for name in sorted(nearest))
                entry.place.wrong(
                    f"The host {entry.name} gets {key} from the groups {names}, not the same. Say it at the host."
                )
            values[key] = nearest[first]
        return values

    def _above(self, name: str) -> set[str]:
        return self.all_groups(HostEntry(name, self.groups[name].place, groups=set(self.groups[name].parents)))


_MEANING = {"all": "all hosts", "ungrouped": "the hosts that are in no group"}


def _applies(option: str, scheme: str) -> bool:
    return not _SCHEMES[option] or scheme in _SCHEMES[option]


def near(name: str, names: list[str]) -> str:
    """A hint at what may have been meant, or nothing."""
    found = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {found[0]}?" if found else ""


def canonical(target: Target) -> str:
    """What two targets that are one have in common; empty for those that begin something of their own each time."""
    if target.scheme in ("process", "replay"):
        return ""
    if target.scheme == "container":
        options = target.options
        inside = (target.engine, options.context, options.namespace, target.machine, options.container, options.user)
        return f"container {' '.join(str(part) for part in inside)}"
    if target.scheme == "vm":
        return f"vm {(target.path or '').lower()}"
    port = target.port or _PORTS.get(target.scheme)
    options = target.options
    return (
        f"{target.scheme} {target.user or ''} {target.host} {port} {target.path or ''} {(options.vm or '').lower()}"
        f"{options.elevated_as} {options.pid or ''} {options.pipe or ''}"
    )


def settings_from(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> Settings:
    """Settings with the options' names as the table has them."""
    return Settings({name.replace("-", "_").lower(): value for name, value in options.items()}, dict(parameters))
