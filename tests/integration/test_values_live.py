"""Python values to the real engine, and what it returns, in both directions."""

from __future__ import annotations

import dataclasses
import enum
import math
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pskernel import PSCredential, PSObject, PSSession, new_pssession
from pskernel.errors import PipelineFailed
from pskernel.protocol.hostvalues import Login, Secret
from pskernel.remoting.errors import RemotingError

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def session(pwsh: str) -> Iterator[PSSession]:
    with new_pssession(f"process:{pwsh}") as session:
        yield session


@dataclasses.dataclass
class Disk:
    name: str
    free: int


class Level(enum.IntEnum):
    HIGH = 3


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the plain kind is what is tested
NUMBER = uuid.UUID("7c1a3b2e-0000-4000-8000-000000000001")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "type_name", "check"),
    [
        (True, "System.Boolean", "$v -eq $true"),
        (5, "System.Int32", "$v -eq 5"),
        (-(2**31), "System.Int32", "$v -eq [int]::MinValue"),
        (2**31, "System.Int64", "$v -eq 2147483648"),
        (2**63 - 1, "System.Int64", "$v -eq [long]::MaxValue"),
        (2**63, "System.Decimal", "$v -eq 9223372036854775808d"),
        (Level.HIGH, "System.Int32", "$v -eq 3"),
        (1.5, "System.Double", "$v -eq 1.5"),
        (5e-324, "System.Double", "$v -eq [double]::Epsilon"),
        (float("inf"), "System.Double", "[double]::IsPositiveInfinity($v)"),
        (float("nan"), "System.Double", "[double]::IsNaN($v)"),
        (Decimal("1.10"), "System.Decimal", "\"$v\" -ceq '1.10'"),
        (Decimal(79228162514264337593543950335), "System.Decimal", "$v -eq [decimal]::MaxValue"),
        ("a'b$x", "System.String", "$v -ceq 'a''b$x'"),
        ("", "System.String", "$v -ceq ''"),
        (PurePosixPath("/a b"), "System.String", "$v -ceq '/a b'"),
        (MOMENT, "System.DateTime", "$v.ToUniversalTime().Ticks -eq 639029126456789010"),
        (datetime(2026, 1, 2, 3), "System.DateTime", "$v.Kind -eq 'Unspecified' -and $v.Hour -eq 3"),  # noqa: DTZ001
        (datetime(1, 1, 1, tzinfo=UTC), "System.DateTime", "$v.Kind -eq 'Utc' -and $v.Ticks -eq 0"),
        (date(2026, 1, 2), "System.DateTime", "$v -eq [datetime]::new(2026, 1, 2)"),
        (timedelta(days=-1, microseconds=1), "System.TimeSpan", "$v.Ticks -eq -863999999990"),
        (time(1, 2, 3), "System.TimeSpan", "$v.TotalSeconds -eq 3723"),
        (b"\x00\xff", "System.Byte[]", "$v.Length -eq 2 -and $v[1] -eq 255"),
        (NUMBER, "System.Guid", f"$v -eq [guid]'{NUMBER}'"),
        ([1, [2, None]], "System.Collections.ArrayList", "$v[1][0] -eq 2 -and $null -eq $v[1][1]"),
        ((), "System.Collections.ArrayList", "$v.Count -eq 0"),
        ({"b": 1, "a": 2}, "System.Collections.Specialized.OrderedDictionary", "($v.Keys -join '') -ceq 'ba'"),
        (
            {1: "a", 2: "b", "k": "c"},
            "System.Collections.Hashtable",
            "$v[1] -eq 'a' -and $v[2] -eq 'b' -and $v.k -eq 'c'",
        ),
        ({3, 1, 2}, "System.Collections.ArrayList", "($v -join '') -eq '123'"),
        (range(3), "System.Collections.ArrayList", "($v -join '') -eq '012'"),
        (Disk("C", 5), "System.Management.Automation.PSCustomObject", "$v.name -ceq 'C' -and $v.free -eq 5"),
        (Point(1, 2), "System.Management.Automation.PSCustomObject", "$v.x -eq 1 -and $v.y -eq 2"),
        (np.int16(7), "System.Int32", "$v -eq 7"),
        (np.float64(0.1), "System.Double", "$v -eq 0.1"),
        (np.array([[1, 2], [3, 4]]), "System.Collections.ArrayList", "$v[1][0] -eq 3"),
        (pd.Timestamp(MOMENT), "System.DateTime", "$v.ToUniversalTime().Ticks -eq 639029126456789010"),
        (pd.Timedelta(seconds=2), "System.TimeSpan", "$v.TotalSeconds -eq 2"),
        (pd.Series([1, None, 3], dtype="Int64"), "System.Collections.ArrayList", "$null -eq $v[1] -and $v[2] -eq 3"),
        (
            pd.DataFrame({"n": [1, 2], "t": [pd.Timestamp(MOMENT), pd.NaT], "f": [0.5, None]}),
            "System.Collections.ArrayList",
            "$v[0].n -eq 1 -and $v[0].t.Year -eq 2026 -and $null -eq $v[1].t -and $null -eq $v[1].f",
        ),
        (Secret("pass"), "System.Security.SecureString", "[Net.NetworkCredential]::new('', $v).Password -ceq 'pass'"),
        (
            Login("admin", Secret("p\u00e4ss")),
            "System.Management.Automation.PSCredential",
            "$v.GetNetworkCredential().Password -ceq ('p' + [char]0xe4 + 'ss')",
        ),
    ],
)
def test_a_value_is_there_what_it_is_here(session: PSSession, value: Any, type_name: str, check: str) -> None:
    assert [type_name, True] == session.invoke(f"param($v) $v.GetType().FullName; {check}", [value])


def test_a_credential_of_the_users_is_one_there(session: PSSession) -> None:
    credential = PSCredential("admin", "hunter2")
    script = "$args[0].GetNetworkCredential().Password.Length; $args[1].c.UserName; $x = $using:c; $x.GetType().Name"

    found = session.invoke(script, [credential, {"c": credential}], using={"c": credential})

    assert [7, "admin", "PSCredential"] == found
    assert "hunter2" not in repr(found)


@dataclasses.dataclass
class Account:
    """With a credential in it."""

    host: str
    login: PSCredential


Logins = namedtuple("Logins", "first second")  # noqa: PYI024


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda c: Account("web01", c), "$v.login"),
        (lambda c: [Account("web01", c)], "$v[0].login"),
        (lambda c: Logins(1, c), "$v.second"),
        (lambda c: pd.DataFrame({"host": ["a", "b"], "login": [None, c]}), "$v[1].login"),
        (lambda c: pd.Series([1, c]), "$v[1]"),
        (lambda c: np.array([c, None], dtype=object), "$v[0]"),
        (lambda c: {c}, "$v[0]"),
        (lambda c: PSObject(properties={"login": c}), "$v.login"),
    ],
)
def test_a_credential_is_one_wherever_it_is(
    pwsh: str, make: Callable[[PSCredential], Any], path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    value = make(PSCredential("admin", "hunter2"))

    # A session of its own: no keys have been exchanged in it.
    with new_pssession(f"process:{pwsh}") as session:
        found = session.invoke(
            f"$v = $args[0]; ({path}).GetNetworkCredential().Password.Length; $v = $using:v; ({path}).UserName",
            [value],
            using={"v": value},
        )

    assert [7, "admin"] == found
    assert "hunter2" not in repr(found) + capfd.readouterr().out


def test_using_reads_a_credentials_user(session: PSSession) -> None:
    using = {"c": PSCredential("admin", "hunter2")}

    assert ["admin", "SecureString"] == session.invoke(
        "$using:c.UserName; $p = $using:c.password; $p.GetType().Name", using=using
    )


@pytest.mark.parametrize("missing", [None, pd.NaT, pd.NA])
def test_what_is_missing_is_null(session: PSSession, missing: Any) -> None:
    assert [True] == session.invoke("$null -eq $args[0]", [missing])


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "object"),
        ([1, {"a": object()}], r"at \[1\]\['a'\]"),
        (1 + 2j, "complex"),
        (2**96, "beyond"),
        (Decimal("NaN"), "beyond"),
        (Decimal("1e-29"), "beyond"),
        (timedelta.max, "beyond"),
        (Disk, "type"),
    ],
)
def test_what_has_no_counterpart_is_refused_and_nothing_is_sent(session: PSSession, value: Any, where: str) -> None:
    with pytest.raises(RemotingError, match=where) as caught:
        session.invoke("$global:ran = 1", [value])

    assert "ArgumentNotSerializable" == caught.value.error_id
    assert [True] == session.invoke("$null -eq $ran")


@pytest.mark.parametrize("value", [{None: 1}, PSObject(properties={"": 1})])
def test_what_the_server_would_never_answer_is_refused_here(session: PSSession, value: Any) -> None:
    with pytest.raises(RemotingError) as caught:
        session.invoke("1", [value])

    assert "ArgumentNotSerializable" == caught.value.error_id
    assert [1] == session.invoke("1")


def test_names_and_keys_have_all_characters(session: PSSession) -> None:
    names = [" ", "\0", "a\nb", "\ud800", "_x0041_", '"', "<&>'", "\ufffe", "\U0001f600", "\u00e9", "x" * 5000]
    script = "$args[0].psobject.properties.Name; $args[1].Keys"

    assert names * 2 == session.invoke(script, [PSObject(properties=dict.fromkeys(names, 1)), dict.fromkeys(names, 1)])


@pytest.mark.parametrize("cover", [lambda v: [v], lambda v: {"a": v}, lambda v: PSObject(properties={"a": v})])
def test_as_many_levels_as_we_send_are_read_there(session: PSSession, cover: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(39):
        value = cover(value)

    assert [1] == session.invoke("$using:v | Out-Null; 1", [value], using={"v": value})


def test_a_value_that_contains_itself_is_refused(session: PSSession) -> None:
    endless: list[Any] = []
    endless += [endless, {"a": endless}, endless]

    with pytest.raises(RemotingError, match="contains itself"):
        session.invoke("1", [endless])


SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.decimals(min_value=-(10**15), max_value=10**15, places=6)
    | st.datetimes(timezones=st.just(UTC))
    | st.timedeltas(min_value=timedelta(days=-(10**6)), max_value=timedelta(days=10**6))
    | st.binary(max_size=30)
    | st.uuids()
)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcXYZ \u00e9'<&\"", min_size=1, max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


def plain(value: Any) -> Any:
    """What came back as it was sent: lists and tables without their covers."""
    if isinstance(value, PSObject):
        value = value.value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def same(sent: Any, found: Any) -> bool:
    if isinstance(sent, list):
        return len(sent) == len(found) and all(map(same, sent, found))
    if isinstance(sent, dict):
        return list(sent) == list(found) and all(same(sent[key], found[key]) for key in sent)
    if isinstance(sent, float) and sent == 0:
        return math.copysign(1, sent) == math.copysign(1, found)
    if isinstance(sent, str):
        return sent.encode("utf-16-le", "surrogatepass") == found.encode("utf-16-le", "surrogatepass")
    return type(sent) is type(found) and bool(sent == found)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=15, max_size=20))
def test_values_survive_the_way_there_and_back(session: PSSession, values: list[Any]) -> None:
    # In a list, for PowerShell takes arrays apart that stand alone.
    (found,) = session.invoke(", $args[0]", [values])

    for sent, came in zip(values, plain(found), strict=True):
        assert same(sent, came), (sent, came)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (", @()", "$v -is [Collections.IList] -and $v.Count -eq 0"),
        (", [Collections.Generic.List[int]]::new()", "$v -is [Collections.IList] -and $v.Count -eq 0"),
        ("@{ 1 = 'a'; $true = 'b' }", "$v -is [hashtable] -and $v[1] -eq 'a' -and $v[$true] -eq 'b'"),
        ("$h = [hashtable]::new(); $h.a = 1; $h['A'] = 2; $h", "$v.Count -eq 2 -and $v['A'] -eq 2"),
        ("5 | Add-Member n 7 -PassThru", "$v -eq 5 -and $v.n -eq 7"),
        (", [Collections.Stack]::new((1, 2))", "\"$v\" -eq '2 1'"),
        ("[ipaddress]'1.2.3.4'", "$v -is [ipaddress] -and \"$v\" -eq '1.2.3.4'"),
    ],
)
def test_an_object_of_the_remote_is_the_same_when_it_comes_back(session: PSSession, make: str, check: str) -> None:
    assert [True] == session.invoke(f"$v = $args[0]; {check}", session.invoke(make))


def test_a_secure_string_that_came_back_is_not_sent_as_something_else(session: PSSession) -> None:
    made = session.invoke("ConvertTo-SecureString abc -AsPlainText -Force")

    with pytest.raises(RemotingError, match="SecureString"):
        session.invoke("1", made)


def test_objects_of_the_remote_survive_the_way_here_and_back(session: PSSession) -> None:
    make = """
        [pscustomobject]@{ A = 1; B = 'x', 'y'; C = [pscustomobject]@{ D = [datetime]::new(2026, 1, 2) } }
        [ordered]@{ k = [guid]::Empty; l = 1.5d }
        [DayOfWeek]::Friday
        , (1, 2, (3, 4))
        [timespan]::FromTicks(10)
        Get-Item /
    """
    objects = session.invoke(make)

    texts = session.invoke("$args | ForEach-Object { [Management.Automation.PSSerializer]::Serialize($_, 3) }", objects)
    again = session.invoke(
        "$args | ForEach-Object { [Management.Automation.PSSerializer]::Serialize($_, 3) }",
        session.invoke("$args | ForEach-Object { , $_ }", objects),
    )

    assert 6 == len(objects)
    assert texts == again
    # As with PowerShell's own client, an enum's member is its number there.
    assert ["1 x y 2026", "5", "/"] == session.invoke(
        '"$($args[0].A) $($args[0].B) $($args[0].C.D.Year)"; "$($args[2])"; $args[5].FullName', objects
    )


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("$using:x", [5]),
        ("$USING:X + 1", [6]),
        ('"in $using:x and $($using:t.Name)"', ["in 5 and n"]),
        ("'$using:none'; # $using:none\n1", ["$using:none", 1]),
        ("${using:x}; $using:l[1]; $using:t.name", [5, 2, "n"]),
        ("1, 2 | ForEach-Object { $using:x + $_ }", [6, 7]),
        ("Get-Item @using:splat | ForEach-Object FullName", ["/"]),
        ("param($p) $p; $using:x", ["argument", 5]),
        ("$using:splat.Path.Length; $using:l.Count; $using:l.length; $using:t.Count", [1, 2, 2, 1]),
        ("function f { $using:x }; f; & { $using:x }", [5, 5]),
        ("$null -eq $using:t['none']; $null -eq $using:t[7]; $using:t['NAME']", [True, True, "n"]),
        ('@"\n$using:x\n"@; "$using:x.none"', ["5", "5.none"]),
    ],
)
def test_using_takes_variables_of_this_side(session: PSSession, script: str, found: list[Any]) -> None:
    variables = {"x": 5, "t": {"Name": "n"}, "l": [1, 2], "splat": {"Path": "/"}}

    assert found == session.invoke(script, ["argument"] if "param" in script else (), using=variables)


@pytest.mark.parametrize(
    "script",
    [
        "$using:none", "$using:t.none", "$using:t['none'].x", "$using:l[9]", "$using:env:PATH", "$using:l.append",
        "$using:l.__class__", "$using:p._private",
    ],
)  # fmt: skip
def test_using_what_does_not_exist_sends_nothing(session: PSSession, script: str) -> None:
    with pytest.raises(RemotingError, match="has not been set in the local session") as caught:
        session.invoke(f"$global:used = 1; {script}", using={"t": {}, "l": [], "p": PSObject(properties={})})

    assert "UsingVariableIsUndefined" == caught.value.error_id
    assert [True] == session.invoke("$null -eq $used")


def test_a_using_value_that_cannot_be_sent_is_named_as_it_is_written(session: PSSession) -> None:
    with pytest.raises(RemotingError, match=r"function at \[\$using:f\]\['g'\]"):
        session.invoke("$using:f", using={"f": {"g": lambda: 1}})


@pytest.mark.parametrize("script", ["Start-Job { $using:in } | Receive-Job -Wait", "1 | % -Parallel { $using:in }"])
def test_using_in_a_job_of_the_remote_means_its_variables(session: PSSession, script: str) -> None:
    # PowerShell's own Invoke-Command fails in the same way, and with a variable of the remote succeeds.
    failed = session.invoke(script, using={"in": 5})

    assert [] == failed
    assert "using variable '$using:in' cannot be retrieved" in "".join(text.text for text in failed.streams)
    assert [7] == plain(list(session.invoke(f"& {{ $in = 7; {script} }}", using={"in": 5})))


def test_a_script_that_fails_raises_what_powershell_says(session: PSSession) -> None:
    with pytest.raises(PipelineFailed, match="boo") as caught:
        session.invoke("1; throw 'boo'")

    assert "boo" == caught.value.record.fully_qualified_error_id


def test_a_frame_has_the_types_of_its_values(session: PSSession) -> None:
    frame = session.invoke("""
        [pscustomobject]@{ Id = 1; Name = 'a'; On = $true; Load = 0.5; Since = [datetime]::new(2026, 1, 2, 0, 0, 0, [DateTimeKind]::Utc)
                           Day = [DayOfWeek]::Friday; Inner = [pscustomobject]@{ x = 1 } }
        [pscustomobject]@{ ID = 2; Name = $null; On = $null; Load = 1; Extra = 'only here' }
        Get-Date
    """).to_frame()

    assert ["Id", "Name", "On", "Load", "Since", "Day", "Inner", "PSComputerName", "RunspaceId", "Extra", "Value"] == [
        *frame.columns
    ]
    assert {"Id": "Int64", "On": "boolean", "Name": "string", "Since": "datetime64[us, UTC]"} == {
        name: str(frame.dtypes[name]) for name in ("Id", "On", "Name", "Since")
    }
    assert [1, 2] == frame["Id"].dropna().to_list()
    assert "Friday" == frame["Day"][0]
    assert 1 == frame["Inner"][0].x
    assert isinstance(frame["Value"][2], datetime)
