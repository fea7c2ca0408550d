"""Literals, read by the real engine: what arrives is what was meant, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel import PSSession, new_pssession
from pskernel.runbook.literals import LiteralError, check_name, literal
from tests.parts.described import DESCRIBE, INTEGERS, TEXTS, describe, nested

# ruff: noqa: DTZ001, DTZ901 - times without a zone are what is tested
pytestmark = pytest.mark.live

ATOMS = (
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats()
    | TEXTS
    | st.decimals(min_value=-(10**20), max_value=10**20, places=6)
    | st.datetimes()
    | st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones())
    | st.dates()
    | st.timedeltas(min_value=timedelta(days=-(10**7)), max_value=timedelta(days=10**7))
    | st.uuids()
    | st.binary(max_size=20)
)
KEYS = TEXTS | st.integers(-(2**40), 2**40) | st.booleans()
NESTED = 64


@pytest.fixture(scope="module")
def session(pwsh: str) -> Iterator[PSSession]:
    with new_pssession(f"process:{pwsh}") as session:
        session.invoke(DESCRIBE)
        yield session


def deep(value: Any, levels: int = NESTED) -> Any:
    for number in range(levels):
        value = {"k": value} if number % 2 else [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        deep("'"),
        [[]], [[[]]], [[], []], [None], {}, {"a": []}, {"a": [[1]]}, ({}, [{}]), [b"", b"\xff"], [-1, -1.5, Decimal("-0.0")],
        {1: "a", 2: "b", "1": "c", -3: "d", 2**40: "f", "Keys": "g", "Count": 1, "GetEnumerator": 2},
        "x" * 500_000, "\n" * 20_000, "'" * 100_000, list(range(20_000)),
        10**3999, -(10**3999) + 1, 2**96, -(2**96), 2**96 - 1,
        float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22,
        Decimal("1.10"), Decimal("-0.00"), Decimal("1E+20"), Decimal("0.0000000000000000000000000001"),
        Decimal("7.9228162514264337593543950335"),
        datetime.min, datetime.max, datetime(2026, 10, 25, 1, 30, fold=1, tzinfo=timezone(timedelta(hours=2))),
        datetime(1, 1, 1, tzinfo=UTC), date(1, 1, 1), date.max, timedelta(microseconds=-1), timedelta(microseconds=(2**63 - 1) // 10),
        UUID(int=1), PurePosixPath("/a'b"), (1, (2, (3,))),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_a_value_arrives_as_it_is(session: PSSession, value: Any) -> None:
    assert [describe(value)] == session.invoke(f"$x = {literal(value)}\nDescribe $x")


@settings(max_examples=60, deadline=None)
@given(st.lists(nested(ATOMS, KEYS), min_size=8, max_size=10))
def test_values_arrive_as_they_are(session: PSSession, values: list[Any]) -> None:
    lines = [f"$x{number} = {literal(value)}" for number, value in enumerate(values)]
    lines += [f"Describe $x{number}" for number in range(len(values))]

    assert list(map(describe, values)) == session.invoke("\n".join(lines))


@settings(max_examples=20, deadline=None)
@given(st.lists(nested(ATOMS, KEYS), min_size=8, max_size=10))
def test_they_are_arguments_too(session: PSSession, values: list[Any]) -> None:
    lines = [f"& {{ param($Value) Describe $Value }} -Value:({literal(value)})" for value in values]

    assert list(map(describe, values)) == session.invoke("\n".join(lines))


def test_no_culture_changes_a_number(session: PSSession) -> None:
    values = [1.5, Decimal("-1.5"), -(2**100), datetime(2026, 1, 2, 3), timedelta(days=-1, microseconds=5)]
    script = f"""
        [cultureinfo]::CurrentCulture = $args[0]
        try {{ $x = {literal(values)}; $x | ForEach-Object {{ $_.GetType().Name }}; Describe $x }}
        finally {{ [cultureinfo]::CurrentCulture = '' }}
    """

    for culture in ("sv-SE", "ar-SA", "fa-IR", "de-CH"):
        assert describe(values) == session.invoke(script, [culture])[-1]


def test_a_literal_needs_no_full_language(session: PSSession) -> None:
    values = [
        "a\nb",
        2**40,
        2**100,
        0.5,
        float("nan"),
        Decimal("1.5"),
        datetime(2026, 1, 2, tzinfo=UTC),
        UUID(int=7),
        b"ab",
        {"k": [1]},
    ]
    script = f"""
        $rs = [runspacefactory]::CreateRunspace(); $rs.Open()
        $rs.SessionStateProxy.LanguageMode = 'ConstrainedLanguage'
        $ps = [powershell]::Create($rs).AddScript({literal(f"$x = {literal(values)}; ,$x")})
        try {{ $found = $ps.Invoke(); Describe $found[0]; $ps.Streams.Error | ForEach-Object {{ "$_" }} }} finally {{ $rs.Dispose() }}
    """

    assert [describe(values)] == session.invoke(script)


def test_variables_of_powershell_cannot_be_parameters(session: PSSession) -> None:
    script = """
        (Get-Variable | Where-Object { $_.Options -band [Management.Automation.ScopedItemOptions]'ReadOnly, Constant' }).Name
        $private = [psobject].Assembly.GetType('System.Management.Automation.SpecialVariables')
        $private.GetField('AutomaticVariables', 'NonPublic, Static').GetValue($null)
    """
    names = session.invoke(script)

    assert {"Host", "PID", "HOME", "true", "input", "args", "_", "?"} <= set(names)
    for name in names:
        with pytest.raises(LiteralError):
            check_name(name)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(st.characters(categories=["L", "N", "M", "Pc"]), min_size=1, max_size=4), min_size=20, max_size=30)
)
def test_a_name_that_is_let_through_is_a_variable(session: PSSession, names: list[str]) -> None:
    good = []
    for name in names:
        try:
            check_name(name)
        except LiteralError:
            continue
        good.append(name)
    script = "\n".join(
        f"$s = [scriptblock]::Create({literal(f'${name} = 1')}).Ast.EndBlock.Statements; $s.Count; $s[0].Left.VariablePath.UserPath"
        for name in good
    )

    assert [part for name in good for part in (1, name)] == session.invoke(script)
