"""Python values as CLIXML: what is written, and what is refused before anything is sent."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from pskernel.errors import LocalProtocolError
from pskernel.protocol.clixml import EncryptedString, PSObject, decode
from pskernel.protocol.hostvalues import Login, Secret
from pskernel.protocol.values import Value, encode


def written(value: Any) -> bytes:
    return encode(Value(value), "", itertools.count())


def read(value: Any) -> Any:
    """The value as our own decoder reads what was written."""
    found = decode(written(value))
    return found.value if isinstance(found, PSObject) else found


@dataclasses.dataclass
class Disk:
    name: str


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.datetime64("2026-01-02T03:04:05.123456789", "ns"), datetime(2026, 1, 2, 3, 4, 5, 123456)),  # noqa: DTZ001
        (np.datetime64("2026-01-02", "D"), datetime(2026, 1, 2)),  # noqa: DTZ001
        (np.datetime64("NaT"), None),
        (np.datetime64("NaT", "ns"), None),
        (np.timedelta64(1500, "ns"), timedelta(microseconds=1)),
        (np.array(["2026-01-02"], dtype="datetime64[ns]"), [datetime(2026, 1, 2)]),  # noqa: DTZ001
        (np.array(5), 5),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.array([1, None]), [1, None]),
        (pd.Index([1, 2]), [1, 2]),
        (pd.arrays.SparseArray([0, 1]), [0, 1]),
        (collections.deque([1, 2]), [1, 2]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"b", "a"}, ["a", "b"]),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=1))), datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_value_is_written_as_what_it_means(value: Any, found: Any) -> None:
    assert found == read(value)


def test_a_row_of_a_structured_array_has_the_names_of_its_fields() -> None:
    rows = decode(written(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]))).value

    assert [{"a": 1, "b": 2.0}] == [row.properties for row in rows]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({None: 1}, "key of a table"),
        ({PurePosixPath("a"): 1, "a": 2}, "there twice"),
        ([PSObject(properties={"": 1})], r"property at \[0\] has no name"),
        (PSObject(properties={"a": 1, "A": 2}), "one that another has"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name"),
        (pd.DataFrame([[1, 2]], columns=["a", "A"]), r"at \[0\]"),
        ([pd.MultiIndex.from_tuples([(1, 2)])], r"MultiIndex at \[0\] cannot be read"),
        (np.timedelta64(5, "M"), "cannot be read"),
        (np.datetime64(300000, "Y"), "cannot be read"),
        (np.longdouble(1), "no counterpart"),
        (time(1, tzinfo=UTC), "beyond"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "beyond"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "beyond"),
        ({"a": EncryptedString("x")}, r"at \['a'\] can be read by nobody else"),
        (Secret("hunter2"), "before keys"),
        (Disk(Login("u", Secret("hunter2"))), "before keys"),  # type: ignore[arg-type]
    ],
)
def test_what_would_arrive_as_something_else_is_refused(value: Any, match: str) -> None:
    with pytest.raises(LocalProtocolError, match=match) as caught:
        written(value)

    assert "hunter2" not in str(caught.value)


def test_what_raises_while_it_is_read_is_named_by_type_and_place() -> None:
    class Broken:
        def __fspath__(self) -> str:
            raise RuntimeError("a text of somebody's")

    with pytest.raises(LocalProtocolError, match=r"^A Python Broken at \[1\] cannot be read \(RuntimeError\)\.$"):
        written([0, Broken()])


TABLE = '<TN RefId="0"><T>System.Collections.Hashtable</T></TN>'
ONE = '<En><I32 N="Key">1</I32><S N="Value">a</S></En>'
TRUE = '<En><B N="Key">true</B><S N="Value">b</S></En>'


@pytest.mark.parametrize(
    "document",
    [
        '<Obj RefId="0"><TN RefId="0"><T>System.Object[]</T></TN><LST /></Obj>',
        f'<Obj RefId="0">{TABLE}<DCT /></Obj>',
        f'<Obj RefId="0">{TABLE}<DCT>{ONE}{TRUE}</DCT></Obj>',
        '<Obj RefId="0"><I32>5</I32><MS><I32 N="n">7</I32></MS></Obj>',
    ],
)
def test_what_came_from_a_remote_goes_back_in_the_same_shape(document: str) -> None:
    def shape(text: bytes | str) -> str:
        return ET.canonicalize(text)

    assert shape(document) == shape(written(decode(document.encode())))
