"""The hosts of a fleet: read from a file, a command or the SSH configuration, and chosen as by Ansible's --limit."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pskernel.fleet.command import run_command
from pskernel.fleet.entries import Entries, InventoryError, Place, Settings, canonical, near
from pskernel.fleet.sshhosts import config_hosts
from pskernel.fleet.tables import read_csv, read_lines
from pskernel.fleet.tree import read_tree
from pskernel.target import Target
from pskernel.userfiles import read_user_file

__all__ = ["Host", "Inventory", "InventoryError", "read_inventory"]

_MAX_BYTES = 16 * 1024 * 1024
_COMMAND_SECONDS = 60.0
_TREE_SUFFIXES = {".yaml", ".yml", ".json"}
_TABLE_SUFFIXES = {".csv", ".tsv"}
# How a list of hosts in YAML or JSON begins, in a text that does not say what it is.
_LOOKS_LIKE_TREE = re.compile(
    r"\s*[\[{]|(?:[^\S\n]*(?:#[^\n]*)?\n|---[^\n]*\n)*(?:- |(?:hosts|groups|options|parameters)\s*:)"
)


@dataclass(frozen=True, slots=True)
class Host:
    """One host of an inventory.

    Attributes:
        name: how it is called in selections and reports; no two have the same.
        target: with all options, those of its groups too. It holds no secret.
        groups: all that it is in, by name.
        parameters: for the notebook.
    """

    name: str
    target: Target
    groups: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts in the order of their source."""

    hosts: tuple[Host, ...]
    groups: tuple[str, ...] = ()
    source: str = ""

    def select(self, limit: str) -> Inventory:
        """The hosts that a limit means: names of hosts and groups, with ``*``, ``?`` and ``[ ]``, separated by commas.

        What begins with ``&`` must hold too, what begins with ``!`` must not, wherever it stands; ``all`` is all hosts,
        ``ungrouped`` those in no group, ``@FILE`` those that a file names, one in a line.

        Raises:
            InventoryError: a name is unknown, a file cannot be read, or no host is left.
        """
        chosen: set[str] | None = None
        must: list[set[str]] = []
        must_not: set[str] = set()
        for term in (part.strip() for part in limit.split(",")):
            if not term:
                continue
            found = self._meant(term[1:].strip() if term[0] in "!&" else term, limit)
            if term[0] == "!":
                must_not |= found
            elif term[0] == "&":
                must.append(found)
            else:
                chosen = (chosen or set()) | found
        names = {host.name for host in self.hosts} if chosen is None else chosen
        for others in must:
            names &= others
        left = tuple(host for host in self.hosts if host.name in names - must_not)
        if not left:
            raise InventoryError(f"The selection {limit!r} leaves no host of the {len(self.hosts)} in {self.source}.")
        return Inventory(left, self.groups, self.source)

    def _meant(self, term: str, limit: str) -> set[str]:
        if term.startswith("@"):
            return self._named_in(term[1:])
        if not term:
            raise InventoryError(f"In the selection {limit!r} there is a ! or & with nothing behind it.")
        word = term.casefold()
        if word in ("all", "*"):
            return {host.name for host in self.hosts}
        if word == "ungrouped":
            return {host.name for host in self.hosts if not host.groups}
        found = {
            host.name
            for host in self.hosts
            if any(
                fnmatch.fnmatchcase(name.casefold(), word) or name.casefold() == word
                for name in (host.name, *host.groups)
            )
        }
        is_name = not re.search(r"[*?\[]", term)
        if is_name and not found and word not in {group.casefold() for group in self.groups}:
            hint = near(term, [*self.groups, *(host.name for host in self.hosts)])
            raise InventoryError(f"There is no host or group {term} in {self.source}.{hint}")
        return found

    def _named_in(self, path: str) -> set[str]:
        text = _read_text(Path(path))
        names = {host.name.casefold(): host.name for host in self.hosts}
        found = set()
        for number, line in enumerate(text.splitlines(), 1):
            name = line.strip()
            if name and not name.startswith("#"):
                if name.casefold() not in names:
                    hint = near(name, list(names.values()))
                    Place(path, number).wrong(f"There is no host {name[:80]} in {self.source}.{hint}")
                found.add(names[name.casefold()])
        return found


def read_inventory(source: str | Path, *, ssh_config: Path | None = None) -> Inventory:
    """Read an inventory. Nothing is connected to, but all targets and options are checked.

    Args:
        source: a file (YAML, JSON, CSV, or a host in each line), ``sshconfig:PATTERN,PATTERN`` for the hosts of the SSH
            configuration, or ``command:PROGRAM ARGUMENTS`` for what a program prints; no shell reads that line.
        ssh_config: the SSH configuration, else ``~/.ssh/config``.

    Raises:
        InventoryError: with file and line, what is wrong.
    """
    text = str(source)
    entries = Entries(text)
    if isinstance(source, str) and text.startswith("sshconfig:"):
        _read_sshconfig(text.removeprefix("sshconfig:"), ssh_config, entries)
    elif isinstance(source, str) and text.startswith("command:"):
        _read_any(run_command(text.removeprefix("command:"), _COMMAND_SECONDS, _MAX_BYTES), "", entries)
    else:
        path = Path(source)
        _read_any(_read_text(path), path.suffix.lower(), entries)
    return _inventory(entries)


def _read_any(text: str, suffix: str, entries: Entries) -> None:
    if suffix in _TABLE_SUFFIXES:
        read_csv(text, entries)
    elif suffix in _TREE_SUFFIXES or _LOOKS_LIKE_TREE.match(text):
        read_tree(text, entries)
    else:
        read_lines(text, entries)


def _read_sshconfig(patterns: str, path: Path | None, entries: Entries) -> None:
    wanted = [pattern.strip().casefold() for pattern in patterns.split(",") if pattern.strip()]
    place = Place(entries.source)
    if not wanted:
        place.wrong("After sshconfig: stand patterns for names, as in sshconfig:web*.")
    file = path or Path("~/.ssh/config").expanduser()
    for name, where in config_hosts(file):
        if any(fnmatch.fnmatchcase(name.casefold(), pattern) for pattern in wanted):
            if name != name.lower():
                where.wrong(
                    f"The host {name} has capital letters, and targets have none. Add its name without to the entry."
                )
            entries.host(name, f"ssh://{name}", where, Settings({"ssh_config": str(path)} if path else {}))
    if not entries.hosts:
        place.wrong(f"No Host entry of {file} without wildcards matches {patterns}.")


def _inventory(entries: Entries) -> Inventory:
    entries.check()
    hosts = []
    seen: dict[str, str] = {}
    for entry in entries.hosts.values():
        target = entries.target_of(entry)
        key = canonical(target)
        if key and key in seen:
            entry.place.wrong(
                f"The hosts {seen[key]} and {entry.name} are the same target, {target.label}. Remove one."
            )
        seen[key] = entry.name
        groups = tuple(sorted(entries.groups[name].name for name in entries.all_groups(entry)))
        hosts.append(Host(entry.name, target, groups, MappingProxyType(entries.parameters_of(entry))))
    if not hosts:
        raise InventoryError(f"{entries.source} names no host.")
    return Inventory(tuple(hosts), tuple(group.name for group in entries.groups.values()), entries.source)


def _read_text(path: Path) -> str:
    data = read_user_file(path, "The inventory", at_most=_MAX_BYTES, error=InventoryError)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InventoryError(f"{path}, line {line}: This is not UTF-8.") from None
