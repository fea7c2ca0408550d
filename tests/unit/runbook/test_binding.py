"""Values for parameters: what fits, what a command line means, and what is refused before anything is connected."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pskernel.runbook.binding import bind
from pskernel.runbook.given import read_values
from pskernel.runbook.literals import LiteralError
from pskernel.runbook.parameters import read_cell
from pskernel.runbook.scanner import ParametersError

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def bound(declared: str, value: Any) -> Any:
    return bind(read_cell(f"param({declared})"), {"x": value})["x"]


@pytest.mark.parametrize(
    ("declared", "value", "found"),
    [
        ("$x", [1, {"a": None}], [1, {"a": None}]),
        ("[string]$x", "5", "5"),
        ("[System.String]$x", "5", "5"),
        ("[int]$x", -(2**31), -(2**31)),
        ("[byte]$x", 255, 255),
        ("[ulong]$x", 2**64 - 1, 2**64 - 1),
        ("[bigint]$x", 2**100, 2**100),
        ("[double]$x", 5, 5),
        ("[decimal]$x", 0.1, Decimal("0.1")),
        ("[bool]$x", True, True),
        ("[switch]$x", False, False),
        ("[datetime]$x", MOMENT, MOMENT),
        ("[datetime]$x", date(2026, 1, 2), date(2026, 1, 2)),
        ("[string[]]$x", ["a", "b"], ["a", "b"]),
        ("[string[]]$x", "a", ["a"]),
        ("[int[]]$x", (), []),
        ("[array]$x", 5, [5]),
        ("[byte[]]$x", b"ab", b"ab"),
        ("[hashtable]$x", {"a": 1}, {"a": 1}),
        ("[Nullable[int]]$x", None, None),
        ("[Nullable[int]]$x", 5, 5),
        ("[uri]$x", "http://a", "http://a"),
        ("[char]$x", "a", "a"),
        ("[ValidateSet('a', 'b')]$x", "A", "A"),
        ("[ValidateSet('a', 'b')][string[]]$x", ["a", "B"], ["a", "B"]),
        ("[ValidateSet(1, 2)][int]$x", 2, 2),
        ("[ValidateRange(1, 5)][int[]]$x", [1, 5], [1, 5]),
        ("[ValidateRange('Positive')][int]$x", -1, -1),
        ("[Alias('x')]$y", 5, None),
    ],
)
def test_what_fits(declared: str, value: Any, found: Any) -> None:
    if "Alias" in declared:
        assert {"y": value} == bind(read_cell(f"param({declared})"), {"X": value})
    else:
        result = bound(declared, value)
        assert (type(found), found) == (type(result), result)


@pytest.mark.parametrize(
    ("declared", "value", "why"),
    [
        ("[string]$x", 1.10, r"takes text\. In YAML"),
        ("[string]$x", None, "takes text"),
        ("[int]$x", "5", "whole number from -2147483648 to 2147483647"),
        ("[int]$x", True, "whole number"),
        ("[int]$x", 5.0, "whole number"),
        ("[int]$x", 2**31, "whole number"),
        pytest.param("[int]$x", 10**5000, "thousands of digits", id="huge"),
        ("[byte]$x", -1, "from 0 to 255"),
        ("[double]$x", "x", "a number"),
        ("[double]$x", True, "a number"),
        ("[decimal]$x", float("nan"), "a number"),
        ("[bool]$x", 1, "true or false"),
        ("[bool]$x", "true", "true or false"),
        ("[datetime]$x", "2026-01-02", "a date"),
        ("[int[]]$x", [1, "a"], "a list, each a whole number"),
        ("[hashtable]$x", [1], "names with values"),
        ("[char]$x", "ab", "one character"),
        ("[ValidateSet('a', 'b')]$x", "c", "allowed are a, b"),
        ("[ValidateSet('a', IgnoreCase = $false)]$x", "A", "allowed are a"),
        ("[ValidateSet('a', 'b')][string[]]$x", ["a", "c"], "'c': allowed are a, b"),
        ("[ValidateRange(1, 5)][int]$x", 6, "from 1 to 5"),
        ("[ValidateRange(0.5, 1.5)][double[]]$x", [1.0, 1.6], "from 0.5 to 1.5"),
        ("[ValidateNotNullOrEmpty()][string]$x", "", "not be empty"),
        ("[ValidateNotNullOrEmpty()][string[]]$x", [], "not be empty"),
        ("[securestring]$x", "hunter2", "is a secret"),
        ("[pscredential]$x", "keyring:web01", "is a secret"),
        ("[System.Management.Automation.PSCredential]$x", "keyring:web01", "is a secret"),
    ],
)
def test_what_does_not_fit_is_refused(declared: str, value: Any, why: str) -> None:
    with pytest.raises(ParametersError, match=f"parameter x .*{why}") as caught:
        bound(declared, value)
    if "secret" in why:
        assert str(value) not in str(caught.value)


def test_a_value_of_unbounded_size_is_refused_at_once() -> None:
    value: Any = ["x"]
    for _ in range(60):
        value = [value, value]

    with pytest.raises(LiteralError, match="parameter x"):
        bound("$x", value)
    with pytest.raises(ParametersError, match="whole number"):
        bound("[int]$x", value)


def test_an_unknown_name_is_refused_and_a_near_one_proposed() -> None:
    parameters = read_cell("$Count = 1; $Server = 'a'")

    with pytest.raises(ParametersError, match=r"'Cuont'\. Did you mean Count\? There are Count, Server"):
        bind(parameters, {"Cuont": 1})
    with pytest.raises(ParametersError, match=r"It has none"):
        bind(read_cell(""), {"x": 1})


def test_a_mandatory_one_that_is_missing_is_refused() -> None:
    parameters = read_cell(
        "param([Parameter(Mandatory)]$a, [Parameter(Mandatory)]$b, [Parameter(Mandatory)][pscredential]$c, $d)"
    )

    with pytest.raises(ParametersError, match="parameters a, b need a value: give -p a="):
        bind(parameters, {"d": 1})
    assert {"a": 1, "b": 2} == bind(parameters, {"B": 2, "a": 1})


def test_one_given_by_two_names_is_refused() -> None:
    with pytest.raises(ParametersError, match="Name is given twice, once as n"):
        bind(read_cell("param([Alias('n')]$Name)"), {"name": 1, "n": 2})


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("$x", "5", "5"),
        ("[string]$x", "a=b", "a=b"),
        ("[string]$x", "", ""),
        ("[string]$x", "env:HOME", "env:HOME"),
        ("[int]$x", " -5 ", -5),
        ("[double]$x", "1e3", 1000.0),
        ("[decimal]$x", "1.10", Decimal("1.10")),
        ("[bool]$x", "$True", True),
        ("[switch]$x", "false", False),
        ("[datetime]$x", "2026-01-02T03:04:05Z", MOMENT),
        ("[string[]]$x", "a, b", ["a", " b"]),
        ("[string[]]$x", "", []),
        ("[int[]]$x", "1, 2", [1, 2]),
        ("[timespan]$x", "01:00", "01:00"),
        ("[Nullable[int]]$x", "5", 5),
        ("$x = 3", "5", 5),
        ("$x = 0.5", "5", 5.0),
        ("$x = 1d", "5.0", Decimal("5.0")),
        ("$x = $true", "false", False),
        ("$x = 'a'", "5", "5"),
        ("$x = $null", "5", "5"),
        ("$x = (Get-Date)", "5", "5"),
    ],
)
def test_what_a_text_means(declared: str, text: str, value: Any) -> None:
    found = read_values([f"x={text}"], [], read_cell(f"param({declared})"))["x"]

    assert (type(value), value) == (type(found), found)


@pytest.mark.parametrize(
    ("declared", "text", "why"),
    [
        ("[int]$x", "5.5", r"the type \[int\] takes a whole number"),
        ("[int]$x", "99999999999", "whole number"),
        ("[int]$x", "\u0665", "whole number"),
        ("[double]$x", "1e999", "a number"),
        ("[double]$x", "nan", "a number"),
        ("[decimal]$x", "x", "a number"),
        ("[bool]$x", "yes", "true or false"),
        ("[datetime]$x", "tomorrow", "a date"),
        ("[hashtable]$x", "a=1", "YAML file"),
        ("[int[]]$x", "1,", "whole number"),
        ("$x = 3", "abc", "its default, 3, takes"),
        ("$x = @('a')", "b", "not clear"),
        ("$x = @{}", "b", "not clear"),
    ],
)
def test_a_text_that_means_nothing_is_refused(declared: str, text: str, why: str) -> None:
    with pytest.raises(ParametersError, match=why):
        read_values([f"x={text}"], [], read_cell(f"param({declared})"))


def test_a_list_without_brackets_is_a_list() -> None:
    with pytest.raises(ParametersError, match="not clear"):
        read_values(["x=a"], [], read_cell("$x = 'a', 'b'"))


def yaml(folder: Path, text: str | bytes, name: str = "p.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_later_ones_count_more(tmp_path: Path) -> None:
    parameters = read_cell("param($a, [Alias('bee')]$b, $c, $d)")
    one = yaml(tmp_path, "a: 1\nb: 1\nc: 1\nd: 1\n", "1.yaml")
    two = yaml(tmp_path, "B: [1, 2]\nc: 2026-01-02\nx: 5\n", "2.yaml")

    assert {"a": 1, "b": [1, 2], "c": "3", "d": 1, "x": 5} == read_values(["c=3"], [one, two], parameters)
    assert "7" == read_values(["BEE=7"], [one, two], parameters)["b"]


def test_twice_on_one_level_is_refused(tmp_path: Path) -> None:
    parameters = read_cell("param([Alias('n')]$Name)")

    with pytest.raises(ParametersError, match="Name is given twice on the command line"):
        read_values(["name=1", "N=2"], [], parameters)
    with pytest.raises(ParametersError, match=r"Name is given twice in .*p\.yaml"):
        read_values([], [yaml(tmp_path, "Name: 1\nname: 2\n")], parameters)
    with pytest.raises(ParametersError, match=r"p\.yaml is not valid YAML near line 2: a key is there twice"):
        read_values([], [yaml(tmp_path, "Name: 1\nName: 2\n")], parameters)
    with pytest.raises(ParametersError, match="near line 3"):
        read_values([], [yaml(tmp_path, "Name:\n  a: 1\n  a: 2\n")], parameters)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("- 1\n", "not a YAML mapping"),
        ("5: 1\n", "not a YAML mapping"),
        ("text", "not a YAML mapping"),
        ("a: [", "not valid YAML near line"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML near line 1"),
        ("a: {[1]: 2}", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"a: \x00", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2026-99-99", "not valid YAML"),
        ("#" * 1_100_000, "larger than 1 MB"),
    ],
    ids=range(12),
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(ParametersError, match=why):
        read_values([], [yaml(tmp_path, content)], read_cell("$a = 1"))


def test_an_empty_file_has_no_values(tmp_path: Path) -> None:
    assert {} == read_values([], [yaml(tmp_path, "# none\n")], read_cell("$a = 1"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match="No such file"):
        read_values([], [tmp_path / "none.yaml"], read_cell("$a = 1"))
    with pytest.raises(ParametersError, match="directory"):
        read_values([], [tmp_path], read_cell("$a = 1"))


@pytest.mark.parametrize("pair", ["Name", "=5", " =5"])
def test_a_pair_that_is_none_is_refused_and_not_repeated(pair: str) -> None:
    with pytest.raises(ParametersError, match="-p Name=value") as caught:
        read_values([pair], [], read_cell("$a = 1"))
    assert "5" not in str(caught.value)


def test_the_place_of_a_secret_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPW", "hunter2")
    parameters = read_cell("param([pscredential]$c, [string]$s)")

    assert {"s": "env:HOMEPW"} == bind(parameters, read_values(["s=env:HOMEPW"], [], parameters))
    with pytest.raises(ParametersError, match="is a secret") as caught:
        bind(parameters, read_values(["c=env:HOMEPW"], [], parameters))
    assert os.environ["HOMEPW"] not in str(caught.value)
