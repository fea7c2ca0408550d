"""Properties of inventories: whatever is written down comes back, selections are sets, no text does harm."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from pskernel.fleet.entries import Entries
from pskernel.fleet.inventory import Host, Inventory, InventoryError, read_inventory
from pskernel.fleet.tables import read_csv, read_lines
from pskernel.fleet.tree import read_tree
from pskernel.target import Target

NAMES = [f"h{number}" for number in range(8)]
GROUPS = [f"g{number}" for number in range(5)]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, dict[str, list[str]]]:
    """Groups with hosts, and children that come later, so that there is no circle."""
    groups = {}
    for index, name in enumerate(GROUPS):
        groups[name] = {
            "hosts": draw(st.lists(st.sampled_from(NAMES), unique=True)),
            "children": draw(st.lists(st.sampled_from(GROUPS[index + 1 :]), unique=True))
            if index + 1 < len(GROUPS)
            else [],
        }
    return groups


def members(groups: dict[str, dict[str, list[str]]], name: str) -> set[str]:
    found = set(groups[name]["hosts"])
    for child in groups[name]["children"]:
        found |= members(groups, child)
    return found


def read(text: str, suffix: str = ".yaml") -> Inventory:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"hosts{suffix}"
        path.write_text(text, encoding="utf-8")
        return read_inventory(path)


@given(fleets(), st.sampled_from([yaml.safe_dump, json.dumps]))
def test_groups_have_the_hosts_that_are_written_down(groups: dict[str, dict[str, list[str]]], dump: object) -> None:
    inventory = read(dump({"groups": groups, "hosts": NAMES}))  # type: ignore[operator]

    assert set(NAMES) == {host.name for host in inventory.hosts}
    for name in GROUPS:
        assert members(groups, name) == {host.name for host in inventory.hosts if name in host.groups}


@given(
    st.dictionaries(
        st.from_regex(r"P[a-zA-Z]{0,8}", fullmatch=True).filter(lambda n: "pa" not in n.lower()), VALUES, max_size=4
    )
)
def test_parameters_of_json_are_what_they_were(parameters: dict[str, object]) -> None:
    (host,) = read(json.dumps([{"name": "a", "target": "ssh://a", "parameters": parameters}]), ".json").hosts

    assert parameters == host.parameters


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, str, set[str]]:
    kind = draw(st.sampled_from(["", "&", "!"]))
    chosen = draw(st.sampled_from(["all", *NAMES, "h[0-3]", "*[02468]"]))
    meant = {
        "all": set(NAMES),
        "h[0-3]": set(NAMES[:4]),
        "*[02468]": {name for name in NAMES if int(name[1]) % 2 == 0},
    }.get(chosen, {chosen})
    return kind, chosen, meant


@given(st.lists(terms(), min_size=1, max_size=6))
def test_a_selection_is_the_sets_it_says(parts: list[tuple[str, str, set[str]]]) -> None:
    inventory = Inventory(tuple(Host(name, Target.parse(f"ssh://{name}")) for name in NAMES), source="here")
    expected = set().union(*(meant for kind, _, meant in parts if not kind)) or set(NAMES)
    for kind, _, meant in parts:
        expected = expected & meant if kind == "&" else expected - meant if kind == "!" else expected

    try:
        found = {host.name for host in inventory.select(",".join(kind + term for kind, term, _ in parts)).hosts}
    except InventoryError:
        found = set()

    assert expected == found


@given(st.text(max_size=200) | st.from_regex(r"(hosts|groups|options|[a-c]|[:\[\]{},&*!|> \n-]){0,40}", fullmatch=True))
def test_no_text_is_worse_than_an_error(text: str) -> None:
    for reader in (read_tree, read_csv, read_lines):
        try:
            reader(text, Entries("here"))
        except InventoryError as error:
            assert str(error).isprintable()


@given(st.text(max_size=60))
def test_no_selection_is_worse_than_an_error(limit: str) -> None:
    inventory = Inventory((Host("a", Target.parse("ssh://a"), ("g",)),), ("g",), "here")
    with contextlib.suppress(InventoryError):
        assert ["a"] == [host.name for host in inventory.select(limit).hosts]
