"""Inventories in YAML or JSON: groups with hosts, children, options and parameters."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import yaml

from pskernel.fleet.entries import Entries, Group, HostEntry, Place, Settings, settings_from

__all__ = ["read_tree"]

# Anchors let a small file stand for a large tree: what counts is how often something is looked at.
_MAX_NODES = 500_000
_MAX_DEPTH = 40
_TOP_KEYS = {"groups", "hosts", "options", "parameters"}
_GROUP_KEYS = {"children", "hosts", "options", "parameters"}
_HOST_KEYS = {"groups", "name", "options", "parameters", "target"}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{1,15}(?:[eE][-+]?[0-9]{1,3})?")
_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value")
}
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_tree(text: str, entries: Entries) -> None:
    """Read a mapping with ``hosts`` and ``groups``, or a list of hosts."""
    _Tree(entries).read(text)


class _Tree:
    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._left = _MAX_NODES
        self._has_lines = True

    def read(self, text: str) -> None:
        top = self._compose(text)
        if top is None:
            return
        if isinstance(top, yaml.SequenceNode):
            self._hosts(top, None, 0)
            return
        found = self._keys(top, _TOP_KEYS, "an inventory", 0)
        self._entries.settings = self._settings(found, top)
        if "groups" in found:
            for _, name, node in self._pairs(found["groups"], "groups", 1):
                self._group(name, node, None, 2)
        if "hosts" in found:
            self._hosts(found["hosts"], None, 1)

    def _compose(self, text: str) -> yaml.Node | None:
        # JSON is almost YAML, but for tabs and what escapes mean. Its nodes have no lines.
        if text.lstrip()[:1] in ("{", "[") and not (text.isascii() and "\\" not in text and "\t" not in text):
            with contextlib.suppress(ValueError, RecursionError):
                node = _json_node(json.loads(text, object_pairs_hook=_Pairs))
                self._has_lines = False
                return node
        try:
            return _parse(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "it cannot be read"
            Place(self._entries.source, mark.line + 1 if mark else 0).wrong(f"This is not valid YAML: {problem}.")
        except (ValueError, RecursionError):
            Place(self._entries.source).wrong("This is not valid YAML.")

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._entries.source, node.start_mark.line + 1 if self._has_lines else 0)

    def _look(self, node: yaml.Node, depth: int) -> None:
        self._left -= 1
        if self._left < 0:
            self._place(node).wrong(
                f"The inventory has more than {_MAX_NODES:,} parts, anchors counted as often as used."
            )
        if depth > _MAX_DEPTH:
            self._place(node).wrong("The inventory is too deep, or contains itself.")
        if node.tag not in _TAGS:
            self._place(node).wrong(f"A value with the tag {node.tag[:80]} is not read.")

    def _text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self._place(node).wrong(f"Here must be {what}, as a text.")
        return str(node.value).strip()

    def _pairs(self, node: yaml.Node, what: str, depth: int) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        """The members of a mapping; those of a merge (``<<``) come first, and count less."""
        self._look(node, depth)
        if _is_empty(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self._place(node).wrong(f"Here must be names with values, for {what}.")
        own: set[str] = set()
        merged: dict[str, tuple[yaml.Node, str, yaml.Node]] = {}
        members = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    for each in self._pairs(source, what, depth + 1):
                        merged.setdefault(each[1], each)
                continue
            name = self._text(key, "a name")
            if name in own:
                self._place(key).wrong(f"{name} is there twice. Write it once.")
            own.add(name)
            members.append((key, name, value))
        yield from (each for each in merged.values() if each[1] not in own)
        yield from members

    def _keys(self, node: yaml.Node, known: set[str], what: str, depth: int) -> dict[str, yaml.Node]:
        found = {}
        for key, name, value in self._pairs(node, what, depth):
            if name not in known:
                self._place(key).wrong(f"{name[:80]} is nothing that {what} has; there are {', '.join(sorted(known))}.")
            found[name] = value
        return found

    def _settings(self, found: dict[str, yaml.Node], node: yaml.Node) -> Settings:
        def members(name: str) -> dict[str, object]:
            if name not in found:
                return {}
            return {key: self._value(value, 1) for _, key, value in self._pairs(found[name], name, 1)}

        settings = settings_from(members("options"), members("parameters"))
        settings.check(self._place(found.get("parameters", node)))
        return settings

    def _value(self, node: yaml.Node, depth: int) -> object:
        """A value as YAML 1.2 and JSON have it: yes, 0755, 12:30 and dates are texts."""
        self._look(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, depth + 1) for each in node.value]
        if isinstance(node, yaml.MappingNode):
            return {name: self._value(value, depth + 1) for _, name, value in self._pairs(node, "a value", depth + 1)}
        if not isinstance(node, yaml.ScalarNode):
            self._place(node).wrong("Here must be a value.")
        text = str(node.value)
        if node.style is not None:
            return text
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _WHOLE.fullmatch(text):
            return int(text)
        return float(text) if _REAL.fullmatch(text) else text

    def _group(self, name: str, node: yaml.Node, parent: Group | None, depth: int) -> None:
        group = self._entries.group(name, self._place(node))
        if parent is not None:
            group.parents.add(parent.name.casefold())
        found = self._keys(node, _GROUP_KEYS, f"the group {name}", depth)
        if group.defined and found:
            self._place(node).wrong(f"The group {name} is defined at {group.place} already.")
        group.defined, group.place = True, self._place(node)
        if found:
            settings = self._settings(found, node)
            group.settings.options.update(settings.options)
            group.settings.parameters.update(settings.parameters)
        if "hosts" in found:
            self._hosts(found["hosts"], group, depth + 1)
        if "children" in found:
            self._children(found["children"], group, depth + 1)

    def _children(self, node: yaml.Node, group: Group, depth: int) -> None:
        """Names of groups that are defined somewhere else, or groups that are defined here."""
        if isinstance(node, yaml.SequenceNode):
            for each in node.value:
                self._look(each, depth)
                child = self._entries.group(self._text(each, "the name of a group"), self._place(each))
                child.parents.add(group.name.casefold())
        else:
            for _, name, value in self._pairs(node, f"the children of the group {group.name}", depth):
                if _is_empty(value):
                    child = self._entries.group(name, self._place(value))
                    child.parents.add(group.name.casefold())
                else:
                    self._group(name, value, group, depth + 1)

    def _hosts(self, node: yaml.Node, group: Group | None, depth: int) -> None:
        for entry in self._each_host(node, depth):
            if group is not None:
                entry.groups.add(group.name.casefold())

    def _each_host(self, node: yaml.Node, depth: int) -> Iterator[HostEntry]:
        if isinstance(node, yaml.SequenceNode):
            self._look(node, depth)
            for each in node.value:
                self._look(each, depth)
                if isinstance(each, yaml.MappingNode):
                    yield self._host("", each, depth + 1)
                else:
                    yield self._entries.host("", self._text(each, "a host"), self._place(each))
            return
        for key, name, value in self._pairs(node, "hosts", depth):
            if _is_empty(value):
                yield self._entries.host("", name, self._place(key))
            elif isinstance(value, yaml.ScalarNode):
                yield self._entries.host(name, self._text(value, "a target"), self._place(key))
            else:
                yield self._host(name, value, depth + 1)

    def _host(self, name: str, node: yaml.Node, depth: int) -> HostEntry:
        found = self._keys(node, _HOST_KEYS, "a host", depth)
        if "name" in found:
            if name:
                self._place(found["name"]).wrong(f"The host {name} has its name already.")
            name = self._text(found["name"], "the name of a host")
        target = self._text(found["target"], "a target") if "target" in found else ""
        if not name and not target:
            self._place(node).wrong("The host has neither a name nor a target.")
        entry = self._entries.host(
            name if target else "", target or name, self._place(node), self._settings(found, node)
        )
        for each in self._names(found["groups"]) if "groups" in found else ():
            group = self._entries.group(each, self._place(found["groups"]))
            group.defined = True
            entry.groups.add(group.name.casefold())
        return entry

    def _names(self, node: yaml.Node) -> list[str]:
        if isinstance(node, yaml.SequenceNode):
            return [self._text(each, "the name of a group") for each in node.value]
        return [name for name in re.split(r"[\s,;|]+", self._text(node, "names of groups")) if name]


def _parse(text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


class _Pairs(list[tuple[str, object]]):
    """The members of an object of JSON, in which a name may be there twice."""


def _json_node(value: object) -> yaml.Node:
    mark = yaml.Mark("", 0, 0, 0, None, 0)
    if isinstance(value, _Pairs):
        pairs = [(_json_node(name), _json_node(member)) for name, member in value]
        return yaml.MappingNode("tag:yaml.org,2002:map", pairs, mark, mark)
    if isinstance(value, list):
        return yaml.SequenceNode("tag:yaml.org,2002:seq", [_json_node(each) for each in value], mark, mark)
    if isinstance(value, str):
        return yaml.ScalarNode("tag:yaml.org,2002:str", value, mark, mark, style='"')
    return yaml.ScalarNode("tag:yaml.org,2002:str", json.dumps(value), mark, mark)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in ("", "~", "null")
