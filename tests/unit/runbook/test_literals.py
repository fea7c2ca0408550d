"""Literals as text, and what has none."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from pskernel.runbook.literals import LiteralError, check_name, literal
from tests.parts.described import TEXTS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "''"),
        ("it's", "'it''s'"),
        ("\u2018\u2019\u201a\u201b", "'\u2018\u2018\u2019\u2019\u201a\u201a\u201b\u201b'"),
        ('"$(exit)`n', "'\"$(exit)`n'"),
        ("a\nb", "(-join ('a', [char]10, 'b'))"),
        ("\0", "[string][char]0"),
        ("\ud800", "[string][char]55296"),
        (5, "5"),
        (-1, "-1"),
        (2**63, "9223372036854775808d"),
        (1.5, "[double]'1.5'"),
        (Decimal("1.50"), "1.50d"),
        (True, "$true"),
        (None, "$null"),
        ([1], "@(,1)"),
        ([], "@()"),
        ({"a b": [1, 2]}, "[ordered]@{ 'a b' = @(1, 2) }"),
        (timedelta(hours=-1), "[timespan]'-0.01:00:00.000000'"),
    ],
)
def test_how_it_is_written(value: Any, text: str) -> None:
    assert text == literal(value)


@given(TEXTS)
def test_a_literal_is_one_line_that_any_file_can_hold(value: str) -> None:
    text = literal(value)

    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs", "Zl", "Zp"}
    assert [text] == text.splitlines()
    assert text == text.encode().decode()


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def doubling() -> Any:
    """What eighty lines of YAML can say."""
    value: Any = ["x"]
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "type object"),
        ({1, 2}, "type set"),
        (1 + 2j, "type complex"),
        ([{"a": object()}], "type object"),
        (10**4000, "4000 digits"),
        (Decimal("NaN"), "no number"),
        (Decimal("1e29"), "larger or finer"),
        (Decimal("1e-29"), "larger or finer"),
        (Decimal(79228162514264337593543950336), "larger or finer"),
        (Decimal("8.0000000000000000000000000000"), "larger or finer"),
        (timedelta.max, "TimeSpan"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "in UTC"),
        ({None: 1}, "key that is None"),
        ({(1, 2): 1}, "type tuple"),
        ({float("nan"): 1}, "NaN"),
        ({"a": 1, "A": 2}, "'a' and 'A'"),
        (endless(), "64 deep"),
        (doubling(), "1 MB|64 deep"),
        ("x" * 2_000_000, "1 MB"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_has_no_literal_is_refused(value: Any, why: str) -> None:
    with pytest.raises(LiteralError, match=why):
        literal(value)


@pytest.mark.parametrize("name", ["Count", "_x", "Gr\u00f6\u00dfe", "a1", "VerbosePreference"])
def test_a_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a b", "env:x", "global:x", "a.b", "$a", "a;b", "a}b", "a\n", "a\u0301", "\u00b2"]
)
def test_no_name(name: str) -> None:
    with pytest.raises(LiteralError, match="cannot be the name"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["host", "HOST", "pid", "Home", "error", "input", "ARGS", "true", "PSItem", "_", "switch"]
)
def test_a_name_of_powershells(name: str) -> None:
    with pytest.raises(LiteralError, match="for itself"):
        check_name(name)
