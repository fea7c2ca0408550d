"""Which target counts, and where the kernelspec is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pskernel.directives import read_directives
from pskernel.errors import TargetError
from pskernel.options import Options
from pskernel.resolve import NO_TARGET_HELP, load_spec, resolve
from pskernel.target import Target


def spec(value: object) -> dict[str, Any]:
    return {"display_name": "x", "metadata": {"remote_powershell": value}}


SPEC = spec({"target": "ssh://spec?width=90", "width": 80, "stop-timeout": 2, "key_file": "/k"})
VARIABLE = {"PSKERNEL_TARGET": "ssh://variable?width=70"}


@pytest.mark.parametrize(
    ("argument", "environment", "content", "options", "expected"),
    [
        ("ssh://argument", VARIABLE, SPEC, {}, Target("ssh", "argument")),
        (None, VARIABLE, SPEC, {}, Target("ssh", "variable", options=Options(width=70))),
        (
            " ",
            {"PSKERNEL_TARGET": " "},
            SPEC,
            {},
            Target("ssh", "spec", options=Options(width=90, stop_timeout=2, key_file="/k")),
        ),
        (
            None,
            {},
            SPEC,
            {"width": "100", "Key-File": "/other"},
            Target("ssh", "spec", options=Options(width=100, stop_timeout=2, key_file="/other")),
        ),
        (None, VARIABLE, None, {"width": "100"}, Target("ssh", "variable", options=Options(width=100))),
        ("process:", {}, SPEC, {"arguments": "-NoLogo"}, Target("process", options=Options(arguments=("-NoLogo",)))),
        (
            None,
            {},
            spec({"target": "process:", "arguments": ["-a", "b c"]}),
            {},
            Target("process", options=Options(arguments=("-a", "b c"))),
        ),
        (None, {}, None, {}, None),
        (None, {}, None, {"width": "100"}, None),
        ("", {"PSKERNEL_TARGET": ""}, {}, {}, None),
        (None, {}, {"metadata": {}}, {}, None),
        (None, {}, spec({}), {}, None),
    ],
)
def test_order(
    argument: str | None,
    environment: dict[str, str],
    content: dict[str, Any] | None,
    options: dict[str, str],
    expected: Target | None,
) -> None:
    assert resolve(argument, environment, content, options) == expected


def test_the_kernelspec_is_not_changed() -> None:
    before = json.dumps(SPEC)
    resolve(None, {}, SPEC, {})
    assert json.dumps(SPEC) == before


@pytest.mark.parametrize(
    ("argument", "environment", "content", "parts"),
    [
        ("ssh://a b", VARIABLE, SPEC, ["'a b'"]),
        (None, {"PSKERNEL_TARGET": "web01"}, SPEC, ["ssh://web01", "variable PSKERNEL_TARGET"]),
        (None, {}, spec({"target": "web01"}), ["ssh://web01", "kernelspec, metadata.remote_powershell"]),
        (None, {}, spec({"width": 90}), ["no target", "kernelspec"]),
        (None, {}, spec({"target": 5}), ["not text", "kernelspec"]),
        (None, {}, spec({"target": ""}), ["no target", "kernelspec"]),
        (None, {}, spec({"target": "ssh://a", "widht": 1}), ["Did you mean width?", "kernelspec"]),
        (None, {}, spec({"target": "ssh://a", "speed": 1}), ["is for replay targets", "kernelspec"]),
        (None, {}, spec({"target": "ssh://a", "width": [1]}), ["from 20 to 1000", "kernelspec"]),
        (None, {}, spec({"target": "ssh://a", "password": "Zq9"}), ["credential=keyring:NAME", "kernelspec"]),
        (None, {}, spec("ssh://a"), ["must be a JSON object"]),
        (None, {}, spec(None), ["must be a JSON object"]),
        (None, {}, {"metadata": [1]}, ["must be a JSON object"]),
    ],
)
def test_errors_say_where_the_target_comes_from(
    argument: str | None, environment: dict[str, str], content: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(TargetError) as caught:
        resolve(argument, environment, content, {})
    assert all(part in str(caught.value) for part in parts)
    assert "zq9" not in str(caught.value).lower()


def test_a_bad_kernelspec_does_not_matter_where_the_target_is_named_otherwise() -> None:
    assert resolve("pid:1", {}, spec("nonsense"), {}) == Target("pid", path="1")


# -- load_spec -------------------------------------------------------------------------------------------------------


def make(folder: Path, content: bytes | None) -> str:
    folder.mkdir()
    if content is not None:
        (folder / "kernel.json").write_bytes(content)
    return str(folder)


def test_the_folder_counts_more_than_the_name(tmp_path: Path) -> None:
    here = make(tmp_path / "here", b'{"display_name": "here"}')
    there = make(tmp_path / "there", b'{"display_name": "there"}')
    assert load_spec(here, "there", lambda _: there) == {"display_name": "here"}


@pytest.mark.parametrize(
    "resource_dir", [None, "", "{resource_dir}", "--spec-dir={resource_dir}", "EMPTY", "MISSING", "FILE/x"]
)
def test_without_a_folder_the_spec_is_found_by_name(tmp_path: Path, resource_dir: str | None) -> None:
    there = make(tmp_path / "there", b'{"display_name": "there"}')
    make(tmp_path / "EMPTY", None)
    (tmp_path / "FILE").write_text("")
    if resource_dir and resource_dir[0].isupper():
        resource_dir = str(tmp_path / resource_dir)
    asked: list[str] = []

    def find(name: str) -> str | None:
        asked.append(name)
        return there if name == "known" else None

    assert load_spec(resource_dir, "known", find) == {"display_name": "there"}
    assert load_spec(resource_dir, "unknown", find) is None
    assert load_spec(resource_dir, None, find) is None
    assert load_spec(resource_dir, "", find) is None
    assert asked == ["known", "unknown"]


def test_a_found_folder_without_a_spec_is_none(tmp_path: Path) -> None:
    assert load_spec(None, "x", lambda _: str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'{"a": 1,\n}', "line 2, column 1"),
        (b"", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": "\xff"}', "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
    ],
)
def test_a_damaged_spec_is_named(tmp_path: Path, content: bytes, part: str) -> None:
    folder = make(tmp_path / "spec", content)
    with pytest.raises(TargetError) as caught:
        load_spec(folder, None, lambda _: None)
    assert str(Path(folder) / "kernel.json") in str(caught.value)
    assert part in str(caught.value)


def test_a_spec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernel.json").mkdir()
    with pytest.raises(TargetError, match="cannot be read: Is a directory"):
        load_spec(str(tmp_path), None, lambda _: None)


def test_the_help_names_the_three_ways() -> None:
    for way in ("pskernel install NAME --target", "PSKERNEL_TARGET=ssh://", "#% target ssh://user@host"):
        assert way in NO_TARGET_HELP
    assert read_directives(NO_TARGET_HELP).target is None
