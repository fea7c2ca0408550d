"""What remoting does without a remote: output of many hosts, tables of objects."""

from __future__ import annotations

import asyncio
import re

import pandas as pd
import pytest

from pskernel import Objects, PSObject
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.output import Kept, Labelled
from pskernel.remoting.using import named_in, using_values
from pskernel.render.tables import html_table, text_table
from pskernel.render.text import StreamText
from pskernel.wildcards import matcher


def test_lines_of_hosts_are_whole_and_begin_with_their_host() -> None:
    async def main() -> list[StreamText]:
        kept = Kept()
        one, two = Labelled(kept, "web01"), Labelled(kept, "web02")
        await one.write(StreamText("stdout", "be"))
        await two.write(StreamText("stdout", "a\nb"))
        await one.write(StreamText("stderr", "bad\n"))
        await one.write(StreamText("stdout", "gun\n"))
        await two.flush()
        await one.flush()
        return kept.take()

    assert [
        StreamText("stdout", "[web02] a\n"),
        StreamText("stderr", "[web01] bad\n"),
        StreamText("stdout", "[web01] begun\n"),
        StreamText("stdout", "[web02] b\n"),
    ] == asyncio.run(main())


def test_kept_text_is_taken_once_and_bounded() -> None:
    async def main() -> None:
        kept = Kept()
        for _ in range(70):
            await kept.write(StreamText("stdout", "x" * 1024 * 1024))
        pieces = kept.take()
        assert 63 == sum(len(piece.text) == 1024 * 1024 for piece in pieces)
        assert "left out" in pieces[-1].text
        assert kept.is_empty
        assert [] == kept.take()

    asyncio.run(main())


def record(**properties: object) -> PSObject:
    return PSObject(("Some.Type",), properties=dict(properties))


def test_objects_are_a_table_whose_columns_have_no_case() -> None:
    objects = Objects([record(Name="a", Id=1), record(NAME="b", Extra=None), 5])

    assert "Name Id Extra Value\n---- -- ----- -----\na    1\nb\n              5" == repr(objects)


def test_a_table_is_bounded_and_neutralised() -> None:
    objects = Objects([record(**{"<b>": "<script>\x1b]0;t\x07\x1b[2J" + "x" * 5000, "n": n}) for n in range(200)])

    text, markup = repr(objects), objects._repr_html_()

    assert "... and 150 more" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 400
    assert "&lt;script&gt;" in markup
    assert "<script>" not in markup
    assert 51 == markup.count("<tr>")


def test_lists_in_a_table_are_shown_as_powershell_does_and_bounded() -> None:
    items = [1, "x\x1b[2J", None, PSObject(("T",), value=[])]
    few, many = PSObject(("System.Object[]",), value=items), PSObject(value=list(range(10**6)))

    shown = repr(Objects([record(A=few, B=many)]))

    assert "{1, x, $null, T}" in shown
    assert shown.endswith("18, 19, ...}")


def test_tables_and_lists_that_are_results_are_shown_and_kept() -> None:
    marks = {"PSComputerName": "web01", "RunspaceId": "i"}
    table = PSObject(("System.Collections.Hashtable",), value={"A": 1, "B": PSObject(value=[1, 2])}, properties=marks)
    numbered = PSObject(("System.Collections.Hashtable",), value={1: "x", "k": None}, properties=marks)
    same = PSObject(("System.Collections.Hashtable",), value={"a": 1, "A": 2}, properties=marks)
    pairs = PSObject(("System.Collections.Hashtable",), value=[(1, "a"), (True, "b")], properties=marks)
    items = PSObject(("System.Object[]",), value=[1, PSObject(value=[2]), PSObject(value={"d": 3})], properties=marks)
    nothing = PSObject(("System.Object",), to_string="System.Object", properties=marks)
    objects = Objects([table, numbered, same, pairs, items, nothing, PSObject(value=[]), PSObject(value={})])

    lines = [line.split(maxsplit=2) for line in repr(objects).splitlines()]
    frame = objects.to_frame()

    assert ["A", "B", "Value"] == lines[0]
    assert ["1", "{1,", "2}"] == lines[2]
    assert [
        "{[1, x], [k, ]}",
        "{[a, 1], [A, 2]}",
        "{[1, a], [True, b]}",
        "{1, , }",
        "System.Object",
        "{}",
        "{}",
    ] == [" ".join(line) for line in lines[3:]]
    assert ["A", "B", "PSComputerName", "RunspaceId", "Value"] == [*frame.columns]
    assert [1, 2] == frame["B"][0]
    kept = [{1: "x", "k": None}, {"a": 1, "A": 2}, [(1, "a"), (True, "b")], [1, [2], {"d": 3}]]
    assert kept == list(frame["Value"][1:5])
    assert [[], {}] == list(frame["Value"][6:])


def test_a_remotes_list_that_holds_itself_or_others_often_is_a_value() -> None:
    circle = PSObject(value=[1])
    circle.value.append(circle)
    doubled = PSObject(value=[1])
    for _ in range(200):
        doubled = PSObject(value=[doubled, doubled])

    frame = Objects([circle, doubled, record(A=circle)]).to_frame()

    assert frame["Value"][0][1] is frame["Value"][0]
    assert frame["Value"][1][0] is frame["Value"][1][1]
    assert 5 == len(repr(Objects([circle, doubled, record(A=circle)])).splitlines())


def test_the_host_and_what_tells_objects_apart_are_among_the_columns_that_are_shown() -> None:
    many = {f"P{n}": n for n in range(40)}
    # The first rows are all of one host.
    objects = Objects([record(**many, Name="x", Id=1, PSComputerName=f"web{n // 60}") for n in range(70)])

    shown, markup = repr(objects), objects._repr_html_()

    assert shown.splitlines()[0].split() == [*(f"P{n}" for n in range(17)), "Name", "Id", "PSComputerName"]
    assert "... and 20 more, and 23 columns that are not shown; to_frame() has all" in shown
    assert "<th>PSComputerName</th>" in markup
    assert "23 columns that are not shown" in markup
    assert 43 == len(objects.to_frame().columns)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 1.5], "float64"),
        ([1, 1.5, None], "float64"),
        ([2**60 + 1, 1.5], "object"),
        ([1, True], "object"),
        ([1, None], "Int64"),
        ([2**63, 1], "uint64"),
        ([2**64, 1], "object"),
    ],
)
def test_a_column_of_numbers_has_a_type_that_holds_them_all(values: list[object], dtype: str) -> None:
    frame = Objects([record(A=value) for value in values]).to_frame()

    assert dtype == str(frame.dtypes["A"])
    assert values == [None if pd.isna(value) else value for value in frame["A"].astype(object)]


def test_the_host_is_a_column_where_there_are_several() -> None:
    assert "PSComputerName" not in repr(Objects([record(A=1, PSComputerName="x", RunspaceId="i")]))
    assert "PSComputerName" in repr(Objects([record(A=1, PSComputerName=name) for name in "xy"]))


def test_a_type_name_of_the_remote_chooses_nothing_here() -> None:
    frame = Objects([PSObject(("os.system", "builtins.eval"), properties={"__class__": "x", "A": 1})]).to_frame()

    assert ["__class__", "A"] == [*frame.columns]
    assert "x" == frame["__class__"][0]


def test_no_objects_are_an_empty_frame() -> None:
    assert (0, 0) == Objects().to_frame().shape
    assert "[]" == repr(Objects())


def test_numbers_too_large_for_a_column_stay_what_they_are() -> None:
    frame = Objects([record(N=2**70), record(N=None), record(N=1)]).to_frame()

    assert [2**70, 1] == frame["N"].dropna().to_list()


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("w*", "Web", True),
        ("web?", "web", False),
        ("[ab]1", "B1", True),
        ("web", "WEB", True),
        ("a.b", "axb", False),
        ("a`*", "a*", True),
        ("a`*", "ab", False),
    ],
)
def test_wildcards_are_powershells(pattern: str, name: str, *, matches: bool) -> None:
    assert matches == bool(matcher(pattern)[0](name))


def test_tables_of_text_and_html() -> None:
    assert "A  B\n-  -\n1  22\n3" == re.sub(r" +\n", "\n", text_table(["A", "B"], [["1 ", "22"], ["3", ""]]))
    assert "<td>&lt;&amp;</td>" in html_table(["A"], [["<&"]])


def test_a_host_cannot_write_anothers_label() -> None:
    async def main() -> list[StreamText]:
        kept = Kept()
        labelled = Labelled(kept, "web01")
        await labelled.write(StreamText("stdout", "ok\r[web02] all is well\u2028[web03] too\r\nend\n"))
        await labelled.write(StreamText("stdout", "x" * 100_000))
        return kept.take()

    lines = "".join(piece.text for piece in asyncio.run(main())).splitlines()
    assert ["[web01] ok", "[web01] [web02] all is well", "[web01] [web03] too", "[web01] end"] == lines[:4]
    assert ["[web01] " + "x" * 100_000] == lines[4:]


class Parser:
    """A remote that says which expressions a script has."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def query(self, statements: object, *, timeout: float) -> list[str]:
        return list(self.texts)


def using(script: str, *said: str, **variables: object) -> object:
    return asyncio.run(using_values(Parser(*said), script, variables))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said", ["$using:db_password", "$using:x.__class__", "${using:db_password}", "$x", "", "$using:x()"]
)
def test_a_remote_gets_no_variable_that_the_script_does_not_name(said: str) -> None:
    with pytest.raises(RemotingError) as caught:
        using("$using:x + $using:x()", said, x=1, db_password="hunter2")

    assert "hunter2" not in str(caught.value)


def test_an_expression_is_read_on_this_side() -> None:
    script = "$using:t.a['b c'] [\"d\"] .e[-1]"
    found = using(script, "$using:t.a['b c']", t={"a": {"b c": 5}})

    assert isinstance(found, dict)
    assert [5] == [*found.values()]
    assert {"t"} == named_in(script)
    assert {"x y", "z"} == named_in("${using:X y}; '$USING:z'")
