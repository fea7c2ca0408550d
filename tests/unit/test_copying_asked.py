"""A remote's listing is held against what was asked for."""

from __future__ import annotations

import pytest

from pskernel.copying.asked import asked_for
from pskernel.copying.far import Item
from pskernel.errors import RemoteProtocolError


def item(name: str, kind: str = "f") -> Item:
    return Item(f"/x/{name}", tuple(name.split("/")), kind, 1, 0, -1)


def names(path: str, *items: Item, literal: bool = False, recurse: bool = False, hidden: bool = False) -> list[str]:
    skipped: list[str] = []
    found = asked_for(items, path, literal=literal, recurse=recurse, hidden=hidden, skipped=skipped)
    return ["/".join(one.parts) for one in found] + [f"skipped {text.partition(':')[0]}" for text in skipped]


@pytest.mark.parametrize(
    ("path", "listed", "options"),
    [
        ("/var/log/app.log", ["app.log"], {}),
        ("C:\\Logs\\App.log", ["app.log"], {}),
        ("temp:a", ["a"], {}),
        ("/x/a:b", ["a:b"], {}),
        ("/var/log/*.log", ["a.log", "b.log"], {}),
        ("a[1]", ["a[1]"], {"literal": True}),
        (".bashrc", [".bashrc"], {}),
        (".b*", [".bashrc"], {}),
        ("*", [".bashrc"], {"hidden": True}),
        ("top/", ["top", "top/a", "top/a/b"], {"recurse": True}),
    ],
)
def test_what_was_asked_for_is_taken(path: str, listed: list[str], options: dict[str, bool]) -> None:
    items = [item(name, "d" if any(other.startswith(f"{name}/") for other in listed) else "f") for name in listed]

    assert listed == names(path, *items, **options)


@pytest.mark.parametrize(
    ("path", "items", "options"),
    [
        ("/var/log/app.log", [item(".bashrc")], {}),
        ("/var/log/*.log", [item("a.log"), item(".profile")], {}),
        ("a[1]", [item("a1")], {"literal": True}),
        ("top", [item("top", "d"), item("top/.ssh")], {}),
        ("top", [item("top/.ssh")], {"recurse": True}),
        ("top", [item("top"), item("top/.ssh")], {"recurse": True}),
        ("top", [item("top", "l"), item("top/.ssh")], {"recurse": True}),
        ("d*/c", [item("c"), item("c")], {}),
        (".", [item(".ssh", "d")], {"recurse": True}),
        ("..", [item("x")], {}),
        ("/", [item("x")], {}),
        ("~", [item("x")], {}),
        ("C:", [item("x")], {}),
    ],
)
def test_what_was_not_asked_for_is_refused(path: str, items: list[Item], options: dict[str, bool]) -> None:
    with pytest.raises(RemoteProtocolError):
        names(path, *items, **options)


def test_wildcards_do_not_mean_hidden_names() -> None:
    items = [item("a"), item(".ssh", "d"), item(".ssh/id")]

    assert ["a", "skipped /x/.ssh"] == names("*", *items, recurse=True)
